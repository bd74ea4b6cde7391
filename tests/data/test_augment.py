"""Augmentation does what its options say, to each image by itself, and can be resumed."""

import math

import pytest
import torch
import torchvision.transforms.functional as tvf
from torchvision.transforms import InterpolationMode

from siamese_lab.data.augment import RandomAffine, to_float

EVERYTHING = {"rotation": 20.0, "scale": 0.2, "shear": 10.0, "translation": 0.2, "mirror": True}


def images(count=4, channels=1, side=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


@pytest.fixture
def draw(monkeypatch):
    """Set what is drawn from −1…1 for every image, 0 unless said otherwise."""

    def set_draws(**rows):
        names = {"turn": 0, "shear": 1, "size": 2, "across": 3, "down": 4, "side": 5}

        def rand(count, images, **_):
            draws = torch.zeros(count, images)
            for name, value in rows.items():
                draws[names[name]] = value
            return (draws + 1) / 2

        monkeypatch.setattr(torch, "rand", rand)

    return set_draws


def test_to_float():
    assert to_float(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert to_float(images()).dtype == torch.float32


def test_without_any_range_images_stay_as_they_are():
    torch.testing.assert_close(RandomAffine()(images()), to_float(images()), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_rotation_by_a_quarter_turn(draw, sign):
    draw(turn=sign)
    turned = RandomAffine(rotation=90)(images(channels=3))
    torch.testing.assert_close(turned, to_float(images(channels=3)).rot90(sign, (2, 3)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("across", "down"), [(1, 0), (-1, 0), (0, 1), (-1, 0.5)])
def test_translation_shifts_by_a_share_of_the_side_and_brings_in_black(draw, across, down):
    draw(across=across, down=down)
    expected = torch.zeros(4, 1, 8, 8)
    shift_x, shift_y = -round(across * 2), -round(down * 2)
    for y in range(8):
        for x in range(8):
            if 0 <= y - shift_y < 8 and 0 <= x - shift_x < 8:
                expected[:, :, y, x] = to_float(images())[:, :, y - shift_y, x - shift_x]
    torch.testing.assert_close(RandomAffine(translation=0.25)(images()), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "draws", "expected"),
    [
        ({"rotation": 30.0}, {"turn": 1}, {"angle": -30.0}),
        ({"rotation": 30.0}, {"turn": -0.5}, {"angle": 15.0}),
        ({"scale": 0.5}, {"size": 1}, {"scale": 1.5}),
        ({"scale": 0.2}, {"size": -1}, {"scale": 0.8}),
        ({"shear": 20.0}, {"shear": 1}, {"shear": [20.0, 0.0]}),
        ({"shear": 20.0}, {"shear": -1}, {"shear": [-20.0, 0.0]}),
        ({"rotation": 40.0, "scale": 0.1}, {"turn": 1, "size": 1}, {"angle": -40.0, "scale": 1.1}),
    ],
)
def test_agrees_with_torchvision(draw, options, draws, expected):
    draw(**draws)
    plain = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    theirs = tvf.affine(to_float(images(side=15)), **(plain | expected), interpolation=InterpolationMode.BILINEAR)
    torch.testing.assert_close(RandomAffine(**options)(images(side=15)), theirs, atol=1e-4, rtol=0)


def test_half_the_images_are_mirrored_left_to_right():
    count = 400
    before = images(1).repeat(count, 1, 1, 1)
    after = RandomAffine(mirror=True)(before)
    mirrored = [torch.allclose(image, to_float(before[0]).flip(2), atol=1e-5) for image in after]
    kept = [torch.allclose(image, to_float(before[0]), atol=1e-5) for image in after]
    assert all(left != right for left, right in zip(mirrored, kept, strict=True))
    assert abs(sum(mirrored) - count / 2) < 4 * math.sqrt(count) / 2


@pytest.mark.parametrize("option", EVERYTHING)
def test_each_image_has_a_map_of_its_own(option):
    same = images(1).repeat(12, 1, 1, 1)
    after = RandomAffine(**{option: EVERYTHING[option]})(same)
    different = {tuple(image.flatten().tolist()) for image in after}
    assert len(different) == (2 if option == "mirror" else 12)


def test_values_stay_within_0_and_1_and_use_the_range():
    white = torch.full((64, 1, 12, 12), 255, dtype=torch.uint8)
    after = RandomAffine(**EVERYTHING)(white)
    assert after.dtype == torch.float32
    assert after.shape == white.shape
    assert after.min() == 0
    assert 1 - 1e-5 < after.max() < 1 + 1e-5


def test_channels_move_together():
    after = RandomAffine(**EVERYTHING)(images().repeat(1, 3, 1, 1))
    assert torch.equal(after[:, 0], after[:, 1])
    assert torch.equal(after[:, 0], after[:, 2])


def test_the_seed_decides_and_the_global_random_numbers_do_not():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = RandomAffine(**EVERYTHING)(images())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(RandomAffine(**EVERYTHING, seed=0)(images()), first)
    assert not torch.equal(RandomAffine(**EVERYTHING, seed=1)(images()), first)


def test_a_stored_state_goes_on_with_the_same_maps():
    augment = RandomAffine(**EVERYTHING)
    assert augment.generator.state_dict() == {}
    augment(images())
    stored = augment.generator.state_dict()
    expected = [augment(images()) for _ in range(3)]
    assert not torch.equal(expected[0], expected[1])
    resumed = RandomAffine(**EVERYTHING, seed=9)
    resumed.generator.load_state_dict(stored)
    assert all(torch.equal(resumed(images()), each) for each in expected)


@pytest.mark.parametrize(
    "options", [{"rotation": -1.0}, {"scale": -0.1}, {"scale": 1.0}, {"shear": 90.0}, {"translation": -0.1}]
)
def test_bad_ranges_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=rf"must be 0 or more, scale below 1 and shear below 90°, .*{name}={value}"):
        RandomAffine(**options)
