"""Augmentation of a whole batch at once, on the device of the model, from one stream of random numbers.

Shapes: B images, C channels, H × W pixels, R random numbers for each image.
"""

import torch
from torch import Tensor

from siamese_lab.data import augment_affine, augment_erasing, augment_light
from siamese_lab.device_generator import DeviceGenerator


def to_float(images_BCHW: Tensor) -> Tensor:
    """uint8 0…255 to float32 0…1."""
    return images_BCHW.float().div_(255)


class Augmentation:
    """Moves, lights and erases parts of each image by amounts of its own.

    Every image takes as many random numbers whatever the options, so that to change one leaves the others' effects as
    they were.

    Args:
        rotation, scale, shear, translation, mirror, interpolation: see `RandomAffine`.
        brightness, contrast: see `RandomLight`.
        erasing, erasing_area: see `RandomErasing`.
        seed: of the stream.

    Raises:
        ValueError: for a range that is none.
    """

    def __init__(
        self,
        rotation: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        translation: float = 0.0,
        mirror: bool = False,
        interpolation: str = "bilinear",
        brightness: float = 0.0,
        contrast: float = 0.0,
        erasing: float = 0.0,
        erasing_area: float = 0.2,
        seed: int = 0,
    ) -> None:
        self.affine = augment_affine.RandomAffine(rotation, scale, shear, translation, mirror, interpolation)
        self.light = augment_light.RandomLight(brightness, contrast)
        self.erasing = augment_erasing.RandomErasing(erasing, erasing_area)
        self.generator = DeviceGenerator(seed)

    def __call__(self, images_BCHW: Tensor, rank: int = 0, ranks: int = 1) -> Tensor:
        """Images uint8 → float32 0…1, each changed in its own way.

        Args:
            images_BCHW: of this process.
            rank: which of `ranks` processes this is, which have a part of one batch each: together they do what one
                does with the whole.
            ranks: how many there are.
        """
        draws_RB = self._draws(images_BCHW, rank, ranks)
        affine_6B, light_2B, erasing_5B = draws_RB.split(
            [augment_affine.DRAWS, augment_light.DRAWS, augment_erasing.DRAWS]
        )
        moved_BCHW = self.affine(images_BCHW, affine_6B).mul_(1 / 255)
        return self.erasing(self.light(moved_BCHW, light_2B), erasing_5B)

    def _draws(self, images_BCHW: Tensor, rank: int, ranks: int) -> Tensor:
        """Random numbers of −1…1 for the images of this process, of those of all."""
        count, device = len(images_BCHW), images_BCHW.device
        rows = augment_affine.DRAWS + augment_light.DRAWS + augment_erasing.DRAWS
        every_RB = torch.rand(rows, count * ranks, device=device, generator=self.generator.on(device))
        return every_RB[:, rank * count : (rank + 1) * count].mul_(2).sub_(1)
