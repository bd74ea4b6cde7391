"""Group the batch by class: for each anchor, list the members of its class and its positives.

Shapes: B anchors, C candidates (the batch, then remembered images), K images of a class (of the largest class, if
classes are uneven), R = K − 1.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.samplers.kernels import assert_on_device, on_eager_cpu


class ClassRuns(NamedTuple):
    """The position of each anchor's class among the images, sorted by label."""

    order_C: Tensor
    """int64: the images, class after class."""
    start_B: Tensor
    """int64: the place in `order_C` where the anchor's class begins."""
    count_B: Tensor
    """int64: number of images of that class from there on."""


class ClassIndex(NamedTuple):
    """The members of each image's class."""

    runs: ClassRuns | None
    """The sorted classes; None if the index needed no sorting (see `MiningInputs.runs_of_batch`)."""
    positive_BR: Tensor
    """int64: the r-th other image of the class, counted from the image itself and around the end."""
    valid_BR: Tensor
    """bool: False where the class has fewer than r other images; the index there is arbitrary."""
    replaced_BR: Tensor | None
    """bool: True where the r-th image is the anchor's own image and was replaced; None if no ids were passed."""
    own_BK: Tensor
    """int64: the images of the class, starting with the image itself, which also fills up a class of fewer than K."""


def class_runs(labels_C: Tensor, labels_B: Tensor) -> ClassRuns:
    """Sort the images by label and find the class of each anchor among them."""
    order_C = labels_C.argsort(stable=True)
    sorted_C = labels_C[order_C]
    start_B = torch.searchsorted(sorted_C, labels_B)
    return ClassRuns(order_C, start_B, torch.searchsorted(sorted_C, labels_B, right=True) - start_B)


def class_index(labels_B: Tensor, images_per_class: int | None = None, image_ids_B: Tensor | None = None) -> ClassIndex:
    """List the positives of every anchor.

    Args:
        labels_B: int64 class labels in any order.
        images_per_class: K, if every class of the batch has exactly K images. The shapes are then known in advance, so
            a GPU does not wait for the host. None counts the labels.
        image_ids_B: ids of the images, if an image may occur twice. Images with equal ids are never each other's
            positive. The next different image of the class replaces such a positive. An image without any different
            image in its class is not an anchor.

    Raises:
        ValueError: if no class has two images, if there is only one class, or if `images_per_class` differs from the
            labels.
        UserError: if `images_per_class` is passed and a class consists of repetitions of one image.

    On a GPU a wrong `images_per_class`, a single class and a repeated image are device-side assertions.
    """
    classes = _counted(labels_B) if images_per_class is None else _with_known_size(labels_B, images_per_class)
    if image_ids_B is None:
        return classes
    replaced_BR = image_ids_B[classes.positive_BR] == image_ids_B[:, None]
    positive_BR, different_B1 = _next_different(classes.positive_BR, classes.valid_BR, image_ids_B)
    _check_different(different_B1, labels_B, images_per_class)
    valid_BR = classes.valid_BR & different_B1
    return classes._replace(positive_BR=positive_BR, valid_BR=valid_BR, replaced_BR=replaced_BR)


def _counted(labels_B: Tensor) -> ClassIndex:
    """List as many members for each image as the largest class has."""
    runs = class_runs(labels_B, labels_B)
    _check_counts(runs.count_B, None)
    place_B = _inverse(runs.order_C, torch.arange(len(labels_B), device=labels_B.device)) - runs.start_B
    count_B1 = runs.count_B[:, None]
    onwards_K = torch.arange(int(runs.count_B.max()), device=labels_B.device)
    member_BK = runs.order_C[runs.start_B[:, None] + _around(place_B[:, None] + onwards_K, count_B1)]
    valid_BK = onwards_K < count_B1
    own_BK = torch.where(valid_BK, member_BK, member_BK[:, :1])
    return ClassIndex(runs, own_BK[:, 1:], valid_BK[:, 1:], None, own_BK)


def _with_known_size(labels_B: Tensor, images_per_class: int) -> ClassIndex:
    """Build the index if each class has K images: the sorted batch is then a table of classes and needs no search."""
    layout = _layout(len(labels_B), images_per_class, labels_B.device)
    if _stand_together(labels_B, images_per_class):
        return layout.classes
    sorted_B, order_B = labels_B.sort(stable=True)
    _check_table(sorted_B, images_per_class, layout.begins_B)
    place_B = _inverse(order_B, layout.place_B)
    own_BK = order_B.take(layout.classes.own_BK.index_select(0, place_B))
    runs = ClassRuns(order_B, layout.start_B.take(place_B), layout.count_B)
    return ClassIndex(runs, own_BK[:, 1:], layout.classes.valid_BR, None, own_BK)


def _stand_together(labels_B: Tensor, images_per_class: int) -> bool:
    """Return True if the batch is already a table of two or more classes, as from `PKBatches`; never wait for a GPU."""
    is_table = len(labels_B) > images_per_class and len(labels_B) % images_per_class == 0
    if not (is_table and on_eager_cpu(labels_B.device)):
        return False
    labels = labels_B.tolist()
    first = labels[::images_per_class]
    return len(set(first)) == len(first) and all(labels[k::images_per_class] == first for k in range(images_per_class))


