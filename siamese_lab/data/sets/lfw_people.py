"""The people of Labeled Faces in the Wild, and the part of both views that each person belongs to.

`lfw_people.tsv` combines the official lists `peopleDevTrain.txt`, `peopleDevTest.txt` and `people.txt`, which can no
longer be downloaded.
"""

import csv
from functools import cache
from importlib import resources
from typing import NamedTuple

FOLDS = 10


class Person(NamedTuple):
    """One of the 5,749 people."""

    name: str
    """Name in the form of the file names: `Aaron_Peirsol`."""
    images: int
    """Number of images. File names count them from 1."""
    view_1: str
    """Part in View 1: `train` or `test`."""
    fold: int
    """Fold in View 2, 0…9."""

    def files(self) -> list[str]:
        """Return the names of the images, such as `Aaron_Peirsol/Aaron_Peirsol_0001.jpg`."""
        return [f"{self.name}/{self.name}_{number:04}.jpg" for number in range(1, self.images + 1)]


@cache
def people() -> tuple[Person, ...]:
    """Return all people, sorted by name."""
    with resources.files(__package__).joinpath("lfw_people.tsv").open(encoding="ascii") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        return tuple(Person(row["name"], int(row["images"]), row["view_1"], int(row["fold"])) for row in rows)
