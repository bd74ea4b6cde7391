"""Convert images of any kind to the form of the images that a network was trained on.

Shapes: N images, C channels, H × W pixels.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from siamese_lab.data import DataModule
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.convert.common import Converted
from siamese_lab.data.io.file_names import escape_name, find_file
from siamese_lab.data.io.folder_walk import problem_of_folder
from siamese_lab.data.io.image_files import read_image_file
from siamese_lab.data.io.open_image import TooLittleMemoryError, convert_file, convert_opened
from siamese_lab.errors import UserError

OneImage: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | Tensor"
Images: TypeAlias = "OneImage | Iterable[OneImage]"
"""One image or several.

A file path, a Pillow image and an array (uint8, H×W or H×W×C) may show an image of any size and mode. They are
converted. A tensor must already have the form of the network's input, as in the tables of a data set: uint8 or float
0…1, (C, H, W) or (N, C, H, W).
"""

Conversion: TypeAlias = Callable[[Image.Image], Converted]
"""A function with the signature of `DataModule.converted`."""

KINDS = "a file path, a Pillow image, an array (uint8, H×W or H×W×C) or a tensor"


class PreparedImages(NamedTuple):
    """Images in the form of the network's input, with their conversion steps."""

    images_NCHW: Tensor
    """Pixels, float32 0…1."""
    changes: tuple[tuple[str, ...], ...]
    """Conversion steps of each image, in the form of `siamese_lab.data.convert.common.Converted`. Empty for tensors."""


def iterate_images(images: Images) -> Iterator[OneImage]:
    """Yield the images one by one. A batch (a tensor or an array with 4 dimensions) yields its members.

    Raises:
        UserError: if the value holds no images.
    """
    if isinstance(images, (str, os.PathLike, Image.Image)):
        yield images
    elif isinstance(images, (Tensor, np.ndarray)):
        yield from images if images.ndim == 4 else [images]
    elif isinstance(images, Iterable):
        yield from images
    else:
        raise UserError(f"Images must be {KINDS}, or several of these, but got {describe_type(images)}.")


def prepare_images(images: Iterable[OneImage], datamodule: DataModule) -> PreparedImages:
    """Convert images in parallel threads.

    Args:
        images: at least one image.
        datamodule: the data set that defines the form of the images.

    Raises:
        UserError: if a file does not exist or is not an image, or an array or tensor has another form.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        made = list(threads.map(lambda image: prepare_image(image, datamodule), images))
    return PreparedImages(torch.stack([image_CHW for image_CHW, _ in made]), tuple(changes for _, changes in made))


def prepare_image(image: OneImage, datamodule: DataModule) -> tuple[Tensor, tuple[str, ...]]:
    """Return an image as float32 0…1, (C, H, W), and its conversion steps.

    Raises:
        UserError: in the same cases as `prepare_images`.
    """
    if isinstance(image, Tensor):
        return check_tensor(image, datamodule), ()
    converted = convert_image(image, datamodule)
    pixels = np.array(converted.image)
    pixels_HWC = pixels if pixels.ndim == 3 else pixels[:, :, None]
    return to_float(torch.from_numpy(np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1)))), converted.changes


def convert_image(image: OneImage, datamodule: DataModule) -> Converted:
    """Convert an image that is not a tensor to the form of the images of a data set.

    Raises:
        UserError: if the image cannot be read, or the value is not an image.
    """
    if isinstance(image, Image.Image):
        try:
            return convert_opened(image, datamodule.converted)
        except UserError as error:
            raise _named("The Pillow image", error) from error
    if isinstance(image, np.ndarray):
        return datamodule.converted(array_to_image(image))
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image), datamodule.converted)
    raise UserError(f"An image must be {KINDS}, but got {describe_type(image)}.")


def read_image(path: Path, convert: Conversion) -> Converted:
    """Read and convert the image in a file.

    Raises:
        UserError: if the file does not exist or cannot be read.
    """
    name = escape_name(path)
    if problem_of_folder(path) is None:
        raise UserError(f"{name} is a folder, but an image file was expected. Name the files in the folder.")
    if _is_missing(find_file(path)):
        raise UserError(f"There is no image {name}. Check the path.")
    content = read_image_file(path)
    try:
        return convert_file(io.BytesIO(content), convert)
    except UserError as error:
        raise _named(name, error) from error


def _is_missing(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _named(name: str, error: UserError) -> UserError:
    cure = f" {error.cure}" if isinstance(error, TooLittleMemoryError) else ""
    return UserError(f"{name} cannot be read as an image: {error}.{cure}")


def array_to_image(array: NDArray[np.uint8]) -> Image.Image:
    """Convert an array to a Pillow image: 1 channel (H×W or H×W×1) is grayscale, 3 are RGB and 4 are RGBA.

    Raises:
        UserError: if the array has another shape or type.
    """
    shape = array.shape
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if array.dtype != np.uint8 or not fits or 0 in shape:
        raise UserError(
            f"An array must be uint8, H×W or H×W×C with 1, 3 or 4 channels, but this array is {array.dtype}, "
            f"{'×'.join(map(str, shape)) or 'a number'}."
        )
    return Image.fromarray(array[:, :, 0] if len(shape) == 3 and shape[2] == 1 else array)


def check_tensor(image_CHW: Tensor, datamodule: DataModule) -> Tensor:
    """Return a tensor as float32, in 0…1 unless it holds features, if it has the form of the network's input.

    Raises:
        UserError: if its shape, type or range differs.
    """
    wanted = (datamodule.channels, datamodule.image_size, datamodule.image_size)
    if image_CHW.shape != wanted:
        raise UserError(
            f"A tensor must have the shape of the network's input, (C, H, W) = {wanted} for images of "
            f"{datamodule.title}, but this tensor is {tuple(image_CHW.shape)}. Pass a file path, a Pillow image or an "
            "array instead: these are converted."
        )
    if not datamodule.holds_pixels:
        if not image_CHW.is_floating_point() or not bool(image_CHW.isfinite().all()):
            raise UserError("A tensor of features must hold finite floating-point numbers.")
        return image_CHW.float()
    if image_CHW.dtype == torch.uint8:
        return to_float(image_CHW)
    if not image_CHW.is_floating_point() or not bool(((image_CHW >= 0) & (image_CHW <= 1)).all()):
        raise UserError(
            "A tensor must be uint8 0…255 or float 0…1, but this tensor is "
            f"{str(image_CHW.dtype).removeprefix('torch.')}, {image_CHW.min():g}…{image_CHW.max():g}."
        )
    return image_CHW.float()


def describe_type(value: object) -> str:
    """Return the type of a value, as text for messages."""
    return f"a value of type {type(value).__name__}"
