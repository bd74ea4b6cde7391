"""Random saturation and hue, drawn separately for each color image of a batch.

The formulas are those of torchvision's `adjust_saturation` and `adjust_hue`.

Shapes: B images of red, green and blue, H × W pixels.
"""

import torch
from torch import Tensor

from siamese_lab.errors import UserError

DRAWS = 2
LARGEST_HUE = 0.5
RED, GREEN, BLUE = 0.2989, 0.587, 0.114
"""Shares of the colors in the gray level of a pixel (ITU-R BT.601)."""


class RandomColor:
    """Mixes each image with its gray copy (saturation), then turns its colors around the color circle (hue).

    Args:
        saturation: largest relative change: 0.2 draws a factor from 0.8…1.2; 0 would be gray.
        hue: largest turn as a fraction of the circle: 0.5 is half of it in both directions.

    Raises:
        UserError: for a saturation outside 0…1, or a hue outside 0…0.5.
    """

    def __init__(self, saturation: float = 0.0, hue: float = 0.0) -> None:
        if not (0 <= saturation <= 1 and 0 <= hue <= LARGEST_HUE):
            raise UserError(f"saturation must be in 0…1, and hue in 0…{LARGEST_HUE}, but are {saturation=}, {hue=}.")
        self.saturation = saturation
        self.hue = hue

    @property
    def is_active(self) -> bool:
        """Return whether images are changed."""
        return bool(self.saturation or self.hue)

    def check_channels(self, channels: int) -> None:
        """Raise UserError if the images have no colors that could be changed."""
        if self.is_active and channels != 3:
            raise UserError(
                "data.augment.saturation and data.augment.hue change colors, so they need images of 3 channels, but "
                f"these have {channels}. Set both to 0."
            )

    @torch.no_grad()
    def __call__(self, images_B3HW: Tensor, draws_2B: Tensor) -> Tensor:
        """Return the changed images, which stay in 0…1.

        Args:
            images_B3HW: float32 images in 0…1.
            draws_2B: numbers in −1…1 for each image: saturation and hue.

        Raises:
            UserError: if the images are gray.
        """
        self.check_channels(images_B3HW.shape[1])
        if self.saturation:
            images_B3HW = with_saturation(images_B3HW, 1 + self.saturation * draws_2B[0])
        return with_hue(images_B3HW, self.hue * draws_2B[1]) if self.hue else images_B3HW


def with_saturation(images_B3HW: Tensor, factor_B: Tensor) -> Tensor:
    """Return `factor` times the difference from gray, added to gray, clamped to 0…1."""
    red_BHW, green_BHW, blue_BHW = images_B3HW.unbind(1)
    gray_B1HW = (RED * red_BHW + GREEN * green_BHW + BLUE * blue_BHW)[:, None]
    return gray_B1HW.lerp(images_B3HW, factor_B[:, None, None, None]).clamp_(0, 1)


def with_hue(images_B3HW: Tensor, turn_B: Tensor) -> Tensor:
    """Return images with hues turned by a fraction of the color circle; value and saturation (HSV) stay the same.

    With value V, chroma C and hue H in 0…6, a color is V − C · max(0, min(k, 4 − k, 1)), where k = (n + H) mod 6 and n
    is 5 for red, 3 for green and 1 for blue.
    """
    red_BHW, green_BHW, blue_BHW = images_B3HW.unbind(1)
    value_BHW = images_B3HW.amax(1)
    chroma_BHW = value_BHW - images_B3HW.amin(1)
    divisor_BHW = torch.where(chroma_BHW == 0, 1, chroma_BHW)
    from_red_BHW = (green_BHW - blue_BHW) / divisor_BHW
    from_green_BHW = 2 + (blue_BHW - red_BHW) / divisor_BHW
    from_blue_BHW = 4 + (red_BHW - green_BHW) / divisor_BHW
    others_BHW = torch.where(value_BHW == green_BHW, from_green_BHW, from_blue_BHW)
    hue_BHW = torch.where(value_BHW == red_BHW, from_red_BHW, others_BHW)
    turned_BHW = hue_BHW + 6 * turn_B[:, None, None]
    parts_B3HW = torch.stack([(part + turned_BHW).remainder_(6) for part in (5, 3, 1)], 1)
    lack_B3HW = torch.minimum(parts_B3HW, 4 - parts_B3HW).clamp_(0, 1)
    return (value_BHW[:, None] - chroma_BHW[:, None] * lack_B3HW).clamp_(0, 1)
