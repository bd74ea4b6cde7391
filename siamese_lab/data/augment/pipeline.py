"""Augment a whole batch at once, on the device of the model, from one stream of random numbers.

Shapes: N batches drawn at once, B images, C channels, H × W pixels, R random numbers for each image.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.augment import affine, color, light
from siamese_lab.data.augment import crop as augment_crop
from siamese_lab.data.augment import erasing as augment_erasing
from siamese_lab.data.convert.center import center_crop, margin
from siamese_lab.devices.generator import DeviceGenerator
from siamese_lab.errors import UserError
from siamese_lab.runs.plain_values import whole_number

AT_ONCE = 1 << 13
"""Number of images that one draw covers (at least one batch): many small draws cost more than one large draw."""
TILE = 1 << 17
"""Pixels per channel that a CPU changes at a time, so that they fit its cache. New memory is slow."""
PHOTO_STREAM = 0x70686F746F
"""Added to the seed of the crops and colors, which have a stream of their own, so that they alter no other effect."""


def to_float(images_BCHW: Tensor) -> Tensor:
    """Convert uint8 in 0…255 to float32 in 0…1. Frozen features, which are float32, stay as they are."""
    return images_BCHW if images_BCHW.is_floating_point() else images_BCHW.float().mul_(1 / 255)


class _DrawnAmounts(NamedTuple):
    """Random amounts for N batches of B images, and the state that draws them again."""

    amounts: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
    """Affine maps (N, 2, B, 3), and draws for light (N, 2, B), erasing (N, 5, B), crops (N, 22, B), colors (N, 2, B).

    Crops and colors have no rows if no option of them is on.
    """
    generator_before: dict[str, Any]
    photo_generator_before: dict[str, Any]
    made_for: tuple[int, torch.device]


class Augmentation:
    """Crops each image and changes its geometry, light and colors, with separate amounts per image.

    The order is fixed: `RandomCrop` and `RandomAffine` in one step, `RandomLight`, `RandomColor`, `RandomErasing`.
    torchvision's `ColorJitter` draws a random order of its four changes instead.

    Every image uses the same number of random numbers for all options. A change of one option therefore does not alter
    the effects of the others.

    Args:
        rotation, scale, shear, translation, mirror, interpolation: see `RandomAffine`.
        brightness, contrast: see `RandomLight`.
        erasing, erasing_area: see `RandomErasing`.
        seed: seed of the stream.
        crop_scale, crop_ratio: see `RandomCrop`.
        saturation, hue: see `RandomColor`.

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
        crop_scale: Sequence[float] | None = None,
        crop_ratio: Sequence[float] = (0.75, 1.3333),
        saturation: float = 0.0,
        hue: float = 0.0,
    ) -> None:
        self.affine = affine.RandomAffine(rotation, scale, shear, translation, mirror, interpolation)
        self.light = light.RandomLight(brightness, contrast)
        self.erasing = augment_erasing.RandomErasing(erasing, erasing_area)
        self.crop = augment_crop.RandomCrop(crop_scale, crop_ratio)
        self.color = color.RandomColor(saturation, hue)
        self.generator = DeviceGenerator(seed)
        self.photo_generator = DeviceGenerator((seed + PHOTO_STREAM) % 2**63)
        self._drawn: _DrawnAmounts | None = None
        self._used = 0

    def check_form(self, channels: int, stored_size: int, size: int) -> None:
        """Raise UserError if images of this form cannot be augmented with the options.

        Args:
            channels: number of channels.
            stored_size: height and width of the images before the augmentation.
            size: height and width of the result.
        """
        self.color.check_channels(channels)
        if self.crop.is_active and stored_size > augment_crop.MOST_REDUCED * size:
            raise UserError(
                f"With data.augment.crop_scale, data.stored_size must be at most {augment_crop.MOST_REDUCED} × "
                f"data.image_size={size}, because larger crops are reduced without antialiasing, but is {stored_size}."
            )

    def __call__(self, images_BCHW: Tensor, rank: int = 0, ranks: int = 1, size: int | None = None) -> Tensor:
        """Convert uint8 images to float32 in 0…1, and change each by its own random amounts.

        Args:
            images_BCHW: uint8 images of this process.
            rank: rank of this process. Each process has one part of the batch; together the processes compute the same
                result as a single process that has the whole batch.
            ranks: number of processes.
            size: height and width of the result; None is those of the images, which random crops then need square.
                Without random crops, the middle of larger images is kept.
        """
        count = len(images_BCHW)
        drawn, batch = self._next(count * ranks, images_BCHW.device)
        ours = slice(rank * count, (rank + 1) * count)
        maps_2B3, light_2B, erasing_5B, crop_22B, color_2B = (amount[batch, :, ours] for amount in drawn.amounts)
        images_BCHW, crop = self._framed(images_BCHW, crop_22B, size)
        changed_CHW = images_BCHW.shape[1:] if crop is None else (images_BCHW.shape[1], crop.side, crop.side)
        most = max(1, TILE // math.prod(images_BCHW.shape[2:]))
        if count <= most or images_BCHW.device.type != "cpu":
            return self._change(images_BCHW, crop, maps_2B3, light_2B, erasing_5B, color_2B)
        changed_BCHW = torch.empty(count, *changed_CHW)
        for first in range(0, count, most):
            part = slice(first, first + most)
            amounts = (amount_RB[:, part] for amount_RB in (maps_2B3, light_2B, erasing_5B, color_2B))
            of_part = None if crop is None else crop._replace(boxes_4B=crop.boxes_4B[:, part])
            changed_BCHW[part] = self._change(images_BCHW[part], of_part, *amounts)
        return changed_BCHW

    def _framed(self, images_BCHW: Tensor, crop_22B: Tensor, size: int | None) -> tuple[Tensor, affine.Crop | None]:
        """Return the images and the part of each that fills the result; None for whole images.

        If nothing but the size changes, the middle of the images is cut out. Otherwise an affine map of the middle may
        read the pixels around it.
        """
        height, width = images_BCHW.shape[2:]
        if self.crop.is_active:
            return images_BCHW, affine.Crop(self.crop.boxes(crop_22B, height, width), size or height)
        if size is None or (height, width) == (size, size):
            return images_BCHW, None
        if not self.affine.moves:
            return center_crop(images_BCHW, size), None
        middle = (margin(width, size), margin(height, size), size, size)
        boxes_4B = torch.stack([crop_22B.new_full((len(images_BCHW),), float(each)) for each in middle])
        return images_BCHW, affine.Crop(boxes_4B, size)

    def _change(
        self,
        images_BCHW: Tensor,
        crop: affine.Crop | None,
        maps_2B3: Tensor,
        light_2B: Tensor,
        erasing_5B: Tensor,
        color_2B: Tensor,
    ) -> Tensor:
        moved_BCHW = self.affine(to_float(images_BCHW), maps_2B3, crop)
        lit_BCHW = self.light(moved_BCHW, light_2B)
        colored_BCHW = self.color(lit_BCHW, color_2B) if self.color.is_active else lit_BCHW
        return self.erasing(colored_BCHW, erasing_5B)

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
        (crop_N22B, color_N2B), photo_before = self._draw_photo(batches, count, device)
        amounts = (self.affine.maps(affine_N6B), light_N2B, erasing_N5B, crop_N22B, color_N2B)
        return _DrawnAmounts(amounts, before, photo_before, (count, device))

    def _draw_photo(
        self, batches: int, count: int, device: torch.device
    ) -> tuple[tuple[Tensor, Tensor], dict[str, Any]]:
        """Draw random numbers in −1…1 for crops and colors, and return the state that draws them again.

        Nothing is drawn if no option of them is on.
        """
        if not (self.crop.is_active or self.color.is_active):
            nothing_N0B = torch.empty(batches, 0, count, device=device)
            return (nothing_N0B, nothing_N0B), {}
        rows = [augment_crop.DRAWS, color.DRAWS]
        generator = self.photo_generator.on(device)
        before = self.photo_generator.state_dict()
        draws_NRB = torch.rand(batches, sum(rows), count, device=device, generator=generator).mul_(2).sub_(1)
        crop_N22B, color_N2B = draws_NRB.split(rows, 1)
        return (crop_N22B, color_N2B), before

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both generators before the last draw, and the number of its batches that were used."""
        if self._drawn is None:
            before, photo_before = self.generator.state_dict(), self.photo_generator.state_dict()
        else:
            before, photo_before = self._drawn.generator_before, self._drawn.photo_generator_before
        photo = {"photo_generator": photo_before} if photo_before else {}
        return {"generator": before, "used": self._used, **photo}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position of a stream."""
        self.generator.load_state_dict(state["generator"])
        self.photo_generator.load_state_dict(state.get("photo_generator", {}))
        self._drawn, self._used = None, whole_number(state["used"], "used")
