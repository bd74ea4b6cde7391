"""An image of any kind that people have, as a square of 8-bit grey or colour."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


@dataclass(frozen=True)
class PlainImage:
    """Turns it upright, flattens it on black, resizes its shorter side and keeps the middle.

    What it is called with is an image as it is in its file: its 16 bits, palette, transparency or inks become grey, or
    red, green and blue.
    """

    size: int
    """Height and width, in pixels."""
    colour: bool

    def __call__(self, image: Image.Image) -> Image.Image:
        """The square."""
        if self.size * 2 <= min(image.size):
            image.draft(None, (self.size * 2, self.size * 2))  # lets JPEG skip detail that is lost anyway
        upright = ImageOps.exif_transpose(image)
        mode = "RGB" if self.colour else "L"
        return ImageOps.fit(_eight_bits(upright).convert(mode), (self.size, self.size), Image.Resampling.BILINEAR)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Without transparency, and of 8 bits for each colour."""
    if image.mode in DEEP:
        return Image.fromarray(_scaled(np.asarray(image)))
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, (0, 0, 0, 255)), layers).convert("RGB")
    return image


def _scaled(values_HW: np.ndarray) -> np.ndarray:
    """Of 16 bits the upper eight; floating point is taken to be 0…1, or 0…255 where it goes beyond."""
    if np.issubdtype(values_HW.dtype, np.floating):
        whole = 255 if values_HW.max(initial=0) <= 1 else 1
        return (values_HW * whole).clip(0, 255).round().astype(np.uint8)
    return (values_HW.astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)
