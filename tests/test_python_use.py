"""The lab in Python: objects print, and wrong inputs are one sentence instead of a traceback from a library."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from shipped import LOSSES, NETWORKS, SAMPLERS
from torch import Tensor, nn

from siamese_lab import data, losses, networks, samplers
from siamese_lab.config.schema import compose, to_plain
from siamese_lab.errors import UserError
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.networks import Backbone, SiameseNetwork
from siamese_lab.runs.tuned import Trial, Tuned
from siamese_lab.training.run import train

LABELS_B = torch.tensor([0, 0, 1, 1])
Z_BD = F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)


# --- printing


def test_a_data_set_prints_its_batches_and_after_loading_its_parts() -> None:
    digits = data.build("digits", classes_per_batch=6)
    assert str(digits) == repr(digits) == "Digits(6 classes × 4 images per batch, not loaded)"
    digits.setup("fit")
    assert "train: " in str(digits) and "images of 6 classes" in repr(digits)


@pytest.mark.parametrize("name", data.available())
def test_every_data_set_prints_before_setup(name: str) -> None:
    assert "not loaded" in str(data.build(name))


def built(name: str) -> losses.Loss:
    """Build a loss with the sizes that a run passes."""
    return losses.build(name, classes=2, dimensions=8)


def test_every_part_prints() -> None:
    for part in (*map(samplers.build, SAMPLERS), *map(built, LOSSES), RetrievalMetrics()):
        assert type(part).__name__ in repr(part)
    for name in NETWORKS:
        assert "embed" in repr(networks.build(name, channels=1, image_size=32))


# --- wrong inputs

BATCHES: list[tuple[Any, Any, str]] = [
    (Z_BD.tolist(), LABELS_B, "embeddings as a torch.Tensor, but got list"),
    (Z_BD.numpy(), LABELS_B, "embeddings as a torch.Tensor, but got ndarray"),
    (Z_BD, LABELS_B.tolist(), "labels as a torch.Tensor, but got list"),
    (Z_BD, LABELS_B[:, None], r"labels of shape \(B,\), but got \(4, 8\) and \(4, 1\)"),
    (Z_BD[:0], LABELS_B[:0], "empty batch"),
    (Z_BD[:1], LABELS_B[:1], "of one class"),
    (Z_BD.to(torch.complex64), LABELS_B, "floating type, but got torch.complex64"),
    (Z_BD, LABELS_B.float(), "labels must be integers"),
    (3 * Z_BD, LABELS_B, "norm 1, but that of image"),
]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(("z_BD", "labels_B", "message"), BATCHES, ids=[message for *_, message in BATCHES])
def test_a_sampler_refuses_what_is_no_batch(name: str, z_BD: Any, labels_B: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        samplers.build(name).mine(z_BD, labels_B)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("z_BD", "message"),
    [
        (Z_BD[:, 0], r"shape \(B, D\), but got torch.float32 \(4,\)"),
        (Z_BD.long(), r"floating type .* got torch.int64"),
        (Z_BD.numpy(), "but got ndarray"),
        (Z_BD[:, :5], r"candidates of shape \(4, 8\), but the embeddings have shape \(4, 5\)"),
        (torch.cat([Z_BD, Z_BD]), r"candidates of shape \(4, 8\), but the embeddings have shape \(8, 8\)"),
    ],
)
def test_a_loss_refuses_embeddings_that_are_not_those_of_the_selection(name: str, z_BD: Any, message: str) -> None:
    selection = samplers.build("hard").mine(Z_BD, LABELS_B)
    with pytest.raises(ValueError, match=message):
        built(name)(selection, z_BD, LABELS_B)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_refuses_triplets_without_their_selection(name: str) -> None:
    with pytest.raises(ValueError, match=r"the Selection of Sampler.mine, but got Triplets"):
        built(name)(samplers.build("hard")(Z_BD, LABELS_B), Z_BD)


def test_a_boundary_per_class_refuses_labels_that_are_no_classes() -> None:
    selection = samplers.build("hard").mine(Z_BD, LABELS_B)
    with pytest.raises(ValueError, match=r"labels must be integers \(B,\), but are torch.float32 \(4,\)"):
        losses.build("margin", beta_per_class=True, classes=2)(selection, Z_BD, LABELS_B.float())


@pytest.mark.parametrize(
    "images_BCHW", [torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(1, 28, 28), torch.zeros(28, 28)]
)
def test_a_network_refuses_images_of_another_form(images_BCHW: Tensor) -> None:
    network = networks.build("conv4", channels=1, image_size=28)
    with pytest.raises(ValueError, match=r"shape \(B, C, H, W\) as floats in 0…1, but got torch\.(uint8|float32) \("):
        network(images_BCHW)


class Flat(Backbone):
    """A user's backbone, which states its number of features."""

    def __init__(self, features: Any) -> None:
        super().__init__()
        self.features = features
        self.flatten = nn.Flatten()

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.flatten(images_BCHW)


