"""Open image files within stated limits, and give the reason if one cannot be read.

Pillow recognizes a file by its content, whatever its suffix is.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from PIL import Image, UnidentifiedImageError

from siamese_lab.errors import ResourceError, UserError

MAX_PIXELS = 100_000_000
"""Largest image that is read, as width × height. A file of 1 MB can hold an image that fills the memory."""
ROOM, BYTES_PER_PIXEL = 64_000_000, 8
"""Bytes of a file that need no look at its header, and bytes that each pixel adds to them: four channels of 16 bits."""
NEEDS_PROGRAM = ("EPS", "WMF")
"""Formats that Pillow reads by running another program. They are refused."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # check_image has its own limit

Made = TypeVar("Made")


class UnreadableImageError(ResourceError):
    """Raised when a file is not an image that can be read. The message is the reason, without the name of the file."""

    cure = "Replace it."
    """A sentence that says what to do."""


class TooLittleMemoryError(UnreadableImageError):
    """Raised when the memory does not suffice to read an image. The image itself may be intact."""

    cure = "Free some memory, or make the image smaller."


def convert_file(stream: BinaryIO, convert: Callable[[Image.Image], Made]) -> Made:
    """Open an image and return its conversion.

    Raises:
        UnreadableImageError: if the image is damaged, too large or in a format that is not read.
        UserError: if `convert` refuses the image.
    """
    try:
        with _open(stream) as image:
            return convert(image)
    except UserError:
        raise
    except MemoryError as error:
        raise TooLittleMemoryError("the memory does not suffice to decode it") from error
    except Exception as error:  # the many formats raise nearly every exception there is for damaged files
        damage = _find_damage(stream)
        if damage is None:
            raise  # the image is intact, so the conversion has a bug
        raise UnreadableImageError(_reason(damage)) from error


def convert_opened(image: Image.Image, convert: Callable[[Image.Image], Made]) -> Made:
    """Return the conversion of an image that is already open.

    Raises:
        UserError: in the same cases as `convert_file`.
    """
    check_image(image)
    try:
        return convert(image)
    except UserError:
        raise
    except MemoryError as error:
        raise TooLittleMemoryError("the memory does not suffice to decode it") from error
    except Exception:
        try:
            image.load()
        except Exception as damage:
            raise UnreadableImageError(_reason(damage)) from damage
        raise


def check_image(image: Image.Image) -> None:
    """Raise UnreadableImageError if an image is too large, or in a format that needs another program.

    Only the header of the image is read.
    """
    if image.format in NEEDS_PROGRAM:
        raise UnreadableImageError(f"images in the format {image.format} are not read, convert it to PNG")
    check_pixels(*image.size)


def check_file_size(path: Path, size: int) -> None:
    """Raise UnreadableImageError if a file has more bytes than the pixels in its header need. No pixel is read.

    Args:
        path: path of the file.
        size: size of the file in bytes.

    Raises:
        OSError: if the file cannot be opened.
    """
    if size <= ROOM:
        return
    with path.open("rb") as stream:
        try:
            with _open(stream) as image:
                width, height = image.size
        except UserError:
            raise
        except MemoryError as error:
            raise TooLittleMemoryError("the memory does not suffice to read its header") from error
        except Exception as error:
            raise UnreadableImageError(_reason(error)) from error
    most = ROOM + BYTES_PER_PIXEL * width * height
    if size > most:
        raise UnreadableImageError(
            f"it has {size / 1e6:,.0f} MB, but {width:,}×{height:,} pixels need at most {most / 1e6:,.0f} MB"
        )


def check_pixels(width: int, height: int) -> None:
    """Raise UnreadableImageError if an image of this size is too large or empty."""
    if not width * height:
        raise UnreadableImageError(f"it has {width}×{height} pixels, but needs at least 1×1")
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"it has {width:,}×{height:,} pixels, {width * height / 1e6:,.0f} megapixels, but at most "
            f"{MAX_PIXELS / 1e6:.0f} megapixels are read: make it smaller"
        )


def _open(stream: BinaryIO) -> Image.Image:
    try:
        image = Image.open(stream)
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"it has more than the {MAX_PIXELS / 1e6:.0f} megapixels that are read: make it smaller"
        ) from error
    check_image(image)
    return image


def _find_damage(stream: BinaryIO) -> Exception | None:
    """Return the error that Pillow raises when it reads the complete image, or None if it reads it."""
    try:
        stream.seek(0)
        with _open(stream) as image:
            image.load()
    except Exception as error:
        return error
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its format is unknown"
    return str(error).rstrip(".") or type(error).__name__
