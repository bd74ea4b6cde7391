"""Cut the middle square out of square images.

Tables may hold larger images than the network sees, see `DataModule.stored_size`. Evaluation, training without random
crops and the conversion of any other image cut the same pixels.

Shapes: B images, C channels, H × W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image
from torch import Tensor


def margin(stored: int, size: int) -> int:
    """Return the number of pixels to the left of the middle, and above it. An odd rest lies at the right and below."""
    return (stored - size) // 2


def center_crop(images_BCHW: Tensor, size: int) -> Tensor:
    """Return a view of the middle of images, `size` high and wide."""
    upper, left = (margin(stored, size) for stored in images_BCHW.shape[2:])
    return images_BCHW[:, :, upper : upper + size, left : left + size]


def center_of(image: Image.Image, size: int) -> Image.Image:
    """Return the middle of an image, `size` high and wide."""
    if image.size == (size, size):
        return image
    left, upper = (margin(stored, size) for stored in image.size)
    return image.crop((left, upper, left + size, upper + size))


@dataclass(frozen=True)
class CenterConverter:
    """Converts an image and keeps the middle of the result."""

    convert: Callable[[Image.Image], Image.Image]
    size: int
    """Height and width of the result, in pixels."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the middle of the converted image."""
        return center_of(self.convert(image), self.size)
