"""Random resized crops (Szegedy et al. 2015, arXiv:1409.4842, §6): a random part of each image fills the whole image.

Area, ratio and position of the parts have the distribution of torchvision's `RandomResizedCrop`.

Shapes: B images, T tries.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from siamese_lab.errors import UserError

TRIES = 10
"""Parts that are drawn until one fits into the image; if none does, the crop is the largest part in the middle."""
DRAWS = 2 * TRIES + 2
MOST_REDUCED = 2
"""Largest ratio of the stored side to the side of the result. A larger one would skip pixels, because each pixel of
the result is computed from 2 × 2 pixels."""


class RandomCrop:
    """Chooses a part of each image with an area and a ratio of its sides that are drawn at random.

    The area is uniform within `crop_scale`, the logarithm of the ratio is uniform within that of `crop_ratio`, and the
    position is uniform among whole pixels.

    Args:
        crop_scale: smallest and largest area as a share of the image; None crops no image.
        crop_ratio: smallest and largest width divided by height.

    Raises:
        UserError: for limits that are no two numbers, are in reverse order, or are outside of their range.
    """

    def __init__(self, crop_scale: Sequence[float] | None = None, crop_ratio: Sequence[float] = (0.75, 1.3333)) -> None:
        self.is_active = crop_scale is not None
        self.scale = limits("crop_scale", (1.0, 1.0) if crop_scale is None else crop_scale, largest=1)
        self.ratio = limits("crop_ratio", crop_ratio, largest=math.inf)

    def boxes(self, draws_22B: Tensor, height: int, width: int) -> Tensor:
        """Return the part of each image in whole pixels: left, upper, width, height (4, B), as float32.

        Args:
            draws_22B: numbers in −1…1 for each image: areas and ratios of the tries, column and row.
            height: height of the images.
            width: width of the images.
        """
        area_TB, ratio_TB, place_2B = ((draws_22B + 1) / 2).split([TRIES, TRIES, 2])
        pixels_TB = (self.scale[0] + (self.scale[1] - self.scale[0]) * area_TB) * (height * width)
        low, high = map(math.log, self.ratio)
        shape_TB = (low + (high - low) * ratio_TB).exp()
        width_TB, height_TB = (pixels_TB * shape_TB).sqrt().round(), (pixels_TB / shape_TB).sqrt().round()
        fits_TB = (width_TB > 0) & (width_TB <= width) & (height_TB > 0) & (height_TB <= height)
        first_B = torch.where(fits_TB, torch.arange(TRIES, device=draws_22B.device)[:, None], TRIES).amin(0)
        starts, sizes = [], []
        for side, side_TB, middle, place_B in zip(
            (width, height), (width_TB, height_TB), largest_part(height, width, self.ratio), place_2B, strict=True
        ):
            drawn_B = side_TB.gather(0, first_B.clamp(max=TRIES - 1)[None])[0]
            size_B = torch.where(first_B < TRIES, drawn_B, middle)
            free_B = side - size_B
            start_B = (place_B * (free_B + 1)).floor().minimum(free_B)
            starts.append(torch.where(first_B < TRIES, start_B, (free_B / 2).floor()))
            sizes.append(size_B)
        return torch.stack(starts + sizes)


def largest_part(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Return the width and the height of the largest part of an image with an allowed ratio.

    >>> largest_part(100, 100, (1.5, 2.0))
    (100, 67)
    """
    if width / height < ratio[0]:
        return width, round(width / ratio[0])
    if width / height > ratio[1]:
        return round(height * ratio[1]), height
    return width, height


def limits(option: str, given: Sequence[float], largest: float) -> tuple[float, float]:
    """Return a lower and an upper limit.

    Raises:
        UserError: unless they are two numbers above 0, in ascending order, and at most `largest`.
    """
    numbers = [] if isinstance(given, str) or not isinstance(given, Sequence) else list(given)
    plain = [each for each in numbers if isinstance(each, (int, float)) and not isinstance(each, bool)]
    if len(plain) != 2 or len(numbers) != 2 or not 0 < plain[0] <= plain[1] <= largest or math.isinf(plain[1]):
        most = f" and at most {largest:g}" if math.isfinite(largest) else ""
        raise UserError(
            f"data.augment.{option} must be two numbers above 0{most}, the smaller one first, such as "
            f"{'[0.08, 1.0]' if option == 'crop_scale' else '[0.75, 1.3333]'}, but is {given!r}."
        )
    return float(plain[0]), float(plain[1])
