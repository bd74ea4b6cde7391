"""A sweep that is killed at any moment and started again gives the results of an undisturbed sweep."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import kills
import pytest
from conftest import last_weights

from siamese_lab.config.process import ORPHAN_GRACE

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
    "logger=csv",
)
KILLS = 4
RUNS = ("random/seed=0", "semi_hard/seed=0")


def started(folder: Path, *further: str) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "siamese_lab.train", *SWEEP, *further]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(folder: Path) -> dict[str, dict]:
    """Return the results of each run, without measured times."""
    found = {}
    for run in RUNS:
        content = json.loads((folder / "outputs/study/digits" / run / "results.json").read_text())
        for timed in ("seconds", "seconds_of_history"):
            content.pop(timed)
        found[run] = content
    return found


def tables(folder: Path) -> dict[str, str]:
    """Return the tables of the sweep's report, except those of seconds."""
    subprocess.run(
        [sys.executable, "-m", "siamese_lab.report", "outputs/study"], cwd=folder, check=True, capture_output=True
    )
    written = (folder / "outputs/study/tables").glob("*.csv")
    return {place.name: place.read_text() for place in written if not place.name.startswith("seconds")}


def wait_for_change(place: Path, process: subprocess.Popen) -> None:
    """Wait until the sweep has written the file again."""

    def written() -> float:
        return place.stat().st_mtime if place.exists() else 0.0

    before, until = written(), time.monotonic() + 120
    while written() == before and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = started(folder)
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out
    return folder


def test_a_sweep_killed_four_times_gives_the_undisturbed_results(undisturbed: Path, tmp_path: Path) -> None:
    chance = random.Random(0)
    for kill in range(KILLS):
        process = started(tmp_path)
        run = tmp_path / "outputs/study/digits" / RUNS[0 if kill < KILLS // 2 else 1]
        wait_for_change(run / "results.json", process)
        time.sleep(chance.random() * 0.6)  # covers steps, validations and checkpoints
        process.kill()
        process.wait()
    process = started(tmp_path)
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out

    assert outcome(tmp_path) == outcome(undisturbed)
    for run in RUNS:
        expected = last_weights(undisturbed / "outputs/study/digits" / run)
        for name, tensor in last_weights(tmp_path / "outputs/study/digits" / run).items():
            assert tensor.equal(expected[name]), name
    expected_tables = tables(undisturbed)
    assert "recall_at_1.csv" in expected_tables
    assert tables(tmp_path) == expected_tables
    again = started(tmp_path)
    out, _ = again.communicate(timeout=400)
    assert again.returncode == 0
    assert outcome(tmp_path) == outcome(undisturbed), "no run is repeated"


@pytest.mark.parametrize("kind", ["single", "two_processes", "joblib"])
def test_a_killed_process_of_any_kind_of_training_changes_nothing(kind: str) -> None:
    """Set SIAMESE_LAB_KILLS_EACH for more kills, or run `python tests/sweep/kills.py --kills 100`."""
    assert kills.faults(kind, int(os.environ.get("SIAMESE_LAB_KILLS_EACH", "1"))) == []


def test_the_workers_of_a_killed_parallel_sweep_end(tmp_path: Path) -> None:
    """A worker that has no parent would wait for a further run, or for a reader of its result."""
    (tmp_path / "tmp").mkdir()
    process = kills.started("joblib", tmp_path, str(tmp_path))
    wait_for_change(tmp_path / "outputs/study/digits/random/seed=0/results.json", process)
    process.kill()
    process.wait()
    until = time.monotonic() + ORPHAN_GRACE + 20
    while kills.processes_of(str(tmp_path)) and time.monotonic() < until:
        time.sleep(0.1)
    assert kills.processes_of(str(tmp_path)) == []


def test_two_sweeps_in_one_folder_are_refused(tmp_path: Path) -> None:
    first = started(tmp_path, "recipe.steps=5000")
    wait_for_change(tmp_path / "outputs/study/digits/random/seed=0/results.json", first)
    second = started(tmp_path, "recipe.steps=5000")
    out, _ = second.communicate(timeout=200)
    first.kill()
    first.wait()
    assert second.returncode == 2
    assert "Another sweep is using outputs/study. Wait until it has ended" in out
