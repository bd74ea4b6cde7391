"""Class-balanced batches: P classes × K images each (Hermans et al. 2017, arXiv:1703.07737, §2).

The stream is drawn from a generator of its own, so that every strategy sees the same images in the same order,
and its whole state can be stored and taken up again in the middle of an epoch.

Shapes: P classes per batch, K images per class, B = P·K, C classes, R classes drawn, S batches drawn at once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from siamese_lab.batch import Batch
from siamese_lab.data.class_index import class_offsets
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError

AT_ONCE = 1 << 15
"""Images that are drawn at once (at least a batch), as many small draws cost more than a large one."""


class _DrawnBatches(NamedTuple):
    """Some batches of the stream, and what it takes to draw them again."""

    images_SB: Tensor
    labels_SB: Tensor
    generator_before: Tensor
    queue_before: Tensor


class _Place(NamedTuple):
    """How far the stream was taken."""

    drawn: _DrawnBatches
    batches: int


def check_split_between_processes(classes_per_batch: int, processes: int) -> None:
    """Raise UserError unless the classes of a batch can be shared out equally among several processes."""
    if classes_per_batch % processes:
        raise UserError(
            f"The {classes_per_batch} classes of a batch (data.classes_per_batch) cannot be shared out equally among "
            f"{processes} processes (trainer.devices). Make the first a multiple of the second."
        )


class PKBatches:
    """An epoch draws as many images as the table holds, unless told otherwise; the next one goes on where it ended.

    Classes come in random order, each once before any comes again, and never twice in a batch. Within a class K
    different images are drawn; where it has fewer and `repeats` is on, each once before any comes again, and the
    batches say which image is which (`Batch.image_ids_B`), as a repeated image is no positive of itself unless
    `repeats_are_positives`.

    Args:
        table: the images to draw from.
        classes_per_batch: P, of all processes together.
        images_per_class: K, at least 2.
        seed: of the stream.
        repeats: whether a class of fewer than K images, but two at least, may show an image twice.
        repeats_are_positives: whether an image that is shown twice, augmented in different ways, is a positive of
            itself, as in SimCLR (Chen et al. 2020, arXiv:2002.05709); classes of one image may take part then.
        batches_per_epoch: length of an epoch.

    Raises:
        UserError: if P, K and the table do not go together.
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
    ) -> None:
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
        """Take a part of the classes of each batch: the others are for other processes, which draw the same stream.

        Together they see what one process would see that has it all.

        Raises:
            UserError: if P is not a multiple of `ranks`.
        """
        check_split_between_processes(self.classes_per_batch, ranks)
        share = self.classes_per_batch // ranks * self.images_per_class
        self.part = slice(rank * share, (rank + 1) * share)

    def _check(self, repeats: bool, repeats_are_positives: bool, batches_per_epoch: int | None) -> None:
        if self.images_per_class < 2:
            raise UserError(
                f"P×K batches need at least 2 images per class, so that an anchor has a positive, "
                f"but data.images_per_class is {self.images_per_class}."
            )
        if self.classes_per_batch < 2:
            raise UserError(
                f"P×K batches need at least 2 classes, so that an anchor has a negative, "
                f"but data.classes_per_batch is {self.classes_per_batch}."
            )
        if self.classes_per_batch > self.class_count:
            raise UserError(
                f"P×K batches of {self.classes_per_batch} classes need as many to train on, but there are "
                f"{self.class_count}. Set data.classes_per_batch={self.class_count} or less."
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
                f"{int(self.offsets.size_C[first])}. Set data.min_images_per_class={needed} to leave such classes "
                f"out{instead}."
            )

    def __len__(self) -> int:
        if self.batches_per_epoch is not None:
            return self.batches_per_epoch
        return max(1, len(self.table) // (self.classes_per_batch * self.images_per_class))

    def __iter__(self) -> Iterator[Batch]:
        start, self._resume_at = self._resume_at, 0
        coming = self._coming(len(self) - start)
        for position, ((place, labels_B, image_ids_B), images_BCHW) in enumerate(self.table.fetch(coming), start + 1):
            self.position, self._place = position, place
            yield Batch(images_BCHW, labels_B, image_ids_B)

    def _coming(self, count: int) -> Iterator[tuple[tuple[_Place, Tensor, Tensor | None], Tensor]]:
        """The next batches, whose images are still to be fetched: ((place, labels, ids if they tell), images).

        The stream is not taken further by looking ahead at them.
        """
        place = self._place
        if place is not None and place.drawn is not self._latest:
            self._rewind(place.drawn)
        drawn, batches = place or (self._draw(), 0)
        while True:
            some = slice(batches, batches + count), self.part
            for images_B, labels_B in zip(drawn.images_SB[some].unbind(), drawn.labels_SB[some].unbind(), strict=True):
                batches, count = batches + 1, count - 1
                yield (_Place(drawn, batches), labels_B, images_B if self.batches_have_image_ids else None), images_B
            if count == 0:
                return
            drawn, batches = self._draw(), 0

    def _rewind(self, drawn: _DrawnBatches) -> None:
        """Put the generator where it stood after these batches were drawn, as later ones were looked at ahead."""
        self.generator.set_state(drawn.generator_before)
        self.queue = drawn.queue_before
        self._draw()

    def _draw(self) -> _DrawnBatches:
        before = self.generator.get_state(), self.queue
        count = max(1, AT_ONCE // (self.classes_per_batch * self.images_per_class))
        classes_R = self._next_classes(count * self.classes_per_batch)
        images_SB = self._images_of(classes_R).view(count, -1)
        labels_SB = classes_R.repeat_interleave(self.images_per_class).view(count, -1)
        self._latest = _DrawnBatches(images_SB, labels_SB, *before)
        return self._latest

    def _next_classes(self, count: int) -> Tensor:
        """Take classes off the queue, first filling it by permutations of all.

        Classes that already are in the batch where a permutation begins go to its end, so none is twice in a batch.
        """
        rounds = max(0, -(-(count - len(self.queue)) // self.class_count))
        noise = torch.rand(rounds, self.class_count, generator=self.generator, dtype=torch.float64)
        queued = [self.queue.numpy()]
        length = len(self.queue)
        is_waiting_C = np.zeros(self.class_count, dtype=bool)
        for fresh_C in noise.numpy().argsort(1):
            waiting = length % self.classes_per_batch
            if waiting:
                is_waiting_C[queued[-1][-waiting:]] = True
                fresh_C = fresh_C[is_waiting_C[fresh_C].argsort(kind="stable")]
                is_waiting_C[:] = False
            queued.append(fresh_C)
            length += len(fresh_C)
        classes, self.queue = torch.from_numpy(np.concatenate(queued)).split([count, length - count])
        return classes

    def _images_of(self, classes_R: Tensor) -> Tensor:
        """K images of each class, (R, K) rows of the table, in random order.

        Of a class of fewer images all of them, then again from the first.
        """
        size_R = self.offsets.size_C[classes_R].numpy()
        shape = len(classes_R), self.images_per_class
        chosen_KR = _some_of(size_R, torch.rand(shape, generator=self.generator, dtype=torch.float64).numpy())
        order_RK = _random_order(size_R, torch.rand(shape, generator=self.generator).numpy())
        rank_RK = chosen_KR.take(order_RK * len(size_R) + np.arange(len(size_R))[:, None])
        return self.offsets.image(classes_R[:, None], torch.from_numpy(rank_RK))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the batches still to come depend on."""
        if self._place is None:
            generator, queue, batches = self.generator.get_state(), self.queue, 0
        else:
            drawn, batches = self._place
            generator, queue = drawn.generator_before, drawn.queue_before
        return {"generator": generator, "queue": queue.clone(), "batches": batches, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the stream stood."""
        self.generator.set_state(state["generator"])
        self.queue = state["queue"]
        self.position = state["position"]
        self._resume_at = self.position % len(self)
        self._place = _Place(self._draw(), state["batches"]) if state["batches"] else None


def _some_of(size_R: NDArray[np.signedinteger], noise_RK: NDArray[np.float64]) -> NDArray[np.signedinteger]:
    """K different numbers below each size, or as many as there are, from noise of 0…1: (K, R).

    By Floyd's method (Bentley & Floyd 1987, doi:10.1145/30401.315746), whose cost does not grow with the size. A number
    for all R is a row here, as what is compared then lies together.
    """
    images = noise_RK.shape[1]
    last_KR = (size_R - images).clip(0) + np.arange(images, dtype=size_R.dtype)[:, None]
    chosen_KR = np.multiply(noise_RK.T, last_KR + 1, order="C").astype(size_R.dtype)
    for number in range(1, images):
        is_taken_R = (chosen_KR[:number] == chosen_KR[number]).any(0)
        np.copyto(chosen_KR[number], last_KR[number], where=is_taken_R)
    return chosen_KR


def _random_order(size_R: NDArray[np.signedinteger], noise_RK: NDArray[np.float32]) -> NDArray[np.int64]:
    """The numbers below K in a random order; where the size is less, those below it, again and again in one order.

    Noise and number make up one integer, as integers are what NumPy sorts fastest.
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
