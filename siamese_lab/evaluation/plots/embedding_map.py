"""The embedding in the plane, ten classes of it picked out.

Shapes: N images, M of them on the map, C classes.
"""

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from siamese_lab.data.preview import short_name
from siamese_lab.evaluation.evaluation import Evaluation
from siamese_lab.evaluation.projection import LEAST, Method, project
from siamese_lab.evaluation.stages import Stages

IMAGES = 2000
"""At most so many are on the map: more take long and hide one another."""
COLOURS = ("#1f6fb4", "#d1600a", "#2a8a57", "#b3262a", "#7a4fa3", "#8a5a3c", "#d05fa8", "#6b6b00", "#00808f", "#222222")
MARKERS = "osD^vP*X<>"
NAMES: dict[str, str] = {"tsne": "t-SNE", "umap": "UMAP"}


def draw_map(evaluation: Evaluation, method: Method, seed: int, stages: Stages) -> Figure:
    """The images as points; those of the picked classes in a colour and shape of their own."""
    labels_N, names = evaluation.table.labels_N, evaluation.table.class_names
    picked, shown_M = choose(labels_N, seed)
    figure = Figure((8.6, 6), layout="constrained")
    axes = figure.subplots()
    axes.set_xticks([])
    axes.set_yticks([])
    if len(shown_M) < LEAST:
        axes.set_title(f"{NAMES[method]} needs {LEAST} images, but there are {len(shown_M)}", fontsize=10)
        return figure
    with stages.running(f"{NAMES[method]} of {len(shown_M):,} images"):
        places_M2 = project(evaluation.z_ND[shown_M.to(evaluation.z_ND.device)], method, seed)
    labels_M = labels_N[shown_M]
    others = ~torch.isin(labels_M, torch.tensor(picked))
    if others.any():
        x, y = places_M2[others.numpy()].T
        axes.scatter(x, y, s=7, color="0.8", linewidths=0, label=f"{len(labels_M[others].unique()):,} others")
    for label, colour, marker in zip(picked, COLOURS, MARKERS, strict=False):
        x, y = places_M2[(labels_M == label).numpy()].T
        look: dict[str, Any] = {"color": colour, "marker": marker, "linewidths": 0.3, "edgecolors": "white"}
        axes.scatter(x, y, s=22, label=short_name(names[label]), **look)
    axes.set_title(
        f"{NAMES[method]} of {len(shown_M):,} of {len(labels_N):,} test images, "
        f"{len(labels_M.unique()):,} of {len(labels_N.unique()):,} classes",
        fontsize=10,
    )
    legend = figure.legend(loc="outside right upper", fontsize=8, frameon=False, markerscale=1.3)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def choose(labels_N: Tensor, seed: int) -> tuple[list[int], Tensor]:
    """Up to ten of the largest classes to pick out, and the images to show: theirs first, then of others at random.

    A class of very many images shows some of them.
    """
    generator = torch.Generator().manual_seed(seed)
    size_C = labels_N.bincount()
    by_size_C = (size_C + torch.rand(len(size_C), generator=generator)).argsort(descending=True)
    order_C = by_size_C[size_C[by_size_C] > 0]
    picked, others = order_C[: len(COLOURS)], order_C[len(COLOURS) :]
    others = others[torch.randperm(len(others), generator=generator)]
    each, room = IMAGES // len(picked), IMAGES
    shuffled_N = torch.randperm(len(labels_N), generator=generator)
    shown: list[Tensor] = []
    for label in torch.cat([picked, others]).tolist():
        shown.append(shuffled_N[labels_N[shuffled_N] == label][: min(each, room)])
        room -= len(shown[-1])
        if not room:
            break
    return picked.tolist(), torch.cat(shown)
