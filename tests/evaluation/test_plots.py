"""The pictures show correct content, and can be drawn for unusual data sets."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from PIL import Image

from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.evaluation import plots
from siamese_lab.evaluation.evaluation import Evaluation, MetricValue, Protocol
from siamese_lab.evaluation.plots import embedding_map, nearest_neighbours
from siamese_lab.evaluation.plots.cells import RIGHT, WRONG, wrap_name
from siamese_lab.evaluation.plots.nearest_neighbours import (
    choose_queries,
    draw_nearest_neighbors,
    nearest_in_gallery,
)
from siamese_lab.evaluation.plots.roc_curves import draw_roc_curves
from siamese_lab.evaluation.projection import check_method, project
from siamese_lab.evaluation.stages import Stages
from siamese_lab.metrics.verification import roc
from siamese_lab.query_gallery import QueryGallery


def evaluation_of(labels: list[int], channels: int = 1, collapsed: bool = False, name: str = "class") -> Evaluation:
    generator = torch.Generator().manual_seed(0)
    labels_N = torch.tensor(labels)
    images = torch.randint(0, 256, (len(labels), channels, 12, 12), generator=generator, dtype=torch.uint8)
    z_ND = torch.randn(len(labels), 8, generator=generator)
    z_ND = torch.ones_like(z_ND) if collapsed else z_ND
    names = tuple(f"{name}{label}" for label in range(max(labels) + 1))
    return Evaluation(ImageTable(images, labels_N, names), torch.nn.functional.normalize(z_ND, dim=1))


def with_curve(evaluation: Evaluation) -> Evaluation:
    same_N = torch.arange(200) < 100
    distance_N = torch.rand(200, generator=torch.Generator().manual_seed(0)) + 0.5 * ~same_N
    figures = {"auc": MetricValue(0.9), "eer": MetricValue(0.2)}
    for title in ("Verification, sampled pairs", "Verification, View 1"):
        evaluation.protocols[title] = Protocol(title, "", figures, facts={"negatives": 100})
        evaluation.curves[title] = roc(distance_N, same_N)
    return evaluation


SETS = {
    "many classes": evaluation_of([label for label in range(30) for _ in range(4)]),
    "color": evaluation_of([0, 0, 1, 1, 2, 2], channels=3),
    "one class": evaluation_of([0] * 8),
    "two images": evaluation_of([0, 0]),
    "mostly single images": evaluation_of([*range(40), 0, 1]),
    "collapsed": evaluation_of([0, 0, 1, 1, 2, 2, 3, 3], collapsed=True),
    "names": evaluation_of([0, 0, 1, 1, 2, 2], name="$x_1$/ a name that is far too long to be shown \\"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
@pytest.mark.filterwarnings("error::UserWarning")
def test_every_set_can_be_drawn(name: str, tmp_path: Path) -> None:
    drawn = plots.write_plots(with_curve(SETS[name]), tmp_path)
    assert [each.name for each in drawn] == [
        "nearest_neighbours.png",
        "hardest_errors.png",
        "roc.png",
        "embedding_map.png",
    ]
    for each in drawn:
        with Image.open(each) as picture:
            assert min(picture.size) > 100
            assert len(set(picture.convert("L").get_flattened_data())) > 2


def test_absent_maps_and_curves_are_not_drawn(tmp_path: Path) -> None:
    drawn = plots.write_plots(evaluation_of([0, 0, 1, 1]), tmp_path, map_by=None)
    assert [each.name for each in drawn] == ["nearest_neighbours.png", "hardest_errors.png"]


def test_the_legend_of_the_roc_curves_covers_no_curve_and_rates_end_at_100_percent() -> None:
    figure = draw_roc_curves(with_curve(evaluation_of([0, 0, 1, 1])))
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 2
    area = legend.get_window_extent()
    for axes in figure.axes:
        assert axes.get_legend() is None and not area.overlaps(axes.get_tightbbox())
        assert axes.get_ylim() == (0, 1) and axes.get_xlim()[1] == 1
        assert all(label.get_text().endswith("%") for label in axes.get_xticklabels() if label.get_text())


def test_frames_mark_correct_and_wrong_neighbors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest_neighbours, "QUERIES", 6)
    evaluation = SETS["many classes"]
    labels_N = evaluation.table.labels_N
    right = 0
    for query in choose_queries(labels_N, 6, 3).tolist():
        d_N = torch.cdist(evaluation.z_ND[query, None], evaluation.z_ND)[0]
        d_N[query] = torch.inf
        right += int((labels_N[d_N.argsort()[:5]] == labels_N[query]).sum())
    (axes,) = draw_nearest_neighbors(evaluation, 3, Stages()).axes
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    blue = [patch for patch in frames if patch.get_edgecolor()[:3] == to_rgb(RIGHT.color)]
    assert (len(blue), len(frames)) == (right, 30)
    assert {patch.get_linestyle() for patch in blue} <= {"-", "solid"}
    signs = [text.get_text()[0] for text in axes.texts]
    assert (signs.count(RIGHT.sign), signs.count(WRONG.sign)) == (right, 30 - right)


def test_queries_find_their_neighbors_in_the_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every second image is searched. Images of the own class and group are no neighbors, nor is the query itself."""
    monkeypatch.setattr(nearest_neighbours, "QUERIES", 6)
    evaluation = SETS["many classes"]
    labels_N, count = evaluation.table.labels_N, len(evaluation.table)
    row_N = torch.arange(count)
    roles = QueryGallery(row_N % 3 == 0, row_N % 2 == 0, row_N % 4)
    asked_N = roles.query_N & (roles.matches(labels_N) > 0)
    found = nearest_in_gallery(evaluation.z_ND, labels_N, roles, asked_N.nonzero().squeeze(1), 5)
    for query, index_E in zip(asked_N.nonzero().squeeze(1).tolist(), found.index_Qk, strict=True):
        d_N = torch.cdist(evaluation.z_ND[query, None], evaluation.z_ND)[0]
        d_N[(labels_N == labels_N[query]) & (row_N % 4 == query % 4)] = torch.inf
        d_N[row_N % 2 == 1] = torch.inf
        assert index_E.tolist() == d_N.argsort()[:5].tolist()
    (axes,) = draw_nearest_neighbors(replace(evaluation, roles=roles), 3, Stages()).axes
    assert len([patch for patch in axes.patches if isinstance(patch, Rectangle)]) == 5 * min(6, int(asked_N.sum()))


