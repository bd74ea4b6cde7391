"""Search for the nearest images of a gallery.

Shapes: Q queries, M images of the gallery, k nearest, D dimensions, T queries of a tile.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.metrics import ranking
from siamese_lab.metrics.ranking import Distance


class Nearest(NamedTuple):
    """The k nearest images, nearest first; equally near images in any order."""

    index_Qk: Tensor
    """int64: indices of the gallery."""
    distance_Qk: Tensor
    """float32: ‖q − g‖; for cosine the distance of the unit vectors, 0…2."""


def nearest(
    z_QD: Tensor,
    gallery_z_MD: Tensor,
    k: int,
    leave_out_Q: Tensor | None = None,
    *,
    distance: Distance = "cosine",
) -> Nearest:
    """Find the nearest of a gallery, exactly.

    Args:
        z_QD: embeddings.
        gallery_z_MD: embeddings to search; embeddings that are not finite come last.
        k: number of images to find.
        leave_out_Q: the index of each query in the gallery, if queries are in the gallery.
        distance: the distance to compare by.

    Raises:
        ValueError: for shapes that do not match.
        UserError: for a k below 1 or above what there is to find.
    """
    if z_QD.ndim != 2 or gallery_z_MD.ndim != 2 or z_QD.shape[1] != gallery_z_MD.shape[1]:
        raise ValueError(
            f"nearest expects embeddings (Q, D) and a gallery (M, D), but got {tuple(z_QD.shape)} and "
            f"{tuple(gallery_z_MD.shape)}."
        )
    others = len(gallery_z_MD) - (leave_out_Q is not None)
    if not 1 <= k <= others:
        raise UserError(f"k must be 1 to {others}, the number of images that can be found, but is {k}.")
    queries, gallery = ranking.points(z_QD, distance), ranking.points(gallery_z_MD, distance)
    index = [
        _of_tile(queries.part(rows), gallery, k, None if leave_out_Q is None else leave_out_Q[rows])
        for rows in ranking.slices(len(z_QD), ranking.tile_rows(len(gallery_z_MD), z_QD.device))
    ]
    index_Qk = torch.cat(index) if index else torch.empty(0, k, dtype=torch.int64, device=z_QD.device)
    return Nearest(index_Qk, _distances(queries.z_ND, gallery.z_ND, index_Qk))


def _distances(z_QD: Tensor, gallery_z_MD: Tensor, index_Qk: Tensor) -> Tensor:
    """Return the distance of each query to its images, a tile at a time: all differences at once need Q·k·D values."""
    distance_Qk = torch.empty(index_Qk.shape, device=z_QD.device)
    rows_at_once = ranking.tile_rows(index_Qk.shape[1] * z_QD.shape[1], z_QD.device)
    for rows in ranking.slices(len(z_QD), rows_at_once):
        apart_TkD = z_QD[rows, None] - gallery_z_MD[index_Qk[rows]]
        torch.linalg.vector_norm(apart_TkD, dim=2, out=distance_Qk[rows])
    return distance_Qk


def _of_tile(queries: ranking.Points, gallery: ranking.Points, k: int, leave_out_T: Tensor | None) -> Tensor:
    s_TM = torch.empty(len(queries.z_ND), len(gallery.z_ND), device=gallery.z_ND.device)
    ranking.similarities(queries, gallery, s_TM)
    s_TM[:, ~gallery.finite_N] = -torch.inf
    if leave_out_T is not None:
        s_TM.scatter_(1, leave_out_T[:, None], -torch.inf)
    return s_TM.topk(k).indices
