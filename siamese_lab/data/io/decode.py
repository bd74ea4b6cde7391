"""Decode image files into one uint8 tensor, with several threads.

Pillow releases Python's global lock while it decodes. Threads are therefore as fast as processes, and start faster.

Shapes: N images, C channels, H × W pixels.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from rich.progress import track
from torch import Tensor

from siamese_lab.data.io.image_files import ImageFiles
from siamese_lab.data.io.messages import console
from siamese_lab.errors import ResourceError, UserError

CHUNK = 64
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)

Convert = Callable[[Image.Image], Image.Image]
"""Converts an image as read from its file to an image of a fixed size, gray (L) or RGB."""

Made = TypeVar("Made")


class _Chunk(NamedTuple):
    names: Sequence[str]
    contents: Sequence[bytes]


def decode(files: ImageFiles, convert: Convert) -> Tensor:
    """Decode all images to uint8 (N, C, H, W), in the order of their names.

    Raises:
        UserError: if an image cannot be read. The message names the image.
    """

    def arrays(chunk: _Chunk) -> NDArray[np.uint8]:
        pixels_NHWC = np.stack(
            [pixels(files.path, name, content, convert) for name, content in zip(*chunk, strict=True)]
        )
        return np.ascontiguousarray(np.moveaxis(pixels_NHWC, 3, 1))

    return torch.from_numpy(np.concatenate(list(_in_parallel(arrays, files, f"Decoding {files.path.name}"))))


class Unreadable(NamedTuple):
    """An image that cannot be read, and the error message for it."""

    name: str
    complaint: str


def unreadable(files: ImageFiles, convert: Convert) -> list[str]:
    """Return one error message for each image that cannot be read."""
    return [each.complaint for each in find_unreadable(files, convert)]


def find_unreadable(files: ImageFiles, convert: Convert) -> list[Unreadable]:
    """Return each image that cannot be read, with its error message."""

    def complaints(chunk: _Chunk) -> list[Unreadable]:
        found = []
        for name, content in zip(*chunk, strict=True):
            try:
                pixels(files.path, name, content, convert)
            except UserError as error:
                found.append(Unreadable(name, str(error)))
        return found

    return [each for found in _in_parallel(complaints, files, f"Checking {files.path.name}") for each in found]


def _in_parallel(work: Callable[[_Chunk], Made], files: ImageFiles, what: str) -> Iterator[Made]:
    chunks = list(_chunks(files))
    executor = ThreadPoolExecutor(os.cpu_count())
    try:
        yield from track(
            executor.map(work, chunks),
            what,
            total=len(chunks),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
    finally:
        executor.shutdown(cancel_futures=True)


def _chunks(files: ImageFiles) -> Iterator[_Chunk]:
    names, contents = iter(files.names), files.contents()
    while some := list(islice(names, CHUNK)):
        yield _Chunk(some, list(islice(contents, len(some))))


def loads(content: bytes) -> bool:
    """Return whether Pillow can read the complete image from the content of a file."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except UNREADABLE:
        return False
    return True


def pixels(path: Path, name: str, content: bytes, convert: Convert) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C).

    Raises:
        UserError: if the image cannot be read. The message names the image.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels_HWC = np.asarray(convert(image))
    except UNREADABLE as error:
        if not isinstance(error, UserError) and loads(content):
            raise  # the image is intact, so the conversion is wrong
        reason = "its format is unknown" if isinstance(error, UnidentifiedImageError) else error
        raise ResourceError(f"{path} holds {name}, which cannot be read as an image ({reason}). Replace it.") from error
    return pixels_HWC if pixels_HWC.ndim == 3 else pixels_HWC[:, :, None]
