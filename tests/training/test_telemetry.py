"""Measurements at fixed points of training agree with plain loops, and a collapse is warned about and recorded."""

import io
import json
import math

import pytest
import torch
from conftest import QUICK, compose, quick_run
from rich.console import Console

from siamese_lab import losses, samplers
from siamese_lab.batch import Selection, Triplets
from siamese_lab.metrics.health import Spread
from siamese_lab.runs import results
from siamese_lab.samplers.statistics import pick_overlap
from siamese_lab.training.callbacks.collapse import collapse_reasons
from siamese_lab.training.callbacks.telemetry import BATCHES, GradientSums, first_steps, flat_gradient
from siamese_lab.training.run import train


def embedded(classes):
    """Return loose clusters of unit vectors, four of each class, and their labels."""
    generator = torch.Generator().manual_seed(0)
    labels_B = torch.arange(classes).repeat_interleave(4)
    centers_CD = torch.randn(classes, 8, generator=generator)
    noise_BD = torch.randn(len(labels_B), 8, generator=generator)
    return torch.nn.functional.normalize(centers_CD[labels_B] + noise_BD, dim=1), labels_B


def sums_of(gradients):
    sums = GradientSums(torch.zeros(gradients.shape[1]), torch.zeros(()), 0)
    for gradient_W in gradients:
        sums = sums.plus(gradient_W)
    return sums


def test_norm_and_signal_to_noise_agree_with_the_loops():
    gradients = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) + 0.5
    rows = gradients.double().tolist()
    mean = [sum(column) / 5 for column in zip(*rows, strict=True)]
    squares = [sum(x * x for x in row) for row in rows]
    variance = sum(sum((x - m) ** 2 for x, m in zip(row, mean, strict=True)) for row in rows) / 4
    signal = sum(m * m for m in mean) - variance / 5
    found = sums_of(gradients)
    assert found.norm() == pytest.approx(math.sqrt(sum(squares) / 5), rel=1e-5)
    assert found.signal_to_noise() == pytest.approx(signal / variance, rel=1e-4)


def test_the_estimate_of_signal_to_noise_is_right_on_average():
    """A mean gradient of squared norm 4 with a variance of 40 has a ratio of 0.1."""
    generator = torch.Generator().manual_seed(1)
    ratios = [
        sums_of(torch.randn(40, 40, generator=generator) + math.sqrt(4 / 40)).signal_to_noise() for _ in range(200)
    ]
    assert sum(ratios) / 200 == pytest.approx(0.1, abs=0.01)


def test_degenerate_gradients_have_no_ratio():
    assert sums_of(torch.ones(1, 3)).signal_to_noise() is None
    assert sums_of(torch.ones(4, 3)).signal_to_noise() is None
    assert sums_of(torch.tensor([[1.0], [-1.0]])).signal_to_noise() == 0


def test_weights_without_gradient_count_as_0():
    network = torch.nn.Linear(2, 1)
    network.weight.grad = torch.tensor([[1.0, 2.0]])
    assert flat_gradient(network).tolist() == [1, 2, 0]


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 30, 1000])
def test_measurements_lie_within_the_training(steps):
    begins = first_steps(steps)
    assert begins[0] == 0
    assert max(begins) + BATCHES == max(steps, BATCHES)


@pytest.mark.parametrize("negatives", [1, 3])
def test_the_overlap_of_picks_agrees_with_the_loops(negatives):
    z_BD, labels_B = embedded(5)
    one, other = (
        samplers.build(name, num_negatives=number).mine(z_BD, labels_B).listed()
        for name, number in (("hard", negatives), ("distance_weighted", 1))
    )
    picked = list(zip(one.negative_TM.tolist(), other.negative_TM.flatten().tolist(), strict=True))
    expected = sum(negative in own for own, negative in picked) / len(picked)
    assert float(pick_overlap(one, other)) == pytest.approx(expected)
    assert float(pick_overlap(one, one)) > 1 / negatives - 1e-6
    assert float(pick_overlap(other, other)) == 1


