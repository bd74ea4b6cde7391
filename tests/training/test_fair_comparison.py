"""For one seed, every strategy gets the same initial weights, batches and augmentation, bit by bit."""

import itertools

import pytest
import torch
from conftest import compose, quick_run
from shipped import choosing

from siamese_lab import samplers
from siamese_lab.batch import Batch
from siamese_lab.training.build import build_datamodule, build_module
from siamese_lab.training.module import SiameseModule

pytestmark = pytest.mark.slow

STEPS = 6
SHORT = (f"trainer.val_check_interval={STEPS}", "metrics.floors=false", "network.width=8")


def seen_by(strategy: str, tmp_path, monkeypatch: pytest.MonkeyPatch, seed: int = 0):
    """Return the initial weights and the augmented batches of a short training."""
    options = (*choosing(strategy), f"seed={seed}", *SHORT)
    config = compose(*options)
    weights = build_module(config, build_datamodule(config)).network.state_dict()
    batches: list[Batch] = []
    step = SiameseModule.training_step

    def watched(self: SiameseModule, batch: Batch, batch_idx: int) -> dict:
        batches.append(batch)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SiameseModule, "training_step", watched)
    quick_run(tmp_path / f"{strategy}{seed}", *options)
    monkeypatch.undo()
    return weights, batches


def test_strategies_start_equal_and_see_the_same(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [seen_by(strategy, tmp_path, monkeypatch) for strategy in samplers.available()]
    for (weights, batches), (other_weights, other_batches) in itertools.pairwise(seen):
        assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
        assert len(batches) == len(other_batches) == STEPS
        for batch, other in zip(batches, other_batches, strict=True):
            assert torch.equal(batch.images_BCHW, other.images_BCHW)
            assert torch.equal(batch.labels_B, other.labels_B)


def test_another_seed_differs_in_weights_and_batches(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, batches = seen_by("random", tmp_path, monkeypatch, seed=0)
    other_weights, other_batches = seen_by("random", tmp_path, monkeypatch, seed=1)
    assert not torch.equal(weights["embed.weight"], other_weights["embed.weight"])
    assert not torch.equal(batches[0].images_BCHW, other_batches[0].images_BCHW)
    assert not torch.equal(batches[0].labels_B, other_batches[0].labels_B)
