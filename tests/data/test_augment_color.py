"""Saturation and hue are those of torchvision, and gray images refuse them."""

import pytest
import torch
import torchvision.transforms.v2.functional as tvf

from siamese_lab import data
from siamese_lab.data.augment.color import RandomColor
from siamese_lab.data.augment.pipeline import Augmentation


def pixels(count=6, side=12, seed=0):
    """Return float images that hold random colors, pure colors, black, white, grays and equal pairs of colors."""
    generator = torch.Generator().manual_seed(seed)
    images_B3HW = torch.rand(count, 3, side, side, generator=generator)
    levels = torch.tensor([0.0, 0.25, 1.0])
    pure = torch.cartesian_prod(levels, levels, levels)
    images_B3HW.flatten(2)[:, :, : len(pure)] = pure.T
    return images_B3HW


def color(images_B3HW, saturation=0.0, hue=0.0, draws=(1.0, 1.0)):
    draws_2B = torch.tensor(draws)[:, None].expand(2, len(images_B3HW))
    return RandomColor(saturation, hue)(images_B3HW, draws_2B)


@pytest.mark.parametrize("draw", [-1.0, -0.4, 0.0, 0.7, 1.0])
def test_saturation_agrees_with_torchvision(draw):
    expected = tvf.adjust_saturation(pixels(), 1 + 0.8 * draw)
    torch.testing.assert_close(color(pixels(), saturation=0.8, draws=(draw, 0.0)), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("draw", [-1.0, -0.3, 0.0, 0.02, 0.6, 1.0])
def test_hue_agrees_with_torchvision(draw):
    expected = tvf.adjust_hue(pixels(), 0.5 * draw)
    torch.testing.assert_close(color(pixels(), hue=0.5, draws=(0.0, draw)), expected, atol=1e-4, rtol=0)


def test_saturation_comes_before_hue():
    expected = tvf.adjust_hue(tvf.adjust_saturation(pixels(), 1.5), 0.1)
    torch.testing.assert_close(color(pixels(), saturation=0.5, hue=0.1), expected, atol=1e-4, rtol=0)


def test_every_image_has_its_own_colors():
    same = (255 * pixels(1)).byte().repeat(12, 1, 1, 1)
    for option in ({"saturation": 0.5}, {"hue": 0.2}):
        after = Augmentation(**option)(same)
        assert len({tuple(image.flatten().tolist()) for image in after}) == 12
        assert after.min() >= 0 and after.max() <= 1


@pytest.mark.parametrize("option", ["saturation", "hue"])
def test_gray_images_are_refused(option):
    gray = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"saturation and data\.augment\.hue.*3 channels, but these have 1"):
        Augmentation(**{option: 0.1})(gray)
    with pytest.raises(ValueError, match="3 channels, but these have 1"):
        data.build("digits", classes_per_batch=4, augment={option: 0.1}).setup("fit")
    assert Augmentation(saturation=0.0, hue=0.0)(gray).shape == gray.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hue": 0.6}, r"hue in 0…0\.5, .*hue=0\.6"),
        ({"hue": -0.1}, r"hue=-0\.1"),
        ({"saturation": 1.1}, r"saturation must be in 0…1, .*saturation=1\.1"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)
