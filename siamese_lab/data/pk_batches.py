"""Class-balanced batches: P classes × K images each (Hermans et al. 2017, arXiv:1703.07737, §2).

The stream has its own generator, so that every strategy sees the same images in the same order. Its state can be stored
and restored in the middle of an epoch.

Shapes: P classes per batch, K images per class, B = P·K, C classes, R classes drawn, S batches drawn at once.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from siamese_lab.batch import Batch
from siamese_lab.data.category_order import CategoryOrder
from siamese_lab.data.class_index import class_offsets
from siamese_lab.data.rounds import take_in_rounds
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError
from siamese_lab.runs.plain_values import WrongValueError, whole_number

AT_ONCE = 1 << 15
"""Number of images drawn at once (at least one batch): many small draws cost more than one large draw."""


class _DrawnBatches(NamedTuple):
    """Some consecutive batches of the stream, and the state that draws them again."""

    images_SB: Tensor
    labels_SB: Tensor
    generator_before: Tensor
    queue_before: Tensor


class _Place(NamedTuple):
    """Position in the stream: the drawn batches, and how many of them were yielded."""

    drawn: _DrawnBatches
    batches: int


class _ComingBatch(NamedTuple):
    """A batch before its images are loaded, with the position of the stream after it."""

    place: _Place
    labels_B: Tensor
    image_ids_B: Tensor | None
    true_labels_B: Tensor | None


def check_split_between_processes(classes_per_batch: int, processes: int) -> None:
    """Raise UserError unless the number of processes divides the number of classes in a batch."""
    if classes_per_batch % processes:
        raise UserError(
            f"The {classes_per_batch} classes of a batch (data.classes_per_batch) cannot be split equally between "
            f"{processes} processes (trainer.devices). Set data.classes_per_batch to a multiple of {processes}."
        )


class PKBatches:
    """Draws class-balanced batches from a table, in an endless stream that is cut into epochs.

    By default an epoch draws as many images as the table holds. The next epoch continues where the last one ended.
    Classes come in random order. Every class occurs once before any class occurs again, and never twice in a batch.
    With an `order`, this is true within each category.
    Each class gives K different images. If it has fewer and `repeats` is True, every image occurs once before any
    image occurs again. The batches then carry image ids (`Batch.image_ids_B`), because a repeated image is no positive
    of itself unless `repeats_are_positives` is True.

    Args:
        table: the images to draw from.
        classes_per_batch: P, counted over all processes.
        images_per_class: K, at least 2.
        seed: seed of the stream.
        repeats: if True, a class with fewer than K images, but at least two, may show an image twice.
        repeats_are_positives: if True, an image that is shown twice, with different augmentations, is a positive of
            itself, as in SimCLR (Chen et al. 2020, arXiv:2002.05709). Classes of one image are then allowed.
        batches_per_epoch: length of an epoch; None divides the number of images by the batch size.
        true_labels_N: the true class of each image, if labels of the table may be wrong; batches then carry them.
        order: draws the classes of a batch from some categories in equal shares; None draws them from all classes.

    Raises:
        UserError: if the table cannot provide batches of P classes and K images.
    """

    def __init__(
        self,
        table: BaseTable,
        classes_per_batch: int,
        images_per_class: int,
        seed: int = 0,
        repeats: bool = False,
        repeats_are_positives: bool = False,
        batches_per_epoch: int | None = None,
        true_labels_N: Tensor | None = None,
        order: CategoryOrder | None = None,
    ) -> None:
        self.true_labels_N = true_labels_N
        self.order = order
        self.table = table
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class
        self.class_count = len(table.class_names)
        self.offsets = class_offsets(table.labels_N, self.class_count)
        self._check(repeats, repeats_are_positives, batches_per_epoch)
        self.batches_per_epoch = batches_per_epoch
        repeats_occur = bool((self.offsets.size_C < images_per_class).any())
        self.batches_have_image_ids = repeats_occur and not repeats_are_positives
        self.split_between_processes()

        self.generator = torch.Generator().manual_seed(seed)
        self.queue = torch.empty(0, dtype=torch.int64)
        self.position = 0
        self._resume_at = 0
        self._place: _Place | None = None
        self._latest: _DrawnBatches | None = None

    def split_between_processes(self, rank: int = 0, ranks: int = 1) -> None:
        """Keep only this process's part of the classes of each batch.

        Every process draws the same stream and keeps another part, so that all processes together see the same batches
        as a single process.

        Raises:
            UserError: if P is not a multiple of `ranks`.
        """
        check_split_between_processes(self.classes_per_batch, ranks)
        share = self.classes_per_batch // ranks * self.images_per_class
        self.part = slice(rank * share, (rank + 1) * share)

    def _check(self, repeats: bool, repeats_are_positives: bool, batches_per_epoch: int | None) -> None:
        if self.images_per_class < 2:
            raise UserError(
                f"P×K batches need at least 2 images per class, because an anchor needs a positive, "
                f"but data.images_per_class is {self.images_per_class}."
            )
        if self.classes_per_batch < 2:
            raise UserError(
                f"P×K batches need at least 2 classes, because an anchor needs a negative, "
                f"but data.classes_per_batch is {self.classes_per_batch}."
            )
        if self.classes_per_batch > self.class_count:
            raise UserError(
                f"P×K batches of {self.classes_per_batch} classes need at least as many training classes, but there "
                f"are {self.class_count}. Set data.classes_per_batch={self.class_count} or less, with the same number "
                "for all runs that are compared."
            )
        if batches_per_epoch is not None and batches_per_epoch < 1:
            raise UserError(f"data.batches_per_epoch must be at least 1, but is {batches_per_epoch}.")
        needed = (1 if repeats_are_positives else 2) if repeats else self.images_per_class
        short = (self.offsets.size_C < needed).nonzero().squeeze(1)
        if len(short):
            first = int(short[0])
            instead = (
                ""
                if repeats
                else ", data.repeats=true to show their images more than once, or a smaller data.images_per_class"
            )
            raise UserError(
                f"P×K batches need {needed} images per class, but {len(short)} of {self.class_count} classes have "
                f"fewer, such as class {first} ({self.table.class_names[first]!r}) with "
                f"{int(self.offsets.size_C[first])}. Set data.min_images_per_class={needed} to skip such "
                f"classes{instead}."
            )

    def __len__(self) -> int:
        if self.batches_per_epoch is not None:
            return self.batches_per_epoch
        return max(1, len(self.table) // (self.classes_per_batch * self.images_per_class))

    def __iter__(self) -> Iterator[Batch]:
        start, self._resume_at = self._resume_at, 0
        coming = self._coming(len(self) - start)
        for position, (coming_batch, images_BCHW) in enumerate(self.table.fetch(coming), start + 1):
            self.position, self._place = position, coming_batch.place
            yield Batch(images_BCHW, coming_batch.labels_B, coming_batch.image_ids_B, coming_batch.true_labels_B)

    def _coming(self, count: int) -> Iterator[tuple[_ComingBatch, Tensor]]:
        """Yield the next batches as rows of the table: (labels and ids, rows).

        Looking ahead does not advance the stored position of the stream.
        """
        place = self._place
        if place is not None and place.drawn is not self._latest:
            self._rewind(place.drawn)
        drawn, batches = place or (self._draw(), 0)
        while True:
            some = slice(batches, batches + count), self.part
            for images_B, labels_B in zip(drawn.images_SB[some].unbind(), drawn.labels_SB[some].unbind(), strict=True):
                batches, count = batches + 1, count - 1
                ids_B = images_B if self.batches_have_image_ids else None
                true_B = None if self.true_labels_N is None else self.true_labels_N[images_B]
                yield _ComingBatch(_Place(drawn, batches), labels_B, ids_B, true_B), images_B
            if count == 0:
                return
            drawn, batches = self._draw(), 0

    def _rewind(self, drawn: _DrawnBatches) -> None:
        """Reset the generator to its state right after these batches were drawn, because look-ahead drew later ones."""
        self.generator.set_state(drawn.generator_before)
        self.queue = drawn.queue_before
        self._draw()

    def _draw(self) -> _DrawnBatches:
        before = self.generator.get_state(), self.queue
        count = max(1, AT_ONCE // (self.classes_per_batch * self.images_per_class))
        classes_R = self._next_classes(count)
        images_SB = self._images_of(classes_R).view(count, -1)
        labels_SB = classes_R.repeat_interleave(self.images_per_class).view(count, -1)
        self._latest = _DrawnBatches(images_SB, labels_SB, *before)
        return self._latest

    def _next_classes(self, batches: int) -> Tensor:
        """Take the classes of some batches off the queue."""
        if self.order is None:
            classes_R, self.queue = take_in_rounds(
                self.queue, batches * self.classes_per_batch, self.class_count, self.classes_per_batch, self.generator
            )
        else:
            classes_R, self.queue = self.order.take(batches, self.queue, self.generator)
        return classes_R

    def _images_of(self, classes_R: Tensor) -> Tensor:
        """Return K images of each class in random order, as (R, K) rows of the table.

        A class with fewer than K images gives all of them, then starts again with the first.
        """
        size_R = self.offsets.size_C[classes_R].numpy()
        shape = len(classes_R), self.images_per_class
        chosen_KR = _some_of(size_R, torch.rand(shape, generator=self.generator, dtype=torch.float64).numpy())
        order_RK = _random_order(size_R, torch.rand(shape, generator=self.generator).numpy())
        rank_RK = chosen_KR.take(order_RK * len(size_R) + np.arange(len(size_R))[:, None])
        return self.offsets.image(classes_R[:, None], torch.from_numpy(rank_RK))

    def state_dict(self) -> dict[str, Any]:
        """Return the state that determines all following batches."""
        if self._place is None:
            generator, queue, batches = self.generator.get_state(), self.queue, 0
        else:
            drawn, batches = self._place
            generator, queue = drawn.generator_before, drawn.queue_before
        return {"generator": generator, "queue": queue.clone(), "batches": batches, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position of the stream.

        Raises:
            WrongValueError: if the state is not that of such a stream.
        """
        self._check_state(state)
        self.generator.set_state(state["generator"])
        self.queue = state["queue"]
        self.position = state["position"]
        self._resume_at = self.position % len(self)
        self._place = _Place(self._draw(), state["batches"]) if state["batches"] else None

    def _check_state(self, state: Mapping[str, Any]) -> None:
        for name in ("batches", "position"):
            whole_number(state[name], name)
        queue = state["queue"]
        largest = self.class_count - 1 if self.order is None else self.order.largest_number
        is_queue = isinstance(queue, Tensor) and queue.ndim == 1 and queue.dtype == torch.int64
        if not is_queue or bool(((queue < 0) | (queue > largest)).any()):
            raise WrongValueError(f"the queue of the batches holds other values than {self.class_count} class numbers")


