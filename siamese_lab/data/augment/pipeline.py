"""Augmentation of a whole batch at once, on the device of the model, from one stream of random numbers.

Shapes: N batches drawn at once, B images, C channels, H × W pixels, R random numbers for each image.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.augment import affine, light
from siamese_lab.data.augment import erasing as augment_erasing
from siamese_lab.rng import DeviceGenerator

AT_ONCE = 1 << 13
"""Images that are drawn for at once (at least a batch), as many small draws cost more than a large one."""
TILE = 1 << 17
"""Pixels of a channel that a CPU changes at a time, in its cache: fresh memory costs more than the arithmetic."""


def to_float(images_BCHW: Tensor) -> Tensor:
    """uint8 0…255 to float32 0…1."""
    return images_BCHW.float().mul_(1 / 255)


class _DrawnAmounts(NamedTuple):
    """What N batches of B images are changed by, and what it takes to draw it again."""

    amounts: tuple[Tensor, Tensor, Tensor]
    """Affine maps (N, 2, B, 3), draws for the light (N, 2, B) and for what is erased (N, 5, B)."""
    generator_before: dict[str, Any]
    made_for: tuple[int, torch.device]


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
        UserError: for a range that is none.
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
        """Images uint8 → float32 0…1, each changed in its own way.

        Args:
            images_BCHW: of this process.
            rank: which of `ranks` processes this is, which have a part of one batch each: together they do what one
                does with the whole.
            ranks: how many there are.
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
        """What is drawn for the next batch of `count` images, among others, and which of them it is."""
        drawn = self._drawn or self._draw(count, device)  # a stored stream goes on amid what is drawn at once
        if self._used >= len(drawn.amounts[0]) or drawn.made_for != (count, device):
            drawn, self._used = self._draw(count, device), 0
        self._drawn, self._used = drawn, self._used + 1
        return drawn, self._used - 1

    def _draw(self, count: int, device: torch.device) -> _DrawnAmounts:
        """Random numbers of −1…1 for the images of the next batches of all processes."""
        rows = [affine.DRAWS, light.DRAWS, augment_erasing.DRAWS]
        generator = self.generator.on(device)
        before = self.generator.state_dict()
        batches = max(1, AT_ONCE // count)
        draws_NRB = torch.rand(batches, sum(rows), count, device=device, generator=generator).mul_(2).sub_(1)
        affine_N6B, light_N2B, erasing_N5B = draws_NRB.split(rows, 1)
        return _DrawnAmounts((self.affine.maps(affine_N6B), light_N2B, erasing_N5B), before, (count, device))

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: before what was drawn last, and how many batches of that were used."""
        before = self.generator.state_dict() if self._drawn is None else self._drawn.generator_before
        return {"generator": before, "used": self._used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a stream stood."""
        self.generator.load_state_dict(state["generator"])
        self._drawn, self._used = None, state["used"]