class _Layout(NamedTuple):
    """The indices that all sorted batches of P classes × K images share."""

    place_B: Tensor
    """int64: 0, 1, 2, …"""
    begins_B: Tensor
    """bool, for every place but the first: True if another class begins there."""
    start_B: Tensor
    """int64: the first place of the class."""
    count_B: Tensor
    """int64: K."""
    classes: ClassIndex
    """The class members of each place."""


def _layout(images: int, images_per_class: int, device: torch.device) -> _Layout:
    """Return the layout, on a CPU from a cache, because building it takes as long as sorting."""
    if on_eager_cpu(device):
        return _kept_layout(images, images_per_class)
    return _new_layout(images, images_per_class, device)


@lru_cache(maxsize=16)
def _kept_layout(images: int, images_per_class: int) -> _Layout:
    with torch.inference_mode(False):
        return _new_layout(images, images_per_class, torch.device("cpu"))


def _new_layout(images: int, images_per_class: int, device: torch.device) -> _Layout:
    place_B, onwards_K = torch.arange(images, device=device), torch.arange(images_per_class, device=device)
    within_B = place_B % images_per_class
    start_B = place_B - within_B
    around_BK = start_B[:, None] + (within_B[:, None] + onwards_K) % images_per_class
    count_B = torch.full_like(place_B, images_per_class)
    all_BK = torch.ones_like(around_BK, dtype=torch.bool)
    classes = ClassIndex(None, around_BK[:, 1:], all_BK[:, 1:], None, around_BK)
    return _Layout(place_B, within_B[1:] == 0, start_B, count_B, classes)


def _inverse(order_B: Tensor, place_B: Tensor) -> Tensor:
    """Return the place of each image in the order; `place_B` holds 0, 1, 2, …"""
    return torch.empty_like(order_B).scatter_(0, order_B, place_B)


def _next_different(positive_BR: Tensor, valid_BR: Tensor, image_ids_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return each positive, or the next one around that is not the anchor's own image, and True if one exists."""
    slots = positive_BR.shape[1]
    different_BR = valid_BR & (image_ids_B[positive_BR] != image_ids_B[:, None])
    slot_R = torch.arange(2 * slots, device=positive_BR.device)
    twice_BR = torch.where(different_BR.repeat(1, 2), slot_R, 2 * slots)
    next_BR = twice_BR.flip(1).cummin(1).values.flip(1)[:, :slots]
    slots_1 = torch.full_like(next_BR[:, :1], slots)
    return positive_BR.gather(1, _around(next_BR, slots_1)), different_BR.any(1, keepdim=True)


def _around(place: Tensor, count: Tensor) -> Tensor:
    """Return `place % count` for place < 2·count; for larger places, any place below count."""
    return torch.minimum(torch.where(place >= count, place - count, place), count - 1)


def _check_table(sorted_B: Tensor, images_per_class: int, begins_B: Tensor) -> None:
    """Raise ValueError unless each row of K is a separate class; on a GPU or compiled, the device raises."""
    expected = f"at least 2 classes × {images_per_class} images"
    waits = on_eager_cpu(sorted_B.device)
    if len(sorted_B) > images_per_class and len(sorted_B) % images_per_class == 0:
        differs_B = sorted_B[1:] != sorted_B[:-1]
        if not waits:
            assert_on_device((differs_B == begins_B).all(), f"A batch does not consist of {expected}.")
        if not waits or torch.equal(differs_B, begins_B):
            return
    if not waits:
        raise ValueError(f"Expected a batch of {expected}, but got {len(sorted_B)} images.")
    _check_counts(class_runs(sorted_B, sorted_B).count_B, images_per_class)


def _check_counts(count_B: Tensor, images_per_class: int | None) -> None:
    fewest, most = torch.stack(count_B.aminmax()).tolist()
    if images_per_class is not None and not fewest == most == images_per_class:
        raise ValueError(
            f"With images_per_class={images_per_class} each class needs {images_per_class} images, but there are "
            f"classes with {sorted(set(count_B.tolist()))}. Set images_per_class=None for uneven batches."
        )
    if most == len(count_B):
        raise ValueError(
            f"All {len(count_B)} images of the batch are of one class, so there are no negatives. "
            "Batches need at least 2 classes."
        )
    if most == 1:
        raise ValueError(
            f"Each of the {len(count_B)} images of the batch is alone in its class, so there are no positives. "
            "P×K batches need at least 2 images per class."
        )


def _check_different(different_B1: Tensor, labels_B: Tensor, images_per_class: int | None) -> None:
    if images_per_class is not None and not on_eager_cpu(labels_B.device):
        assert_on_device(different_B1.all(), "A class of a batch consists of repetitions of one image.")
        return
    if not (different_B1.all() if images_per_class is not None else different_B1.any()):
        label = int(labels_B[~different_B1[:, 0]][0])
        raise UserError(
            f"Class {label} consists of repetitions of one image, which has no positive. "
            "Set data.min_images_per_class=2 to skip such classes."
        )
