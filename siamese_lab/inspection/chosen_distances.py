"""How far the chosen negatives lie from their anchors, against q(d), which random points on the sphere have.

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
"""Of one strategy's picture."""
ASIDE = 4
"""Most of them beside one another."""


def density(d: ArrayLike, dimensions: int) -> NDArray[np.float64]:
    """q(d): the probability density of the distance between two random points on the unit sphere.

    q(d) ∝ d^(D−2) (1 − d²/4)^((D−3)/2) (Wu et al. 2017, arXiv:1706.07567, §4): d²/4 has the beta distribution whose
    parameters are both (D−1)/2.

    Args:
        d: distances, 0…2.
        dimensions: D, at least 2.
    """
    d = np.asarray(d, dtype=np.float64)
    half = (dimensions - 1) / 2
    found: NDArray[np.float64] = beta.pdf(d**2 / 4, half, half) * d / 2
    return found


def chosen_distances(sampler: Sampler, z_BD: Tensor, labels_B: Tensor, draws: int = 1) -> Tensor:
    """d_an (plain) of all triplets that the strategy selects from a batch, in `draws` selections.

    Args:
        sampler: one that lists its triplets.
        z_BD: unit-norm embeddings.
        labels_B: their classes.
        draws: how many times to select.

    Raises:
        UserError: for a strategy that lists no triplets, and less than one draw.
    """
    if sampler.triplet_type is not Triplets:
        raise UserError("A strategy that takes every triplet chooses no distances.")
    if draws < 1:
        raise UserError(f"A choice takes at least 1 draw, but draws is {draws}.")
    found = []
    for _ in range(draws):
        selection = sampler.mine(z_BD, labels_B)
        found.append(pair_distances(selection, z_BD).d_an_TM.flatten())
    return torch.cat(found)


def draw_chosen(chosen: Mapping[str, Tensor], z_BD: Tensor, labels_B: Tensor) -> Figure:
    """Of each strategy the distances of its choices, over those of all negatives there are, and q(d) as a line.

    Args:
        chosen: distances by strategy.
        z_BD: unit-norm embeddings that were chosen from.
        labels_B: their classes.
    """
    there = distances.pairwise(z_BD)[labels_B[:, None] != labels_B].cpu().numpy()
    q = density(np.linspace(0, 2, 401), z_BD.shape[1])
    columns = min(ASIDE, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = Figure((INCHES[0] * columns, INCHES[1] * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes in grid[len(chosen) :]:
        axes.set_axis_off()
    bins = np.arange(0, 2 + BIN / 2, BIN)
    for axes, (name, d_T) in zip(grid, chosen.items(), strict=False):
        axes.hist(there, bins, density=True, color="0.8", label="all negatives")
        axes.hist(
            d_T.cpu().numpy(), bins, density=True, histtype="step", color="#1f6fb4", linewidth=1.8, label="chosen"
        )
        axes.plot(np.linspace(0, 2, 401), q, color="black", linestyle="dashed", linewidth=1, label="q(d)")
        axes.set_title(name, fontsize=10, parse_math=False)
        axes.set_xlabel("distance from the anchor")
    grid[0].set_ylabel("density")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure
