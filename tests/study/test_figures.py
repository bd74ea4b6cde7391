"""The figures of a report have axes of percentages that end at 100%, and few panels are still large."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from synthetic import study

from siamese_lab.study.analysis import HEADLINE, analyze
from siamese_lab.study.figures.curves import ACTIVE_SHARE, RECALL1, draw_curves
from siamese_lab.study.figures.recall1_comparison import draw_comparison
from siamese_lab.study.figures.style import figure_style
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
