"""`sl.load` gives images of every kind the same embeddings as the images in the tables of the data set."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import siamese_lab as sl
from siamese_lab import distances


@pytest.fixture(scope="module")
def network(digits_run: Path) -> sl.TrainedNetwork:
    return sl.load(digits_run)


def picture(seed: int, side: int = 40, channels: int = 0) -> np.ndarray:
    """Return light noise inside a dark frame."""
    shape = (side, side, channels) if channels else (side, side)
    drawn = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    drawn[:2] = drawn[-2:] = 0
    drawn[:, :2] = drawn[:, -2:] = 0
    return drawn


def test_the_twin_is_the_trained_network(network: sl.TrainedNetwork) -> None:
    images_BCHW = network.datamodule.splits.test.images_NCHW[:7]
    expected_BD = network.trained.network.eval()(images_BCHW.float() / 255)
    assert torch.allclose(network.embed(images_BCHW), expected_BD, atol=1e-6)
    assert torch.allclose(network.embed(images_BCHW.float() / 255), expected_BD, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_does_not_change_embeddings(network: sl.TrainedNetwork, batch_size: int) -> None:
    images_BCHW = network.datamodule.splits.test.images_NCHW[:7]
    assert torch.allclose(network.embed(images_BCHW, batch_size=batch_size), network.embed(images_BCHW), atol=1e-6)


def test_every_form_of_an_image_gives_the_same_embedding(network: sl.TrainedNetwork, tmp_path: Path) -> None:
    pixels_HW = picture(1)
    image = Image.fromarray(pixels_HW)
    image.save(tmp_path / "a.png")
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), image, pixels_HW, pixels_HW[:, :, None]]
    z_ND = network.embed(kinds)
    assert z_ND.shape == (len(kinds), 16)
    assert torch.allclose(z_ND, z_ND[:1].expand_as(z_ND), atol=1e-6)
    assert torch.allclose(network.embed(np.stack([pixels_HW[:, :, None]] * 2)), z_ND[:2], atol=1e-6)
    assert torch.allclose(z_ND.norm(dim=1), torch.ones(len(kinds)))


def test_distances_are_those_of_the_embeddings(network: sl.TrainedNetwork) -> None:
    left, right = [picture(1), picture(2), picture(3)], [picture(4), picture(1), picture(3)]
    expected_B = (network.embed(left) - network.embed(right)).norm(dim=1)
    assert torch.allclose(network.distance(left, right), expected_B, atol=1e-3)
    assert float(network.distance(left, right)[2]) < 1e-3
    one_B = network.distance(left[0], right)
    assert torch.allclose(one_B, distances.pairwise(network.embed([left[0], *right]))[0, 1:], atol=1e-3)


def test_images_within_the_threshold_are_the_same(own_run: Path) -> None:
    network = sl.load(own_run)
    left, right = [picture(1), picture(2)], [picture(3), picture(2)]
    d_B = network.distance(left, right)
    assert network.same(left, right, threshold=float(d_B[0]) / 2).tolist() == [False, True]
    assert network.same(left, right, threshold=2.0).tolist() == [True, True]
    assert torch.equal(network.same(left, right), d_B <= network.threshold.threshold)


def test_the_network_keeps_its_mode(network: sl.TrainedNetwork) -> None:
    network.network.train()
    try:
        network.embed(picture(1))
        assert network.network.training
    finally:
        network.network.eval()


def text_file(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no image")
    return folder / "notes.txt"


def truncated(folder: Path) -> Path:
    Image.fromarray(picture(1)).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:300])
    return folder / "cut.png"


WRONG = {
    "There is no image .*none.png": lambda folder: folder / "none.png",
    "is a folder, but an image file was expected": lambda folder: folder,
    "notes.txt cannot be read as an image: its format is unknown\\.$": text_file,
    "cut.png cannot be read as an image: ": truncated,
    "There are 0 images to embed": lambda folder: [],
    "Images must be a file path, .* but got a value of type int": lambda folder: 3,
    "An image must be a file path, .* but got a value of type NoneType": lambda folder: [None],
    "must be uint8, H×W or H×W×C .* this array is float64, 8×8": lambda folder: np.zeros((8, 8)),
    "this array is uint8, 8×8×2": lambda folder: np.zeros((8, 8, 2), dtype=np.uint8),
    "this array is uint8, 0×8": lambda folder: np.zeros((0, 8), dtype=np.uint8),
    r"\(1, 16, 16\) for images of Digits, but this tensor is \(1, 8, 8\)": lambda folder: torch.zeros(1, 8, 8),
    "uint8 0…255 or float 0…1, but this tensor is float32, 0…7": lambda folder: torch.full((1, 16, 16), 7.0).tril(),
    "but this tensor is int64, 1…1": lambda folder: torch.ones(1, 16, 16, dtype=torch.int64),
    "but this tensor is float32, nan": lambda folder: torch.full((1, 16, 16), torch.nan),
}


@pytest.mark.parametrize("message", WRONG)
def test_values_that_are_no_images_are_named(message: str, network: sl.TrainedNetwork, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        network.embed(WRONG[message](tmp_path))


def test_other_numbers_of_images_are_not_compared(network: sl.TrainedNetwork) -> None:
    with pytest.raises(ValueError, match=r"same number of images, .* but there are 2 and 3"):
        network.distance([picture(1)] * 2, [picture(1)] * 3)


def test_a_moved_run_can_be_loaded(digits_run: Path, own_run: Path) -> None:
    assert torch.equal(sl.load(own_run).embed(picture(1)), sl.load(str(digits_run)).embed(picture(1)))
    assert "trained on digits with semi_hard" in repr(sl.load(own_run))


def test_an_unavailable_accelerator_is_named(digits_run: Path) -> None:
    with pytest.raises(ValueError, match="accelerator=tpu is not available on this machine, which has: cpu"):
        sl.load(digits_run, accelerator="tpu")
