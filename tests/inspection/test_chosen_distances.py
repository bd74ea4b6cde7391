"""The density q(d) is that of distances on the sphere, and chosen distances are compared with it."""

import math

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.integrate import quad
from scipy.stats import kstest

from siamese_lab import samplers
from siamese_lab.inspection import chosen_distances, density, draw_chosen
from siamese_lab.samplers.distance_weighted import log_inverse_density


def points(number: int, dimensions: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(dimensions)
    z_BD = torch.randn(number, dimensions, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(z_BD, dim=1)


@pytest.mark.parametrize("dimensions", [3, 4, 8, 128])
def test_density_is_that_of_the_paper_and_integrates_to_1(dimensions: int) -> None:
    def formula(d: float) -> float:
        return d ** (dimensions - 2) * (1 - d**2 / 4) ** ((dimensions - 3) / 2)

    whole = quad(formula, 0, 2, points=[math.sqrt(2)])[0]
    for d in (0.7, 1.2, 1.4, 1.7):
        assert float(density(d, dimensions)) == pytest.approx(formula(d) / whole, rel=1e-5)
    d = torch.tensor([0.7, 1.4], dtype=torch.float64)
    near, far = density(d.numpy(), dimensions)
    weight_near, weight_far = log_inverse_density(d, dimensions).tolist()
    assert math.log(far / near) == pytest.approx(weight_near - weight_far), "the sampler weights by the inverse"


@pytest.mark.parametrize("dimensions", [2, 3, 16])
def test_density_is_that_of_random_points(dimensions: int) -> None:
    apart = (points(4000, dimensions)[:2000] - points(4000, dimensions)[2000:]).norm(dim=1).numpy()
    edges = np.linspace(0, 1.999, 2000)
    cumulated = np.concatenate([[0], np.cumsum(density((edges[1:] + edges[:-1]) / 2, dimensions) * np.diff(edges))])
    assert kstest(apart, lambda d: np.interp(d, edges, cumulated)).pvalue > 1e-3


def test_distances_belong_to_the_chosen_triplets() -> None:
    z_BD, labels_B = points(12, 5).float(), torch.arange(4).repeat_interleave(3)
    found = chosen_distances(samplers.build("hard", num_negatives=2), z_BD, labels_B, draws=3)
    expected = []
    for anchor in range(12):
        d = sorted(math.dist(z_BD[anchor], z_BD[other]) for other in range(12) if labels_B[other] != labels_B[anchor])
        expected += d[:2] * 2 * 3  # two negatives, two positives, three draws
    assert len(found) == len(expected)
    torch.testing.assert_close(found.sort().values, torch.tensor(sorted(expected)), atol=1e-4, rtol=0)


def test_distance_weighted_choices_are_uniform_if_points_fill_the_sphere() -> None:
    """Five dimensions have enough points at every distance from 0.5 to 1.4."""
    z_BD, labels_B = points(600, 5).float(), torch.arange(200).repeat_interleave(3)
    d_T = chosen_distances(samplers.build("distance_weighted", seed=0), z_BD, labels_B, draws=10)
    assert d_T.max() < 1.4
    counts, _ = np.histogram(d_T.numpy(), np.linspace(0.5, 1.4, 7))
    assert counts.min() > 0.85 * counts.max()


def test_a_memory_gives_finite_distances() -> None:
    z_BD, labels_B = points(8, 5).float(), torch.arange(4).repeat_interleave(2)
    sampler = samplers.build("memory", strategy="hard", size=64)
    assert torch.isfinite(chosen_distances(sampler, z_BD, labels_B, draws=3)).all()


def test_the_sampler_all_is_refused() -> None:
    with pytest.raises(ValueError, match=r"chooses no distances.*semi_hard"):
        chosen_distances(samplers.build("all"), points(4, 5).float(), torch.tensor([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="draws must be at least 1, but is 0"):
        chosen_distances(samplers.build("hard"), points(4, 5).float(), torch.tensor([0, 0, 1, 1]), draws=0)


@pytest.mark.parametrize("number", [1, 4, 6])
def test_the_picture_has_a_panel_for_each(number: int) -> None:
    z_BD, labels_B = points(24, 5).float(), torch.arange(6).repeat_interleave(4)
    chosen = {f"strategy_{k}": torch.full((10,), 0.31 + 0.1 * k) for k in range(number)}
    figure = draw_chosen(chosen, z_BD, labels_B)
    titled = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in titled] == list(chosen)
    for k, axes in enumerate(titled):
        outline = max(axes.patches, key=lambda patch: patch.get_path().vertices[:, 1].max()).get_path().vertices
        peak = outline[outline[:, 1] == outline[:, 1].max()]
        assert peak[:, 0].min() <= 0.31 + 0.1 * k <= peak[:, 0].max()
        assert outline[:, 1].max() == pytest.approx(20), "all distances lie in one bin of width 1/20"


def test_the_legend_fits_into_the_figure_of_one_strategy() -> None:
    figure = draw_chosen({"random": torch.ones(5)}, points(12, 8), torch.arange(12) // 3)
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    box, width = legend.get_window_extent(), figure.bbox.width
    assert 0 <= box.x0 < box.x1 <= width
