"""An image of any kind that people have, as a square of 8-bit grey or colour."""

from dataclasses import dataclass

from PIL import Image, ImageOps

from siamese_lab.data.convert.common import Converted, changes_of_form, eight_bits


@dataclass(frozen=True)
class PhotoConverter:
    """Turns it upright, flattens it on black, resizes its shorter side and keeps the middle.

    What it is called with is an image as it is in its file: its 16 bits, palette, transparency or inks become grey, or
    red, green and blue.
    """

    size: int
    """Height and width, in pixels."""
    colour: bool

    @property
    def mode(self) -> str:
        """Pillow's name of grey or of colour."""
        return "RGB" if self.colour else "L"

    def __call__(self, image: Image.Image) -> Image.Image:
        """The square."""
        if self.size * 2 <= min(image.size):
            image.draft(None, (self.size * 2, self.size * 2))  # lets JPEG skip detail that is lost anyway
        upright = ImageOps.exif_transpose(image)
        return ImageOps.fit(eight_bits(upright).convert(self.mode), (self.size, self.size), Image.Resampling.BILINEAR)

    def converted(self, image: Image.Image) -> Converted:
        """The square, with what was changed."""
        changes = changes_of_form(image, self.mode, self.size)  # before a draft changes the size
        return Converted(self(image), changes)
