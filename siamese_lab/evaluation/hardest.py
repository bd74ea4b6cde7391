"""Find the hardest errors of an embedding: the nearest pairs of different classes and the farthest of one class.

Shapes: N images, D embedding dimensions, T rows of one tile, E pairs.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances


class HardPairs(NamedTuple):
    """Pairs of images, the hardest pair first. Each image is in at most one pair."""

    left_E: Tensor
    """Index of the first image, int64 on the CPU."""
    right_E: Tensor
    distance_E: Tensor
    """Euclidean distance, 0…2."""


class HardestErrors(NamedTuple):
    """The hardest pairs of different classes and the hardest pairs of one class."""

    different: HardPairs
    same: HardPairs


class HardestPartners(NamedTuple):
    """The hardest partner of each row of a tile."""

    similarity_T: Tensor
    """Cosine similarity, infinite if the row has no partner."""
    partner_T: Tensor
    """Index of the partner among all images."""


def find_hardest_errors(
    z_ND: Tensor, labels_N: Tensor, number: int, advance: Callable[[int], None] = lambda count: None
) -> HardestErrors:
    """Return the hardest pairs. Each image is paired with its nearest negative and with its farthest positive.

    Args:
        z_ND: unit-norm embeddings.
        labels_N: the class of each image, on the same device.
        number: number of pairs of each kind. There are fewer if the images give fewer.
        advance: called after every tile with the number of images in that tile.
    """
    nearest: list[HardestPartners] = []
    farthest: list[HardestPartners] = []
    rows_N = torch.arange(len(z_ND), device=z_ND.device)
    for rows_T in rows_N.split(distances.tile_rows(len(z_ND), z_ND.device)):
        with distances.full_float32(z_ND.device):
            similarity_TN = z_ND[rows_T].float() @ z_ND.float().T
        same_TN = labels_N[rows_T, None] == labels_N
        itself_TN = rows_T[:, None] == rows_N
        nearest.append(HardestPartners(*similarity_TN.masked_fill(same_TN, -torch.inf).max(1)))
        farthest.append(HardestPartners(*similarity_TN.masked_fill(~same_TN | itself_TN, torch.inf).min(1)))
        advance(len(rows_T))
    return HardestErrors(
        _distinct_pairs(nearest, number, descending=True), _distinct_pairs(farthest, number, descending=False)
    )


def _distinct_pairs(found: list[HardestPartners], number: int, descending: bool) -> HardPairs:
    """Return the hardest pairs first. A pair is skipped if an earlier pair contains one of its images."""
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
    return HardPairs(left_E, right_E, distances.from_similarity(similarity_N[left_E]))
