"""The counts and the picture of a pair follow the definitions of the strategies, by plain loops over the batch."""

import math

import numpy as np
import pytest
import torch
from matplotlib.patches import Circle
from PIL import Image
from scipy.stats import chisquare

from siamese_lab import samplers
from siamese_lab.inspection import draw_picks, informative_pair, pick
from siamese_lab.inspection.picks import Pair
from siamese_lab.inspection.picks_picture import SHOWN

MARGIN = 0.2


def batch(seed: int = 0, classes: int = 6, each: int = 4, dimensions: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels_B = torch.arange(classes).repeat_interleave(each)[torch.randperm(classes * each, generator=generator)]
    centre_CD = torch.randn(classes, dimensions, generator=generator)
    z_BD = centre_CD[labels_B] + 0.8 * torch.randn(classes * each, dimensions, generator=generator)
    return torch.nn.functional.normalize(z_BD, dim=1), labels_B


def distance(z_BD: torch.Tensor, left: int, right: int) -> float:
    return math.dist(z_BD[left].double().tolist(), z_BD[right].double().tolist())


def built(*names: str) -> dict[str, samplers.Sampler]:
    return {name: samplers.build(name, seed=0) for name in names}


@pytest.mark.parametrize("seed", range(3))
def test_all_negatives_are_listed_nearest_first(seed: int) -> None:
    z_BD, labels_B = batch(seed)
    pair = informative_pair(z_BD, labels_B)
    picks = pick(built("random"), z_BD, labels_B, pair, draws=1)
    others = [index for index in range(len(labels_B)) if labels_B[index] != labels_B[pair.anchor]]
    assert picks.negative_N.tolist() == sorted(others, key=lambda index: distance(z_BD, pair.anchor, index))
    for index, d_an in zip(picks.negative_N.tolist(), picks.d_an_N.tolist(), strict=True):
        assert d_an == pytest.approx(distance(z_BD, pair.anchor, index), abs=1e-3)
    assert picks.d_ap == pytest.approx(distance(z_BD, *pair), abs=1e-3)


def test_shares_follow_the_definitions() -> None:
    z_BD, labels_B = batch()
    pair = informative_pair(z_BD, labels_B, MARGIN)
    draws = 600
    picks = pick(built("random", "hard", "semi_hard", "batch_hard", "distance_weighted"), z_BD, labels_B, pair, draws)
    d_ap, d_an_N = picks.d_ap, picks.d_an_N
    window_N = (d_an_N > d_ap) & (d_an_N < d_ap + MARGIN)
    assert 2 <= window_N.sum() < len(window_N), "the window holds some negatives, but not all"
    assert picks.share["hard"].tolist() == [1.0] + [0.0] * (len(d_an_N) - 1)
    assert picks.share["semi_hard"][~window_N].sum() == 0
    assert picks.share["distance_weighted"][d_an_N >= 1.4].sum() == 0
    for name, chosen_N in (("random", torch.ones_like(window_N)), ("semi_hard", window_N)):
        assert chisquare((picks.share[name][chosen_N] * draws).round().numpy()).pvalue > 1e-4
    for share_N in picks.share.values():
        assert float(share_N.sum()) == pytest.approx(1, abs=1e-5)


def test_several_negatives_of_a_pair_have_equal_shares() -> None:
    z_BD, labels_B = batch()
    share_N = pick(
        {"hard": samplers.build("hard", num_negatives=3)}, z_BD, labels_B, informative_pair(z_BD, labels_B), draws=2
    ).share["hard"]
    assert share_N[:3].tolist() == pytest.approx([1 / 3] * 3)
    assert share_N[3:].sum() == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_informative_pair_has_the_best_score(seed: int) -> None:
    z_BD, labels_B = batch(seed, classes=4, each=3)

    def score(anchor: int, positive: int) -> int:
        d_ap = distance(z_BD, anchor, positive)
        d_an = [distance(z_BD, anchor, each) for each in range(len(labels_B)) if labels_B[each] != labels_B[anchor]]
        nearer = sum(d < d_ap for d in d_an)
        inside = sum(d_ap <= d < d_ap + MARGIN for d in d_an)
        return (1 + nearer) * (1 + inside) * (1 + len(d_an) - nearer - inside)

    pairs = [
        (anchor, positive)
        for anchor in range(len(labels_B))
        for positive in range(len(labels_B))
        if anchor != positive and labels_B[anchor] == labels_B[positive]
    ]
    pair = informative_pair(z_BD, labels_B, MARGIN)
    assert tuple(pair) in pairs
    assert score(*pair) == max(score(*each) for each in pairs)


def test_invalid_arguments_are_explained() -> None:
    z_BD, labels_B = batch()
    anchor, positive = informative_pair(z_BD, labels_B)
    stranger = int((labels_B != labels_B[anchor]).nonzero()[0])
    for second in (anchor, stranger):
        with pytest.raises(ValueError, match=f"images {anchor} and {second} are not"):
            pick(built("hard"), z_BD, labels_B, Pair(anchor, second))
    for name in ("all", "memory"):
        with pytest.raises(ValueError, match=f"The sampler '{name}' does not pick single negatives from the batch"):
            pick(built(name), z_BD, labels_B, Pair(anchor, positive))
    d = {index: distance(z_BD, anchor, index) for index in range(len(labels_B)) if labels_B[index] == labels_B[anchor]}
    nearest = min((index for index in d if index != anchor), key=lambda index: d[index])
    with pytest.raises(ValueError, match=f"'batch_hard' does not pair anchor {anchor} with positive {nearest}"):
        pick(built("batch_hard"), z_BD, labels_B, Pair(anchor, nearest))
    with pytest.raises(ValueError, match="draws must be at least 1, but is 0"):
        pick(built("hard"), z_BD, labels_B, Pair(anchor, positive), draws=0)
    with pytest.raises(ValueError, match="all 24 images have different classes"):
        informative_pair(z_BD, torch.arange(24))


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (6, 3), (14, 1)], ids=["few", "color", "many"])
def test_discs_have_the_area_of_shares_and_nothing_is_cut_off(classes: int, channels: int, tmp_path) -> None:
    z_BD, labels_B = batch(classes=classes)
    picks = pick(built("random", "hard", "semi_hard"), z_BD, labels_B, informative_pair(z_BD, labels_B), draws=50)
    figure = draw_picks(picks, torch.rand(len(labels_B), channels, 6, 6), MARGIN)
    shown = min(SHOWN, len(picks.negative_N))
    discs = [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]
    rows = sorted({disc.center[1] for disc in discs})
    for row, share_N in zip(rows, picks.share.values(), strict=True):
        largest = 0.46**2
        found = {math.floor(disc.center[0]): disc.radius**2 / largest for disc in discs if disc.center[1] == row}
        expected = {column: share for column, share in enumerate(share_N[:shown].tolist()) if share > 0}
        assert found == pytest.approx(expected)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert (f"{len(picks.negative_N) - SHOWN} more,\nfarther" in texts) == (len(picks.negative_N) > SHOWN)
    assert len(figure.axes[0].images) == 2 + shown
    figure.savefig(tmp_path / "picks.png", facecolor="white")
    with Image.open(tmp_path / "picks.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]) == 255).all()


def test_the_line_separates_nearer_from_farther_negatives() -> None:
    z_BD, labels_B = batch()
    picks = pick(built("hard"), z_BD, labels_B, informative_pair(z_BD, labels_B), draws=1)
    axes = draw_picks(picks, torch.rand(len(labels_B), 1, 6, 6), MARGIN).axes[0]
    upright = next(line for line in axes.lines if line.get_xdata()[0] == line.get_xdata()[1])
    assert upright.get_xdata()[0] == int((picks.d_an_N <= picks.d_ap).sum())
    band = next(patch for patch in axes.patches if not isinstance(patch, Circle))
    inside = (picks.d_an_N > picks.d_ap) & (picks.d_an_N < picks.d_ap + MARGIN)
    assert (band.get_x(), band.get_width()) == (upright.get_xdata()[0], int(inside.sum()))
