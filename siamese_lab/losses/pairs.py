"""Compare the pairs of the chosen triplets: anchor with positive, and anchor with negatives.

On a CPU the gradients of `index_select`, unlike those of indexing, add up in a fixed order.

Shapes: C candidates (the batch, then remembered images), D embedding dimensions, T (anchor, positive) pairs, M
negatives per pair.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import PairDistances, Selection, Triplets


class PairSimilarities(NamedTuple):
    """Dot products of the pairs, shaped so that the two broadcast to one number for each triplet."""

    s_ap_T1: Tensor
    s_an_TM: Tensor


def candidates_with_gradient(selection: Selection, z_BD: Tensor) -> Tensor:
    """Return the C×D embeddings that triplets point into: the batch with its gradient, then remembered ones."""
    remembered_QD = selection.candidates_CD[len(z_BD) :]
    return torch.cat([z_BD, remembered_QD.to(z_BD.dtype)]) if len(remembered_QD) else z_BD


def check_inputs(selection: Selection, z_BD: Tensor) -> None:
    """Raise ValueError unless a loss gets a selection and the floating embeddings (B, D) that it was made from."""
    if not isinstance(selection, Selection):
        raise ValueError(f"A loss expects the Selection of Sampler.mine, but got {type(selection).__name__}.")
    if not isinstance(z_BD, Tensor) or z_BD.ndim != 2 or not z_BD.is_floating_point():
        got = f"{z_BD.dtype} {tuple(z_BD.shape)}" if isinstance(z_BD, Tensor) else type(z_BD).__name__
        raise ValueError(f"A loss expects embeddings of a floating type and of shape (B, D), but got {got}.")
    candidates = tuple(selection.candidates_CD.shape)
    if candidates[1] != z_BD.shape[1] or candidates[0] < z_BD.shape[0]:
        raise ValueError(
            f"The selection has candidates of shape {candidates}, but the embeddings have shape {tuple(z_BD.shape)}. "
            "Pass the embeddings that the sampler selected from."
        )


def check_labels(loss: str, z_BD: Tensor, labels_B: Tensor | None) -> Tensor:
    """Return the labels of the batch; raise ValueError unless there is one integer for each embedding."""
    if labels_B is None or labels_B.ndim != 1 or labels_B.is_floating_point() or labels_B.dtype == torch.bool:
        raise ValueError(f"The {loss} loss needs the integer labels (B,) of the batch.")
    if len(labels_B) != len(z_BD):
        raise ValueError(f"The {loss} loss needs one label per embedding, but got {len(labels_B)} for {len(z_BD)}.")
    return labels_B


def pair_distances(selection: Selection, z_BD: Tensor, kind: distances.Kind = "plain") -> PairDistances:
    """Return the distances d_ap and d_an of the listed triplets of unit-norm embeddings."""
    return PairDistances(*_compare(selection, z_BD, lambda left, right: distances.rowwise(left, right, kind)))


def pair_similarities(selection: Selection, z_BD: Tensor) -> PairSimilarities:
    """Return the dot products s_ap and s_an of the listed triplets of embeddings of any length."""
    return PairSimilarities(*_compare(selection, z_BD, distances.dot))


def plain_distances(pairs: PairDistances, kind: distances.Kind) -> PairDistances:
    """Return plain distances without gradient from distances of any kind."""
    if kind == "plain":
        return PairDistances(*(each.detach() for each in pairs))
    return PairDistances(*(each.detach().sqrt() for each in pairs))


def selected_distances(selection: Selection) -> PairDistances | None:
    """Return the plain distances of the candidates in a selection, without gradient; None if triplets are unlisted."""
    if not isinstance(selection.triplets, Triplets):
        return None
    return pair_distances(selection, selection.candidates_CD)


def _compare(selection: Selection, z_BD: Tensor, measure: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Apply `measure` to anchors (T, 1, D) with their positives (T, 1, D) and with their negatives (T, M, D)."""
    check_inputs(selection, z_BD)
    triplets, z_CD = selection.listed(), candidates_with_gradient(selection, z_BD)
    anchor_T1D = z_CD.index_select(0, triplets.anchor_T)[:, None]
    positive_T1D = z_CD.index_select(0, triplets.positive_T)[:, None]
    negative_TMD = z_CD.index_select(0, triplets.negative_TM.flatten()).unflatten(0, triplets.negative_TM.shape)
    return measure(anchor_T1D, positive_T1D), measure(anchor_T1D, negative_TMD)
