"""Images as people hand them over, made as the images that a network was trained on.

Shapes: N images, C channels, H × W pixels.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from siamese_lab.data import DataModule
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.convert.common import Converted
from siamese_lab.data.io.decode import UNREADABLE
from siamese_lab.errors import UserError

OneImage: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | Tensor"
Images: TypeAlias = "OneImage | Iterable[OneImage]"
"""One image or several.

The path of a file, an image of Pillow's and an array (uint8, H×W or H×W×C) are images of any kind, which are converted.
A tensor is taken to be what the network sees, as the tables of a data set hold it: uint8, or float 0…1, (C, H, W) or
(N, C, H, W).
"""

Conversion: TypeAlias = Callable[[Image.Image], Converted]
"""As `DataModule.converted`."""

KINDS = "the path of a file, an image of Pillow's, an array (uint8, H×W or H×W×C) or a tensor"


class Taken(NamedTuple):
    """Images as the network sees them, and what that changed."""

    images_NCHW: Tensor
    """float32 0…1."""
    changes: tuple[tuple[str, ...], ...]
    """Of each image, as `siamese_lab.data.convert.common.Converted` has it; none of tensors."""


def each_of(images: Images) -> Iterator[OneImage]:
    """One after the other; of a batch of tensors or arrays, its members.

    Raises:
        UserError: for what holds no images.
    """
    if isinstance(images, (str, os.PathLike, Image.Image)):
        yield images
    elif isinstance(images, (Tensor, np.ndarray)):
        yield from images if images.ndim == 4 else [images]
    elif isinstance(images, Iterable):
        yield from images
    else:
        raise UserError(f"Images are {KINDS}, or several of these, but here is {kind_of(images)}.")


def take(images: Iterable[OneImage], form: DataModule) -> Taken:
    """Convert images, several at once.

    Args:
        images: at least one.
        form: the data whose images these are to be like.

    Raises:
        UserError: for a file that is not there or is no image, with its name; for arrays and tensors of another form.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        made = list(threads.map(lambda image: take_one(image, form), images))
    return Taken(torch.stack([image_CHW for image_CHW, _ in made]), tuple(changes for _, changes in made))


def take_one(image: OneImage, form: DataModule) -> tuple[Tensor, tuple[str, ...]]:
    """An image as float32 0…1, (C, H, W), and what that changed.

    Raises:
        UserError: as `take`.
    """
    if isinstance(image, Tensor):
        return checked(image, form), ()
    converted = convert(image, form)
    pixels = np.array(converted.image)
    pixels_HWC = pixels if pixels.ndim == 3 else pixels[:, :, None]
    return to_float(torch.from_numpy(np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1)))), converted.changes


def convert(image: OneImage, form: DataModule) -> Converted:
    """An image that is no tensor, as the images of `form` are.

    Raises:
        UserError: if it cannot be read, or is something else.
    """
    if isinstance(image, Image.Image):
        return _converted("An image of Pillow's", image, form.converted)
    if isinstance(image, np.ndarray):
        return form.converted(image_of_array(image))
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image), form.converted)
    raise UserError(f"An image is {KINDS}, but here is {kind_of(image)}.")


def read_image(path: Path, convert: Conversion) -> Converted:
    """The image in a file, converted.

    Raises:
        UserError: if there is none, or it cannot be read.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, where an image was expected. Name the files in it.")
    if not path.exists():
        raise UserError(f"There is no image {path}.")
    try:
        opened = Image.open(path)
    except UNREADABLE as error:
        raise _unreadable(str(path), error) from error
    with opened:
        return _converted(str(path), opened, convert)


def _converted(name: str, image: Image.Image, convert: Conversion) -> Converted:
    if 0 in image.size:
        raise UserError(f"{name} has {image.width}×{image.height} pixels, so there is nothing to see.")
    try:
        return convert(image)
    except UNREADABLE:
        _check_whole(name, image)
        raise  # the image is whole, so the conversion is wrong


def _check_whole(name: str, image: Image.Image) -> None:
    try:
        image.load()
    except UNREADABLE as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: BaseException) -> UserError:
    reason = "it is of no kind that is known" if isinstance(error, UnidentifiedImageError) else str(error)
    return UserError(f"{name} cannot be read as an image: {reason.rstrip('.')}.")


def image_of_array(array: NDArray[np.uint8]) -> Image.Image:
    """An array as an image of Pillow's: H×W or H×W×1 is grey; of three channels colour, of four with transparency.

    Raises:
        UserError: for other shapes and types.
    """
    shape = array.shape
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not fits or 0 in shape:
        raise UserError(
            f"An array of an image is uint8, H×W or H×W×C with 1, 3 or 4 channels, but this one is {array.dtype}, "
            f"{'×'.join(map(str, shape)) or 'a number'}."
        )
    return Image.fromarray(array[:, :, 0] if len(shape) == 3 and shape[2] == 1 else array)


def checked(image_CHW: Tensor, form: DataModule) -> Tensor:
    """A tensor that is what the network sees, as float32 0…1.

    Raises:
        UserError: if it is not.
    """
    wanted = (form.channels, form.image_size, form.image_size)
    if image_CHW.shape != wanted:
        raise UserError(
            f"A tensor is taken as the network sees it: (C, H, W) = {wanted} for images of {form.title}, but this one "
            f"is {tuple(image_CHW.shape)}. Images of another form are converted when handed over as files, as Pillow's "
            "or as arrays."
        )
    if image_CHW.dtype == torch.uint8:
        return to_float(image_CHW)
    if not image_CHW.is_floating_point() or not bool(((image_CHW >= 0) & (image_CHW <= 1)).all()):
        raise UserError(
            "A tensor of an image is uint8 0…255 or float 0…1, but this one is "
            f"{str(image_CHW.dtype).removeprefix('torch.')}, {image_CHW.min():g}…{image_CHW.max():g}."
        )
    return image_CHW.float()


def kind_of(value: object) -> str:
    """As a message names it."""
    return f"a {type(value).__name__}"
