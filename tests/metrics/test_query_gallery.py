"""Retrieval with queries, a gallery and groups agrees with plain loops, and without roles nothing changes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_oracles import clustered, embeddings, figures, random_labels, relevance

from siamese_lab.errors import UserError
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.metrics.raw_pixels import PixelRetrieval
from siamese_lab.metrics.retrieval import most_findable, retrieve
from siamese_lab.query_gallery import NO_GROUP, QueryGallery

KS = (1, 2, 5)


def random_roles(count, groups, seed=0):
    """Return random roles: some images are queries and searched, some are neither, and a fifth has no group."""
    generator = torch.Generator().manual_seed(seed)
    query_N, gallery_N = torch.rand(2, count, generator=generator) < torch.tensor([[0.4], [0.7]])
    group_N = torch.randint(groups, (count,), generator=generator)
    group_N[torch.rand(count, generator=generator) < 0.2] = NO_GROUP
    return QueryGallery(query_N, gallery_N, group_N if groups > 1 else None)


def loops(z_ND, labels_N, roles, distance="cosine", whole_groups=False):
    """Return the results of each query with a match: row, hits, R-Precision, MAP@R's term, 1/place, AP; and the others.

    As in Market-1501's evaluation, a query does not search images of its class and group (camera). CMC at k says if one
    of the first k others has the class. AP is the mean of the precisions at the places of all images of the class.
    `whole_groups` ignores images of the group with other classes too, as open-metric-learning does with sequences.
    """
    points, labels = z_ND.double().tolist(), labels_N.tolist()
    queries, searched = roles.query_N.tolist(), roles.gallery_N.tolist()
    groups = [NO_GROUP] * len(labels) if roles.group_N is None else roles.group_N.tolist()
    results, unmatched = [], []
    for i in range(len(labels)):
        if not queries[i]:
            continue
        gallery = []
        for j in range(len(labels)):
            of_group = groups[i] == groups[j] and groups[i] != NO_GROUP
            junk = of_group and (whole_groups or labels[i] == labels[j])
            if searched[j] and j != i and not junk:
                gallery.append((points[j], labels[j]))
        ranked = relevance(points[i], labels[i], gallery, distance)
        if not any(ranked):
            unmatched.append(i)
            continue
        found, area = 0, 0.0
        for place, of_class in enumerate(ranked, start=1):
            if of_class:
                found += 1
                area += found / place
        results.append((i, *figures(ranked, KS), area / found))
    return results, unmatched


def check(z_ND, labels_N, roles, distance="cosine", whole_groups=False):
    expected, unmatched = loops(z_ND, labels_N, roles, distance, whole_groups)
    found = retrieve(z_ND, labels_N, KS, distance=distance, roles=roles)
    rows, hits, r_precision, at_r, first, full = map(list, zip(*expected, strict=True))
    assert found.query_Q.tolist() == rows
    assert found.hit_QK.tolist() == hits
    for values_Q, oracle in (
        (found.r_precision_Q, r_precision),
        (found.average_precision_Q, at_r),
        (found.reciprocal_rank_Q, first),
        (found.full_precision_Q, full),
    ):
        assert values_Q.tolist() == pytest.approx(oracle)
    assert roles.unmatched(labels_N).tolist() == unmatched
    assert found.figures()["map"] == pytest.approx(sum(full) / len(full))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("classes", "groups"), [(3, 1), (3, 4), (15, 1), (15, 3)])
def test_agrees_with_the_loops(classes, groups, distance):
    for seed in range(3):
        z_ND = 2 * embeddings(90, seed=seed)
        check(z_ND, random_labels(90, classes, seed), random_roles(90, groups, seed), distance)


def test_agrees_with_the_loops_on_clustered_classes():
    z_ND, labels_N = clustered(12, 8, 1.0)
    check(z_ND, labels_N, random_roles(96, 3))


def test_groups_that_hold_one_class_agree_with_ignoring_whole_groups():
    z_ND, labels_N, roles = embeddings(90), random_labels(90, 6), random_roles(90, 4)
    of_class_N = torch.where(roles.group_N == NO_GROUP, NO_GROUP, 4 * labels_N + roles.group_N)
    check(z_ND, labels_N, roles._replace(group_N=of_class_N), whole_groups=True)
    check(z_ND, labels_N, roles)
    assert loops(z_ND, labels_N, roles) != loops(z_ND, labels_N, roles, whole_groups=True)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(12, 25), groups=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_ties_and_any_roles_agree_with_the_loops(data, count, groups, seed):
    """Embeddings on ± the axes have exact similarities, so many ties occur."""
    places = torch.tensor(data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)))
    z_ND = torch.eye(3)[places // 2] * (1 - 2 * (places % 2))[:, None]
    labels_N, roles = random_labels(count, 3, seed), random_roles(count, groups, seed)
    roles.query_N[:3], roles.gallery_N[3:9] = True, True
    if not loops(z_ND, labels_N, roles)[0] or most_findable(labels_N, roles) < max(KS):
        return
    check(z_ND, labels_N, roles)


def test_images_of_the_own_group_with_another_class_are_searched():
    z_ND = torch.tensor([[1.0, 0.0], [0.99, 0.14], [0.9, 0.44], [0.0, 1.0]])
    labels_N = torch.tensor([0, 0, 1, 0])
    everyone = QueryGallery.everyone(4)
    one_query = everyone._replace(query_N=torch.tensor([True, False, False, False]))
    assert retrieve(z_ND, labels_N, (1,), roles=one_query).figures()["recall@1"] == 1
    burst = one_query._replace(group_N=torch.tensor([7, 7, 7, 8]))
    found = retrieve(z_ND, labels_N, (1, 2), roles=burst).figures()
    assert (found["recall@1"], found["recall@2"], found["map"]) == (0, 1, 0.5)


def test_roles_of_everyone_give_the_figures_of_a_test_without_roles_bit_by_bit():
    z_ND, labels_N = embeddings(80), random_labels(80, 9)
    plain = retrieve(z_ND, labels_N, KS)
    with_roles = retrieve(z_ND, labels_N, KS, roles=QueryGallery.everyone(80))
    assert plain.full_precision_Q is None
    assert "map" not in plain.figures()
    for name, values_Q in plain.values().items():
        assert torch.equal(values_Q, with_roles.values()[name]), name
    by_gallery = retrieve(z_ND[:30], labels_N[:30], KS, gallery_z_MD=z_ND[30:], gallery_labels_M=labels_N[30:])
    row_N = torch.arange(80)
    split = retrieve(z_ND, labels_N, KS, roles=QueryGallery(row_N < 30, row_N >= 30))
    for name, values_Q in by_gallery.values().items():
        assert torch.equal(values_Q, split.values()[name]), name


def test_an_embedding_that_is_not_finite_finds_nothing_and_is_never_found():
    z_ND, labels_N = clustered(4, 6, 0.1)
    row_N = torch.arange(24)
    roles = QueryGallery(row_N % 6 == 0, row_N % 6 != 0)
    z_ND[0], z_ND[1] = torch.nan, torch.inf
    found = retrieve(z_ND, labels_N, (1,), roles=roles)
    assert found.full_precision_Q[0] == 0
    assert found.reciprocal_rank_Q[0] == 0
    assert (found.full_precision_Q[1:] < 1).all(), "the lost image of the gallery comes before all images"


def test_a_gallery_without_any_match_is_refused():
    roles = QueryGallery.everyone(6)._replace(group_N=torch.zeros(6, dtype=torch.int64))
    with pytest.raises(UserError, match="None of the classes of the 6 queries is in the gallery"):
        retrieve(embeddings(6), torch.arange(6) % 2, (1,), roles=roles)


def test_a_k_beyond_the_gallery_of_a_query_is_refused_and_nan_in_a_run():
    z_ND, labels_N = embeddings(8), torch.arange(8) % 2
    roles = QueryGallery.everyone(8)._replace(group_N=torch.arange(8) // 4)
    assert most_findable(labels_N, roles) == 6
    with pytest.raises(UserError, match="Recall@7 needs at least 7 images to find, but each query has 6"):
        retrieve(z_ND, labels_N, (7,), roles=roles)
    metric = RetrievalMetrics(roles=roles)
    metric.update(z_ND, labels_N, torch.arange(8))
    figures = metric.compute()
    assert figures["recall@10"].isnan()
    assert not figures["recall@5"].isnan()


def test_the_metric_finds_the_roles_by_the_ids_of_the_images():
    """Chunks come in any order, and some images are missing, as with trainer.limit_test_batches."""
    z_ND, labels_N, roles = embeddings(60), random_labels(60, 6), random_roles(60, 3)
    kept = torch.randperm(60, generator=torch.Generator().manual_seed(1))[:50]
    metric = RetrievalMetrics(roles=roles)
    for rows in kept.split(20):
        metric.update(z_ND[rows], labels_N[rows], rows)
    rows = kept.sort().values
    expected = retrieve(z_ND[rows], labels_N[rows], (1, 5, 10), roles=roles.rows(rows)).figures()
    figures = metric.compute()
    assert {name: figures[name] for name in expected} == expected
    with pytest.raises(ValueError, match="without ids"):
        without = RetrievalMetrics(roles=roles)
        without.update(z_ND, labels_N)
        without.compute()


def test_stored_figures_of_raw_pixels_depend_on_the_roles(tmp_path, monkeypatch):
    monkeypatch.setattr("siamese_lab.metrics.raw_pixels.STORED_PRODUCTS", 0)
    pixels_ND, labels_N = torch.rand(40, 12, generator=torch.Generator().manual_seed(0)), random_labels(40, 4)
    found = []
    for seed in (0, 1, 0):
        metric = PixelRetrieval(tmp_path, roles=random_roles(40, 2, seed))
        metric.update(pixels_ND, labels_N, torch.arange(40))
        found.append({name: float(value) for name, value in metric.compute().items()})
    assert found[0] == found[2] != found[1]
    assert len(list((tmp_path / "raw_pixels").iterdir())) == 2


def test_approximate_neighbors_exclude_groups_too():
    pytest.importorskip("faiss", reason="the extra faiss is not installed")
    z_ND, labels_N = clustered(6, 12, 0.8)
    roles = random_roles(72, 3)
    exact, near = (retrieve(z_ND, labels_N, (1,), index=index, roles=roles) for index in ("exact", "faiss"))
    assert torch.equal(exact.query_Q, near.query_Q)
    assert near.hit_QK.float().mean() == pytest.approx(float(exact.hit_QK.float().mean()), abs=0.1)
