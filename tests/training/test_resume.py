"""An interrupted and resumed run ends with the weights of an uninterrupted run."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from conftest import QUICK, compose, last_weights
from rich.console import Console
from shipped import choosing

from siamese_lab import samplers
from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.errors import Interrupted
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.run import train

pytestmark = pytest.mark.slow

SILENT = Console(quiet=True)


def interrupt_after(step: int, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    training_step = SiameseModule.training_step

    def then_signal(self: SiameseModule, batch, batch_idx: int) -> dict:
        if self.global_step + 1 == step:
            os.kill(os.getpid(), number)
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(SiameseModule, "training_step", then_signal)


def state_of(folder: Path) -> dict:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    ("strategy", "step", "steps"),
    [
        *((strategy, 4, 10) for strategy in samplers.available()),  # before a validation
        ("memory", 5, 10),  # at a validation
        ("memory", 20, 25),  # in the second epoch
    ],
)
def test_resumed_equals_uninterrupted(
    strategy: str, step: int, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = (f"trainer.max_steps={steps}", "trainer.val_check_interval=5", "network.width=8", "metrics.floors=false")
    overrides = [*QUICK, *short, *choosing(strategy)]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    uninterrupted = train(compose(*overrides), whole, overrides, SILENT)

    with monkeypatch.context() as patch:
        interrupt_after(step, signal.SIGINT, patch)
        with pytest.raises(Interrupted):
            train(compose(*overrides), parts, overrides, SILENT)
    left = json.loads((parts / "results.json").read_text())
    assert (left["status"], left["steps"]) == ("interrupted", step)

    said = with_resumed_overrides([f"resume={parts / 'checkpoints/last.ckpt'}"])
    assert with_resumed_overrides([f"resume={parts}"]) == said, "the folder of a run stands for its last checkpoint"
    resumed = train(compose(*[each for each in said if not each.startswith("hydra.")]), parts, said, SILENT)

    resumed_weights = last_weights(parts)
    for name, tensor in last_weights(whole).items():
        assert torch.equal(tensor, resumed_weights[name]), name
    one, other = state_of(whole), state_of(parts)
    for moments, others in zip(
        one["optimizer_states"][0]["state"].values(), other["optimizer_states"][0]["state"].values(), strict=True
    ):
        assert all(torch.equal(moments[name], others[name]) for name in moments)
    assert one["lr_schedulers"] == other["lr_schedulers"]
    assert (resumed.test, resumed.validation, resumed.tested_step) == (
        uninterrupted.test,
        uninterrupted.validation,
        uninterrupted.tested_step,
    )
    assert resumed.steps == steps
    assert json.loads((parts / "results.json").read_text())["status"] == "finished"


def test_previous_signal_handlers_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    interrupt_after(2, signal.SIGTERM, monkeypatch)
    with pytest.raises(Interrupted, match="Interrupted by SIGTERM"):
        train(compose(*QUICK), tmp_path, QUICK, SILENT)
    assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))


def test_new_overrides_win_over_those_of_the_checkpoint(tmp_path: Path) -> None:
    overrides = [*QUICK, "sampler=hard", "seed=5"]
    train(compose(*overrides), tmp_path, overrides, SILENT)
    checkpoint = tmp_path / "checkpoints/last.ckpt"
    said = with_resumed_overrides([f"resume={checkpoint}", "trainer.max_steps=12"])
    config = compose(*[each for each in said if not each.startswith("hydra.")])
    assert (config.sampler.name, config.seed, config.trainer.max_steps) == ("hard", 5, 12)
    assert config.resume == str(checkpoint)
    assert f"hydra.run.dir='{tmp_path}'" in said


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="was not written by a run of siamese_lab"):
        with_resumed_overrides([f"resume={tmp_path / 'other.ckpt'}"])
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(ValueError, match="is not a readable checkpoint"):
        with_resumed_overrides([f"resume={tmp_path / 'text.ckpt'}"])
    with pytest.raises(ValueError, match="There is no checkpoint"):
        with_resumed_overrides([f"resume={tmp_path / 'none.ckpt'}"])
