"""Episodes and Lake's runs agree with plain loops and with known results."""

import math
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese_lab.metrics import few_shot
from siamese_lab.metrics.few_shot import draw_distinct, episodes, one_shot, share_right

SETTINGS = [(5, 1), (5, 5), (20, 1), (20, 5)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=generator(seed)), dim=-1)


def clusters(classes, images, dimensions=32, noise=0.3, seed=0):
    """Return embeddings scattered around a center for each class, and their labels."""
    centres_CD = unit(classes, dimensions, seed=seed)
    scatter = noise * torch.randn(classes * images, dimensions, generator=generator(seed + 1))
    return F.normalize(centres_CD.repeat_interleave(images, 0) + scatter, dim=1), torch.arange(
        classes
    ).repeat_interleave(images)


def by_loops(known, asked, answers):
    """Return the share of images with the nearest mean in their own class; a tie is shared."""
    shares = []
    for image, answer in zip(asked, answers, strict=True):
        d = [math.dist(image, mean) for mean in known]
        tied = [way for way, each in enumerate(d) if each <= min(d) + 1e-9]
        shares.append((answer in tied) / len(tied))
    return shares


@pytest.mark.parametrize("seed", range(5))
def test_the_nearest_mean_agrees_with_the_loops(seed):
    known_EWD = unit(6, 4, 3, 8, seed=seed).mean(2)
    asked_EQD, answer_EQ = unit(6, 10, 8, seed=seed + 9), torch.randint(4, (6, 10), generator=generator(seed))
    found_EQ = share_right(known_EWD, asked_EQD, answer_EQ)
    for known, asked, answers, found in zip(known_EWD, asked_EQD, answer_EQ, found_EQ, strict=True):
        assert found.tolist() == by_loops(known.double().tolist(), asked.double().tolist(), answers.tolist())


@settings(max_examples=150, deadline=None)
@given(places=st.lists(st.integers(0, 5), min_size=4, max_size=4), asked=st.integers(0, 5), answer=st.integers(0, 3))
def test_ties_are_shared_as_in_the_loops(places, asked, answer):
    """The points lie on ± the axes, where distances are exact."""
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    found = share_right(axes[places][None], axes[asked][None, None], torch.tensor([[answer]]))
    assert found.flatten().tolist() == by_loops(axes[places].tolist(), [axes[asked].tolist()], [answer])


def test_one_shot_is_the_nearest_neighbour():
    known_EWD, asked_EQD = unit(5, 20, 16), unit(5, 20, 16, seed=1)
    nearest_EQ = torch.cdist(asked_EQD, known_EWD).argmin(2)
    assert one_shot(known_EWD, asked_EQD, nearest_EQ).error == 0
    assert one_shot(known_EWD, asked_EQD, (nearest_EQ + 1) % 20).error == 1


def test_the_error_of_each_run_and_their_mean():
    known_EWD = torch.eye(4).expand(3, 4, 4)
    answer_EQ = torch.arange(4).expand(3, 4)
    given_EQ = torch.tensor([[0, 1, 2, 3], [0, 1, 3, 2], [1, 2, 3, 0]])
    found = one_shot(known_EWD, torch.eye(4)[given_EQ], answer_EQ)
    assert found.error_E.tolist() == [0, 0.5, 1]
    assert found.error == 0.5


def test_runs_of_equal_embeddings_have_the_error_of_chance():
    equal = unit(1, 1, 16).expand(20, 20, 16)
    assert one_shot(equal, equal, torch.arange(20).expand(20, 20)).error == pytest.approx(0.95)


@pytest.mark.parametrize(("ways", "shots"), SETTINGS)
def test_equal_embeddings_are_chance(ways, shots):
    """Rounding can give equal embeddings scores that differ in the last bit; they still tie."""
    labels_N = torch.arange(30).repeat_interleave(20)
    found = episodes(unit(1, 128).repeat(600, 1), labels_N, ways, shots, number=50)
    assert found[:3] == pytest.approx((1 / ways,) * 3)


@pytest.mark.parametrize(("ways", "shots"), SETTINGS)
def test_perfect_clusters_have_full_accuracy(ways, shots):
    z_ND, labels_N = clusters(30, 20, noise=0)
    assert episodes(z_ND, labels_N, ways, shots, number=50)[:4] == (1, 1, 1, 30)


@pytest.mark.parametrize(("ways", "shots"), SETTINGS)
def test_random_embeddings_are_chance_within_the_interval(ways, shots):
    """The bound is twice the interval, because the few random images repeat between episodes."""
    found = episodes(unit(4000, 32), torch.arange(4000) % 100, ways, shots, number=300)
    half = found.high - found.accuracy
    assert 0 < half < 0.02
    assert found.accuracy == pytest.approx(1 / ways, abs=2 * half)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_that_of_independent_episodes(seed):
    z_ND, labels_N = clusters(40, 20, noise=0.4)
    found = episodes(z_ND, labels_N, 5, 1, number=400, seed=seed)
    assert found.accuracy_E.shape == (400,)
    assert found.accuracy == pytest.approx(float(found.accuracy_E.mean()))
    half = 1.96 * float(found.accuracy_E.std(unbiased=True)) / 20
    assert (found.low, found.high) == pytest.approx((found.accuracy - half, found.accuracy + half))
    other = episodes(z_ND, labels_N, 5, 1, number=4000, seed=seed + 100)
    assert abs(other.accuracy - found.accuracy) < 2 * half


