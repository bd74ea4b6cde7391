"""Retrieval: the places of the images of a query's class among all others, from the nearest to the farthest.

Recall@K, R-Precision and MAP@R as Musgrave et al. 2020 (arXiv:2003.08505, §3.2) define them, and the mean reciprocal
rank. `ranking` documents the order of the images, ties, and embeddings that are not finite.

Shapes: N images, M of the gallery, Q of the images that are queries, K numbers k, C classes, D dimensions.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.metrics import approximate, ranking
from siamese_lab.metrics.nearest import Nearest as Nearest
from siamese_lab.metrics.nearest import nearest as nearest
from siamese_lab.metrics.ranking import Distance as Distance
from siamese_lab.query_gallery import Ignored, QueryGallery

KS = (1, 2, 4, 8)
ROLE_KS = (1, 5, 10)
"""K's of Recall@K with roles. Recall@K is then the CMC curve at rank K, which re-identification states at 1, 5, 10."""
Index = Literal["exact", "faiss"]


class Retrieval(NamedTuple):
    """The result of each query."""

    query_Q: Tensor
    """int64, ascending: rows of the images. An image without another of its class in the gallery is no query."""
    hit_QK: Tensor
    """bool: True if an image of the class is among the k nearest."""
    r_precision_Q: Tensor
    """float32, 0…1: the share of images of the class among the R nearest; there are R in the gallery."""
    average_precision_Q: Tensor
    """float32, 0…1: (1/R) Σ P(i)·rel(i) over the R nearest, MAP@R's term."""
    reciprocal_rank_Q: Tensor
    """float32, 0…1: 1 over the place of the nearest image of the class."""
    k: tuple[int, ...]
    """The k of each column of `hit_QK`."""
    index: str = "exact"  # type: ignore[assignment]  # hides tuple.index
    """The index that was searched: "exact" or the name of an approximate index."""
    full_precision_Q: Tensor | None = None
    """float32, 0…1: (1/R) Σ P(i)·rel(i) over the whole gallery, the term of mAP; None without roles."""

    def values(self) -> dict[str, Tensor]:
        """Return the contribution of each query to each figure, float32 (Q,): recall@1, …, r_precision, map@r, mrr.

        With roles, `map` follows.
        """
        hits = {f"recall@{k}": hit_Q.float() for k, hit_Q in zip(self.k, self.hit_QK.unbind(1), strict=True)}
        values = hits | {
            "r_precision": self.r_precision_Q,
            "map@r": self.average_precision_Q,
            "mrr": self.reciprocal_rank_Q,
        }
        return values if self.full_precision_Q is None else values | {"map": self.full_precision_Q}

    def figures(self) -> dict[str, Tensor]:
        """Return the means of the values over the queries: float32 scalars in 0…1."""
        return {
            name: value_Q.mean(dtype=ranking.summed_in(value_Q.device)).float()
            for name, value_Q in self.values().items()
        }


def retrieve(
    z_ND: Tensor,
    labels_N: Tensor,
    k: Sequence[int] = KS,
    *,
    gallery_z_MD: Tensor | None = None,
    gallery_labels_M: Tensor | None = None,
    distance: Distance = "cosine",
    index: Index = "exact",
    roles: QueryGallery | None = None,
) -> Retrieval:
    """Find, for each image, the images of its class among all other images or in a gallery.

    Args:
        z_ND: embeddings of any norm and precision; they are compared in float32.
        labels_N: their classes.
        k: the K's of Recall@K, each at least 1 and at most the number of images to find.
        gallery_z_MD: embeddings to search; None searches the images themselves, without the query.
        gallery_labels_M: the classes of the gallery.
        distance: "cosine", or "euclidean" for embeddings with a meaningful norm.
        index: "faiss" searches an approximate index, which needs the package faiss: images that it misses count as
            not found and not as ahead of others, so figures may be too low or too high. The result names the index.
        roles: the queries and the gallery among the images, in place of a gallery of other images; None searches all
            other images. A query that has no match left after its own group is excluded is no query.

    Raises:
        ValueError: for shapes that do not match.
        UserError: for a K that is too small or too large, an unknown distance or index, or
            no class of two images (without a gallery) or none that the gallery has as well.
    """
    if roles is not None:
        return _with_roles(z_ND, labels_N, k, roles.to(z_ND.device), distance, index)
    within = gallery_z_MD is None
    _check(z_ND, labels_N, gallery_z_MD, gallery_labels_M, distance, index)
    gallery_z_MD = z_ND if gallery_z_MD is None else gallery_z_MD
    gallery_labels_M = labels_N if gallery_labels_M is None else gallery_labels_M
    _check_k(k, len(gallery_labels_M) - int(within))
    order_M, queries = ranking.class_lists(labels_N, gallery_labels_M, int(within))
    _check_queries(len(queries.row_Q), labels_N, within)
    images = ranking.points(z_ND, distance)
    gallery = images if within else ranking.points(gallery_z_MD, distance)
    if index == "exact":
        name, found = "exact", ranking.places(images, gallery, order_M, queries)
    else:
        name, found = approximate.places(images, gallery, labels_N, gallery_labels_M, queries, max(k))
    return _of_places(found, queries, k, name)


