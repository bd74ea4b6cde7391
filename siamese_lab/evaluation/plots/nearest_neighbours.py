"""Draw queries with their five nearest neighbors. Frames mark neighbors of the same class and of other classes.

Shapes: N images, Q queries, C classes.
"""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from siamese_lab.evaluation.evaluation import Evaluation
from siamese_lab.evaluation.plots.cells import RIGHT, WRONG, Sheet, fetch_images, wrap_name
from siamese_lab.evaluation.stages import Stages
from siamese_lab.metrics.nearest import Nearest, nearest
from siamese_lab.metrics.retrieval import most_findable
from siamese_lab.query_gallery import NO_GROUP, QueryGallery

QUERIES, NEIGHBORS = 14, 5
BLOCKS_PER_ROW = 2
"""Number of blocks of queries in one row."""
GUTTER = 0.3
"""Width of the gap between a query and its neighbors, and between blocks, in cells."""


def draw_nearest_neighbors(evaluation: Evaluation, seed: int, stages: Stages) -> Figure:
    """Draw random queries with their neighbors in order of distance. The queries have different classes if possible."""
    labels_N, roles = evaluation.table.labels_N, evaluation.roles
    is_query_N = None if roles is None else roles.query_N & (roles.matches(labels_N) > 0)
    query_Q = choose_queries(labels_N, QUERIES, seed, is_query_N)
    count = min(NEIGHBORS, len(labels_N) - 1 if roles is None else most_findable(labels_N, roles))
    with stages.running("Picture of nearest neighbors"):
        rows_Q = query_Q.to(evaluation.z_ND.device)
        if roles is None:
            found = nearest(evaluation.z_ND[rows_Q], evaluation.z_ND, count, rows_Q)
        else:
            found = nearest_in_gallery(evaluation.z_ND, labels_N, roles, query_Q, count)
        index_QE = torch.cat([query_Q[:, None], found.index_Qk.cpu()], dim=1)
        images = fetch_images(evaluation.table, index_QE)
    names = evaluation.table.class_names
    height = -(-len(query_Q) // BLOCKS_PER_ROW)
    block = 1 + GUTTER + count
    sheet = Sheet(
        BLOCKS_PER_ROW * block + GUTTER,
        height,
        f"Queries and their {count} nearest ({RIGHT.sign} of the same class, {WRONG.sign} of another), with distances",
    )
    for place, index_E in enumerate(index_QE.tolist()):
        left = place // height * (block + GUTTER)
        row = place % height
        query, *others = index_E
        shown = images[place * (count + 1) : (place + 1) * (count + 1)]
        sheet.image(left, row, shown[0])
        sheet.text(left, row, wrap_name(names[int(labels_N[query])]))
        for rank, (other, image_CHW) in enumerate(zip(others, shown[1:], strict=True)):
            frame = RIGHT if labels_N[other] == labels_N[query] else WRONG
            column = left + 1 + GUTTER + rank
            sheet.image(column, row, image_CHW, frame)
            sheet.text(column, row, f"{frame.sign} {float(found.distance_Qk[place, rank]):.2f}", frame.color)
    return sheet.figure


def nearest_in_gallery(z_ND: Tensor, labels_N: Tensor, roles: QueryGallery, query_Q: Tensor, count: int) -> Nearest:
    """Find the nearest images of the gallery, without the query itself and images of its class and group.

    Args:
        z_ND: embeddings of all test images.
        labels_N: their classes.
        roles: their roles.
        query_Q: rows of the queries.
        count: number of images to find for each query.
    """
    every_N = torch.arange(len(labels_N))
    found = []
    for row in query_Q.tolist():
        group = NO_GROUP if roles.group_N is None else int(roles.group_N[row])
        ignored_N = every_N == row
        if group != NO_GROUP and roles.group_N is not None:
            ignored_N |= (labels_N == labels_N[row]) & (roles.group_N == group)
        index_M = (roles.gallery_N & ~ignored_N).nonzero().squeeze(1).to(z_ND.device)
        one = nearest(z_ND[row : row + 1], z_ND[index_M], count)
        found.append(Nearest(index_M[one.index_Qk], one.distance_Qk))
    return Nearest(*(torch.cat(each) for each in zip(*found, strict=True)))


def choose_queries(labels_N: Tensor, number: int, seed: int, is_query_N: Tensor | None = None) -> Tensor:
    """Draw random queries. Every class comes once before any comes again.

    Args:
        labels_N: classes of all images.
        number: number of queries; there may be fewer.
        seed: seed of the draw.
        is_query_N: True for the images to draw from; None draws from classes with at least two images.
    """
    if is_query_N is None:
        is_query_N = labels_N.bincount()[labels_N] > 1
    order_N = torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(seed))
    order_N = order_N[is_query_N[order_N]]
    by_class_N = labels_N[order_N].argsort(stable=True)
    sorted_N = labels_N[order_N][by_class_N]
    rank_N = torch.empty_like(by_class_N)
    rank_N[by_class_N] = torch.arange(len(by_class_N)) - torch.searchsorted(sorted_N, sorted_N)
    return order_N[rank_N.argsort(stable=True)][:number]