def _some_of(size_R: NDArray[np.signedinteger], noise_RK: NDArray[np.float64]) -> NDArray[np.signedinteger]:
    """Draw K different numbers below each size, or all of them if the size is less than K: (K, R).

    Floyd's method (Bentley & Floyd 1987, doi:10.1145/30401.315746): its cost does not grow with the size. The result
    has one row per draw, so that compared numbers are adjacent in memory. The noise is uniform in 0…1.
    """
    images = noise_RK.shape[1]
    last_KR = (size_R - images).clip(0) + np.arange(images, dtype=size_R.dtype)[:, None]
    chosen_KR = np.multiply(noise_RK.T, last_KR + 1, order="C").astype(size_R.dtype)
    for number in range(1, images):
        is_taken_R = (chosen_KR[:number] == chosen_KR[number]).any(0)
        np.copyto(chosen_KR[number], last_KR[number], where=is_taken_R)
    return chosen_KR


def _random_order(size_R: NDArray[np.signedinteger], noise_RK: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the numbers below K in random order.

    If the size is less than K, return the numbers below the size in one random order, repeated. Noise and number are
    packed into one integer, because NumPy sorts integers fastest.
    """
    number_K = np.arange(noise_RK.shape[1])
    order_RK = (noise_RK * 2**24).astype(np.int64)
    is_short = bool((size_R < len(number_K)).any())
    if is_short:
        order_RK[number_K >= size_R[:, None]] = 2**24
    order_RK <<= 32
    order_RK |= number_K
    order_RK.sort(1)
    order_RK &= 2**32 - 1
    return np.take_along_axis(order_RK, number_K % size_R[:, None], 1) if is_short else order_RK
