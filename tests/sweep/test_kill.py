"""Training that is killed at any moment and started again gives the results of undisturbed training.

Only processes that are killed are started. Everything else runs in the process of the tests.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import kills
import pytest
from conftest import Ended, last_weights

from siamese_lab import report
from siamese_lab.config.process import ORPHAN_GRACE
from siamese_lab.errors import ResourceError
from siamese_lab.sweep.lock import lock_sweep

pytestmark = pytest.mark.slow

SWEEP = (
    "-m",
    "experiment=study",
    "study_name=study",
    "data=digits",
    "seed=0",
    "sampler=random,semi_hard",
    "recipe.steps=60",
    "trainer.val_check_interval=5",
    "trainer.accelerator=cpu",
    "network.width=16",
    "threads=1",
    "logger=csv",
)
RUNS = ("random/seed=0", "semi_hard/seed=0")


@pytest.fixture(autouse=True)
def without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the data sets from all runs, as `command` does, because the tests compare choices."""
    monkeypatch.delenv("SIAMESE_LAB_DATA", raising=False)


def outcome(folder: Path) -> dict[str, dict]:
    """Return the results of each run, without measured times."""
    found = {}
    for run in RUNS:
        content = json.loads((folder / "study/digits" / run / "results.json").read_text())
        for timed in ("seconds", "seconds_of_history"):
            content.pop(timed)
        found[run] = content
    return found


def tables(study: Path) -> dict[str, str]:
    """Return the tables of a report, except those of seconds and core-hours."""
    written = (study / "tables").glob("*.csv")
    return {place.name: place.read_text() for place in written if not place.name.startswith(("seconds", "hardware"))}


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    until = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)


@pytest.mark.nightly
def test_a_killed_sweep_gives_the_undisturbed_results(
    command: Callable[..., Ended], call: Callable[..., Ended], tmp_path: Path
) -> None:
    assert command(*SWEEP).status == 0
    undisturbed = (tmp_path / "outputs").rename(tmp_path / "undisturbed")
    chance = random.Random(0)
    for run in RUNS:
        process = subprocess.Popen(
            [sys.executable, "-m", "siamese_lab.train", *SWEEP], cwd=tmp_path, stdout=subprocess.DEVNULL
        )
        wait_for((tmp_path / "outputs/study/digits" / run / "results.json").exists, process)
        time.sleep(chance.random() * 1.2)  # covers steps, validations and checkpoints
        with pytest.raises(ResourceError, match="Another sweep is using"):
            lock_sweep(tmp_path / "outputs/study")
        process.kill()
        process.wait()
    assert command(*SWEEP).status == 0

    assert outcome(tmp_path / "outputs") == outcome(undisturbed)
    for run in RUNS:
        expected = last_weights(undisturbed / "study/digits" / run)
        for name, tensor in last_weights(tmp_path / "outputs/study/digits" / run).items():
            assert tensor.equal(expected[name]), name
    for study in (undisturbed / "study", tmp_path / "outputs/study"):
        assert call(report, study).status == 0
    assert "recall_at_1.csv" in tables(undisturbed / "study")
    assert tables(tmp_path / "outputs/study") == tables(undisturbed / "study")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("outputs/study/digits/*/*/checkpoints/*")}
    assert command(*SWEEP).status == 0
    assert outcome(tmp_path / "outputs") == outcome(undisturbed)
    assert {path: path.stat().st_mtime_ns for path in written} == written, "no run is repeated"


def complete(kind: str, folder: Path, command: Callable[..., Ended]) -> None:
    """Start or continue the training of a kind in this process."""
    ended = command(*kills.command_line(kind, folder)[3:], at=folder)
    assert ended.status == 0, ended.err


@pytest.mark.parametrize("kind", ["single", pytest.param("two_processes", marks=pytest.mark.nightly)])
def test_a_killed_run_gives_the_undisturbed_results(kind: str, command: Callable[..., Ended], tmp_path: Path) -> None:
    """For more kills, run `python tests/sweep/kills.py --kills 100`."""
    expected, disturbed = kills.new_folder(tmp_path / "undisturbed"), kills.new_folder(tmp_path / "disturbed")
    complete(kind, expected, command)
    process = kills.started(kind, disturbed, str(tmp_path))
    wait_for((disturbed / "outputs/run/checkpoints/last.ckpt").exists, process)
    time.sleep(random.Random(kind).random() * 1.2)
    assert process.poll() is None, (disturbed / "output.txt").read_text()
    process.kill()
    assert kills.ended(process, str(tmp_path)), "the processes of a run end with their parent"
    left = json.loads((disturbed / "outputs/run/results.json").read_text())
    assert left["status"] == ("interrupted" if kind == "two_processes" else "running"), "only a process that is left"
    complete(kind, disturbed, command)
    assert kills.differences(expected, disturbed) == []


@pytest.mark.nightly
def test_a_killed_parallel_sweep_gives_the_undisturbed_results(
    command: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers end. A worker that has no parent would wait for a further run, or for a reader of its result."""
    monkeypatch.setattr(kills, "LONGEST", ORPHAN_GRACE + 100)  # an idle worker of joblib waits for 300 seconds
    expected, disturbed = kills.new_folder(tmp_path / "undisturbed"), kills.new_folder(tmp_path / "disturbed")
    complete("sweep", expected, command)
    for victim in ("main", "other"):
        killed = kills.kill_one("joblib", disturbed, f"{tmp_path} {victim}", random.Random(victim), victim)
        assert killed == f"{victim} process", (disturbed / "output.txt").read_text()
    complete("sweep", disturbed, command)
    assert kills.differences(expected, disturbed) == []
