"""The boxes of a table: the part of each image that is used, in pixels of the image as it is displayed."""

from typing import NamedTuple

from PIL import Image

from siamese_lab.data.convert.common import turn_upright
from siamese_lab.data.io.open_image import UnreadableImageError


class Box(NamedTuple):
    """A part of an image: columns `left` to `right` − 1 and rows `upper` to `lower` − 1, counted from 0."""

    left: int
    upper: int
    right: int
    lower: int


class BoxOutsideError(UnreadableImageError):
    """Raised when a box is not inside of its image."""

    cure = "Correct the box."


class Crops(NamedTuple):
    """The box of each image of a list of files."""

    boxes: tuple[Box | None, ...]
    """None for an image that is used whole."""
    places: tuple[str, ...]
    """The place of each box in the file of the user, which messages name."""

    def cut(self, row: int, image: Image.Image) -> Image.Image:
        """Return the part of an image that its box holds, or the image itself if it has no box.

        Args:
            row: position of the image in the list.
            image: the image as read from its file; it is turned upright before it is cut.

        Raises:
            BoxOutsideError: if the box is not inside of the image.
        """
        box = self.boxes[row]
        if box is None:
            return image
        upright = turn_upright(image)
        if box.right > upright.width or box.lower > upright.height:
            raise BoxOutsideError(
                f"{self.places[row]}: the box from ({box.left}, {box.upper}) to ({box.right}, {box.lower}) is not "
                f"inside of its {upright.width}×{upright.height} pixels"
            )
        part = upright.crop(box)
        part.format = image.format  # `eight_bits` reads it
        return part

    def rows(self, rows: list[int]) -> "Crops":
        """Return the boxes of some of the images."""
        return Crops(tuple(self.boxes[row] for row in rows), tuple(self.places[row] for row in rows))
