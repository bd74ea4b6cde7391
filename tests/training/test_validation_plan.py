"""Validation costs little of a run: fewer of them in short runs, a sample of large sets, views only at the end."""

from pathlib import Path

import pytest
import torch
from conftest import compose, quick_run
from torch import Tensor

from siamese_lab.data import build
from siamese_lab.networks import SiameseNetwork
from siamese_lab.training.build import build_module
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.validation_plan import number_of_validations, plan_validations, without_views


@pytest.mark.parametrize(
    ("trained", "validated", "number"),
    [(200_000, 1000, 10), (100_000, 1000, 10), (99_999, 1000, 9), (50_000, 1000, 5), (1000, 1000, 4)],
)
def test_ten_images_train_for_each_validated_image_or_there_are_four_validations(trained, validated, number) -> None:
    assert number_of_validations(trained, validated) == number


def test_a_plan_counts_all_images_of_all_batches() -> None:
    """48 images in a batch, 214 images that validate."""
    config = compose("trainer.max_steps=150", "trainer.accumulate_grad_batches=2", "network.tta=[mirrored]")
    plan = plan_validations(config, build(**config.data))
    assert plan.number == 150 * 2 * 48 // (10 * 214)
    assert plan.recorded() == {"images": 214, "of": 214, "views_at_end": ["mirrored"]}
    assert plan.described() == "mirrored (network.tta) only at the end"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Return a list that gets the loop, the images and the views of every validated or tested batch."""
    counted: list[tuple[str, int, int]] = []

    def directions(module: SiameseModule, batch) -> Tensor:
        counted.append((module.trainer.state.fn.value, len(batch.labels_B), len(module.network.tta)))
        return module.network.unit_vectors(module.network(batch.images_BCHW))

    monkeypatch.setattr(SiameseModule, "_directions", directions)
    return counted


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_weights_that_were_validated_in_training_are_not_validated_again(checkpoint, passes, tmp_path: Path) -> None:
    results = quick_run(
        tmp_path, "trainer.val_check_interval=2", f"report_checkpoint={checkpoint}", "logger=tensorboard"
    )
    assert [loop for loop, *_ in passes].count("validate") == 0
    (point,) = (point for point in results.history if point.step == results.tested_step)
    assert results.validation == point.validation
    assert (tmp_path / "projector/embeddings.tsv").exists(), "also without a validation at the end"


@pytest.mark.slow
def test_views_are_used_at_the_end_and_in_the_test_only(passes, tmp_path: Path) -> None:
    results = quick_run(tmp_path, "network.tta=[mirrored]", "trainer.val_check_interval=3", "metrics.floors=false")
    assert passes == [("fit", 214, 0)] * 2 + [("validate", 214, 1), ("test", 512, 1), ("test", 202, 1)]
    assert results.validated == {"images": 214, "of": 214, "views_at_end": ["mirrored"]}
    assert results.validation != results.history[-1].validation


@pytest.mark.slow
def test_the_last_weights_and_their_test_do_not_depend_on_validation(tmp_path: Path) -> None:
    some, every = (
        quick_run(tmp_path / str(images), f"data.validation_images={images}", "trainer.precision=32-true")
        for images in (60, "null")
    )
    assert (some.validated["images"], every.validated["images"]) == (60, 214)
    assert some.test == every.test
    assert some.validation != every.validation


def test_the_network_has_its_views_again_after_an_error() -> None:
    config = compose("network.tta=[mirrored]")
    network: SiameseNetwork = build_module(config, build(**config.data)).network
    with pytest.raises(ZeroDivisionError), without_views(network):
        assert network.tta == []
        raise ZeroDivisionError
    assert network.tta == ["mirrored"]
    images_BCHW = torch.rand(2, 1, 16, 16)
    network.eval()
    with without_views(network):
        plain_BD = network(images_BCHW)
    assert not torch.equal(plain_BD, network(images_BCHW))
