"""Random resized crops have torchvision's pixels and distribution, are resampled once, and can be resumed."""

import math
import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch._subclasses.fake_tensor import FakeTensorMode  # has no public name
from torchvision.transforms import v2

from siamese_lab.data.augment.affine import Crop, RandomAffine
from siamese_lab.data.augment.crop import DRAWS, TRIES, RandomCrop
from siamese_lab.data.augment.pipeline import Augmentation, to_float

USUAL = {"crop_scale": [0.08, 1.0], "crop_ratio": [0.75, 4 / 3]}
MOVES = {"rotation": 20.0, "scale": 0.2, "shear": 10.0, "translation": 0.2, "mirror": True}
EVERYTHING = USUAL | MOVES | {"brightness": 0.3, "contrast": 0.3, "saturation": 0.4, "hue": 0.1, "erasing": 0.5}


def images(count=4, side=20, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


def draws(count, seed=0):
    return torch.rand(DRAWS, count, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def cropped(images_BCHW, boxes, side, draws_6B=None, **options):
    """Return crops of (left, upper, width, height), moved by the given draws."""
    affine = RandomAffine(**options)
    maps_2B3 = affine.maps(torch.zeros(6, len(images_BCHW)) if draws_6B is None else draws_6B)
    return affine(to_float(images_BCHW), maps_2B3, Crop(torch.tensor(boxes, dtype=torch.float32).T, side))


BOXES = [(0, 0, 20, 20), (3, 5, 7, 9), (13, 0, 7, 20), (0, 19, 20, 1), (4, 4, 12, 12), (19, 19, 1, 1)]


@pytest.mark.parametrize("side", [5, 12, 16, 33])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_crop_has_the_pixels_of_torchvision_without_antialiasing(side, mirror):
    before = images(len(BOXES))
    draws_6B = torch.full((6, len(BOXES)), -1.0)
    after = cropped(before, BOXES, side, draws_6B, mirror=mirror)
    for image_CHW, new_CHW, (left, upper, width, height) in zip(to_float(before), after, BOXES, strict=True):
        theirs = v2.functional.resized_crop(image_CHW, upper, left, height, width, [side, side], antialias=False)
        torch.testing.assert_close(new_CHW, theirs.flip(2) if mirror else theirs, atol=1e-4, rtol=0)


def theta(matrix):
    return torch.cat([torch.tensor(matrix, dtype=torch.float64), torch.tensor([[0.0, 0.0, 1.0]])])


@settings(max_examples=30, deadline=None)
@given(side=st.integers(2, 24), stored=st.integers(4, 24), seed=st.integers(0, 99))
def test_crop_and_affine_map_are_one_resampling(side, stored, seed):
    """The grid is the product of both maps, computed in float64 in the units of `grid_sample`."""
    before, count = images(5, stored, seed=seed), 5
    boxes_4B = RandomCrop(**USUAL).boxes(draws(count, seed), stored, stored)
    draws_6B = torch.rand(6, count, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    after = cropped(before, boxes_4B.T.tolist(), side, draws_6B, **MOVES)
    grids = []
    for (left, upper, width, height), drawn in zip(boxes_4B.T.tolist(), draws_6B.T.tolist(), strict=True):
        turn, slope = drawn[0] * math.radians(20), math.tan(drawn[1] * math.radians(10))
        rotated = theta([[math.cos(turn), -math.sin(turn), 0.0], [math.sin(turn), math.cos(turn), 0.0]])
        sheared = theta([[1.0, slope, 0.0], [0.0, 1.0, 0.0]])
        sized = theta([[1 / (1 + 0.2 * drawn[2]), 0.0, 0.0], [0.0, 1 / (1 + 0.2 * drawn[2]), 0.0]])
        mirrored = theta([[-1.0 if drawn[5] < 0 else 1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        shifted = theta([[1.0, 0.0, 0.4 * drawn[3]], [0.0, 1.0, 0.4 * drawn[4]]])
        inside = theta(
            [
                [width / stored, 0.0, 2 * (left + width / 2) / stored - 1],
                [0.0, height / stored, 2 * (upper + height / 2) / stored - 1],
            ]
        )
        grids.append((inside @ shifted @ rotated @ sheared @ sized @ mirrored)[:2])
    grid_BHW2 = F.affine_grid(torch.stack(grids), [count, 3, side, side], align_corners=False)
    expected = F.grid_sample(before.double() / 255, grid_BHW2, align_corners=False)
    torch.testing.assert_close(after, expected.float(), atol=2e-4, rtol=0)


def by_plain_loops(draws_22, height, width, scale, ratio):
    """Return left, upper, width and height from the draws of one image, by the steps of torchvision's get_params."""
    share = [(each + 1) / 2 for each in draws_22]
    for attempt in range(TRIES):
        area = (scale[0] + (scale[1] - scale[0]) * share[attempt]) * height * width
        aspect = math.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * share[TRIES + attempt])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return [int(share[-2] * (width - w + 1)), int(share[-1] * (height - h + 1)), w, h]
    if width / height < ratio[0]:
        w, h = width, round(width / ratio[0])
    elif width / height > ratio[1]:
        w, h = round(height * ratio[1]), height
    else:
        w, h = width, height
    return [(width - w) // 2, (height - h) // 2, w, h]


@pytest.mark.parametrize(
    ("scale", "ratio", "height", "width"),
    [
        ((0.08, 1.0), (0.75, 1.3333), 64, 64),
        ((0.9, 1.0), (0.5, 2.0), 64, 64),
        ((1.0, 1.0), (1.5, 2.0), 33, 33),
        ((1.0, 1.0), (0.4, 0.5), 33, 33),
        ((0.0001, 0.001), (0.75, 1.3333), 20, 20),
        ((0.5, 0.5), (1.0, 1.0), 30, 50),
    ],
)
def test_boxes_are_those_of_plain_loops(scale, ratio, height, width):
    draws_22B = draws(200).double()
    boxes_B4 = RandomCrop(scale, ratio).boxes(draws_22B, height, width).T
    expected = [by_plain_loops(drawn, height, width, scale, ratio) for drawn in draws_22B.T.tolist()]
    assert boxes_B4.tolist() == expected


@pytest.mark.parametrize(("scale", "ratio"), [((0.08, 1.0), (0.75, 4 / 3)), ((0.6, 1.0), (0.5, 2.0))])
def test_boxes_have_the_distribution_of_torchvision(scale, ratio):
    """Two samples of 3,000 boxes: Kolmogorov and Smirnov's test of left, upper, width, height and area."""
    count, side = 3000, 256
    ours = RandomCrop(scale, ratio).boxes(draws(count, seed=1), side, side).T.numpy()
    torch.manual_seed(0)
    random.seed(0)
    transform = v2.RandomResizedCrop(224, scale=scale, ratio=ratio)
    made = [transform.make_params([torch.empty(3, side, side)]) for _ in range(count)]
    theirs = np.array([[each["left"], each["top"], each["width"], each["height"]] for each in made], dtype=float)
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 0.01
    areas = (ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3])
    assert stats.ks_2samp(*areas).pvalue > 0.01
    whole = [int((each == side * side).sum()) for each in areas]
    assert abs(whole[0] - whole[1]) < 5 * math.sqrt(sum(whole) + 1), "no try fits equally often"


def test_a_smaller_result_is_the_middle_without_random_crops():
    before = images(6, 11)
    kept = to_float(before)[:, :, 1:9, 1:9]
    torch.testing.assert_close(Augmentation()(before, size=8), kept, atol=0, rtol=0)
    torch.testing.assert_close(Augmentation(rotation=1e-9)(before, size=8), kept, atol=1e-4, rtol=0)
    mirrored = Augmentation(mirror=True)(before, size=8)
    for new, old in zip(mirrored, kept, strict=True):
        assert torch.equal(new, old) or torch.equal(new, old.flip(2))


def test_a_shift_of_the_middle_reads_the_stored_pixels_around_it():
    white = torch.full((20, 1, 20, 20), 255, dtype=torch.uint8)
    assert Augmentation(translation=0.2)(white, size=10).min() > 0.999
    assert Augmentation(translation=0.2)(white).min() == 0


def test_every_image_has_its_own_crop_of_the_stated_size():
    same = images(1, 24).repeat(12, 1, 1, 1)
    after = Augmentation(**USUAL)(same, size=16)
    assert after.shape == (12, 3, 16, 16)
    assert len({tuple(image.flatten().tolist()) for image in after}) == 12
    assert Augmentation(**USUAL)(same).shape == same.shape


def test_crops_and_colors_do_not_change_the_effects_of_the_other_options():
    plain = torch.arange(40, 140, 5, dtype=torch.uint8)[:, None, None, None].expand(20, 3, 16, 16)  # a crop is equal
    light = {"brightness": 0.3, "contrast": 0.3}
    alone, both = Augmentation(**light)(plain), Augmentation(**light, **USUAL)(plain)
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=0)
    gray = images(20, 16, channels=1).expand(20, 3, 16, 16)  # colors do not change gray images
    alone, both = (Augmentation(**USUAL, **MOVES, **more)(gray) for more in ({}, {"hue": 0.5, "saturation": 0.2}))
    torch.testing.assert_close(both, alone, atol=1e-4, rtol=0)


def test_parts_of_a_batch_are_cropped_like_the_whole_batch(monkeypatch):
    batch = images(12, 24)
    expected = Augmentation(**EVERYTHING)(batch, size=16)
    for rank, part in enumerate(batch.split(4)):
        torch.testing.assert_close(
            Augmentation(**EVERYTHING)(part, rank, 3, size=16), expected.split(4)[rank], atol=1e-5, rtol=0
        )
    for tile in (1, 24 * 24 * 5):
        monkeypatch.setattr("siamese_lab.data.augment.pipeline.TILE", tile)
        torch.testing.assert_close(Augmentation(**EVERYTHING)(batch, size=16), expected, atol=1e-5, rtol=0)


def test_the_seed_decides_the_crops():
    first, again, other = (Augmentation(**USUAL, seed=seed)(images()) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_without_crops_and_colors_the_state_is_as_before():
    assert set(Augmentation(**MOVES).state_dict()) == {"generator", "used"}
    augment = Augmentation(**MOVES)
    augment(images())
    assert set(augment.state_dict()) == {"generator", "used"}


def fakes_a_gpu() -> bool:
    """Return True if PyTorch computes with tensors without values on a GPU, though there may be no driver."""
    try:
        with FakeTensorMode():
            torch.empty(2, device="cuda")[0] + 1
    except RuntimeError as error:
        if "driver" not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("device", ["cuda", "meta"])
@pytest.mark.parametrize("options", [EVERYTHING, MOVES, USUAL | {"hue": 0.1}])
def test_a_gpu_need_not_wait_for_the_host(device, options, monkeypatch):
    """Tensors without values raise at every call with a result that depends on data, such as `.item()`."""
    if device == "cuda" and not fakes_a_gpu():
        pytest.skip(f"PyTorch {torch.__version__} needs the driver of a GPU even for tensors without values")
    make = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": make("cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True) if device == "cuda" else nullcontext():
        batch = torch.empty(16, 3, 40, 40, dtype=torch.uint8, device=device)
        after = Augmentation(**options)(batch, size=32)
    assert (after.device.type, after.shape) == (device, (16, 3, 32, 32))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_real_gpu_need_not_wait_for_the_host(monkeypatch):
    monkeypatch.setattr("siamese_lab.data.augment.pipeline.AT_ONCE", 32)  # so that it draws again
    for options in (EVERYTHING, MOVES):
        augment, batch = Augmentation(**options), images(32, 24).cuda()
        augment(batch, size=16)  # creates the constants that it keeps
        torch.cuda.set_sync_debug_mode("error")
        try:
            augment(batch, size=16)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_scale": [1.0, 0.08]}, r"crop_scale must be two numbers.*the smaller one first.*\[1\.0, 0\.08\]"),
        ({"crop_scale": [0.0, 1.0]}, r"crop_scale must be two numbers above 0 and at most 1"),
        ({"crop_scale": [0.5, 1.5]}, r"at most 1, .*is \[0\.5, 1\.5\]"),
        ({"crop_scale": 0.5}, r"crop_scale must be two numbers.*is 0\.5"),
        ({"crop_scale": [0.1, 0.2, 0.3]}, r"two numbers"),
        ({"crop_scale": ["a", 1]}, r"two numbers"),
        ({"crop_ratio": [2.0, 0.5]}, r"crop_ratio must be two numbers above 0, the smaller one first.*\[2\.0, 0\.5\]"),
        ({"crop_ratio": [0.5, math.inf]}, r"crop_ratio must be two numbers"),
        ({"crop_ratio": [math.nan, 1.0]}, r"crop_ratio must be two numbers"),
    ],
)
def test_wrong_limits_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