def test_a_seed_decides_the_draw_and_the_order_of_classes_does_not():
    z_ND, labels_N = clusters(30, 20)
    one, again, other = (episodes(z_ND, labels_N, 5, 1, number=20, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.accuracy_E, again.accuracy_E)
    assert not torch.equal(one.accuracy_E, other.accuracy_E)
    grouped_N = (labels_N * 7 % 30).argsort(stable=True)  # other classes first, images of a class in equal order
    assert torch.equal(episodes(z_ND[grouped_N], labels_N[grouped_N], 5, 1, number=20).accuracy_E, one.accuracy_E)


@pytest.mark.parametrize("cells", [1, 5000, 2**20])
def test_the_chunk_size_does_not_change_the_accuracy(cells, monkeypatch):
    """Another chunk size draws other episodes, with the same accuracy."""
    z_ND, labels_N = clusters(30, 20, noise=0.4)
    whole = episodes(z_ND, labels_N, 5, 1, number=300)
    monkeypatch.setattr(few_shot, "CHUNK_CELLS", cells)
    assert episodes(z_ND, labels_N, 5, 1, number=300).accuracy == pytest.approx(whole.accuracy, abs=0.05)


def test_classes_with_too_few_images_are_not_drawn():
    """The images of small classes lie on those of others, so an episode with them would not be perfect."""
    z_ND, labels_N = clusters(8, 6, noise=0)
    z_ND, labels_N = (
        torch.cat([z_ND, z_ND[::6], z_ND[:1]]),
        torch.cat([labels_N, 100 + torch.arange(8), torch.tensor([100])]),
    )
    found = episodes(z_ND, labels_N, 5, 1, queries=5, number=100)
    assert (found.accuracy, found.classes) == (1, 8)


@pytest.mark.parametrize(("size", "number"), [(6, 3), (5, 5), (4, 1)])
def test_all_ordered_draws_are_equally_probable(size, number):
    """The χ² statistic is at most four standard deviations above its mean."""
    drawn = Counter(map(tuple, draw_distinct(torch.full((60_000,), size), number, generator()).tolist()))
    assert len(drawn) == math.perm(size, number)
    expected = 60_000 / len(drawn)
    freedom = len(drawn) - 1
    assert sum((count - expected) ** 2 / expected for count in drawn.values()) < freedom + 4 * math.sqrt(2 * freedom)


def test_sizes_of_classes_may_differ():
    size = torch.tensor([[3, 10**9], [7, 4]])
    drawn = draw_distinct(size, 3, generator())
    assert drawn.shape == (2, 2, 3)
    assert (drawn >= 0).all() and (drawn < size[..., None]).all()
    assert (drawn.sort(-1).values.diff(dim=-1) > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"ways": 9, "shots": 1},
            r"9-way episodes of 1 \+ 5 images need 9 classes of at least 6 images, but of 8 .* 8 have",
        ),
        (
            {"ways": 5, "shots": 2},
            r"5-way episodes of 2 \+ 5 images .* but of 8 classes 0 have as many\. Ask for fewer ways",
        ),
        ({"ways": 1, "shots": 1}, r"needs ways=2 or more, but got 1\."),
        ({"ways": 5, "shots": 0}, r"needs shots=1 or more, but got 0\."),
        ({"ways": 5, "shots": 1, "number": 1}, r"needs number=2 or more, but got 1\."),
    ],
)
def test_episodes_that_cannot_be_drawn_are_refused(options, message):
    z_ND, labels_N = clusters(8, 6)
    with pytest.raises(ValueError, match=message):
        episodes(z_ND, labels_N, **{"queries": 5} | options)


def test_classes_of_one_image_are_refused():
    with pytest.raises(ValueError, match=r"need 5 classes of at least 2 images, but of 40 classes 0 have as many"):
        episodes(unit(40, 8), torch.arange(40), 5, 1, queries=1)


def test_embeddings_that_are_not_finite_are_refused():
    z_ND, labels_N = clusters(8, 6)
    z_ND[3] = torch.nan
    with pytest.raises(ValueError, match=r"1 of 48 embeddings are not finite, the first of them that of image 3"):
        episodes(z_ND, labels_N, 5, 1, queries=5)
    with pytest.raises(ValueError, match=r"1 of 48 embeddings are not finite"):
        one_shot(z_ND.view(8, 6, -1), unit(8, 6, 32), torch.zeros(8, 6, dtype=torch.int64))


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"expects embeddings \(N, D\) and labels \(N,\), but got \(4, 8\) and \(3,\)"):
        episodes(unit(4, 8), torch.arange(3), 2, 1)
    message = r"and answers \(E, Q\), but got \(2, 5, 8\), \(2, 5, 8\) and \(2, 4\)\."
    with pytest.raises(ValueError, match=message):
        one_shot(unit(2, 5, 8), unit(2, 5, 8), torch.zeros(2, 4, dtype=torch.int64))