def test_other_pairs_have_no_overlap():
    z_BD, labels_B = embedded(4)
    hard, batch_hard = (samplers.build(name).mine(z_BD, labels_B).listed() for name in ("hard", "batch_hard"))
    assert pick_overlap(hard, batch_hard) is None
    none = Triplets(*torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, 1, dtype=torch.long))
    assert pick_overlap(none, none) is None


@pytest.mark.parametrize(
    ("embeddings", "loss", "equal", "number"),
    [
        (Spread(1.0, 9.0), 0.15, 0.2, 0),
        (Spread(0.01, 9.0), 0.15, 0.2, 1),
        (Spread(0.01, 1.1), 0.15, 0.2, 2),
        (Spread(1.0, 9.0), 0.2039, 0.2, 1),
        (Spread(1.0, 9.0), 0.1961, 0.2, 1),
        (Spread(1.0, 9.0), 0.2041, 0.2, 0),
        (Spread(1.0, 9.0), 0.2, None, 0),
        (None, None, 0.2, 0),
    ],
)
def test_the_signs_of_a_collapse(embeddings, loss, equal, number):
    assert len(collapse_reasons(embeddings, loss, equal)) == number


@pytest.mark.parametrize(("options", "value"), [({}, 0.2), ({"margin": 0.5}, 0.5), ({"soft": True}, math.log(2))])
def test_the_loss_of_equal_distances_is_that_of_a_collapsed_batch(options, value):
    loss, same_BD = losses.build("triplet", **options), torch.nn.functional.normalize(torch.ones(3, 4), dim=1)
    triplets = Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[2]]))
    assert loss.equal_distance_value == pytest.approx(value)
    assert float(loss(Selection(triplets, same_BD), same_BD).value) == pytest.approx(value)


@pytest.mark.slow
def test_a_run_records_measurements_that_the_seed_decides(tmp_path):
    short = ("trainer.max_steps=20", "trainer.val_check_interval=20", "network.width=8", "metrics.floors=false")
    left = quick_run(tmp_path / "one", "sampler=semi_hard", *short, "logger=csv")
    again = quick_run(tmp_path / "two", "sampler=semi_hard", *short)
    assert left.telemetry == again.telemetry
    steps = [point["step"] for point in left.telemetry]
    assert steps == sorted(steps) and steps[0] == BATCHES and steps[-1] == 20
    for point in left.telemetry:
        assert point["gradient_norm"] > 0
        assert 0 < point["mean_distance"] < 2
        assert 1 <= point["effective_rank"] <= 128
        assert 0 <= point["overlap_hard"] <= 1
    assert results.read_results(tmp_path / "one").telemetry == left.telemetry
    assert "trace/gradient_norm" in (tmp_path / "one/csv/metrics.csv").read_text()


@pytest.mark.slow
def test_a_collapsed_run_warns_once_with_the_cures_and_says_so_in_its_results(tmp_path):
    shown = io.StringIO()
    options = [*QUICK, "sampler=hard", "data.label_noise=0.2", "optimizer.lr=0.01", "trainer.max_steps=80"]
    options += ["metrics.floors=false"]
    left = train(compose(*options), tmp_path, options, Console(file=shown, width=1000))
    assert left.collapsed is True
    assert left.embedding["mean_distance"] < 0.05 or left.embedding["effective_rank"] < 2
    assert left.collapse_reasons
    assert shown.getvalue().count("the embeddings have collapsed") == 1
    assert "network.batch_norm=true" in shown.getvalue()
    stored = json.loads((tmp_path / "results.json").read_text())
    assert (stored["collapsed"], stored["collapse_reasons"]) == (True, left.collapse_reasons)


@pytest.mark.slow
def test_a_healthy_run_warns_of_nothing(tmp_path):
    shown = io.StringIO()
    options = [*QUICK, "sampler=random", "network.batch_norm=true", "trainer.max_steps=40"]
    options += ["metrics.floors=false"]
    left = train(compose(*options), tmp_path, options, Console(file=shown, width=1000))
    assert (left.collapsed, left.collapse_reasons) == (False, [])
    assert "collapsed" not in shown.getvalue()
