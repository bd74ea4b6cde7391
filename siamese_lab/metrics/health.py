"""Embedding health: measures of how embeddings use the unit sphere, and checks for collapse and invalid numbers.

Shapes: N images, D embedding dimensions, C classes, T rows of one tile.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.errors import UserError

COLLAPSED_BELOW = 0.05
"""Mean distance of two images; vectors that are spread evenly have √2."""
COLLAPSED_RANK = 2.0
"""Effective rank; vectors that are spread evenly have nearly D."""
SAMPLED = 4096
"""Largest number of images that `spread` compares."""
SHARPNESS = 2
"""t of uniformity."""


class Health(NamedTuple):
    """The distribution of embeddings on the unit sphere."""

    mean_distance: float
    """The mean distance of all pairs of images, 0…2."""
    effective_rank: float
    """exp of the entropy of the singular values' shares, 1…D; not centred, so 1 if all are equal."""
    uniformity: float
    """log of the mean of exp(−2 d²) over all pairs, at most 0: the lower, the more evenly spread."""
    alignment: float
    """The mean d² of all pairs of one class, 0…4: the lower, the closer the classes."""
    collapsed: bool
    """True if images are hardly distinguishable: see `is_collapsed`."""


class Spread(NamedTuple):
    """Holds how far embeddings are apart, and in how many directions; low values show a collapse."""

    mean_distance: float
    """See `Health`; NaN if fewer than two embeddings are finite."""
    effective_rank: float
    """See `Health`."""

    @property
    def collapsed(self) -> bool:
        """Return whether images are hardly distinguishable: see `is_collapsed`."""
        return is_collapsed(self.mean_distance, self.effective_rank)


def is_collapsed(mean_distance: float, effective_rank: float) -> bool:
    """Return whether the mean distance is below 0.05 or the effective rank below 2."""
    return mean_distance < COLLAPSED_BELOW or effective_rank < COLLAPSED_RANK


def spread(z_ND: Tensor) -> Spread:
    """Compute mean distance and effective rank of unit-norm embeddings, of at most SAMPLED evenly spaced ones.

    The cost does not grow with the number of images. Embeddings that are not finite are left out.
    """
    z_ND = z_ND[z_ND.isfinite().all(1)]
    z_ND = z_ND[:: max(1, -(-len(z_ND) // SAMPLED))]
    if len(z_ND) < 2:
        return Spread(math.nan, math.nan)
    return Spread(_over_all_pairs(z_ND)[0], effective_rank(z_ND))


def health(z_ND: Tensor, labels_N: Tensor) -> Health:
    """Compute all measures over every pair, in tiles.

    Effective rank: Roy & Vetterli 2007 (EUSIPCO). Uniformity and alignment: Wang & Isola 2020 (arXiv:2005.10242), with
    t = 2 and α = 2.

    Args:
        z_ND: unit-norm embeddings.
        labels_N: their classes.

    Raises:
        UserError: for embeddings that are not finite, and where no class has two images.
    """
    check_embeddings("Embedding health", z_ND, labels_N)
    aligned = alignment(z_ND, labels_N)
    mean_distance, uniformity = _over_all_pairs(z_ND)
    rank = effective_rank(z_ND)
    return Health(
        mean_distance=mean_distance,
        effective_rank=rank,
        uniformity=uniformity,
        alignment=aligned,
        collapsed=is_collapsed(mean_distance, rank),
    )


def alignment(z_ND: Tensor, labels_N: Tensor) -> float:
    """Compute the mean squared distance over all pairs of images of one class.

    The squared distances of n vectors among one another sum up to n Σ‖z‖² − ‖Σz‖², so no pair is looked at.

    Raises:
        UserError: where no class has two images.
    """
    _, class_N, size_C = labels_N.unique(return_inverse=True, return_counts=True)
    pairs = int((size_C * (size_C - 1)).sum()) // 2
    if not pairs:
        raise UserError(f"Alignment needs a class with at least 2 images, but all {len(labels_N):,} have one.")
    z_ND = z_ND.double()
    sum_CD = z_ND.new_zeros(len(size_C), z_ND.shape[1]).index_add_(0, class_N, z_ND)
    squares_C = z_ND.new_zeros(len(size_C)).index_add_(0, class_N, z_ND.square().sum(1))
    return max(0.0, float((size_C * squares_C - sum_CD.square().sum(1)).sum()) / pairs)


def effective_rank(z_ND: Tensor) -> float:
    """Compute exp of the entropy of the singular values as shares of their sum, by the D×D Gram matrix in float64."""
    z_ND = z_ND.double()
    singular_D = torch.linalg.eigvalsh(z_ND.T @ z_ND).clamp_min(0).sqrt()
    share_D = singular_D / singular_D.sum()
    return math.exp(float(torch.special.entr(share_D).sum()))


def _over_all_pairs(z_ND: Tensor) -> tuple[float, float]:
    """Compute mean distance and uniformity: each tile of images with itself and, twice, with all later images."""
    images = len(z_ND)
    distance = potential = 0.0
    with distances.full_float32(z_ND.device):
        z_ND = z_ND.float()
        for first in range(0, images, tile := distances.tile_rows(images, z_ND.device)):
            squared = distances.from_similarity(z_ND[first : first + tile] @ z_ND[first:].T, "squared")
            itself, later = squared[:, :tile], squared[:, tile:]
            distance += float(itself.sqrt().fill_diagonal_(0).sum()) + 2 * float(later.sqrt().sum())
            potential += float(_potential(itself).fill_diagonal_(0).sum()) + 2 * float(_potential(later).sum())
    pairs = images * (images - 1)
    return distance / pairs, math.log(potential / pairs)


def _potential(squared: Tensor) -> Tensor:
    return (-SHARPNESS * squared).exp()


def check_embeddings(what: str, z_ND: Tensor, labels_N: Tensor) -> None:
    """Raise ValueError, about `what`, unless each embedding has one label, and UserError unless all are finite."""
    if z_ND.ndim != 2 or labels_N.shape != z_ND.shape[:1]:
        raise ValueError(
            f"{what} expects embeddings (N, D) and labels (N,), "
            f"but got {tuple(z_ND.shape)} and {tuple(labels_N.shape)}."
        )
    check_finite(z_ND)


def check_finite(z_ND: Tensor) -> None:
    """Raise UserError if an embedding is NaN or infinite; the message names the first such image."""
    finite_N = z_ND.isfinite().all(1)
    if not finite_N.all():
        raise UserError(
            f"{int((~finite_N).sum()):,} of {len(z_ND):,} embeddings are not finite, the first of them that of image "
            f"{int((~finite_N).int().argmax())}. The network has diverged: train it with a smaller learning rate, or "
            "evaluate an earlier checkpoint."
        )
