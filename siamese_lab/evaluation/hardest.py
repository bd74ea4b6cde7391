"""The hardest errors of an embedding: the nearest images of different classes, the farthest of the same.

Shapes: N images, D embedding dimensions, T rows of one tile, E pairs.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances


class Hard(NamedTuple):
    """Pairs of images, the hardest first; no image is in two of them."""

    left_E: Tensor
    """int64, on the CPU."""
    right_E: Tensor
    distance_E: Tensor
    """Plain, 0…2."""


class Hardest(NamedTuple):
    """Both kinds."""

    different: Hard
    same: Hard


class Extreme(NamedTuple):
    """Of each row of a tile."""

    similarity_T: Tensor
    """Infinite where there is no such image."""
    partner_T: Tensor


def hardest(
    z_ND: Tensor, labels_N: Tensor, number: int, advance: Callable[[int], None] = lambda count: None
) -> Hardest:
    """The hardest pairs, from each image's nearest of another class and its farthest of the same.

    Args:
        z_ND: unit-norm embeddings.
        labels_N: their classes, on the same device.
        number: of pairs of each kind, fewer where there are not as many.
        advance: is told of every tile how many images it had.
    """
    nearest: list[Extreme] = []
    farthest: list[Extreme] = []
    rows_N = torch.arange(len(z_ND), device=z_ND.device)
    for rows_T in rows_N.split(distances.tile_rows(len(z_ND), z_ND.device)):
        with distances.full_float32(z_ND.device):
            similarity_TN = z_ND[rows_T].float() @ z_ND.float().T
        same_TN = labels_N[rows_T, None] == labels_N
        itself_TN = rows_T[:, None] == rows_N
        nearest.append(Extreme(*similarity_TN.masked_fill(same_TN, -torch.inf).max(1)))
        farthest.append(Extreme(*similarity_TN.masked_fill(~same_TN | itself_TN, torch.inf).min(1)))
        advance(len(rows_T))
    return Hardest(_pick(nearest, number, descending=True), _pick(farthest, number, descending=False))


def _pick(found: list[Extreme], number: int, descending: bool) -> Hard:
    """The hardest first, leaving out pairs of which an image was in one before."""
    similarity_N, partner_N = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for left in similarity_N.argsort(descending=descending, stable=True).tolist():
        if len(pairs) == number or similarity_N[left].isinf():
            break
        right = int(partner_N[left])
        if not {left, right} & taken:
            pairs.append((left, right))
            taken |= {left, right}
    left_E, right_E = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).T
    return Hard(left_E, right_E, distances.from_similarity(similarity_N[left_E]))
