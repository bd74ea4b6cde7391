"""Draw the hardest errors: the nearest pairs of different classes, and the farthest pairs of one class."""

from matplotlib.figure import Figure

from siamese_lab.data.preview import short_name
from siamese_lab.evaluation.evaluation import Evaluation
from siamese_lab.evaluation.hardest import HardPairs, find_hardest_errors
from siamese_lab.evaluation.plots.cells import Sheet, fetch_images, wrap_name
from siamese_lab.evaluation.stages import Stages

PAIRS, ROWS = 16, 8
GUTTER = 0.5


def draw_hardest_errors(evaluation: Evaluation, stages: Stages) -> Figure:
    """Draw both kinds of pairs in two columns each. The hardest pair is at the top."""
    labels_N = evaluation.table.labels_N.to(evaluation.z_ND.device)
    with stages.running("Hardest errors", len(labels_N)) as advance:
        found = find_hardest_errors(evaluation.z_ND, labels_N, PAIRS, advance)
    columns = -(-PAIRS // ROWS)
    width = columns * (2 + GUTTER)
    rows = min(ROWS, max(len(found.different.left_E), len(found.same.left_E)))
    sheet = Sheet(2 * width + GUTTER, rows, "The hardest pairs, with their distance")
    for left, heading, pairs in (
        (0.0, "Different classes, nearest first", found.different),
        (width + GUTTER, "Same class, farthest first", found.same),
    ):
        sheet.heading(left, heading)
        _draw_pairs(sheet, left, pairs, evaluation)
    return sheet.figure


def _draw_pairs(sheet: Sheet, left: float, pairs: HardPairs, evaluation: Evaluation) -> None:
    labels_N, names = evaluation.table.labels_N, evaluation.table.class_names
    images = [fetch_images(evaluation.table, rows_E) for rows_E in (pairs.left_E, pairs.right_E)]
    for place, (first, second) in enumerate(zip(pairs.left_E.tolist(), pairs.right_E.tolist(), strict=True)):
        column, row = left + place // ROWS * (2 + GUTTER), place % ROWS
        one, other = (names[int(labels_N[index])] for index in (first, second))
        for side in range(2):
            sheet.image(column + side, row, images[side][place])
        sheet.text_right_of(column + 2, row, f"{float(pairs.distance_E[place]):.2f}")
        if one == other:
            sheet.text(column + 0.5, row, short_name(one).replace("_", " "))
        else:
            sheet.text(column, row, wrap_name(one))
            sheet.text(column + 1, row, wrap_name(other))