def _with_roles(
    z_ND: Tensor, labels_N: Tensor, k: Sequence[int], roles: QueryGallery, distance: Distance, index: Index
) -> Retrieval:
    """Retrieve among the images of a test with roles. The rows of the result are rows of the images."""
    query_Q, gallery_M = (each_N.nonzero().squeeze(1) for each_N in (roles.query_N, roles.gallery_N))
    labels_Q, labels_M, ignored_Q = labels_N[query_Q], labels_N[gallery_M], roles.ignored(labels_N)[query_Q]
    _check(z_ND[query_Q], labels_Q, z_ND[gallery_M], labels_M, distance, index)
    order_M, queries = ranking.class_lists(labels_Q, labels_M, ignored_Q)
    _check_queries(len(queries.row_Q), labels_Q, within=False)
    _check_k(k, len(gallery_M) - int(ignored_Q[queries.row_Q].max()))
    images, gallery = (ranking.points(z_ND[row], distance) for row in (query_Q, gallery_M))
    ignored = Ignored.of(roles)
    if index == "exact":
        name, found = "exact", ranking.places(images, gallery, order_M, queries, ignored, every=True)
    else:
        name, found = approximate.places(images, gallery, labels_Q, labels_M, queries, max(k), ignored, every=True)
    of_queries = _of_places(found, queries, k, name, with_map=True)
    return of_queries._replace(query_Q=query_Q[of_queries.query_Q])


def most_findable(labels_N: Tensor, roles: QueryGallery) -> int:
    """Return the largest K of Recall@K: the number of images that every query with a match searches, at least 1."""
    asked_N = roles.query_N & (roles.matches(labels_N) > 0)
    ignored = int(roles.ignored(labels_N)[asked_N].max()) if asked_N.any() else 0
    return max(1, int(roles.gallery_N.sum()) - ignored)


def _of_places(
    found: ranking.Places, queries: ranking.Queries, k: Sequence[int], name: str, with_map: bool = False
) -> Retrieval:
    """Return the result of each query from the places of its class, in the order of the images."""
    ascending_Q = queries.row_Q.argsort()
    first_Q, found_Q, precision_Q, all_precision_Q = (each[ascending_Q] for each in found)
    relevant_Q = queries.relevant_Q[ascending_Q]
    return Retrieval(
        query_Q=queries.row_Q[ascending_Q],
        hit_QK=first_Q[:, None] <= torch.tensor(tuple(k), device=first_Q.device),
        r_precision_Q=found_Q / relevant_Q,
        average_precision_Q=(precision_Q / relevant_Q).float(),
        reciprocal_rank_Q=torch.where(first_Q == ranking.NEVER, 0.0, 1 / first_Q),
        k=tuple(k),
        index=name,
        full_precision_Q=(all_precision_Q / relevant_Q).float() if with_map else None,
    )


def recall_at_k(
    z_ND: Tensor, labels_N: Tensor, k: Sequence[int] = KS, *, distance: Distance = "cosine"
) -> dict[int, Tensor]:
    """Compute Recall@K by K: the share of queries with an image of their class among their K nearest others."""
    found = retrieve(z_ND, labels_N, k, distance=distance)
    return {K: found.figures()[f"recall@{K}"] for K in found.k}


def r_precision(z_ND: Tensor, labels_N: Tensor, *, distance: Distance = "cosine") -> Tensor:
    """Compute R-Precision: the mean share of the query's class among the R nearest others."""
    return retrieve(z_ND, labels_N, (1,), distance=distance).figures()["r_precision"]


def map_at_r(z_ND: Tensor, labels_N: Tensor, *, distance: Distance = "cosine") -> Tensor:
    """Compute MAP@R: like R-Precision, but images found nearer have a higher weight."""
    return retrieve(z_ND, labels_N, (1,), distance=distance).figures()["map@r"]


def mrr(z_ND: Tensor, labels_N: Tensor, *, distance: Distance = "cosine") -> Tensor:
    """Compute the mean of 1 over the place of the nearest image of the class."""
    return retrieve(z_ND, labels_N, (1,), distance=distance).figures()["mrr"]


