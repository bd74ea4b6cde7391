"""Divide images that a list describes into training, validation and test images with their queries and galleries.

Shapes: N images of the list, M images of a part.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.datamodule import QueryGalleryParts, Splits
from siamese_lab.data.info import DataSetInfo
from siamese_lab.data.io.messages import announce
from siamese_lab.data.sets.own_images import ClassFractions, Labels
from siamese_lab.data.splits import held_out_images
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError
from siamese_lab.query_gallery import QueryGallery
from siamese_lab.runs.classes import ClassParts

TRAIN, VALIDATION, TEST, NO_PART = range(4)
PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class ListedImages:
    """The images of a list in the order of the list."""

    source: Path
    """The file or folder that lists the images, for messages."""
    labels: Labels
    place: Callable[[int], str]
    """Returns where an image is listed, for messages."""
    part_N: Tensor | None = None
    """int64: TRAIN, VALIDATION, TEST or NO_PART; None if the list does not divide the images."""
    roles: QueryGallery | None = None
    """The roles of the images in validation and test; None if the list states none."""

    def rows(self, index_M: Tensor) -> "ListedImages":
        """Return the list of some of the images."""
        numbers, names = index_M.tolist(), self.labels.class_names
        return replace(
            self,
            labels=Labels.of([names[label] for label in self.labels.labels_N[index_M].tolist()]),
            place=lambda row: self.place(numbers[row]),
            part_N=None if self.part_N is None else self.part_N[index_M],
            roles=None if self.roles is None else self.roles.rows(index_M),
        )


class DividedImages(NamedTuple):
    """The rows of each part, and the roles of the images of validation and test."""

    rows: tuple[Tensor, Tensor, Tensor]
    """Rows of the list (int64, ascending): train, validation, test."""
    roles: QueryGalleryParts | None

    def splits(self, table: Any) -> Splits:
        """Return the three tables. The labels of each count the classes that the part has.

        Args:
            table: the images of the list, with a method `rows`.
        """
        return Splits(*(_with_own_classes(table.rows(index_M)) for index_M in self.rows))


def _with_own_classes(table: BaseTable) -> BaseTable:
    present: list[int] = table.labels_N.unique().tolist()
    part: BaseTable = table.classes(present)
    return part


@dataclass(frozen=True)
class Division:
    """The options that decide which image is in which part.

    Attributes:
        fractions: divides the classes if the list does not; the list may also lack validation images.
        closed: True if test classes may be training classes.
        kept: parts of a training. Its held-out classes stay the same, and new classes are in no part.
    """

    fractions: ClassFractions
    closed: bool = False
    kept: ClassParts | None = None

    def divide(self, images: ListedImages) -> DividedImages:
        """Divide the images.

        If the list divides them and lacks test images, its validation images are tested. If it then lacks validation
        images, training classes are held out, or with `closed` images of each training class. A list of test images
        only has empty other parts: a trained network can be evaluated on it.

        Raises:
            UserError: if there is nothing to test, a class is in two parts without `closed`, or no query has a match.
        """
        rows = self._by_fractions(images) if images.part_N is None else self._by_list(images, images.part_N)
        if images.roles is None:
            return DividedImages(rows, None)
        tested = check_queries(images, images.roles.rows(rows[TEST]), rows[TEST])
        validated = validation_roles(images.roles.rows(rows[VALIDATION]), images.labels.labels_N[rows[VALIDATION]])
        return DividedImages(rows, QueryGalleryParts(validated, tested))

    def _by_fractions(self, images: ListedImages) -> tuple[Tensor, Tensor, Tensor]:
        check_divided(self.closed, images.source)
        train, validation, test = (
            torch.isin(images.labels.labels_N, torch.tensor(part, dtype=torch.int64)).nonzero().squeeze(1)
            for part in self.fractions.split(images.labels, images.source, self.kept)
        )
        return train, validation, test

    def _by_list(self, images: ListedImages, part_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not (part_N == TEST).any():
            if not (part_N == VALIDATION).any():
                raise UserError(
                    f"{images.source} has no image with split test or validation, so nothing can be tested. Give some "
                    "classes the split test. A table can also lack the column, or ignore it with data.split_column="
                    "null: then fractions of the classes are tested."
                )
            announce(f"{images.source.name} has no test images: its validation images are tested.")
            part_N = torch.where(part_N == VALIDATION, TEST, part_N)
        if not self.closed:
            check_disjoint(images, part_N)
        is_known_N = self._is_known(images.labels)
        if (part_N == TRAIN).any() and not (part_N == VALIDATION).any():
            part_N = self._hold_out(images, torch.where(is_known_N, part_N, NO_PART))
        part_N = torch.where(is_known_N, part_N, NO_PART)
        train, validation, test = ((part_N == part).nonzero().squeeze(1) for part in (TRAIN, VALIDATION, TEST))
        return train, validation, test

    def _is_known(self, labels: Labels) -> Tensor:
        """Return True for each image of a class that the training had; for all images without a training."""
        if self.kept is None:
            return torch.ones_like(labels.labels_N, dtype=torch.bool)
        return in_classes(labels, self.kept.names())

    def _hold_out(self, images: ListedImages, part_N: Tensor) -> Tensor:
        """Return the parts, in which a fraction of the training classes validates; of their images if `closed`."""
        part_N, row_M = part_N.clone(), (part_N == TRAIN).nonzero().squeeze(1)
        labels_M = images.labels.labels_N[row_M]
        if self.kept is not None and not self.closed:
            held_M = in_classes(images.labels, frozenset(self.kept.validation.names))[row_M]
        elif self.closed:
            held_M = held_out_images(labels_M, self.fractions.validation)
        else:
            held_M = torch.isin(labels_M, torch.tensor(self.fractions.hold_out(labels_M, images.source)))
        part_N[row_M[held_M]] = VALIDATION
        return part_N


def in_classes(labels: Labels, names: frozenset[str]) -> Tensor:
    """Return True for each image of one of the classes (bool, N)."""
    return torch.tensor([name in names for name in labels.class_names])[labels.labels_N]


def describe_protocol(described: DataSetInfo, closed: bool, roles: QueryGalleryParts | None) -> DataSetInfo:
    """Return a description that says whether test classes are known, and whether test images have roles."""
    named, notes = [], []
    if closed:
        named.append("closed")
        notes.append("Closed: new images of the classes of training are tested.")
    if roles is not None:
        named.append("query and gallery")
        groups = "" if roles.test.group_N is None else ", without images of the query's own class and group"
        notes.append(f"Query and gallery: queries search a gallery of test images{groups}.")
    return described._replace(protocol=", ".join(named) or None, notes=(*described.notes, *notes))


def check_divided(closed: bool, source: Path) -> None:
    """Raise UserError if known classes are to be tested, but nothing says which of their images are."""
    if closed:
        raise UserError(
            f"data.closed=true tests images of known classes, but {source} does not say which images those are: it "
            "divides whole classes. Add a split to each image, or set data.closed=false."
        )


def validation_roles(stated: QueryGallery, labels_M: Tensor) -> QueryGallery:
    """Return the roles of the validation images: as stated if a query has a match.

    Otherwise, as for held-out training classes, each image is a query and is searched, with groups if that leaves a
    match. Without validation images, the roles are empty.
    """
    if not len(labels_M):
        return stated
    everyone = QueryGallery.everyone(len(labels_M))
    for roles in (stated, everyone._replace(group_N=stated.group_N)):
        if (roles.query_N & (roles.matches(labels_M) > 0)).any():
            return roles
    if stated.group_N is not None:
        announce("Validation ignores groups, because every class of the validation images has one group.")
    return everyone


def check_disjoint(images: ListedImages, part_N: Tensor) -> None:
    """Raise UserError if a class has images in two parts."""
    labels_N = images.labels.labels_N
    in_parts_PC = torch.zeros(len(PART_NAMES), len(images.labels.class_names), dtype=torch.bool)
    in_parts_PC[part_N, labels_N] = True
    shared_C = in_parts_PC.sum(0) > 1
    if not shared_C.any():
        return
    label = int(shared_C.nonzero()[0])
    first, second = in_parts_PC[:, label].nonzero().squeeze(1).tolist()[:2]
    one, other = (int(((labels_N == label) & (part_N == part)).nonzero()[0]) for part in (first, second))
    count = int(shared_C.sum())
    more = f", and {count - 1:,} further labels are too" if count > 1 else ""
    raise UserError(
        f"The label {images.labels.class_names[label]!r} is in {PART_NAMES[first]} ({images.place(one)}) and in "
        f"{PART_NAMES[second]} ({images.place(other)}){more}. Correct the labels, or set data.closed=true if "
        "known classes are to be tested, which is another protocol."
    )


def check_queries(images: ListedImages, roles: QueryGallery, row_M: Tensor) -> QueryGallery:
    """Return the roles of the test images, and announce the queries without a match, which are left out.

    Raises:
        UserError: if there is no query, no gallery, or no query with a match.
    """
    labels_M = images.labels.labels_N[row_M]
    for what, there_M in (("query", roles.query_N), ("gallery", roles.gallery_N)):
        if not there_M.any():
            raise UserError(
                f"None of the {len(row_M):,} test images of {images.source} is a {what} image. Give some of them this "
                "role, or remove all roles: then each test image searches all others."
            )
    if neither := int((~roles.query_N & ~roles.gallery_N).sum()):
        announce(f"{neither:,} test images of {images.source.name} are neither queries nor searched.")
    unmatched, queries = roles.unmatched(labels_M), int(roles.query_N.sum())
    if not len(unmatched):
        return roles
    first = int(unmatched[0])
    grouped = "" if roles.group_N is None else " after images of their own class and group are excluded"
    line = (
        f"{len(unmatched):,} of {queries:,} queries of {images.source.name} have no match in the gallery{grouped}, "
        f"such as {images.place(int(row_M[first]))}"
    )
    if len(unmatched) == queries:
        of_others = "" if roles.group_N is None else " in other groups"
        raise UserError(f"{line}. So nothing can be found: add gallery images of their labels{of_others}.")
    announce(f"{line}. They are left out.")
    return roles


def described_roles(roles: QueryGalleryParts, splits: Splits) -> dict[str, str]:
    """Return the queries and galleries of validation and test as phrases, for the provenance of a run."""
    return {
        name: counted_roles(of_part, table.labels_N)
        for name, of_part, table in (
            ("validated", roles.validation, splits.validation),
            ("tested", roles.test, splits.test),
        )
        if len(table)
    }


def counted_roles(roles: QueryGallery, labels_N: Tensor) -> str:
    """Return the number of queries, gallery images and queries without a match as a phrase.

    >>> roles = QueryGallery(torch.tensor([True, True, False]), torch.tensor([False, False, True]))
    >>> counted_roles(roles, torch.tensor([0, 1, 0]))
    '2 queries against a gallery of 1, without groups; 1 query has no match and is left out'
    """
    queries, searched, unmatched = int(roles.query_N.sum()), int(roles.gallery_N.sum()), len(roles.unmatched(labels_N))
    groups = "without groups" if roles.group_N is None else "ignoring the query's own class and group"
    left_out = f"; {unmatched:,} {'query has' if unmatched == 1 else 'queries have'} no match and is left out"
    left_out = left_out if unmatched == 1 else left_out.replace("is left", "are left")
    return f"{queries:,} queries against a gallery of {searched:,}, {groups}{left_out if unmatched else ''}"
