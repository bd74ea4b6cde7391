"""Compare the distances of chosen negatives with q(d), the density for random points on the sphere.

Shapes: B images, D embedding dimensions, T (anchor, positive) pairs, M negatives per pair.
"""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import Triplets
from siamese_lab.errors import UserError
from siamese_lab.losses.pairs import pair_distances
from siamese_lab.samplers import Sampler

BIN = 0.05
INCHES = (3.0, 2.4)
"""Width and height of the panel of one strategy."""
MIN_WIDTH = 4.8
"""Minimum width of the figure in inches, which the legend needs."""
MAX_COLUMNS = 4
"""Largest number of panels in one row."""


def density(d: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    """Compute q(d), the probability density of the distance between two random points on the unit sphere.

    q(d) ∝ d^(D−2) (1 − d²/4)^((D−3)/2) (Wu et al. 2017, arXiv:1706.07567, §4). Equivalently, d²/4 has a beta
    distribution, and both of its parameters are (D−1)/2.

    Args:
        d: distances, 0…2.
        dimensions: D, at least 2.
    """
    d = np.asarray(d, dtype=np.float64)
    half = (dimensions - 1) / 2
    found: NDArray[np.float64] = beta.pdf(d**2 / 4, half, half) * d / 2
    return found


def chosen_distances(sampler: Sampler, z_BD: Tensor, labels_B: Tensor, draws: int = 1) -> Tensor:
    """Return the Euclidean anchor-negative distance of all triplets that a strategy selects from a batch.

    Args:
        sampler: a strategy that returns a list of triplets.
        z_BD: unit-norm embeddings.
        labels_B: the class of each embedding.
        draws: number of selections from the batch.

    Raises:
        UserError: if the strategy returns no list of triplets, or draws is below 1.
    """
    if sampler.triplet_type is not Triplets:
        raise UserError(
            "This strategy uses every triplet, so it chooses no distances. Pass a strategy that selects triplets, "
            "such as semi_hard."
        )
    if draws < 1:
        raise UserError(f"draws must be at least 1, but is {draws}.")
    found = []
    for _ in range(draws):
        selection = sampler.mine(z_BD, labels_B)
        found.append(pair_distances(selection, z_BD).d_an_TM.flatten())
    return torch.cat(found)


def draw_chosen(chosen: Mapping[str, Tensor], z_BD: Tensor, labels_B: Tensor) -> Figure:
    """Draw a panel for each strategy: the distances of its negatives, the distances of all negatives, and q(d).

    Args:
        chosen: the chosen distances, by strategy.
        z_BD: unit-norm embeddings that the strategies chose from.
        labels_B: the class of each embedding.
    """
    all_distances = distances.pairwise(z_BD)[labels_B[:, None] != labels_B].cpu().numpy()
    q = density(np.linspace(0, 2, 401), z_BD.shape[1])
    columns = min(MAX_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure((max(MIN_WIDTH, INCHES[0] * columns), INCHES[1] * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    bins = np.arange(0, 2 + BIN / 2, BIN)
    for axes, (name, d_T) in zip(grid, chosen.items(), strict=False):
        axes.hist(all_distances, bins, density=True, color="0.8", label="all negatives")
        axes.hist(
            d_T.cpu().numpy(), bins, density=True, histtype="step", color="#1f6fb4", linewidth=1.8, label="chosen"
        )
        axes.plot(np.linspace(0, 2, 401), q, color="black", linestyle="dashed", linewidth=1, label="q(d)")
        axes.set_title(name, fontsize=10, parse_math=False)
        axes.set_xlabel("distance from the anchor")
    grid[0].set_ylabel("density")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure
