"""The order of the classes in batches that are balanced by category: equal shares of some categories in each batch.

`CategoryBalanceSampler` of open-metric-learning makes batches of the same form. It draws categories in proportion to
their numbers of classes by default, and classes independently for each batch.

Shapes: C classes, R categories drawn, S classes of each of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from siamese_lab.data.rounds import take_in_rounds
from siamese_lab.errors import UserError


class CategoryOrder:
    """Draws the classes of each batch from different categories, the same number from each.

    Every category occurs once before any occurs again, and never twice in a batch. Within a category, the same is true
    of its classes. So all categories are equally frequent, and the classes of a small category occur more often than
    those of a large one.

    Args:
        category_C: category of each class: any whole numbers (int64).
        classes_per_batch: P.
        categories_per_batch: number of categories in a batch, a divisor of P.
        class_names: name of each class, for messages.

    Raises:
        UserError: if the number of categories does not divide P, there are fewer categories, or a category has fewer
            classes than its share of a batch.
    """

    def __init__(
        self, category_C: Tensor, classes_per_batch: int, categories_per_batch: int, class_names: Sequence[str]
    ) -> None:
        check_number(categories_per_batch, classes_per_batch)
        present, self.category_C = category_C.unique(return_inverse=True)
        self.categories = len(present)
        self.categories_per_batch = categories_per_batch
        self.share = classes_per_batch // categories_per_batch
        self.members = self._by_category(torch.arange(len(category_C)))
        self.rank_C = torch.empty_like(category_C)
        """Position of each class among the classes of its category."""
        for members in self.members:
            self.rank_C[members] = torch.arange(len(members))
        self._check(class_names)

    def _check(self, class_names: Sequence[str]) -> None:
        if self.categories_per_batch > self.categories:
            raise UserError(
                f"Batches of data.categories_per_batch={self.categories_per_batch} categories need as many categories "
                f"of training classes, but there are {self.categories}. Set data.categories_per_batch to a smaller "
                "number."
            )
        short = [members for members in self.members if len(members) < self.share]
        if short:
            more = f" {len(short)} of {self.categories} categories have too few." if len(short) > 1 else ""
            raise UserError(
                f"Each of the data.categories_per_batch={self.categories_per_batch} categories of a batch gives "
                f"{self.share} classes, but the category of class {class_names[int(short[0][0])]!r} has "
                f"{len(short[0])}.{more} Set data.classes_per_batch to a smaller number, or "
                "data.categories_per_batch to a larger one."
            )

    @property
    def largest_number(self) -> int:
        """The largest number in a queue."""
        return len(self.category_C) + self.categories - 1

    def take(self, batches: int, queue: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the classes of the next batches, batch by batch, and the queue that is left.

        Args:
            batches: number of batches.
            queue: the numbers that wait (int64): classes, and categories as C plus their number. It is empty at first.
            generator: draws the permutations.
        """
        classes = len(self.category_C)
        is_class = queue < classes
        waiting = queue[is_class]
        count = batches * self.categories_per_batch
        drawn_R, categories = take_in_rounds(
            queue[~is_class] - classes, count, self.categories, self.categories_per_batch, generator
        )
        times = drawn_R.bincount(minlength=self.categories).tolist()
        taken, left = [], []
        for number, own in enumerate(self._by_category(waiting)):
            if not times[number]:
                left.append(own)
                continue
            members = self.members[number]
            ranks, own_ranks = take_in_rounds(
                self.rank_C[own], times[number] * self.share, len(members), self.share, generator
            )
            taken.append(members[ranks])
            left.append(members[own_ranks])
        classes_RS = torch.empty(count, self.share, dtype=torch.int64)
        classes_RS[drawn_R.argsort(stable=True)] = torch.cat(taken).view(count, self.share)
        return classes_RS.flatten(), torch.cat([*left, categories + classes])

    def _by_category(self, classes: Tensor) -> tuple[Tensor, ...]:
        """Divide classes into those of each category, in their order."""
        category = self.category_C[classes]
        sizes = category.bincount(minlength=self.categories).tolist()
        return classes[category.argsort(stable=True)].split(sizes)


def check_number(categories_per_batch: int, classes_per_batch: int) -> None:
    """Raise UserError unless the number of categories of a batch divides its number of classes."""
    is_whole = isinstance(categories_per_batch, int) and not isinstance(categories_per_batch, bool)
    if not is_whole or categories_per_batch < 1 or classes_per_batch % categories_per_batch:
        raise UserError(
            "data.categories_per_batch must be a whole number of at least 1 that divides "
            f"data.classes_per_batch={classes_per_batch}, because each category gives the same number of classes, but "
            f"is {categories_per_batch}. null ignores categories."
        )
