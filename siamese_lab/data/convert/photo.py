"""Convert a photograph to a square of 8-bit gray or RGB."""

from dataclasses import dataclass

from PIL import Image, ImageOps

from siamese_lab.data.convert.center import center_of
from siamese_lab.data.convert.common import Converted, changes_of_form, eight_bits, turn_upright


@dataclass(frozen=True)
class PhotoConverter:
    """Turns an image upright, puts it on black, resizes its shorter side and keeps the middle square.

    With `stored_size`, the shorter side is resized to it, and the middle square of `size` is kept.

    The input is an image as read from its file. 16-bit, palette, transparent and CMYK images become gray or RGB.
    """

    size: int
    """Height and width, in pixels."""
    color: bool
    stored_size: int | None = None
    """The shorter side before the middle square is kept, in pixels; None is `size`."""

    @property
    def mode(self) -> str:
        """Pillow's mode: "L" for gray, "RGB" for color."""
        return "RGB" if self.color else "L"

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the converted square."""
        side = self.stored_size or self.size
        if side * 2 <= min(image.size):
            image.draft(None, (side * 2, side * 2))  # lets JPEG skip detail that is lost anyway
        upright = turn_upright(image)
        return center_of(self.square(eight_bits(upright).convert(self.mode), side), self.size)

    def square(self, image: Image.Image, side: int) -> Image.Image:
        """Return the image as a square: its shorter side is resized to `side` pixels, and the middle is kept."""
        return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)

    def converted(self, image: Image.Image) -> Converted:
        """Return the converted square and the list of changes."""
        changes = changes_of_form(image, self.mode, self.size)  # `draft` changes the size
        return Converted(self(image), changes)
