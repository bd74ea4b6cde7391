"""Whether embeddings make use of their sphere or have collapsed.

Shapes: N images, D embedding dimensions, C classes, T rows of one tile.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.metrics.check_embeddings import check_embeddings

COLLAPSED_BELOW = 0.05
"""Mean pairwise distance; vectors that are spread evenly have √2."""
SHARPNESS = 2
"""t of uniformity."""


class Health(NamedTuple):
    """How embeddings lie on the sphere."""

    mean_distance: float
    """Of all pairs of images, 0…2."""
    effective_rank: float
    """exp of the entropy of the singular values' shares, 1…D (Roy & Vetterli 2007)."""
    uniformity: float
    """log of the mean of exp(−2 d²) over all pairs, at most 0, the lower the more evenly spread (2005.10242, §4.1.2)."""
    alignment: float
    """The mean d² over all pairs of one class, the lower the better (2005.10242, §4.1.1)."""
    collapsed: bool
    """Whether the mean distance is below 0.05: nearly all images have one embedding."""


def health(z_ND: Tensor, labels_N: Tensor) -> Health:
    """All of these, exactly, in tiles.

    Args:
        z_ND: unit-norm embeddings.
        labels_N: their classes.

    Raises:
        ValueError: for embeddings that are not finite, and where no class has two images.
    """
    raise NotImplementedError
