"""A run that SLURM stops and requeues ends with the figures, the course and the weights of an undisturbed run."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Ended, compose, last_weights
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from siamese_lab.training.module import SiameseModule
from siamese_lab.training.run import train

pytestmark = pytest.mark.slow

OVERRIDES = (
    "data=digits",
    "network=mlp",
    "threads=1",
    "trainer.accelerator=cpu",
    "trainer.max_steps=12",
    "trainer.val_check_interval=4",
    "trainer.log_every_n_steps=1",
    "report_checkpoint=best",
    "metrics.floors=false",
    "ema=0.9",
)
SLURM = {
    "SLURM_NTASKS": "1",
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "train",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "n1",
}
CLOCK = {"seconds", "seconds_of_history", "choices"}
"""Fields that depend on the clock, or name the folder."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    train(compose(*OVERRIDES), folder, OVERRIDES, Console(quiet=True))
    return folder


@pytest.fixture(autouse=True)
def slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)


def record(folder: Path) -> Mapping[str, Any]:
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return {name: value for name, value in content.items() if name not in CLOCK}


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Read each file by itself: names of files that a process opens within one second do not sort by their age."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.*"), key=lambda path: path.stat().st_mtime_ns):
        events = EventAccumulator(str(path)).Reload()
        for name in events.Tags()["scalars"]:
            if not name.endswith("_ms"):
                found.setdefault(name, []).extend((event.step, event.value) for event in events.Scalars(name))
    return found


def interrupt(number: signal.Signals, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    training_step = SiameseModule.training_step

    def then_signal(self: SiameseModule, batch: Any, batch_idx: int) -> dict[str, Any]:
        if self.global_step + 1 == step:
            os.kill(os.getpid(), number)
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(SiameseModule, "training_step", then_signal)


@pytest.mark.parametrize("step", [3, 8])  # between two validations, and at one
def test_a_requeued_run_equals_an_undisturbed_one(
    step: int, undisturbed: Path, command: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    arguments = [*OVERRIDES, f"hydra.run.dir={folder}"]
    with monkeypatch.context() as patch:
        interrupt(signal.SIGUSR1, step, patch)
        assert command(*arguments).status == 128 + signal.SIGUSR1
    assert record(folder)["status"] == "interrupted"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    ended = command(*arguments)
    assert ended.status == 0, ended.err
    assert f"SLURM has requeued this job: resuming {Path('run/checkpoints/last.ckpt')}" in ended.out
    assert record(folder) == record(undisturbed)
    assert curves(folder) == curves(undisturbed)
    weights = last_weights(folder)
    assert all(torch.equal(weights[name], tensor) for name, tensor in last_weights(undisturbed).items())

    before = (folder / "results.json").read_bytes()
    again = command(*arguments)  # requeued once more
    assert (again.status, "The run of this requeued job has finished" in again.out) == (0, True)
    assert (folder / "results.json").read_bytes() == before


def test_figures_are_not_those_of_a_checkpoint_that_nobody_named(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning loads hpc_ckpt_* in every fit, validate and test that names no checkpoint, within a SLURM job."""
    training_step = SiameseModule.training_step

    def leave_a_file(self: SiameseModule, batch: Any, batch_idx: int) -> dict[str, Any]:
        if self.global_step == 6:
            shutil.copy(tmp_path / "checkpoints/last.ckpt", tmp_path / "hpc_ckpt_1.ckpt")
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(SiameseModule, "training_step", leave_a_file)
    train(compose(*OVERRIDES), tmp_path, OVERRIDES, Console(quiet=True))
    assert (tmp_path / "hpc_ckpt_1.ckpt").is_file()
    assert record(tmp_path) == record(undisturbed)


def test_a_new_run_does_not_start_from_such_a_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copy(undisturbed / "checkpoints/last.ckpt", tmp_path / "hpc_ckpt_3.ckpt")
    with pytest.raises(ValueError, match=r"hpc_ckpt_3\.ckpt, from which Lightning would start .* hydra\.run\.dir"):
        train(compose(*OVERRIDES), tmp_path, OVERRIDES, Console(quiet=True))
    assert not (tmp_path / "results.json").exists()


def test_the_csv_file_keeps_its_rows(tmp_path: Path, command: Callable[..., Ended], monkeypatch) -> None:
    rows = {}
    for name in ("whole", "parts"):
        arguments = [*OVERRIDES, "logger=csv", f"hydra.run.dir={tmp_path / name}"]
        if name == "parts":
            with monkeypatch.context() as patch:
                interrupt(signal.SIGUSR1, 6, patch)
                assert command(*arguments).status == 128 + signal.SIGUSR1
            monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        ended = command(*arguments)
        assert (ended.status, "deleted" in ended.err) == (0, False)
        with (tmp_path / name / "csv/metrics.csv").open(encoding="utf-8") as file:
            rows[name] = [
                {key: float(value) for key, value in row.items() if value and key != "train/mining_ms"}
                for row in csv.DictReader(file)
            ]
    assert rows["parts"] == rows["whole"]
    assert not list(tmp_path.rglob("earlier_*"))
