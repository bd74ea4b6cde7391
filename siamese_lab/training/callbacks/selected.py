"""Describe the selection of a training step by plain distances (0…2) between unit vectors.

Shapes: B images, C candidates, D embedding dimensions, T (anchor, positive) pairs, M negatives per
pair, R pairs per anchor.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import AllTriplets, NoTriplets, PairDistances, Triplets
from siamese_lab.training.module import StepOutput


class SelectedTriplets(NamedTuple):
    """One triplet per (anchor, positive) pair, as indices into the batch (int64), with its two distances."""

    anchor_T: Tensor
    positive_T: Tensor
    negative_T: Tensor
    d_ap_T: Tensor
    """Distance between anchor and positive; −inf if there is no positive."""
    d_an_T: Tensor
    """Distance between anchor and negative; inf if the batch holds no negative."""


def selects_triplets(step: StepOutput) -> bool:
    """Return False if the strategy selects no triplets, or found none, so that there is nothing to describe."""
    triplets = step.selection.triplets
    found = len(triplets.anchor_T) > 0 if isinstance(triplets, Triplets) else True
    return found and not isinstance(triplets, NoTriplets)


def step_distances(step: StepOutput) -> PairDistances:
    """Return the distances of all triplets; for unlisted triplets, of every positive pair and every negative pair."""
    if step.distances is not None:
        return step.distances
    triplets, d_BB = _every(step), distances.pairwise(step.selection.candidates_CD)
    d_ap_BR = d_BB.gather(1, triplets.positive_BR)
    return PairDistances(d_ap_BR[triplets.valid_BR], d_BB[step.labels_B[:, None] != step.labels_B])


def hardest_negatives(step: StepOutput) -> SelectedTriplets:
    """Return each pair with its nearest negative from the batch, without making a GPU wait for the host.

    If triplets are unlisted, return each anchor with its farthest positive and its nearest negative.
    """
    if step.distances is not None:
        anchor_T, positive_T, negative_TM = step.selection.listed()
        d_ap_T1, d_an_TM = step.distances
        remembered_TM = negative_TM >= len(step.labels_B)
        d_an_T, nearest_T = d_an_TM.masked_fill(remembered_TM, torch.inf).min(1)
        negative_T = negative_TM.gather(1, nearest_T[:, None])[:, 0].clamp_max(len(step.labels_B) - 1)
        return SelectedTriplets(anchor_T, positive_T, negative_T, d_ap_T1[:, 0], d_an_T)
    triplets, d_BB = _every(step), distances.pairwise(step.selection.candidates_CD)
    d_ap_BR = d_BB.gather(1, triplets.positive_BR).masked_fill(~triplets.valid_BR, -torch.inf)
    d_ap_B, farthest_B = d_ap_BR.max(1)
    positive_B = triplets.positive_BR.gather(1, farthest_B[:, None])[:, 0]
    d_an_B, negative_B = d_BB.masked_fill(step.labels_B[:, None] == step.labels_B, torch.inf).min(1)
    return SelectedTriplets(torch.arange(len(d_BB), device=d_BB.device), positive_B, negative_B, d_ap_B, d_an_B)


def _every(step: StepOutput) -> AllTriplets:
    assert isinstance(step.selection.triplets, AllTriplets)
    return step.selection.triplets
