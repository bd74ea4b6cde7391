"""Random affine maps, one per image of a batch. One matrix product computes the source positions of all pixels.

A crop of each image is part of its map, so that cropped images are resampled once.

Shapes: N batches, B images, C channels, H × W pixels, S = H·W.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab.errors import UserError

DRAWS = 6
INTERPOLATIONS = ("bilinear", "nearest")


class Crop(NamedTuple):
    """The part of each image that fills the result."""

    boxes_4B: Tensor
    """Left, upper, width and height of the parts, in pixels of the images."""
    side: int
    """Height and width of the result."""


class RandomAffine:
    """Rotates, scales, shears, shifts and mirrors each image by amounts drawn uniformly from ± a range.

    Pixels from outside the image are black. With a crop, the map is applied to the crop, and the pixels around the crop
    are those of the image.

    Args:
        rotation: largest rotation in degrees.
        scale: largest relative change of size: 0.1 draws from 0.9…1.1.
        shear: largest shear in degrees.
        translation: largest shift as a fraction of the image's side.
        mirror: if True, half of the images are mirrored left to right.
        interpolation: `bilinear`, or `nearest`, which takes half the time but leaves jagged edges.

    Raises:
        UserError: for a range below 0, a scale of 1 or more, a shear of 90° or more, or an unknown interpolation.
    """

    def __init__(
        self,
        rotation: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        translation: float = 0.0,
        mirror: bool = False,
        interpolation: str = "bilinear",
    ) -> None:
        if min(rotation, scale, shear, translation) < 0 or scale >= 1 or shear >= 90:
            raise UserError(
                "Augmentation ranges must be 0 or more, scale below 1 and shear below 90°, but are "
                f"{rotation=}, {scale=}, {shear=}, {translation=}."
            )
        if interpolation not in INTERPOLATIONS:
            raise UserError(
                f"data.augment.interpolation must be one of {', '.join(INTERPOLATIONS)}, but is {interpolation!r}."
            )
        self.ranges = (math.radians(rotation), math.radians(shear), scale, translation, translation)
        self.moves = any(self.ranges)
        """True if images change in another way than by mirroring."""
        self.mirror = mirror
        self.interpolation = interpolation
        self._basis_23S = torch.empty(0)
        self._basis_is_for: tuple[int, int, torch.device] | None = None

    def maps(self, draws_N6B: Tensor) -> Tensor:
        """Compute maps (…, 2, B, 3) from positions in the new image to positions (x, y) in the old image.

        Positions are relative to the center. The columns are the effect of one step to the right and of one step down,
        in pixels, and the shift as a fraction of the side.

        Args:
            draws_N6B: numbers in −1…1 for each image of N batches: rotation, shear, scale, shift to the left, shift
                upwards, and mirroring (mirrored if below 0).
        """
        turn_NB, shear_NB, size_NB, left_NB, up_NB = (
            draw_NB * limit for draw_NB, limit in zip(draws_N6B.unbind(-2), self.ranges, strict=False)
        )
        turned_NB = torch.polar(1 / (1 + size_NB), turn_NB)
        right_NB = torch.where(draws_N6B[..., 5, :] < 0, -turned_NB, turned_NB) if self.mirror else turned_NB
        down_NB = turned_NB * torch.complex(shear_NB.tan(), torch.ones_like(shear_NB))
        maps_NB3 = torch.stack([right_NB, down_NB, torch.complex(left_NB, up_NB)], -1)
        return torch.view_as_real(maps_NB3).movedim(-1, -3).contiguous()

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, maps_2B3: Tensor, crop: Crop | None = None) -> Tensor:
        """Apply one map to each image.

        Args:
            images_BCHW: float32 images.
            maps_2B3: one batch of the result of `maps`.
            crop: the part of each image that is changed and fills the result; None changes whole images.

        Returns:
            The changed images (float32), in the value range of the input.
        """
        if crop is not None:
            return self._cropped(images_BCHW, maps_2B3, crop)
        if self.moves:
            places_BHW2 = self._places(maps_2B3, *images_BCHW.shape[2:])
            return F.grid_sample(images_BCHW, places_BHW2, self.interpolation, "zeros", align_corners=False)
        if self.mirror:
            is_mirrored_B = maps_2B3[0, :, 0] < 0
            return torch.where(is_mirrored_B[:, None, None, None], images_BCHW.flip(3), images_BCHW)
        return images_BCHW

    def _cropped(self, images_BCHW: Tensor, maps_2B3: Tensor, crop: Crop) -> Tensor:
        """Resample the crop of each image, with its map.

        A crop that is only enlarged reads no pixel around it: its outermost pixels are continued, as torchvision does.
        """
        height, width = images_BCHW.shape[2:]
        left_B, upper_B, width_B, height_B = crop.boxes_4B
        start_2B = torch.stack([left_B / width, upper_B / height])
        size_2B = torch.stack([width_B / width, height_B / height])
        places_BHW2 = self._places(within(maps_2B3, start_2B, size_2B), crop.side, crop.side)
        if not self.moves:
            for axis, pixel in enumerate((1 / width, 1 / height)):
                first_B = 2 * start_2B[axis] - 1 + pixel
                last_B = 2 * (start_2B[axis] + size_2B[axis]) - 1 - pixel
                places_BHW2[..., axis].clamp_(first_B[:, None, None], last_B[:, None, None])
        return F.grid_sample(images_BCHW, places_BHW2, self.interpolation, "zeros", align_corners=False)

    def _places(self, maps_2B3: Tensor, height: int, width: int) -> Tensor:
        """Return the source position of every pixel in the units of `grid_sample`: the old image spans −1…1."""
        wanted = height, width, maps_2B3.device
        if self._basis_is_for != wanted:
            self._basis_23S, self._basis_is_for = _basis(*wanted), wanted
        places_2BS = maps_2B3.new_empty(2, maps_2B3.shape[1], height * width)
        torch.bmm(maps_2B3, self._basis_23S, out=places_2BS)  # autocast ignores calls with `out`
        return places_2BS.view(2, -1, height, width).permute(1, 2, 3, 0)


def within(maps_2B3: Tensor, start_2B: Tensor, size_2B: Tensor) -> Tensor:
    """Return maps that change a part of each image, from maps that change whole images.

    Args:
        maps_2B3: one batch of the result of `RandomAffine.maps`.
        start_2B: left and upper end of each part, as fractions of the sides of the image.
        size_2B: width and height of each part, as fractions of the sides of the image.
    """
    parts_2B3 = maps_2B3 * size_2B[..., None]
    parts_2B3[..., 2] += start_2B + size_2B / 2 - 0.5
    return parts_2B3


def _basis(height: int, width: int, device: torch.device) -> Tensor:
    """Return the offsets of each pixel from the center, right and down, and 1, in half widths and in half heights."""
    down_HW, right_HW = torch.meshgrid(
        torch.arange(height, device=device) - (height - 1) / 2,
        torch.arange(width, device=device) - (width - 1) / 2,
        indexing="ij",
    )
    steps_2S = torch.stack([right_HW, down_HW]).flatten(1)
    shift_1S = torch.full((1, height * width), 2.0, device=device)
    return torch.stack([torch.cat([steps_2S * (2 / side), shift_1S]) for side in (width, height)])
