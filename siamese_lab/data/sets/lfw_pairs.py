"""The pairs of Labeled Faces in the Wild, as rows of its image table.

`pairs.txt` begins with the number of folds and the number of pairs of each kind in a fold. `pairsDev*.txt` begins with
the second number only. A fold lists the pairs of one person first, `Abel_Pacheco 1 4`, then the pairs of two people,
`Ben_Kingsley 1 Daryl_Hannah 1`.

Shapes: M pairs.
"""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.sets.lfw_people import Person
from siamese_lab.errors import ResourceError


class LfwPairs(NamedTuple):
    """Pairs of images, in the order of their list."""

    first_M: Tensor
    """Row of the first image in the table of all images (int64)."""
    second_M: Tensor
    """Row of the second image (int64)."""
    same_M: Tensor
    """True if both images show one person (bool)."""
    fold_M: Tensor
    """Fold of the pair (int64); 0 for every pair if the file has no folds."""


def read_pairs(path: Path, people: Sequence[Person]) -> LfwPairs:
    """Read the pairs of a file.

    Args:
        path: the file.
        people: all people, in the order in which the table lists their images.

    Raises:
        UserError: if the file has another format, or names an image that does not exist.
    """
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line.strip()]
    try:
        *folds, each = (int(number) for number in header.split())
        (count,) = folds or (1,)
    except ValueError:
        raise ResourceError(f"{path} should begin with the number of its pairs, but begins with {header!r}.") from None
    if len(lines) != 2 * each * count:
        raise ResourceError(
            f"{path} should hold {2 * each * count} pairs by its first line, but holds {len(lines)}. "
            "It is incomplete: replace it."
        )
    images = {person.name: person.images for person in people}
    starts = dict(zip(images, accumulate(images.values(), initial=0), strict=False))

    def row(name: str, number: str, line: str) -> int:
        if name not in images or not number.isdecimal() or not 1 <= int(number) <= images[name]:
            raise ResourceError(f"{path} names image {number} of {name!r} in the line {line!r}, but there is none.")
        return starts[name] + int(number) - 1

    first, second, same = [], [], []
    for line in lines:
        words = line.split()
        if len(words) not in (3, 4):
            raise ResourceError(f"{path} should have 3 or 4 words in a line, but has {line!r}.")
        first.append(row(words[0], words[1], line))
        second.append(row(words[-2] if len(words) == 4 else words[0], words[-1], line))
        same.append(len(words) == 3)
    fold_M = torch.arange(len(lines)) // (2 * each)
    return LfwPairs(torch.tensor(first), torch.tensor(second), torch.tensor(same), fold_M)
