"""The figures of a report have axes of percentages that end at 100%, and few panels are still large."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from synthetic import study

from siamese_lab.study.analysis import HEADLINE, analyze
from siamese_lab.study.figures import forest
from siamese_lab.study.figures.curves import ACTIVE_SHARE, RECALL1, draw_curves
from siamese_lab.study.figures.recall1_comparison import draw_comparison
from siamese_lab.study.figures.style import figure_style
from siamese_lab.study.pairs import BOUND, Pair
from siamese_lab.study.runs import read_study

LEVELS = (0.9,)


@pytest.fixture(scope="module")
def scattered(tmp_path_factory):
    """Return a study of two seeds that differ much: their intervals exceed 0% and 100%."""
    folder = study(tmp_path_factory.mktemp("scattered"), data=("digits", "lfw"), seeds=2, noise=0.08)
    return analyze(read_study(folder), LEVELS)


def drawn(figure):
    FigureCanvasAgg(figure).draw()
    return figure


def test_axes_of_the_comparison_end_at_100_percent(scattered):
    figure = drawn(draw_comparison(scattered.values[HEADLINE]))
    ends = [end for axes in figure.axes for line in axes.lines for end in line.get_xdata()]
    assert max(ends) > 100 and min(ends) < 0
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert 0 <= low < high <= 100


@pytest.mark.parametrize("quantity", [RECALL1, ACTIVE_SHARE])
def test_axes_of_curves_end_at_100_percent(quantity, scattered):
    curves = scattered.curves.assign(**{quantity.column: 1.0})
    for axes in drawn(draw_curves(curves, quantity, "step")).axes:
        low, high = axes.get_ylim()
        assert 0 <= low < high == pytest.approx(1)
        markers = [line for line in axes.lines if line.get_marker() != "None"]
        assert markers and not any(line.get_clip_on() for line in markers)  # markers at 100% are drawn whole


def panel_size(figure):
    box = drawn(figure).axes[0].get_window_extent()
    return box.width / figure.dpi, box.height / figure.dpi


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["comparison", "curves"])
def test_a_single_panel_is_wider_and_higher_than_one_of_many(kind, tmp_path):
    sizes = []
    for number, data in enumerate([("digits",), ("digits", "lfw", "omniglot", "mnist:disjoint")]):
        found = analyze(read_study(study(tmp_path / str(number), data=data, seeds=2)), LEVELS)
        with figure_style():
            figure = (
                draw_comparison(found.values[HEADLINE])
                if kind == "comparison"
                else draw_curves(found.curves, RECALL1, "step")
            )
            sizes.append(panel_size(figure))
    (width, height), (narrow, low) = sizes
    assert width > 5 and height > 2
    assert width > 1.8 * narrow and height > 1.3 * low


def pair(data="LFW", first="hard", mean=0.01, half=0.002, corrected_p=1.0, corrected_equivalence_p=1.0):
    changed = {"corrected_p": corrected_p, "corrected_equivalence_p": corrected_equivalence_p}
    return Pair(data, first, "random", mean, mean - half, mean + half, **changed)


def test_the_forest_plot_shows_each_interval_in_the_look_of_its_verdict():
    pairs = [
        pair(),
        pair(first="semi_hard", mean=0.02, corrected_p=0.01),
        pair(first="all", mean=0.001, corrected_equivalence_p=0.01),
        pair("MNIST", mean=-0.03, corrected_p=0.01),
    ]
    figure = drawn(forest.draw_forest(pairs, BOUND))
    lfw, mnist = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["LFW", "MNIST"]
    assert [label.get_text() for label in lfw.get_yticklabels()] == [
        "hard − random",
        "semi_hard − random",
        "all − random",
    ]
    intervals = {
        line.get_ydata()[0]: (line.get_xdata(), line.get_color()) for line in lfw.lines if line.get_marker() == "|"
    }
    for row, (ends, kind) in enumerate(
        (((0.8, 1.2), "not settled"), ((1.8, 2.2), "differs"), ((-0.1, 0.3), "equivalent"))
    ):
        assert list(intervals[row][0]) == pytest.approx(ends)
        assert intervals[row][1] == forest.LOOKS[kind].color
    assert [list(line.get_ydata()) for line in mnist.lines if line.get_marker() == "|"] == [[0, 0]]
    for axes in figure.axes:
        (band,) = axes.patches
        assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-0.5, 0.5))


def test_a_forest_plot_of_too_many_pairs_is_left_out():
    pairs = [pair(first=f"strategy_{number}") for number in range(forest.MAX_ROWS + 1)]
    assert forest.draw_forest(pairs, BOUND) is None
    assert forest.draw_forest(pairs[:-1], BOUND) is not None
    assert forest.draw_forest([], BOUND) is None
