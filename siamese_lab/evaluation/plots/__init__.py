"""Draw the pictures of an evaluation as PNG files of fixed resolution. Each picture has its own module.

The pictures of a study are in `siamese_lab.study.figures`.
"""

from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from siamese_lab.data.tables.feature_table import FeatureTable
from siamese_lab.evaluation.evaluation import Evaluation
from siamese_lab.evaluation.plots.embedding_map import draw_embedding_map
from siamese_lab.evaluation.plots.hardest_errors import draw_hardest_errors
from siamese_lab.evaluation.plots.nearest_neighbours import draw_nearest_neighbors
from siamese_lab.evaluation.plots.roc_curves import draw_roc_curves
from siamese_lab.evaluation.projection import Method
from siamese_lab.evaluation.stages import Stages
from siamese_lab.runs.drawing import without_font_warnings
from siamese_lab.runs.files import whole_file

DPI = 120


@without_font_warnings()
def write_plots(
    evaluation: Evaluation,
    folder: Path,
    *,
    map_by: Method | None = "tsne",
    seed: int = 0,
    console: Console | None = None,
) -> list[Path]:
    """Draw all pictures that an evaluation has results for.

    Args:
        evaluation: the results.
        folder: folder to write into.
        map_by: method that projects the embeddings to 2-D. None draws no map.
        seed: seed of the choice of queries, and of the map.
        console: console that shows progress.

    Returns:
        Paths of `nearest_neighbours.png` and `hardest_errors.png` unless the images are frozen features, `roc.png` if
        there are verification results, and `embedding_map.png`.
    """
    stages = Stages(console)
    figures: dict[str, Figure] = {}
    if not isinstance(evaluation.table, FeatureTable):
        figures = {
            "nearest_neighbours": draw_nearest_neighbors(evaluation, seed, stages),
            "hardest_errors": draw_hardest_errors(evaluation, stages),
        }
    if evaluation.curves:
        figures["roc"] = draw_roc_curves(evaluation)
    if map_by is not None:
        figures["embedding_map"] = draw_embedding_map(evaluation, map_by, seed, stages)
    written = []
    for name, figure in figures.items():
        written.append(folder / f"{name}.png")
        with whole_file(written[-1]) as draft:
            figure.savefig(draft, dpi=DPI, facecolor="white")
    return written
