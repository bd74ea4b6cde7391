"""The pairs of Labeled Faces in the Wild, as rows of its image table.

`pairs.txt` begins with the number of folds and the number of pairs of each kind in a fold. `pairsDev*.txt` begins with
the second number only. A fold lists the pairs of one person first, `Abel_Pacheco 1 4`, then the pairs of two people,
`Ben_Kingsley 1 Daryl_Hannah 1`.

Shapes: M pairs.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.io.messages import read_file, readable
from siamese_lab.data.sets.lfw_people import Person
from siamese_lab.errors import ResourceError

LARGEST = 10_000_000
"""Largest size of a list that is read, in bytes. The official lists have less than 200,000."""


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
        UserError: if the file has another format, lists a pair twice, or names an image that does not exist or that is
            paired with itself.
    """
    with readable(path):
        header, *lines = read_file(path, LARGEST).decode("utf-8").splitlines() or [""]
    lines = [line for line in lines if line.strip()]
    try:
        *folds, each = (int(number) for number in header.split())
        (count,) = folds or (1,)
        if min(each, count) < 1:
            raise ValueError
    except ValueError:
        raise ResourceError(
            f"{path} should begin with the number of its pairs, but begins with {header[:80]!r}. Replace it."
        ) from None
    if len(lines) != 2 * each * count:
        raise ResourceError(
            f"{path} should hold {2 * each * count} pairs by its first line, but holds {len(lines)}. "
            "It is incomplete: replace it."
        )
    images = {person.name: person.images for person in people}
    starts = dict(zip(images, accumulate(images.values(), initial=0), strict=False))

    def row(name: str, number: str, line: str) -> int:
        if name not in images or not re.fullmatch("[0-9]{1,8}", number) or not 1 <= int(number) <= images[name]:
            raise ResourceError(
                f"{path} names image {number[:80]!r} of {name[:80]!r} in the line {line[:80]!r}, but there is none. "
                "Replace it."
            )
        return starts[name] + int(number) - 1

    first, second, same = [], [], []
    for line in lines:
        words = line.split()
        if len(words) not in (3, 4):
            raise ResourceError(f"{path} should have 3 or 4 words in a line, but has {line[:80]!r}. Replace it.")
        first.append(row(words[0], words[1], line))
        second.append(row(words[-2] if len(words) == 4 else words[0], words[-1], line))
        same.append(len(words) == 3)
        if first[-1] == second[-1] or (words[0] == words[-2] and not same[-1]):
            raise ResourceError(
                f"{path} should list pairs of two images, of one person in 3 words or of two people in 4, but has "
                f"{line!r}. Replace it."
            )
    pairs = [frozenset(pair) for pair in zip(first, second, strict=True)]
    if len(set(pairs)) != len(pairs):
        raise ResourceError(f"{path} lists a pair more than once. Replace it.")
    fold_M = torch.arange(len(lines)) // (2 * each)
    return LfwPairs(torch.tensor(first), torch.tensor(second), torch.tensor(same), fold_M)
