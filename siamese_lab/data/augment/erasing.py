"""Random erasing (Zhong et al. 2017, arXiv:1708.04896): fill a rectangle of some images with their mean color.

Shapes: B images, C channels, H × W pixels.
"""

import math

import torch
from torch import Tensor

from siamese_lab.errors import UserError

DRAWS = 5
SMALLEST_AREA = 0.02
MOST_OBLONG = 3.3
"""Smallest fraction of the image and largest ratio of the sides, both from the paper."""


class RandomErasing:
    """Erases a rectangle of random size, shape and position in a random fraction of the images.

    Args:
        erasing: fraction of the images that lose a rectangle.
        erasing_area: largest fraction of an image that is erased; the smallest is 0.02.

    Raises:
        UserError: for a fraction outside its range.
    """

    def __init__(self, erasing: float = 0.0, erasing_area: float = 0.2) -> None:
        if not (0 <= erasing <= 1 and SMALLEST_AREA <= erasing_area <= 1):
            raise UserError(
                f"erasing must be a fraction of the images, 0…1, and erasing_area a fraction of an image, "
                f"{SMALLEST_AREA}…1, but they are {erasing=}, {erasing_area=}."
            )
        self.erasing = erasing
        self.erasing_area = erasing_area

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, draws_5B: Tensor) -> Tensor:
        """Change images in place.

        Args:
            images_BCHW: float32 images.
            draws_5B: numbers in −1…1 for each image: erase or not, area, aspect ratio, row and column.
        """
        if not self.erasing:
            return images_BCHW
        whether_B, area_B, shape_B, down_B, across_B = (draws_5B + 1) / 2
        area_B = SMALLEST_AREA + area_B * (self.erasing_area - SMALLEST_AREA)
        oblong_B = ((2 * shape_B - 1) * math.log(MOST_OBLONG) / 2).exp()
        erased_B = whether_B < self.erasing
        rows_BH = _inside(down_B, area_B.sqrt() * oblong_B, images_BCHW.shape[2]) & erased_B[:, None]
        columns_BW = _inside(across_B, area_B.sqrt() / oblong_B, images_BCHW.shape[3])
        share_B1HW = rows_BH.float()[:, None, :, None] * columns_BW.float()[:, None, None, :]
        return images_BCHW.lerp_(images_BCHW.mean((2, 3), keepdim=True), share_B1HW)


def _inside(place_B: Tensor, share_B: Tensor, side: int) -> Tensor:
    """Return a mask of the pixels, of `side`, in an interval that covers a fraction of them at a position in 0…1."""
    length_B = (share_B * side).round().clamp(1, side)
    first_B = (place_B * (side - length_B)).round()
    pixel_S = torch.arange(side, device=place_B.device)
    return (pixel_S >= first_B[:, None]) & (pixel_S < (first_B + length_B)[:, None])
