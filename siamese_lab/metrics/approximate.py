"""Retrieval by an approximate index of faiss (Douze et al. 2024, arXiv:2401.08281), as an option.

The index is an inverted file: k-means divides the gallery into cells, and a query searches the nearest cells. Images
that the index misses count as not found. Missed images of other classes improve the places of the query's class.

Shapes: as in `ranking`; L images that the index gives for each query.
"""

import math
from typing import Any

import torch
from torch import Tensor

from siamese_lab.errors import ResourceError, UserError
from siamese_lab.metrics import ranking
from siamese_lab.metrics.ranking import Places, Points, Queries
from siamese_lab.query_gallery import Ignored

FEWEST_IN_CELL = 39
"""Minimum average number of images per cell; below it, faiss warns that its k-means is unreliable."""
SHARE_PROBED = 1 / 8
"""Share of the cells that a query searches."""


def places(
    images: Points,
    gallery: Points,
    labels_N: Tensor,
    gallery_labels_M: Tensor,
    queries: Queries,
    to_find: int,
    ignored: Ignored | None = None,
    every: bool = False,
) -> tuple[str, Places]:
    """Return the name of the index, and the places as in `ranking.places`, among the images that the index finds.

    Args:
        images: images with the queries as rows. If they are the gallery, each query excludes itself by index.
        gallery: images to search.
        labels_N: labels of the images.
        gallery_labels_M: labels of the gallery.
        queries: the result of `ranking.class_lists`.
        to_find: minimum number of images to find for each query.
        ignored: as in `ranking.places`.
        every: as in `ranking.places`, of the images that the index finds.

    Raises:
        ResourceError: if faiss is not installed.
        UserError: if an embedding is not finite.
    """
    if not (images.finite_N.all() and gallery.finite_N.all()):
        raise UserError('index="faiss" needs finite embeddings, but some are not. index="exact" takes them.')
    name, index = _built(gallery)
    within = images is gallery
    left_out = int((queries.count_Q - queries.relevant_Q).max())
    length = min(len(gallery.z_ND), max(int(queries.relevant_Q.max()), to_find) + left_out)
    length = -(-length // ranking.DEEPEST) * ranking.DEEPEST
    found = ranking.empty_places(queries)
    for chosen in ranking.slices(len(queries.row_Q), ranking.tile_rows(8 * length, labels_N.device)):
        row_T = queries.row_Q[chosen]
        asking = images.part(row_T)
        s_TL, found_TL = _search(index, asking, length)
        own_TL = gallery_labels_M[found_TL] == labels_N[row_T, None]
        none_TL = s_TL == -torch.inf
        if within:
            none_TL |= found_TL == row_T[:, None]
        if ignored is not None:
            none_TL |= own_TL & ignored.mask(row_T, found_TL)
        bar_TL = (s_TL - ranking.ties(asking, gallery, found_TL)).masked_fill_(~own_TL | none_TL, -torch.inf)
        s_TL.masked_fill_(own_TL | none_TL, -torch.inf)
        found.write(chosen, ranking.placed(s_TL, ranking.descending(bar_TL), queries.relevant_Q[chosen], every))
    return name, found


def _built(gallery: Points) -> tuple[str, Any]:
    try:
        import faiss
    except ImportError:
        raise ResourceError(
            'index="faiss" needs the package faiss, which is not installed. '
            'Install it with `pip install faiss-cpu`, or take index="exact".'
        ) from None
    size, dimensions = gallery.z_ND.shape
    cells = max(1, min(int(4 * math.sqrt(size)), size // FEWEST_IN_CELL))
    probed = math.ceil(cells * SHARE_PROBED)
    cosine = gallery.length_N is None
    metric = faiss.METRIC_INNER_PRODUCT if cosine else faiss.METRIC_L2
    index: Any = faiss.index_factory(dimensions, f"IVF{cells},Flat", metric)
    index.nprobe = probed
    z_MD = gallery.z_ND.cpu().numpy()
    index.train(z_MD)
    index.add(z_MD)
    return f"faiss {faiss.__version__} IVF{cells},Flat nprobe={probed}", index


def _search(index: Any, asking: Points, length: int) -> tuple[Tensor, Tensor]:
    """Return similarities, as in `ranking.similarities` up to a constant per row, and the indices of the images."""
    score, found = index.search(asking.z_ND.cpu().numpy(), length)
    s_TL, found_TL = (torch.from_numpy(each).to(asking.z_ND.device) for each in (score, found))
    if asking.length_N is not None:
        s_TL = s_TL / -2
    return s_TL.masked_fill(found_TL < 0, -torch.inf), found_TL.clamp_min(0)
