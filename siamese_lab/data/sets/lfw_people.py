"""Who is in Labeled Faces in the Wild, and which person belongs to which part of its two views.

The facts of the official lists `peopleDevTrain.txt`, `peopleDevTest.txt` and `people.txt`, which can no longer be
downloaded, in one table (`lfw_people.tsv`).
"""

import csv
from functools import cache
from importlib import resources
from typing import NamedTuple

FOLDS = 10


class Person(NamedTuple):
    """One of the 5,749 people."""

    name: str
    """As in file names: `Aaron_Peirsol`."""
    images: int
    """How many there are, numbered from 1."""
    view_1: str
    """`train` or `test`."""
    fold: int
    """Of View 2, 0…9."""

    def files(self) -> list[str]:
        """The names of the images, `Aaron_Peirsol/Aaron_Peirsol_0001.jpg` and so on."""
        return [f"{self.name}/{self.name}_{number:04}.jpg" for number in range(1, self.images + 1)]


@cache
def people() -> tuple[Person, ...]:
    """Everyone, sorted by name."""
    with resources.files(__package__).joinpath("lfw_people.tsv").open(encoding="ascii") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        return tuple(Person(row["name"], int(row["images"]), row["view_1"], int(row["fold"])) for row in rows)
