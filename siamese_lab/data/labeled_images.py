"""Images and labels of a program as a data set: tensors, arrays, or a data set of PyTorch, kept in memory.

Shapes: N images of C × H × W.
"""

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.io.messages import announce
from siamese_lab.data.splits import LEAST_CLASSES, hold_out_classes
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError

Labeled: TypeAlias = tuple[Any, Any] | Dataset[Any]
"""Images and labels, or a data set of PyTorch with (image, label) items."""
HELD_OUT = 0.2
"""Share of the training classes that is held out for a part that is not passed."""
CLASSES = 16
"""Largest number of classes in a batch, unless a caller chooses another one."""
MODES = {"1": "L", **dict.fromkeys(("P", "PA", "CMYK", "YCbCr", "HSV", "LAB"), "RGB")}
"""Modes of Pillow with values that are no gray or color channels in 0…255, and the modes that they are converted to."""
FORM = "(images_NCHW, labels_N) or a torch.utils.data.Dataset of (image, label) items"


class LabeledImages(DataModule):
    """Your images and labels, for `siamese_lab.fit`.

    Each part is a pair of images (uint8, N×C×H×W, square) and labels (N integers or texts), as tensors or arrays, or a
    data set of PyTorch. The items of a data set are read once, so a random transform gives each image one form.

    Args:
        images: the images to train on, with their labels.
        test: the images to test; None holds out a fifth of the classes of `images`.
        validation: the images to validate on; None holds out a fifth of the remaining classes.
        classes_per_batch: P; None is 16, or the number of training classes if there are fewer.
        **common: further options of `DataModule`, such as `images_per_class` and `augment`.

    Raises:
        UserError: if a part has another type or shape, or there are too few classes to hold out.

    >>> images_NCHW, labels_N = torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) // 2
    >>> LabeledImages((images_NCHW, labels_N), test=(images_NCHW, labels_N))
    LabeledImages(16 classes × 4 images per batch, not loaded)
    """

    def __init__(
        self,
        images: Labeled,
        test: Labeled | None = None,
        validation: Labeled | None = None,
        classes_per_batch: int | None = None,
        **common: Any,
    ) -> None:
        given = {"images": images, "validation": validation, "test": test}
        tables = {name: table_of(name, part) for name, part in given.items() if part is not None or name == "images"}
        forms = {name: tuple(table.stored_SCHW.shape[1:]) for name, table in tables.items()}
        if len(set(forms.values())) > 1:
            listed = ", ".join(f"{name} has {form}" for name, form in forms.items())
            raise UserError(f"All parts must have images of one shape (C, H, W), but {listed}.")
        self.channels, self.image_size, _ = forms["images"]
        self._tables = {"train": tables.pop("images"), **tables}
        self._hold_out("test", "validation")
        if classes_per_batch is None:
            classes_per_batch = min(CLASSES, len(self._tables["train"].class_names))
        super().__init__(classes_per_batch=classes_per_batch, **common)

    def load(self) -> Splits:
        """Return the three tables."""
        return Splits(**self._tables)

    def _hold_out(self, *parts: str) -> None:
        """Move classes from the training images into each part that was not passed, and announce it."""
        before, held = len(self._tables["train"].class_names), []
        for part in parts:
            if part in self._tables:
                continue
            train = self._tables["train"]
            size_C = train.labels_N.bincount()
            if int(len(size_C) * HELD_OUT) < LEAST_CLASSES:
                raise UserError(
                    f"{part} was not passed, and a fifth of the {len(size_C)} classes of `images` is less than "
                    f"{LEAST_CLASSES}. Pass {part}={FORM}."
                )
            split = hold_out_classes(size_C, HELD_OUT)
            self._tables |= {"train": train.classes(split.kept), part: train.classes(split.held)}
            held.append(f"{len(split.held)} for {part}")
        if held:
            announce(f"Held out of the {before} classes: {', '.join(held)}. The other classes are trained on.")


def table_of(name: str, part: Any) -> ImageTable:
    """Return images and labels as a table, with the labels as class names.

    Args:
        name: name of the argument, for messages.
        part: see `LabeledImages`.

    Raises:
        UserError: if the part has another type or shape.
    """
    if isinstance(part, Dataset):
        part = items_of(name, part)
    if not isinstance(part, (tuple, list)) or len(part) != 2:
        got = f"a {type(part).__name__}" + (f" of {len(part)}" if isinstance(part, (tuple, list)) else "")
        raise UserError(f"{name} must be {FORM}, but is {got}.")
    images_NCHW = checked_images(name, part[0])
    class_names, labels_N = np.unique(checked_labels(name, part[1], len(images_NCHW)), return_inverse=True)
    return ImageTable(images_NCHW, torch.from_numpy(labels_N.astype(np.int64)), tuple(map(str, class_names)))


