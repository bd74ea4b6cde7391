"""Steps that all conversions of an image share, and the list of changes that a conversion reports."""

from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from siamese_lab.errors import UserError

SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
DEEP = (*SIXTEEN_BITS, "I", "F")
READ_AS_16_BITS = ("PNG", "PPM")
"""Formats in which Pillow's mode I holds 16 bits."""
TOLERANCE = 0.02
"""Fraction of the range by which floating-point values may exceed it, for example after a resize. They are clipped."""
TRANSPARENT = ("LA", "PA", "RGBA", "La", "RGBa")


class Converted(NamedTuple):
    """A converted image, in the form of a data set."""

    image: Image.Image
    changes: tuple[str, ...]
    """The changes that the conversion made, such as `("RGBA to L", "640×480 to 28×28 pixels", "inverted")`."""


def changes_of_form(image: Image.Image, mode: str, side: int) -> tuple[str, ...]:
    """List the changes that convert an image, as read from its file, to a mode and to a square: see `Converted`."""
    changes = []
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        changes.append("turned upright")
    if image.mode != mode:
        changes.append(f"{image.mode} to {mode}")
    if image.size != (side, side):
        changes.append(f"{image.width}×{image.height} to {side}×{side} pixels")
    return tuple(changes)


def is_transparent(image: Image.Image) -> bool:
    """Return whether the image may have transparent parts."""
    return image.mode in TRANSPARENT or "transparency" in image.info


def turn_upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF data says."""
    turned = ImageOps.exif_transpose(image)
    turned.format = image.format  # `eight_bits` reads it
    return turned


def eight_bits(image: Image.Image, behind: int = 0) -> Image.Image:
    """Convert an image to 8 bits per channel, without transparency.

    16-bit values keep their upper 8 bits. 32-bit integers must use 16 of their bits. Floating-point values must be
    0…1, or 0…255. No other range is guessed, because images of one set must have one scale.

    Args:
        image: an image of any mode.
        behind: gray level, 0…255, that shows through transparent parts.

    Raises:
        UserError: if values of 32 bits have another range, or the color space cannot be converted.
    """
    if image.mode in DEEP:
        values_HW = np.asarray(image)
        if image.mode == "I" and image.format not in READ_AS_16_BITS:
            _check_integers(values_HW)
        return Image.fromarray(_scale_floats(values_HW) if image.mode == "F" else _upper_bits(values_HW))
    if image.mode == "LAB":
        raise UserError("its colors are CIELAB, but gray, RGB or CMYK is expected: convert it to RGB")
    if is_transparent(image):
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, (behind,) * 3 + (255,)), layers).convert("RGB")
    return image


def _check_integers(values_HW: np.ndarray) -> None:
    """Raise UserError unless 32-bit integers use 16 bits. 8 bits of 16 would become black."""
    low, high = int(values_HW.min(initial=0)), int(values_HW.max(initial=0))
    if low < 0 or high > 65535 or 0 < high <= 255:
        raise UserError(
            f"its 32-bit values are {low:,}…{high:,}, but 32-bit values are read as 16 bits, 0…65,535: save it with 8 "
            "or 16 bits"
        )


def _upper_bits(values_HW: np.ndarray) -> np.ndarray:
    return (values_HW.astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)


def _scale_floats(values_HW: np.ndarray) -> np.ndarray:
    low, high = float(values_HW.min(initial=0)), float(values_HW.max(initial=0))
    whole = 1 if high <= 1 + TOLERANCE else 255
    if not (-TOLERANCE * whole <= low and high <= (1 + TOLERANCE) * whole) or 1 + TOLERANCE < high < 2:
        raise UserError(
            f"its floating-point values are {low:g}…{high:g}, but 0…1 or 0…255 is expected: scale the values, or save "
            "it with 8 or 16 bits"
        )
    return (values_HW * (255 / whole)).clip(0, 255).round().astype(np.uint8)
