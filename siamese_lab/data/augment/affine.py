"""Random affine maps, one per image of a batch. One matrix product computes the source positions of all pixels.

Shapes: N batches, B images, C channels, H × W pixels, S = H·W.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab.errors import UserError

DRAWS = 6
INTERPOLATIONS = ("bilinear", "nearest")


class RandomAffine:
    """Rotates, scales, shears, shifts and mirrors each image by amounts drawn uniformly from ± a range.

    Pixels from outside the image are black.

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
    def __call__(self, images_BCHW: Tensor, maps_2B3: Tensor) -> Tensor:
        """Apply one map to each image.

        Args:
            images_BCHW: float32 images.
            maps_2B3: one batch of the result of `maps`.

        Returns:
            The changed images (float32), in the value range of the input.
        """
        if any(self.ranges):
            places_BHW2 = self._places(maps_2B3, *images_BCHW.shape[2:])
            return F.grid_sample(images_BCHW, places_BHW2, self.interpolation, "zeros", align_corners=False)
        if self.mirror:
            is_mirrored_B = maps_2B3[0, :, 0] < 0
            return torch.where(is_mirrored_B[:, None, None, None], images_BCHW.flip(3), images_BCHW)
        return images_BCHW

    def _places(self, maps_2B3: Tensor, height: int, width: int) -> Tensor:
        """Return the source position of every pixel in the units of `grid_sample`: the old image spans −1…1."""
        wanted = height, width, maps_2B3.device
        if self._basis_is_for != wanted:
            self._basis_23S, self._basis_is_for = _basis(*wanted), wanted
        places_2BS = maps_2B3.new_empty(2, maps_2B3.shape[1], height * width)
        torch.bmm(maps_2B3, self._basis_23S, out=places_2BS)  # autocast ignores calls with `out`
        return places_2BS.view(2, -1, height, width).permute(1, 2, 3, 0)


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