def test_a_wrong_number_of_features_is_named_with_the_right_one() -> None:
    with pytest.raises(UserError, match=r"Flat says features=10, but it returned features of shape \(2, 16\)"):
        SiameseNetwork(Flat(10))(torch.zeros(2, 1, 4, 4))
    with pytest.raises(UserError, match=r"built for"):
        networks.build("conv4", channels=1, image_size=28)(torch.zeros(2, 1, 3, 3))
    for features in (None, 16.0, "16"):
        with pytest.raises(UserError, match="Flat must set `features`"):
            SiameseNetwork(Flat(features))
    assert SiameseNetwork(Flat(16))(torch.zeros(2, 1, 4, 4)).shape == (2, 128)


def test_retrieval_refuses_chunks_that_do_not_match() -> None:
    for z_BD, labels_B in ((Z_BD[:, 0], LABELS_B), (Z_BD, LABELS_B[:3])):
        with pytest.raises(ValueError, match=r"embeddings \(N, D\) and labels \(N,\), but got"):
            RetrievalMetrics().update(z_BD, labels_B)


# --- seeds and options


def weights(network: nn.Module) -> list[Tensor]:
    return [each.detach().clone() for each in network.parameters()]


def test_the_seed_of_a_network_decides_its_weights_and_changes_no_other_random_numbers() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (weights(networks.build("mlp", seed=seed, channels=1, image_size=8)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(map(torch.equal, one, same))
    assert not all(map(torch.equal, one, other))
    torch.manual_seed(3)
    assert all(map(torch.equal, one, weights(networks.build("mlp", channels=1, image_size=8))))


def test_options_that_were_tuned_are_composed_in_python_too(tmp_path: Path) -> None:
    plain = compose("data=digits", "sampler=hard")
    (tmp_path / "digits/hard").mkdir(parents=True)
    record = Tuned(
        data="digits",
        sampler="hard",
        options={"optimizer.lr": 0.0123},
        score=0.5,
        metric="recall@1",
        trials=1,
        every_trial=[Trial(0, {"optimizer.lr": 0.0123}, "finished", 0.5, None, 1.0)],
        choices=to_plain(plain),
        versions={},
        commit=None,
    )
    record.write(tmp_path / "digits/hard")
    config = compose("data=digits", "sampler=hard", f"tuned='{tmp_path}'")
    assert config.optimizer.lr == 0.0123
    assert config.tuned.options == {"optimizer.lr": 0.0123}
    with pytest.raises(UserError, match="has no tuned options for data=digits sampler=random"):
        compose("data=digits", "sampler=random", f"tuned='{tmp_path}'")
    plain.tuned = str(tmp_path)
    with pytest.raises(UserError, match=r"was set after the configuration was composed"):
        train(plain, tmp_path / "run", [])


@pytest.mark.slow
def test_threads_are_set_in_python_too(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    options = ["data=digits", "threads=2", "trainer.max_steps=1", "network.width=4", "trainer.accelerator=cpu"]
    try:
        torch.set_num_threads(1)
        run = train(compose(*options, "logger=null"), tmp_path, options)
        assert torch.get_num_threads() == 1, "a run leaves the number of threads as it was"
    finally:
        torch.set_num_threads(before)
    assert (run.status, run.hardware["threads"]) == ("finished", 2)
