"""The pictures of an evaluation, one file each, as PNGs of fixed resolution."""

from pathlib import Path

from rich.console import Console

from siamese_lab.evaluation.evaluation import Evaluation
from siamese_lab.evaluation.plots.embedding_map import draw_map
from siamese_lab.evaluation.plots.hardest_errors import draw_hardest
from siamese_lab.evaluation.plots.nearest_neighbours import draw_neighbours
from siamese_lab.evaluation.plots.roc_curves import draw_roc
from siamese_lab.evaluation.projection import Method
from siamese_lab.evaluation.stages import Stages

DPI = 120


def write(
    evaluation: Evaluation,
    folder: Path,
    *,
    map_by: Method | None = "tsne",
    seed: int = 0,
    console: Console | None = None,
) -> list[Path]:
    """Draw all pictures that an evaluation has figures for.

    Args:
        evaluation: what was found.
        folder: to write into.
        map_by: how the embedding is laid out in the plane; None draws no map.
        seed: of the queries that are shown, and of the map.
        console: where to show progress.

    Returns:
        `nearest_neighbours.png`, `hardest_errors.png`, `roc.png` if pairs were verified, and `embedding_map.png`.
    """
    stages = Stages(console)
    figures = {
        "nearest_neighbours": draw_neighbours(evaluation, seed, stages),
        "hardest_errors": draw_hardest(evaluation, stages),
    }
    if evaluation.curves:
        figures["roc"] = draw_roc(evaluation)
    if map_by is not None:
        figures["embedding_map"] = draw_map(evaluation, map_by, seed, stages)
    written = []
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        figure.savefig(written[-1], dpi=DPI, facecolor="white")
    return written