def test_queries_have_different_classes_of_several_images() -> None:
    labels_N = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 3, 3, 3, 4])
    for seed in range(10):
        query_Q = choose_queries(labels_N, 3, seed)
        assert sorted(labels_N[query_Q].tolist()) == [0, 1, 3]
        assert len(choose_queries(labels_N, 99, seed).unique()) == 10
    assert not torch.equal(choose_queries(labels_N, 3, 0), choose_queries(labels_N, 3, 1))


def test_the_map_shows_whole_classes_and_highlights_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_map, "MAX_IMAGES", 100)
    labels_N = torch.arange(40).repeat_interleave(torch.tensor([9] * 10 + [4] * 30))
    picked, shown_M = embedding_map.choose_images(labels_N, seed=0)
    assert sorted(picked) == list(range(10))
    assert len(shown_M) == len(shown_M.unique()) == 100
    size_C = labels_N[shown_M].bincount(minlength=40)
    assert (size_C[:10] == 9).all()
    assert size_C[10:].tolist().count(4) >= 2
    assert embedding_map.choose_images(torch.zeros(500, dtype=torch.int64), 0)[1].shape == (100,)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Aaron_Peirsol", "Aaron Peirsol"),
        ("Gerhard_Schroeder", "Gerhard\nSchroeder"),
        ("Old_Church_Slavonic_(Cyrillic)/character12", "…(Cyrillic)\ncharacter12"),
        ("Atlantean/character01", "Atlantean\ncharacter01"),
        ("", ""),
    ],
)
def test_names_fit_below_an_image(name: str, shown: str) -> None:
    assert wrap_name(name) == shown


def test_the_layout_is_reproducible() -> None:
    z_ND = torch.nn.functional.normalize(torch.randn(40, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert (project(z_ND, "tsne", seed=1) == project(z_ND, "tsne", seed=1)).all()


def test_a_missing_umap_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(ValueError, match=r"map=umap needs .*pip install umap-learn.*map=tsne"):
        check_method("umap")
