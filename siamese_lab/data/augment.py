"""Augmentation of a whole batch at once, on the device of the model: a random affine map for each image.

Shapes: B images, C channels, H × W pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab.device_generator import DeviceGenerator


def to_float(images_BCHW: Tensor) -> Tensor:
    """uint8 0…255 to float32 0…1."""
    return images_BCHW.float() / 255


class RandomAffine:
    """Turns, scales, shears, shifts and mirrors each image by amounts drawn uniformly from ± its range.

    What comes in from outside the image is black. Images are taken to be square.

    Args:
        rotation: largest turn in degrees.
        scale: largest relative change of size: 0.1 draws from 0.9…1.1.
        shear: largest shear in degrees.
        translation: largest shift as a share of the image's side.
        mirror: whether half the images are mirrored left to right.
        seed: of the generator.

    Raises:
        ValueError: for a range below 0, or a scale of 1 and more.
    """

    def __init__(
        self,
        rotation: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        translation: float = 0.0,
        mirror: bool = False,
        seed: int = 0,
    ) -> None:
        if min(rotation, scale, shear, translation) < 0 or scale >= 1 or shear >= 90:
            raise ValueError(
                "Augmentation ranges must be 0 or more, scale below 1 and shear below 90°, but are "
                f"{rotation=}, {scale=}, {shear=}, {translation=}."
            )
        self.rotation = math.radians(rotation)
        self.scale = scale
        self.shear = math.radians(shear)
        self.translation = translation
        self.mirror = mirror
        self.generator = DeviceGenerator(seed)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Images uint8 → float32 0…1, each under a map of its own."""
        images_BCHW = to_float(images_BCHW)
        grid_BHW2 = F.affine_grid(self._maps(images_BCHW), list(images_BCHW.shape), align_corners=False)
        return F.grid_sample(images_BCHW, grid_BHW2, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _maps(self, images_BCHW: Tensor) -> Tensor:
        """B affine maps (2×3) from places in the new image to places in the old, in units of half a side."""
        device = images_BCHW.device
        draws = torch.rand(6, len(images_BCHW), device=device, generator=self.generator.on(device)) * 2 - 1
        turn_B, shear_B = draws[0] * self.rotation, (draws[1] * self.shear).tan()
        size_B = 1 / (1 + draws[2] * self.scale)
        side_B = torch.where(draws[5] < 0, -1.0, 1.0) if self.mirror else torch.ones_like(size_B)
        cos_B, sin_B = turn_B.cos() * size_B, turn_B.sin() * size_B
        across = torch.stack([cos_B * side_B, cos_B * shear_B - sin_B, 2 * self.translation * draws[3]], 1)
        down = torch.stack([sin_B * side_B, sin_B * shear_B + cos_B, 2 * self.translation * draws[4]], 1)
        return torch.stack([across, down], 1)
