"""A training step passes the progress to the sampler, computes distances once, and clips gradients on request."""

import csv
import io
import math
import re
from pathlib import Path

import pytest
import torch
from conftest import QUICK, compose, last_weights, quick_run
from rich.console import Console
from shipped import LABEL_LOSSES

from siamese_lab import distances, losses
from siamese_lab.errors import UserError
from siamese_lab.losses.triplet import TripletLoss
from siamese_lab.training.build import build_datamodule, build_module
from siamese_lab.training.run import train
from siamese_lab.training.trainer import build_trainer, set_steps_of_epochs

NARROW = ("network.width=8", "metrics.floors=false")


@pytest.mark.slow
def test_the_sampler_gets_the_progress_of_training(tmp_path):
    """Every second of six steps is logged: after 1, 3 and 5 completed steps, with stages until 0.1, 0.7 and 1."""
    quick_run(tmp_path, "sampler=curriculum")
    with (tmp_path / "csv/metrics.csv").open(encoding="utf-8") as file:
        stages = [float(row["train/stage"]) for row in csv.DictReader(file) if row["train/stage"]]
    assert stages == [1, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1e-3, 1e-5])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("fused", [True, False])
def test_gradients_are_clipped_to_the_requested_norm(limit, precision, fused, tmp_path):
    plain = ("optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0", "optimizer.nesterov=false")
    step = (*plain, "optimizer.weight_decay=0", f"optimizer.fused={fused}", "schedule=constant", "trainer.max_steps=1")
    quick_run(tmp_path, *step, *NARROW, f"trainer.precision={precision}", f"trainer.gradient_clip_val={limit}")
    config = compose("network.width=8")
    initial = dict(build_module(config, build_datamodule(config)).named_parameters())
    moved = [last_weights(tmp_path)[name] - each.detach() for name, each in initial.items()]
    assert math.sqrt(sum(float(each.double().square().sum()) for each in moved)) == pytest.approx(limit, rel=0.02)
    assert all(torch.isfinite(each).all() for each in moved)


LOGGED = ("logger=tensorboard", "trainer.log_every_n_steps=1", "trainer.val_check_interval=3", *NARROW)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        *((f"loss={loss}",) for loss in losses.available() if loss not in LABEL_LOSSES),
        ("loss.distance=squared",),
        ("sampler=memory",),
        ("sampler=curriculum", "sampler.num_negatives=3"),
    ],
    ids=" ".join,
)
def test_distances_of_the_triplets_are_computed_once_a_step(parts, tmp_path, monkeypatch):
    """The loss computes the distances for curves, histograms and pictures; all six steps are logged."""
    computed, dot = [], distances.dot

    def counted(left, right):
        computed.append((left.shape, right.shape))
        return dot(left, right)

    monkeypatch.setattr(distances, "dot", counted)
    monkeypatch.setattr(distances, "pairwise", None)
    quick_run(tmp_path, *LOGGED, *parts)
    assert list(tmp_path.glob("events.out.tfevents.*"))
    assert len(computed) == 6 * 2  # of each anchor to its positive, and of each anchor to its negatives
    assert {right[1] for _, right in computed} == {1, 3 if "sampler.num_negatives=3" in parts else 1}


class ValueAlone(TripletLoss):
    """A triplet loss that reports no statistics."""

    def forward(self, selection, z_BD, labels_B=None):
        return losses.LossOutput(super().forward(selection, z_BD, labels_B).value)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["semi_hard", "memory", "all"])
def test_a_loss_that_reports_nothing_trains_the_same_and_shows_no_active_share(sampler, tmp_path, monkeypatch):
    monkeypatch.setitem(losses.registry.classes, "value_alone", ValueAlone)
    shown = {}
    for name in ("triplet", "value_alone"):
        (tmp_path / name).mkdir()
        overrides = [*QUICK, *LOGGED, f"sampler={sampler}", f"loss.name={name}"]
        console = Console(file=io.StringIO(), width=120)
        results = train(compose(*overrides), tmp_path / name, overrides, console)
        assert (results.status, results.steps) == ("finished", 6)
        shown[name] = [line for line in console.file.getvalue().splitlines() if line.startswith("step ")]
    assert all(re.search(r"loss [\d.]+  active \d+%  Recall@1", line) for line in shown["triplet"])
    assert [re.sub(r"active \d+%  ", "", line) for line in shown["triplet"]] == shown["value_alone"]
    assert len(shown["value_alone"]) == 2
    weights, expected = (last_weights(tmp_path / name) for name in ("value_alone", "triplet"))
    assert all(torch.equal(weights[name], each) for name, each in expected.items())


@pytest.mark.parametrize(("accumulated", "steps"), [(1, 36), (4, 10)])
def test_epochs_set_the_steps_and_the_schedule(accumulated: int, steps: int) -> None:
    """Two epochs have 18 batches each. Four batches make a step, and the last two of an epoch make another step."""
    config = compose("trainer.max_epochs=2", f"trainer.accumulate_grad_batches={accumulated}")
    set_steps_of_epochs(config, 18)
    assert (config.trainer.max_steps, config.schedule.steps) == (steps, steps)
    assert build_trainer(config.trainer, logger=False).max_steps == steps


@pytest.mark.slow
def test_a_run_of_epochs_ends_after_them_and_calls_the_users_callbacks(tmp_path: Path) -> None:
    stop = ("callbacks=early_stopping", "callbacks.early_stopping.patience=100")
    mine = "+callbacks.mine={_target_: lightning.pytorch.callbacks.Timer, duration: '00:01:00:00'}"
    overrides = ("trainer.accelerator=cpu", "trainer.max_epochs=1", *NARROW, *stop, mine)
    results = train(compose(*overrides), tmp_path, overrides, Console(quiet=True))
    batches = len(build_datamodule(compose()).batches)
    assert (results.status, results.steps) == ("finished", batches)
    stored = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    assert any(key.startswith("EarlyStopping") for key in stored)
    assert any(key.startswith("Timer") for key in stored)


def test_steps_that_epochs_would_replace_are_refused() -> None:
    overrides = ["trainer.max_epochs=2", "trainer.max_steps=30"]
    with pytest.raises(UserError, match=r"max_epochs=2 decides.*max_steps=30 would have no effect.*max_epochs=null"):
        set_steps_of_epochs(compose(*overrides), 18, overrides)
    set_steps_of_epochs(compose(*overrides), 18, overrides[::-1])
    counted = compose("experiment=benchmark", "data=cub200", "trainer.max_epochs=null", "trainer.max_steps=30")
    set_steps_of_epochs(counted, 18, ["trainer.max_epochs=null", "trainer.max_steps=30"])
    assert counted.trainer.max_steps == 30


def test_a_run_needs_at_least_one_epoch() -> None:
    with pytest.raises(UserError, match=r"trainer\.max_epochs.*at least 1.*0"):
        set_steps_of_epochs(compose("trainer.max_epochs=0"), 18)
