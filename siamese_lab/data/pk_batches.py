"""Class-balanced batches: P classes × K images each (Hermans et al. 2017, arXiv:1703.07737, §2).

The stream is drawn from a generator of its own, so that every strategy sees the same images in the same order,
and its whole state can be stored and taken up again in the middle of an epoch.

Shapes: P classes per batch, K images per class, L images in the largest class.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from siamese_lab.batch import Batch
from siamese_lab.data.image_table import ImageTable


class PKBatches:
    """An epoch draws as many images as the table holds; the next epoch goes on where it ended.

    Classes come in random order, each once before any comes again, and never twice in a batch. Within a class K
    different images are drawn; where it has fewer and `repeats` is on, each once before any comes again.

    Args:
        table: the images to draw from.
        classes_per_batch: P.
        images_per_class: K, at least 2.
        seed: of the stream.
        repeats: whether a class of fewer than K images may show an image twice.

    Raises:
        ValueError: if P, K and the table do not go together.
    """

    def __init__(
        self,
        table: ImageTable,
        classes_per_batch: int,
        images_per_class: int,
        seed: int = 0,
        repeats: bool = False,
    ) -> None:
        self.table = table
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class
        self.class_count = len(table.class_names)
        self.order_N = table.labels_N.argsort(stable=True)
        self.size_C = table.labels_N.bincount(minlength=self.class_count)
        self.start_C = self.size_C.cumsum(0) - self.size_C
        self._check(repeats)

        self.generator = torch.Generator().manual_seed(seed)
        self.queue = torch.empty(0, dtype=torch.int64)
        self.position = 0
        self._resume_at = 0

    def _check(self, repeats: bool) -> None:
        if self.images_per_class < 2:
            raise ValueError(
                f"P×K batches need at least 2 images per class, so that an anchor has a positive, "
                f"but data.images_per_class is {self.images_per_class}."
            )
        if self.classes_per_batch < 2:
            raise ValueError(
                f"P×K batches need at least 2 classes, so that an anchor has a negative, "
                f"but data.classes_per_batch is {self.classes_per_batch}."
            )
        if self.classes_per_batch > self.class_count:
            raise ValueError(
                f"P×K batches of {self.classes_per_batch} classes need as many to train on, but there are "
                f"{self.class_count}. Set data.classes_per_batch={self.class_count} or less."
            )
        needed = 1 if repeats else self.images_per_class
        short = (self.size_C < needed).nonzero().squeeze(1)
        if len(short):
            first = int(short[0])
            raise ValueError(
                f"P×K batches need {needed} images per class, but {len(short)} of {self.class_count} classes have "
                f"fewer, such as class {first} ({self.table.class_names[first]!r}) with {int(self.size_C[first])}. "
                f"Set data.min_images_per_class={needed} to leave such classes out, data.repeats=true to show "
                "their images more than once, or a smaller data.images_per_class."
            )

    def __len__(self) -> int:
        return max(1, len(self.table) // (self.classes_per_batch * self.images_per_class))

    def __iter__(self) -> Iterator[Batch]:
        start, self._resume_at = self._resume_at, 0
        for position in range(start, len(self)):
            self.position = position + 1
            yield self._draw()

    def _draw(self) -> Batch:
        classes_P = self._next_classes()
        index_B = self._images_of(classes_P).flatten()
        return Batch(self.table.images_NCHW[index_B], self.table.labels_N[index_B])

    def _next_classes(self) -> Tensor:
        """Take P classes off the queue, first refilling it by a new permutation if it is too short.

        Classes still waiting in the queue go to the end of the new permutation, so none is twice in a batch.
        """
        if len(self.queue) < self.classes_per_batch:
            fresh = torch.randperm(self.class_count, generator=self.generator)
            waiting = torch.isin(fresh, self.queue)
            self.queue = torch.cat([self.queue, fresh[~waiting], fresh[waiting]])
        classes_P, self.queue = self.queue.split([self.classes_per_batch, len(self.queue) - self.classes_per_batch])
        return classes_P

    def _images_of(self, classes_P: Tensor) -> Tensor:
        """K images of each class, (P, K) rows of the table: random order, the class's own places first."""
        size_P1 = self.size_C[classes_P][:, None]
        place_L = torch.arange(int(self.size_C.max()))
        noise_PL = torch.rand(len(classes_P), len(place_L), generator=self.generator)
        shuffled_PL = noise_PL.masked_fill(place_L >= size_P1, 2.0).argsort(1)
        turn_PK = torch.arange(self.images_per_class) % size_P1
        return self.order_N[self.start_C[classes_P][:, None] + shuffled_PL.gather(1, turn_PK)]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the batches still to come depend on."""
        return {
            "generator": self.generator.get_state(),
            "queue": self.queue.clone(),
            "position": self.position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the stream stood."""
        self.generator.set_state(state["generator"])
        self.queue = state["queue"]
        self.position = state["position"]
        self._resume_at = self.position % len(self)