def checked_labels(name: str, labels: Any, number: int) -> NDArray[Any]:
    """Return labels as an array of integers or of texts.

    Args:
        name: name of the argument, for messages.
        labels: a tensor, an array or a sequence, integers or texts.
        number: number of images.

    Raises:
        UserError: if the labels have another type or number, or are not of one type: NumPy would make a class "nan" of
            a missing label among texts.

    >>> checked_labels("test", ["cat", float("nan")], 2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    siamese_lab.errors.UserError: The labels of test must be 2 integers or texts, ... no texts, such as nan.
    """
    expected = f"The labels of {name} must be {number} integers or texts, one for each image, but"
    try:
        labels_N = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    except (TypeError, ValueError) as error:  # lists of several lengths, and types that NumPy does not have
        raise UserError(f"{expected} NumPy cannot convert them: {str(error).splitlines()[0]}.") from error
    if labels_N.shape != (number,) or labels_N.dtype.kind not in "iuUO":
        raise UserError(f"{expected} are {labels_N.dtype} of shape {labels_N.shape}.")
    if labels_N.dtype.kind in "UO":
        others = [each for each in labels if not isinstance(each, str)]
        if others:
            raise UserError(f"{expected} {len(others)} of them are no texts, such as {others[0]!r}.")
        labels_N = labels_N.astype(np.str_)  # pandas holds texts as objects
    return labels_N


def checked_images(name: str, images: Any) -> Tensor:
    """Return images as a tensor.

    Args:
        name: name of the argument, for messages.
        images: a tensor or an array, uint8, N×C×H×W, square.

    Raises:
        UserError: if the images have another type or shape.

    >>> checked_images("test", torch.zeros(4, 28, 28))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    siamese_lab.errors.UserError: test must be square uint8 images (N, C, H, W), but are torch.float32 (4, 28, 28). ...
    """
    if not isinstance(images, (Tensor, np.ndarray)):
        raise UserError(
            f"{name} must be a tensor or an array of images (N, C, H, W), but is a {type(images).__name__}."
        )
    shape = tuple(images.shape)
    if len(shape) == 4 and 0 not in shape and shape[2] == shape[3] and images.dtype in (torch.uint8, np.uint8):
        with warnings.catch_warnings():  # the pixels are only read
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            if isinstance(images, np.ndarray):  # such as a view that is mirrored or has its channels reversed
                images = torch.from_numpy(np.ascontiguousarray(images))
        return images.cpu().contiguous()
    raise UserError(
        f"{name} must be square uint8 images (N, C, H, W), but are {images.dtype} {shape}. Multiply floats in 0…1 by "
        "255 and convert them; images[:, None] adds channels; permute(0, 3, 1, 2) moves them from the end."
    )


def items_of(name: str, dataset: Any) -> tuple[Tensor, list[Any]]:
    """Read all (image, label) items of a data set of PyTorch; Pillow images become tensors.

    Raises:
        UserError: if an item has another form, or the images differ in shape.
    """
    if not hasattr(dataset, "__len__") or isinstance(dataset, IterableDataset):
        raise UserError(f"{name} must be {FORM} with a length and an index, but {type(dataset).__name__} has none.")
    images: list[Tensor] = []
    labels: list[Any] = []
    for row in range(len(dataset)):
        item = dataset[row]
        if not isinstance(item, Sequence) or len(item) < 2:
            raise UserError(f"{name} must have (image, label) items, but item {row} is a {type(item).__name__}.")
        images.append(one_image(name, row, item[0]))
        labels.append(item[1].item() if isinstance(item[1], Tensor) and item[1].numel() == 1 else item[1])
        if images[-1].shape != images[0].shape or images[-1].dtype != images[0].dtype:
            first, other = ((each.dtype, tuple(each.shape)) for each in (images[0], images[-1]))
            raise UserError(f"The images of {name} must have one shape, but image 0 is {first} and {row} is {other}.")
    if not images:
        raise UserError(f"{name} has 0 items, but needs images of at least {LEAST_CLASSES} classes.")
    return torch.stack(images), labels


def one_image(name: str, row: int, image: Any) -> Tensor:
    """Return one image (C, H, W); a Pillow image is converted, one with a palette to its colors.

    Raises:
        UserError: if the item is no image.
    """
    if isinstance(image, Tensor):
        return image
    if isinstance(image, Image.Image):
        image = image.convert(MODES.get(image.mode, image.mode))
    pixels = np.array(image)
    if pixels.dtype.kind not in "buif" or pixels.ndim not in (2, 3):
        raise UserError(
            f"{name} must have (image, label) items, but the image of item {row} is a {type(image).__name__}."
        )
    return torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None]).movedim(-1, 0)