class PerClass(NamedTuple):
    """Means over the queries of each class."""

    label_C: Tensor
    """The classes, ascending."""
    mean_C: Tensor
    """The mean of each class, float32."""
    queries_C: Tensor
    """int64: number of queries of each class."""


def per_class(values_Q: Tensor, labels_Q: Tensor) -> PerClass:
    """Compute means by class, for example `per_class(found.r_precision_Q, labels_N[found.query_Q])`."""
    label_C, class_Q, queries_C = labels_Q.unique(return_inverse=True, return_counts=True)
    summed = ranking.summed_in(values_Q.device)
    sum_C = torch.zeros(len(label_C), dtype=summed, device=values_Q.device).index_add_(0, class_Q, values_Q.to(summed))
    return PerClass(label_C, (sum_C / queries_C).float(), queries_C)


MACRO = ("recall@1", "map@r")
"""Figures that are averaged over classes as well."""


def macro_figures(found: Retrieval, labels_N: Tensor) -> dict[str, Tensor]:
    """Return `recall@1_macro` and `map@r_macro`: means over classes of the means over the queries of each class.

    Each class counts once, however many queries it has. Figures that were not computed are left out.
    """
    labels_Q, values = labels_N[found.query_Q], found.values()
    return {f"{name}_macro": per_class(values[name], labels_Q).mean_C.mean() for name in MACRO if name in values}


class ClassRetrieval(NamedTuple):
    """The results of the queries of one class."""

    queries: int
    recall_at_1: float
    map_at_r: float


def by_class(found: Retrieval, labels_N: Tensor, names: Sequence[str]) -> dict[str, ClassRetrieval]:
    """Return number of queries, Recall@1 and MAP@R of each class that has queries, by the name of the class."""
    labels_Q = labels_N[found.query_Q]
    first_Q = (found.reciprocal_rank_Q == 1).float()
    recall, average = per_class(first_Q, labels_Q), per_class(found.average_precision_Q, labels_Q)
    columns = (recall.label_C, recall.queries_C, recall.mean_C, average.mean_C)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {names[label]: ClassRetrieval(*figures) for label, *figures in rows}


def _check(
    z_ND: Tensor,
    labels_N: Tensor,
    gallery_z_MD: Tensor | None,
    gallery_labels_M: Tensor | None,
    distance: str,
    index: str,
) -> None:
    for what, given, known in (("distance", distance, get_args(Distance)), ("index", index, get_args(Index))):
        if given not in known:
            raise UserError(f"{what} must be one of {', '.join(known)}, but is {given!r}.")
    _check_shapes("embeddings (N, D) and labels (N,)", z_ND, labels_N)
    if gallery_z_MD is None and gallery_labels_M is None:
        return
    if gallery_z_MD is None or gallery_labels_M is None:
        raise ValueError("A gallery needs both gallery_z_MD and gallery_labels_M, but only one of them came.")
    _check_shapes("a gallery of embeddings (M, D) and labels (M,)", gallery_z_MD, gallery_labels_M)
    if z_ND.shape[1] != gallery_z_MD.shape[1]:
        raise ValueError(
            f"Queries and gallery must have as many dimensions, but have {z_ND.shape[1]} and {gallery_z_MD.shape[1]}."
        )


def _check_shapes(what: str, z_ND: Tensor, labels_N: Tensor) -> None:
    if z_ND.ndim != 2 or labels_N.shape != z_ND.shape[:1]:
        raise ValueError(f"Retrieval expects {what}, but got {tuple(z_ND.shape)} and {tuple(labels_N.shape)}.")


def check_labels(labels_N: Tensor) -> None:
    """Raise UserError if no class has a second image to find. This check needs no embeddings."""
    _check_queries(int((labels_N.unique(return_counts=True)[1] > 1).sum()), labels_N, within=True)


def _check_k(k: Sequence[int], others: int) -> None:
    if len(k) == 0 or min(k) < 1:
        raise UserError(f"Every K of Recall@K must be at least 1, and there must be one, but they are {tuple(k)}.")
    if max(k) > others:
        raise UserError(
            f"Recall@{max(k)} needs at least {max(k)} images to find, but each query has {others}. "
            "Ask for a smaller K, or evaluate on more images."
        )


def _check_queries(number: int, labels_N: Tensor, within: bool) -> None:
    if number == 0 and within:
        raise UserError(
            f"Retrieval needs a class with at least 2 images, but all {len(labels_N)} have one. "
            "Evaluate on a set with several images of a class."
        )
    if number == 0:
        raise UserError(
            f"None of the classes of the {len(labels_N)} queries is in the gallery, so nothing can be found."
        )
