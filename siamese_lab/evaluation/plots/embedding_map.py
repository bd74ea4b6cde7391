"""Draw the embedding map: the embeddings in 2-D, with ten classes highlighted.

Shapes: N images, M of them on the map, C classes.
"""

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from siamese_lab.data.preview import short_name
from siamese_lab.evaluation.evaluation import Evaluation
from siamese_lab.evaluation.projection import MIN_IMAGES, Method, project
from siamese_lab.evaluation.stages import Stages

MAX_IMAGES = 2000
"""Largest number of images on the map. More images take long and hide one another."""
COLORS = ("#1f6fb4", "#d1600a", "#2a8a57", "#b3262a", "#7a4fa3", "#8a5a3c", "#d05fa8", "#6b6b00", "#00808f", "#222222")
MARKERS = "osD^vP*X<>"
NAMES: dict[str, str] = {"tsne": "t-SNE", "umap": "UMAP"}


def draw_embedding_map(evaluation: Evaluation, method: Method, seed: int, stages: Stages) -> Figure:
    """Draw each image as a point. Each highlighted class has its own color and marker."""
    labels_N, names = evaluation.table.labels_N, evaluation.table.class_names
    picked, shown_M = choose_images(labels_N, seed)
    figure = Figure((8.6, 6), layout="constrained")
    axes = figure.subplots()
    axes.set_xticks([])
    axes.set_yticks([])
    if len(shown_M) < MIN_IMAGES:
        axes.set_title(f"{NAMES[method]} needs {MIN_IMAGES} images, but there are {len(shown_M)}", fontsize=10)
        return figure
    with stages.running(f"{NAMES[method]} of {len(shown_M):,} images"):
        places_M2 = project(evaluation.z_ND[shown_M.to(evaluation.z_ND.device)], method, seed)
    labels_M = labels_N[shown_M]
    others = ~torch.isin(labels_M, torch.tensor(picked))
    if others.any():
        x, y = places_M2[others.numpy()].T
        axes.scatter(x, y, s=7, color="0.8", linewidths=0, label=f"{len(labels_M[others].unique()):,} others")
    for label, color, marker in zip(sorted(picked), COLORS, MARKERS, strict=False):
        x, y = places_M2[(labels_M == label).numpy()].T
        look: dict[str, Any] = {"color": color, "marker": marker, "linewidths": 0.3, "edgecolors": "white"}
        axes.scatter(x, y, s=22, label=short_name(names[label]), **look)
    axes.set_title(
        f"{NAMES[method]} of {len(shown_M):,} of {len(labels_N):,} test images, "
        f"{len(labels_M.unique()):,} of {len(labels_N.unique()):,} classes",
        fontsize=10,
    )
    legend = figure.legend(loc="outside right upper", fontsize=8, frameon=False, markerscale=1.3)
    for text in legend.get_texts():
        text.set_parse_math(False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def choose_images(labels_N: Tensor, seed: int) -> tuple[list[int], Tensor]:
    """Choose up to ten of the largest classes to highlight, and the images to show.

    The images of the highlighted classes come first, then images of other classes in random order. A class with very
    many images shows only some of them.
    """
    generator = torch.Generator().manual_seed(seed)
    size_C = labels_N.bincount()
    by_size_C = (size_C + torch.rand(len(size_C), generator=generator)).argsort(descending=True)
    order_C = by_size_C[size_C[by_size_C] > 0]
    picked, others = order_C[: len(COLORS)], order_C[len(COLORS) :]
    others = others[torch.randperm(len(others), generator=generator)]
    each, room = MAX_IMAGES // len(picked), MAX_IMAGES
    shuffled_N = torch.randperm(len(labels_N), generator=generator)
    shown: list[Tensor] = []
    for label in torch.cat([picked, others]).tolist():
        shown.append(shuffled_N[labels_N[shuffled_N] == label][: min(each, room)])
        room -= len(shown[-1])
        if not room:
            break
    return picked.tolist(), torch.cat(shown)
