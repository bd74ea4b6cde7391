"""What reaches the parts of a training step: how far training is, and gradients that are clipped where asked for."""

import csv
import math

import pytest
import torch
from conftest import compose, last_weights, quick_run

from siamese_lab.train import build_data, build_module


def test_the_sampler_knows_how_far_training_is(tmp_path):
    """Of six steps each second one is logged: after 1, 3 and 5 of them were done, with stages until 0.1, 0.7 and 1."""
    quick_run(tmp_path, "sampler=curriculum")
    with (tmp_path / "csv/metrics.csv").open(encoding="utf-8") as file:
        stages = [float(row["train/stage"]) for row in csv.DictReader(file) if row["train/stage"]]
    assert stages == [1, 1, 2]


@pytest.mark.parametrize("limit", [1e-3, 1e-5])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("fused", [True, False])
def test_gradients_are_clipped_to_the_norm_that_is_asked_for(limit, precision, fused, tmp_path):
    plain = ("optimizer=sgd", "optimizer.lr=1", "optimizer.momentum=0", "optimizer.nesterov=false")
    step = (*plain, "optimizer.weight_decay=0", f"optimizer.fused={fused}", "schedule=constant", "trainer.max_steps=1")
    quick_run(tmp_path, *step, f"trainer.precision={precision}", f"trainer.gradient_clip_val={limit}")
    config = compose()
    initial = dict(build_module(config, build_data(config)).named_parameters())
    moved = [last_weights(tmp_path)[name] - each.detach() for name, each in initial.items()]
    assert math.sqrt(sum(float(each.double().square().sum()) for each in moved)) == pytest.approx(limit, rel=0.02)
    assert all(torch.isfinite(each).all() for each in moved)
