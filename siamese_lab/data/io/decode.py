"""Decode image files into one uint8 tensor, with several threads.

Pillow releases Python's global lock while it decodes. Threads are therefore as fast as processes, and start faster.
A few files at a time are in memory, together with the tensor.

Shapes: N images, C channels, H × W pixels.
"""

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from torch import Tensor

from siamese_lab.data.io.crops import Crops
from siamese_lab.data.io.file_names import escape_name
from siamese_lab.data.io.image_files import ImageFiles, StoredFile
from siamese_lab.data.io.messages import console
from siamese_lab.data.io.open_image import UnreadableImageError, convert_file
from siamese_lab.errors import ResourceError, UserError

CHUNK = 64
CHUNK_BYTES = 4_000_000
"""A chunk of work ends after `CHUNK` files or `CHUNK_BYTES` bytes."""

Convert = Callable[[Image.Image], Image.Image]
"""Converts an image as read from its file to an image of a fixed size, gray (L) or RGB."""

Made = TypeVar("Made")


class _Decoded(NamedTuple):
    row: int
    pixels_HWC: NDArray[np.uint8]


def converter_of(row: int, convert: Convert, crops: Crops | None) -> Convert:
    """Return the conversion of one image: `convert`, applied to the box of the image if it has one."""
    return convert if crops is None else lambda image: convert(crops.cut(row, image))


def decode(files: ImageFiles, convert: Convert, crops: Crops | None = None) -> Tensor:
    """Decode all images to uint8 (N, C, H, W), in the order of their names.

    Args:
        files: the images.
        convert: the conversion of every image.
        crops: the part of each image to convert; None converts whole images.

    Raises:
        UserError: if there are no images, or an image cannot be read. The message names the image.
    """

    def decode_one(file: StoredFile) -> _Decoded:
        return _Decoded(file.row, pixels(files.path, file.name, file.read(), converter_of(file.row, convert, crops)))

    images_NCHW: NDArray[np.uint8] | None = None
    for row, pixels_HWC in _in_parallel(decode_one, files, f"Decoding {escape_name(files.path.name)}"):
        image_CHW = np.moveaxis(pixels_HWC, 2, 0)
        if images_NCHW is None:
            images_NCHW = np.empty((len(files.names), *image_CHW.shape), dtype=np.uint8)
        assert image_CHW.shape == images_NCHW.shape[1:], "a conversion makes images of one size"
        images_NCHW[row] = image_CHW
    if images_NCHW is None:
        raise ResourceError(f"{escape_name(files.path)} holds no images. It is incomplete: replace it.")
    return torch.from_numpy(images_NCHW)


class Unreadable(NamedTuple):
    """An image that cannot be read, and the error message for it."""

    name: str
    complaint: str
    row: int
    """Position in the names of its `ImageFiles`."""


def unreadable(files: ImageFiles, convert: Convert) -> list[str]:
    """Return one error message for each image that cannot be read."""
    return [each.complaint for each in find_unreadable(files, convert)]


def find_unreadable(files: ImageFiles, convert: Convert, crops: Crops | None = None) -> list[Unreadable]:
    """Return each image that cannot be read, with its error message. The arguments are those of `decode`."""

    def check_one(file: StoredFile) -> Unreadable | None:
        try:
            pixels(files.path, file.name, file.read(), converter_of(file.row, convert, crops))
        except UserError as error:
            return Unreadable(file.name, str(error), file.row)
        return None

    found = _in_parallel(check_one, files, f"Checking {escape_name(files.path.name)}")
    return [each for each in found if each is not None]


def _in_parallel(work: Callable[[StoredFile], Made], files: ImageFiles, what: str) -> Iterator[Made]:
    """Yield the result of each file, in the order of storage."""
    yield from track(
        _results(work, files),
        what,
        total=len(files.names),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _results(work: Callable[[StoredFile], Made], files: ImageFiles) -> Iterator[Made]:
    def work_all(chunk: list[StoredFile]) -> list[Made]:
        return [work(file) for file in chunk]

    workers = os.cpu_count() or 1
    executor = ThreadPoolExecutor(workers)
    waiting: deque[Future[list[Made]]] = deque()
    try:
        for chunk in _chunks(files.stored()):
            waiting.append(executor.submit(work_all, chunk))
            if len(waiting) > workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


def _chunks(files: Iterable[StoredFile]) -> Iterator[list[StoredFile]]:
    chunk: list[StoredFile] = []
    size = 0
    for file in files:
        chunk.append(file)
        size += file.size
        if len(chunk) == CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def pixels(path: Path, name: str, content: bytes, convert: Convert) -> NDArray[np.uint8]:
    """Decode one image to (H, W, C).

    Raises:
        UserError: if the image cannot be read. The message names the image.
    """
    try:
        pixels_HWC = convert_file(io.BytesIO(content), lambda image: np.asarray(convert(image)))
    except UserError as error:
        cure = getattr(error, "cure", UnreadableImageError.cure)
        raise ResourceError(
            f"{escape_name(path)} holds {escape_name(name)}, which cannot be read as an image ({error}). {cure}"
        ) from error
    return pixels_HWC if pixels_HWC.ndim == 3 else pixels_HWC[:, :, None]
