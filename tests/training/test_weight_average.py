"""The average of the weights follows its recurrence, is evaluated and kept, and does not change training."""

import copy
import signal

import pytest
import torch
from conftest import QUICK, compose, last_weights, quick_run
from rich.console import Console
from test_resume import interrupt_after

from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.errors import Interrupted
from siamese_lab.training.callbacks import WeightAverage
from siamese_lab.training.callbacks.weight_average import TRAINED_ON
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.run import train

pytestmark = pytest.mark.slow

SILENT = Console(quiet=True)
DECAY = 0.5


def checkpoint_of(folder, name="last"):
    return torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)


def network_state(module):
    return {name: each.clone() for name, each in copy.deepcopy(module.network.state_dict()).items()}


@pytest.fixture
def seen(monkeypatch):
    """Return the network's state before each training step, and during validation."""
    states = {"training": [], "validation": []}
    for stage in states:
        step = getattr(SiameseModule, f"{stage}_step")

        def watched(self, batch, batch_idx, step=step, stage=stage):
            if self.trainer.state.fn == "fit" and (batch_idx == 0 or stage == "training"):
                states[stage].append(network_state(self))
            return step(self, batch, batch_idx)

        monkeypatch.setattr(SiameseModule, f"{stage}_step", watched)
    return states


def test_the_average_follows_the_recurrence_and_is_validated(seen, tmp_path):
    quick_run(tmp_path, f"ema={DECAY}", "trainer.val_check_interval=6", "network.dropout=0.0")
    left = checkpoint_of(tmp_path)
    initial, *after = [*seen["training"], left[TRAINED_ON]["weights"]]
    average = {name: each.double() for name, each in initial.items()}
    for n, state in enumerate(after):
        decay = min(DECAY, (1 + n) / (10 + n))
        for name, each in state.items():
            average[name] = decay * average[name] + (1 - decay) * each if each.is_floating_point() else each.double()
    (validated,) = seen["validation"]
    for name, expected in average.items():
        torch.testing.assert_close(validated[name].double(), expected, atol=1e-6, rtol=1e-5)
        assert torch.equal(left["state_dict"][f"network.{name}"], validated[name]), name


def test_the_average_does_not_change_training(tmp_path):
    for name, ema in (("with", str(DECAY)), ("without", "null")):
        quick_run(tmp_path / name, f"ema={ema}", "trainer.val_check_interval=2")
    weights = checkpoint_of(tmp_path / "with")[TRAINED_ON]["weights"]
    plain = last_weights(tmp_path / "without")
    assert all(torch.equal(weights[name.removeprefix("network.")], each) for name, each in plain.items())
    averaged = last_weights(tmp_path / "with")
    assert any(not torch.equal(averaged[name], each) for name, each in plain.items())


def test_the_reported_figures_belong_to_the_average(seen, tmp_path):
    results = quick_run(tmp_path, f"ema={DECAY}", "trainer.val_check_interval=3", "report_checkpoint=best")
    assert results.tested_step in (3, 6)
    best = checkpoint_of(tmp_path, "best")["state_dict"]
    validated = seen["validation"][results.tested_step // 3 - 1]
    assert all(torch.equal(best[f"network.{name}"], each) for name, each in validated.items())


@pytest.mark.parametrize("step", [4, 5])  # before a validation, and at one, where the network has averaged weights
def test_resumed_equals_uninterrupted(step, tmp_path, monkeypatch):
    overrides = [
        *QUICK,
        "ema=0.9",
        "loss=margin",
        "network.dropout=0.2",
        "trainer.max_steps=10",
        "trainer.val_check_interval=5",
        "network.width=8",
        "metrics.floors=false",
    ]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    uninterrupted = train(compose(*overrides), whole, overrides, SILENT)
    with monkeypatch.context() as patch:
        interrupt_after(step, signal.SIGINT, patch)
        with pytest.raises(Interrupted):
            train(compose(*overrides), parts, overrides, SILENT)
    said = with_resumed_overrides([f"resume={parts / 'checkpoints/last.ckpt'}"])
    resumed = train(compose(*[each for each in said if not each.startswith("hydra.")]), parts, said, SILENT)
    one, other = checkpoint_of(whole), checkpoint_of(parts)
    for name, each in one["state_dict"].items():
        assert not isinstance(each, torch.Tensor) or torch.equal(each, other["state_dict"][name]), name
    for name, each in one[TRAINED_ON]["weights"].items():
        assert torch.equal(each, other[TRAINED_ON]["weights"][name]), name
    assert one[TRAINED_ON]["steps"] == other[TRAINED_ON]["steps"] == 10
    assert (resumed.test, resumed.validation, resumed.tested_step) == (
        uninterrupted.test,
        uninterrupted.validation,
        uninterrupted.tested_step,
    )


def test_a_run_without_average_can_be_resumed_with_one(tmp_path):
    quick_run(tmp_path / "plain")
    start = last_weights(tmp_path / "plain")
    further = [f"resume={tmp_path / 'plain/checkpoints/last.ckpt'}", "ema=0.999", "trainer.max_steps=7"]
    quick_run(tmp_path / "further", *further)
    left = checkpoint_of(tmp_path / "further")
    for name, each in start.items():
        expected = each if not each.is_floating_point() else 0.1 * each + 0.9 * left[TRAINED_ON]["weights"][name[8:]]
        if each.is_floating_point():
            torch.testing.assert_close(left["state_dict"][name], expected)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5])
def test_a_decay_outside_of_its_range_is_refused(decay):
    with pytest.raises(ValueError, match=rf"above 0 and below 1, or null.*is {decay}\."):
        WeightAverage(decay)
