"""A random affine map for each image of a batch: one look-up of the places that all its pixels come from.

Four neighbours of a place are four look-ups at one index, in an image with a black margin, so nothing is compared.
All that is large is written into buffers that are kept, as fresh memory costs as much as the arithmetic.

Shapes: B images, C channels, H × W pixels, S = H·W, U × V pixels with the margin.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

DRAWS = 6
INTERPOLATIONS = ("bilinear", "nearest")
TILE = 1 << 17
"""Pixels that are mapped at a time on a CPU, so that they stay in its cache."""


class RandomAffine:
    """Turns, scales, shears, shifts and mirrors each image by amounts drawn uniformly from ± its range.

    What comes in from outside the image is black.

    Args:
        rotation: largest turn in degrees.
        scale: largest relative change of size: 0.1 draws from 0.9…1.1.
        shear: largest shear in degrees.
        translation: largest shift as a share of the image's side.
        mirror: whether half the images are mirrored left to right.
        interpolation: `bilinear`, as `torch.nn.functional.grid_sample` does it, or `nearest`, which takes half the time
            but leaves edges ragged.

    Raises:
        ValueError: for a range below 0, a scale of 1 and more, or an unknown interpolation.
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
            raise ValueError(
                "Augmentation ranges must be 0 or more, scale below 1 and shear below 90°, but are "
                f"{rotation=}, {scale=}, {shear=}, {translation=}."
            )
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"The interpolation of an augmentation is one of {', '.join(INTERPOLATIONS)}, not {interpolation!r}."
            )
        self.ranges = (math.radians(rotation), math.radians(shear), scale, translation, translation)
        self.mirror = mirror
        self.interpolation = interpolation
        self._tile: _Tile | None = None

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, draws_6B: Tensor) -> Tensor:
        """Each image under a map of its own.

        Args:
            images_BCHW: of any type; uint8 saves time.
            draws_6B: of −1…1 for each image: turn, shear, size, shift to the left, shift upwards, and side (mirrored
                where below 0).

        Returns:
            float32, in the range of the images.
        """
        if not any(self.ranges):
            return self._mirrored(images_BCHW, draws_6B[5])
        count, channels, height, width = images_BCHW.shape
        maps_3B2 = self._maps(draws_6B, height, width)
        most = count if images_BCHW.is_cuda else max(1, min(count, TILE // (height * width)))
        most = -(-count // -(-count // most))  # in parts of about one size
        tile = self._tile_for(most, channels, height, width, images_BCHW.device)
        mapped_BCHW = torch.empty(images_BCHW.shape, device=images_BCHW.device)
        parts = zip(images_BCHW.split(most), maps_3B2.split(most, 1), mapped_BCHW.split(most), strict=True)
        for images_bCHW, maps_3b2, mapped_bCHW in parts:
            tile.narrow(len(images_bCHW)).map(images_bCHW, maps_3b2, mapped_bCHW, self.interpolation)
        return mapped_BCHW

    def _mirrored(self, images_BCHW: Tensor, side_B: Tensor) -> Tensor:
        images_BCHW = images_BCHW.float()
        if not self.mirror:
            return images_BCHW
        return torch.where((side_B < 0)[:, None, None, None], images_BCHW.flip(3), images_BCHW)

    def _maps(self, draws_6B: Tensor, height: int, width: int) -> Tensor:
        """Maps from places in the new image to places (x, y) in the old with its margin, in pixels.

        What a step to the right adds, what a step down adds, and where the middle comes from.
        """
        turn_B, shear_B, size_B, left_B, up_B = (
            draw_B * limit for draw_B, limit in zip(draws_6B, self.ranges, strict=False)
        )
        turned_B = torch.polar(1 / (1 + size_B), turn_B)
        right_B = torch.where(draws_6B[5] < 0, -turned_B, turned_B) if self.mirror else turned_B
        down_B = turned_B * torch.complex(shear_B.tan(), torch.ones_like(shear_B))
        middle_B = torch.complex(left_B * width + (width + 1) / 2, up_B * height + (height + 1) / 2)
        return torch.view_as_real(torch.stack([right_B, down_B, middle_B]))

    def _tile_for(self, count: int, channels: int, height: int, width: int, device: torch.device) -> "_Tile":
        wanted = (count, channels, height, width, device)
        if self._tile is None or self._tile.made_for != wanted:
            self._tile = _Tile.of(count, channels, height, width, device)
        return self._tile


class _Tile(NamedTuple):
    """Buffers for the images that are mapped at a time."""

    padded_BCUV: Tensor
    first_B1: Tensor
    """int32: where each image begins among all pixels of a channel."""
    basis_3S: Tensor
    """The places of the new image, counted from its middle, and 1."""
    places_2BS: Tensor
    """x and y in the padded image."""
    whole_2BS: Tensor
    index_BS: Tensor
    pixels_BS: Tensor
    made_for: tuple[int, int, int, int, torch.device]

    @classmethod
    def of(cls, count: int, channels: int, height: int, width: int, device: torch.device) -> "_Tile":
        """Buffers for `count` images."""
        padded_BCUV = torch.zeros(channels, count, height + 3, width + 3, device=device).transpose(0, 1)
        pixels = height * width
        down_S, right_S = torch.meshgrid(
            torch.arange(height, device=device) - (height - 1) / 2,
            torch.arange(width, device=device) - (width - 1) / 2,
            indexing="ij",
        )
        image_B1 = torch.arange(count, dtype=torch.int32, device=device)[:, None]
        return cls(
            padded_BCUV,
            image_B1 * ((height + 3) * (width + 3)),
            torch.stack([right_S.flatten(), down_S.flatten(), torch.ones(pixels, device=device)]),
            torch.empty(2, count, pixels, device=device),
            torch.empty(2, count, pixels, device=device),
            torch.empty(count, pixels, dtype=torch.int32, device=device),
            torch.empty(count, pixels, device=device),
            (count, channels, height, width, device),
        )

    def narrow(self, count: int) -> "_Tile":
        """The buffers of the first `count` images; themselves for all."""
        if count == len(self.first_B1):
            return self
        return _Tile.of(count, *self.made_for[1:])

    def map(self, images_BCHW: Tensor, maps_3B2: Tensor, out_BCHW: Tensor, interpolation: str) -> None:
        """Write the mapped images to `out_BCHW`."""
        height, width = images_BCHW.shape[2:]
        self.padded_BCUV[:, :, 1 : 1 + height, 1 : 1 + width] = images_BCHW
        torch.mm(maps_3B2.permute(2, 1, 0).reshape(-1, 3), self.basis_3S, out=self.places_2BS.flatten(0, 1))
        x_BS, y_BS = self.places_2BS
        x_BS.clamp_(0, width + 1)  # the margin is 1 wide, and beyond it all is black
        y_BS.clamp_(0, height + 1)
        (self._bilinear if interpolation == "bilinear" else self._nearest)(out_BCHW)

    def _nearest(self, out_BCHW: Tensor) -> None:
        self._index(self.places_2BS.round_())
        for channel, pixels_N in enumerate(self._channels()):
            if len(out_BCHW[0]) == 1:
                self._look_up(pixels_N, out_BCHW)
            else:
                self._look_up(pixels_N, self.pixels_BS)
                out_BCHW[:, channel] = self.pixels_BS.view_as(out_BCHW[:, channel])

    def _bilinear(self, out_BCHW: Tensor) -> None:
        torch.floor(self.places_2BS, out=self.whole_2BS)
        across_BS, along_BS = self.places_2BS.sub_(self.whole_2BS)
        self._index(self.whole_2BS)
        upper_BS, lower_BS = self.whole_2BS  # now that the index is taken, its place serves for these
        row = self.padded_BCUV.shape[3]
        for channel, pixels_N in enumerate(self._channels()):
            for level_BS, step in ((upper_BS, 0), (lower_BS, row)):
                self._look_up(pixels_N[step:], level_BS)
                self._look_up(pixels_N[step + 1 :], self.pixels_BS)
                level_BS.lerp_(self.pixels_BS, across_BS)
            mapped_BHW = out_BCHW[:, channel]
            upper_BHW, lower_BHW, along_BHW = (each.view_as(mapped_BHW) for each in (upper_BS, lower_BS, along_BS))
            torch.lerp(upper_BHW, lower_BHW, along_BHW, out=mapped_BHW)

    def _look_up(self, pixels_N: Tensor, out_BS: Tensor) -> None:
        torch.index_select(pixels_N, 0, self.index_BS.view(-1), out=out_BS.view(-1))

    def _index(self, whole_2BS: Tensor) -> None:
        """From whole places to the number of the pixel."""
        x_BS, y_BS = whole_2BS
        self.index_BS.copy_(x_BS.add_(y_BS, alpha=self.padded_BCUV.shape[3])).add_(self.first_B1)

    def _channels(self) -> list[Tensor]:
        return [plane_BUV.reshape(-1) for plane_BUV in self.padded_BCUV.unbind(1)]
