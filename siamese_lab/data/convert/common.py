"""Steps that all conversions of an image share, and the list of changes that a conversion reports."""

from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
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


def eight_bits(image: Image.Image, behind: int = 0) -> Image.Image:
    """Convert an image to 8 bits per channel, without transparency.

    Args:
        image: an image of any mode.
        behind: gray level, 0…255, that shows through transparent parts.
    """
    if image.mode in DEEP:
        return Image.fromarray(_scaled(np.asarray(image)))
    if is_transparent(image):
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, (behind,) * 3 + (255,)), layers).convert("RGB")
    return image


def _scaled(values_HW: np.ndarray) -> np.ndarray:
    """Scale values to 8 bits: the upper 8 of 16 bits; floats are read as 0…1, or as 0…255 if one exceeds 1."""
    if np.issubdtype(values_HW.dtype, np.floating):
        whole = 255 if values_HW.max(initial=0) <= 1 else 1
        return (values_HW * whole).clip(0, 255).round().astype(np.uint8)
    return (values_HW.astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
