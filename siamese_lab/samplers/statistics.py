"""Statistics of one selection, as scalars on the device.

Shapes: C candidates, T pairs, M negatives per pair, Q quantiles.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from siamese_lab.batch import AllTriplets, PairDistances, Selection, Triplets

QUANTILES = (0.1, 0.5, 0.9)


def describe(selection: Selection, distances: PairDistances | None) -> Mapping[str, Tensor]:
    """Describe a selection by numbers that stay on the device, so that a GPU does not wait for the host.

    Args:
        selection: the result of `Sampler.mine`.
        distances: distances of its listed triplets; None if triplets are not listed.

    Returns:
        The strategy's own statistics and, for listed triplets, `fallback_share`, `violating_share` (d_an < d_ap), mean
        and quantiles of the plain distances d_ap and d_an, and `distinct_negatives`, the share of candidates that
        were chosen at least once.
    """
    triplets, candidates_CD, fallback_TM, own, _ = selection
    if distances is None or fallback_TM is None or not isinstance(triplets, Triplets) or not len(triplets.anchor_T):
        return own
    d_ap_T1, d_an_TM = distances
    chosen_C = torch.zeros(len(candidates_CD), device=candidates_CD.device)
    chosen_C.index_fill_(0, triplets.negative_TM.flatten(), 1.0)
    return {
        "fallback_share": fallback_TM.float().mean(),
        "violating_share": (d_an_TM < d_ap_T1).float().mean(),
        "distinct_negatives": chosen_C.mean(),
        **spread("d_ap", d_ap_T1.flatten()),
        **spread("d_an", d_an_TM.flatten()),
        **own,
    }


def describe_wrong_labels(selection: Selection, labels_B: Tensor, true_labels_B: Tensor) -> Mapping[str, Tensor]:
    """Return `mislabeled_negatives`, the share of selected negatives that truly have the class of their anchor.

    If triplets are not listed, the share is that of all pairs of differently labeled images. Remembered negatives, of
    which the true class is not known, do not count. There is no figure for a strategy that selects nothing.

    Args:
        selection: the result of `Sampler.mine` for labels that may be wrong.
        labels_B: the labels that the strategy got.
        true_labels_B: the true classes; equal numbers mean one class.
    """
    triplets = selection.triplets
    if isinstance(triplets, Triplets):
        known_TM = triplets.negative_TM < len(true_labels_B)
        true_TM = true_labels_B[triplets.negative_TM.clamp_max(len(true_labels_B) - 1)]
        same_TM = (true_TM == true_labels_B[triplets.anchor_T][:, None]) & known_TM
        return {"mislabeled_negatives": same_TM.sum() / known_TM.sum().clamp_min(1)}
    if isinstance(triplets, AllTriplets):
        negative_BB = labels_B[:, None] != labels_B
        same_BB = negative_BB & (true_labels_B[:, None] == true_labels_B)
        return {"mislabeled_negatives": same_BB.sum() / negative_BB.sum().clamp_min(1)}
    return {}


def pick_overlap(one: Triplets, other: Triplets) -> Tensor | None:
    """Return the share of the negatives of `other` that `one` picked for the same (anchor, positive) pair.

    None if the two list other pairs, so that their picks cannot be compared.
    """
    if one.anchor_T.shape != other.anchor_T.shape:
        return None
    same_pairs = (one.anchor_T == other.anchor_T).all() & (one.positive_T == other.positive_T).all()
    if not len(one.anchor_T) or not same_pairs:
        return None
    return (other.negative_TM[:, :, None] == one.negative_TM[:, None]).any(2).float().mean()


def spread(name: str, values_T: Tensor) -> dict[str, Tensor]:
    """Return the mean and the quantiles, interpolated linearly. `torch.quantile` is slow for large T."""
    ordered_T = values_T.sort().values
    named = {f"{name}_mean": values_T.mean()}
    for share in QUANTILES:
        place = share * (len(values_T) - 1)
        below, above = ordered_T[math.floor(place)], ordered_T[math.ceil(place)]
        named[f"{name}_q{share * 100:.0f}"] = below.lerp(above, place - math.floor(place))
    return named
