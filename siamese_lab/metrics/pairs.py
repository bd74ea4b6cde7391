"""Pairs of images: their distances, and a random draw of pairs for sets without official pairs.

Shapes: N pairs, M images, D embedding dimensions, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.errors import UserError
from siamese_lab.metrics.health import check_finite

CHUNK_CELLS = 2**20
"""Numbers of one side's embeddings gathered at once: 4 MiB."""


class ImagePairs(NamedTuple):
    """Pairs of images, as rows of a table of embeddings."""

    left_N: Tensor
    """int64: rows of the first images."""
    right_N: Tensor
    """int64."""
    same_N: Tensor
    """bool: True if both images are of one class."""


def pair_distances(z_MD: Tensor, pairs: ImagePairs) -> Tensor:
    """Compute the plain distance, 0…2, of each pair: float32 (N,).

    Args:
        z_MD: unit-norm embeddings.
        pairs: of their rows.

    Raises:
        UserError: for embeddings that are not finite.
        ValueError: for fewer embeddings than the pairs need.
    """
    needed = 1 + max((int(row_N.max()) for row_N in pairs[:2] if len(row_N)), default=-1)
    if z_MD.ndim != 2 or len(z_MD) < needed:
        raise ValueError(f"These pairs expect embeddings ({needed} or more, D), but got {tuple(z_MD.shape)}.")
    check_finite(z_MD)
    chunk = max(1, CHUNK_CELLS // max(1, z_MD.shape[1]))
    sides = (row_N.to(z_MD.device).split(chunk) for row_N in pairs[:2])
    return torch.cat([distances.rowwise(z_MD[left], z_MD[right]).float() for left, right in zip(*sides, strict=True)])


def sampled_pairs(labels_M: Tensor, number: int, seed: int = 0) -> ImagePairs:
    """Draw equal numbers of pairs of one class and of two classes, uniformly and without repetition.

    Args:
        labels_M: the classes of the images.
        number: total number of pairs, even.
        seed: seed of the draw, which is the same on every device.

    Returns:
        The pairs, on the CPU; pairs of one class come first.

    Raises:
        UserError: for an odd number, for less than 2, and for more pairs of a kind than there are.
    """
    if number < 2 or number % 2:
        raise UserError(f"Half of the sampled pairs are of one class, so their number must be even, but is {number}.")
    each = number // 2
    order_M = labels_M.cpu().argsort(stable=True)
    _, size_C = labels_M.cpu().unique(return_counts=True)
    next_class_M = size_C.cumsum(0).repeat_interleave(size_C)
    place_M = torch.arange(len(order_M))
    generator = torch.Generator().manual_seed(seed)
    same = _drawn("one class", place_M + 1, next_class_M, each, generator)
    different = _drawn("two classes", next_class_M, torch.full_like(place_M, len(order_M)), each, generator)
    left_N, right_N = (order_M[torch.cat(parts)] for parts in zip(same, different, strict=True))
    return ImagePairs(left_N, right_N, torch.arange(number) < each)


def _drawn(kind: str, first_M: Tensor, end_M: Tensor, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw distinct pairs of a place and one of its possible partners, the places first…end − 1."""
    partners_M = end_M - first_M
    upto_M = partners_M.cumsum(0)
    available = int(upto_M[-1]) if len(upto_M) else 0
    if number > available:
        raise UserError(
            f"{number:,} pairs of {kind} were asked for, but these {len(first_M):,} images make {available:,}."
        )
    rank_N = distinct_integers(number, available, generator)
    place_N = torch.searchsorted(upto_M, rank_N, right=True)
    return place_N, first_M[place_N] + rank_N - (upto_M - partners_M)[place_N]


def distinct_integers(number: int, below: int, generator: torch.Generator) -> Tensor:
    """Draw `number` different integers 0…below − 1, every set with equal probability, fast if `number` is small."""
    if 2 * number >= below:
        return torch.randperm(below, generator=generator)[:number]
    drawn = torch.empty(0, dtype=torch.int64)
    while len(drawn) < number:
        drawn = torch.cat([drawn, torch.randint(below, (number,), generator=generator)]).unique()
    return drawn[torch.randperm(len(drawn), generator=generator)[:number]]
