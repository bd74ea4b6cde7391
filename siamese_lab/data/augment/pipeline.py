"""Augment a whole batch at once, on the device of the model, from one stream of random numbers.

Shapes: N batches drawn at once, B images, C channels, H × W pixels, R random numbers for each image.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.augment import affine, light
from siamese_lab.data.augment import erasing as augment_erasing
from siamese_lab.devices.generator import DeviceGenerator
from siamese_lab.runs.plain_values import whole_number

AT_ONCE = 1 << 13
"""Number of images that one draw covers (at least one batch): many small draws cost more than one large draw."""
TILE = 1 << 17
"""Pixels per channel that a CPU changes at a time, so that they fit its cache. New memory is slow."""


def to_float(images_BCHW: Tensor) -> Tensor:
    """Convert uint8 in 0…255 to float32 in 0…1. Frozen features, which are float32, stay as they are."""
    return images_BCHW if images_BCHW.is_floating_point() else images_BCHW.float().mul_(1 / 255)


class _DrawnAmounts(NamedTuple):
    """Random amounts for N batches of B images, and the state that draws them again."""

    amounts: tuple[Tensor, Tensor, Tensor]
    """Affine maps (N, 2, B, 3), draws for brightness and contrast (N, 2, B), and draws for erasing (N, 5, B)."""
    generator_before: dict[str, Any]
    made_for: tuple[int, torch.device]


class Augmentation:
    """Applies `RandomAffine`, `RandomLight` and `RandomErasing` to each image, with separate amounts per image.

    Every image uses the same number of random numbers for all options. A change of one option therefore does not alter
    the effects of the others.

    Args:
        rotation, scale, shear, translation, mirror, interpolation: see `RandomAffine`.
        brightness, contrast: see `RandomLight`.
        erasing, erasing_area: see `RandomErasing`.
        seed: seed of the stream.

    Raises:
        UserError: for an option outside its range.
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
        self.affine = affine.RandomAffine(rotation, scale, shear, translation, mirror, interpolation)
        self.light = light.RandomLight(brightness, contrast)
        self.erasing = augment_erasing.RandomErasing(erasing, erasing_area)
        self.generator = DeviceGenerator(seed)
        self._drawn: _DrawnAmounts | None = None
        self._used = 0

    def __call__(self, images_BCHW: Tensor, rank: int = 0, ranks: int = 1) -> Tensor:
        """Convert uint8 images to float32 in 0…1, and change each by its own random amounts.

        Args:
            images_BCHW: uint8 images of this process.
            rank: rank of this process. Each process has one part of the batch; together the processes compute the same
                result as a single process that has the whole batch.
            ranks: number of processes.
        """
        count = len(images_BCHW)
        drawn, batch = self._next(count * ranks, images_BCHW.device)
        ours = slice(rank * count, (rank + 1) * count)
        amounts = [amount_NRB[batch, :, ours] for amount_NRB in drawn.amounts]
        most = max(1, TILE // math.prod(images_BCHW.shape[2:]))
        if count <= most or images_BCHW.device.type != "cpu":
            return self._change(images_BCHW, *amounts)
        changed_BCHW = torch.empty(images_BCHW.shape)
        for first in range(0, count, most):
            part = slice(first, first + most)
            changed_BCHW[part] = self._change(images_BCHW[part], *(amount_RB[:, part] for amount_RB in amounts))
        return changed_BCHW

    def _change(self, images_BCHW: Tensor, maps_2B3: Tensor, light_2B: Tensor, erasing_5B: Tensor) -> Tensor:
        moved_BCHW = self.affine(to_float(images_BCHW), maps_2B3)
        return self.erasing(self.light(moved_BCHW, light_2B), erasing_5B)

    def _next(self, count: int, device: torch.device) -> tuple[_DrawnAmounts, int]:
        """Return the drawn amounts that contain the next batch of `count` images, and the index of that batch."""
        drawn = self._drawn or self._draw(count, device)  # a restored stream continues inside a draw
        if self._used >= len(drawn.amounts[0]) or drawn.made_for != (count, device):
            drawn, self._used = self._draw(count, device), 0
        self._drawn, self._used = drawn, self._used + 1
        return drawn, self._used - 1

    def _draw(self, count: int, device: torch.device) -> _DrawnAmounts:
        """Draw random numbers in −1…1 for the images of the next batches of all processes."""
        rows = [affine.DRAWS, light.DRAWS, augment_erasing.DRAWS]
        generator = self.generator.on(device)
        before = self.generator.state_dict()
        batches = max(1, AT_ONCE // count)
        draws_NRB = torch.rand(batches, sum(rows), count, device=device, generator=generator).mul_(2).sub_(1)
        affine_N6B, light_N2B, erasing_N5B = draws_NRB.split(rows, 1)
        return _DrawnAmounts((self.affine.maps(affine_N6B), light_N2B, erasing_N5B), before, (count, device))

    def state_dict(self) -> dict[str, Any]:
        """Return the generator state before the last draw, and the number of its batches that were used."""
        before = self.generator.state_dict() if self._drawn is None else self._drawn.generator_before
        return {"generator": before, "used": self._used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position of a stream."""
        self.generator.load_state_dict(state["generator"])
        self._drawn, self._used = None, whole_number(state["used"], "used")
