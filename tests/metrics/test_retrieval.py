"""Retrieval agrees with the loops and with pytorch-metric-learning, and ties count against the model."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from retrieval_oracles import clustered, embeddings, expected, random_labels

from siamese_lab.metrics import ranking
from siamese_lab.metrics.retrieval import (
    check_labels,
    map_at_r,
    mrr,
    nearest,
    per_class,
    r_precision,
    recall_at_k,
    retrieve,
)

KS = (1, 2, 4, 8)


def agree(found, oracle):
    assert found.query_Q.tolist() == oracle.query
    assert found.hit_QK.tolist() == oracle.hit
    assert found.r_precision_Q.tolist() == pytest.approx(oracle.r_precision)
    assert found.average_precision_Q.tolist() == pytest.approx(oracle.average_precision)
    assert found.reciprocal_rank_Q.tolist() == pytest.approx(oracle.reciprocal_rank)


def plain(figures):
    return {name: figure.item() for name, figure in figures.items()}


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("classes", [2, 5, 10, 40])
@pytest.mark.parametrize("count", [20, 50, 130])
def test_agrees_with_the_loops(count, classes, distance):
    """Many of 40 classes have one image, which is never a query; one of 2 classes fills most of the query's row."""
    for seed in range(3):
        z_ND, labels_N = embeddings(count, seed=seed), random_labels(count, classes, seed)
        z_ND = z_ND * torch.rand(count, 1, generator=torch.Generator().manual_seed(seed)).add(0.2)
        agree(retrieve(z_ND, labels_N, KS, distance=distance), expected(z_ND, labels_N, KS, distance=distance))


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
@pytest.mark.parametrize(("classes", "each"), [(2, 60), (4, 40), (30, 5), (60, 2)])
def test_agrees_with_the_loops_on_clustered_classes(classes, each, spread):
    z_ND, labels_N = clustered(classes, each, spread)
    agree(retrieve(z_ND, labels_N, KS), expected(z_ND, labels_N, KS))


def test_agrees_with_the_loops_on_classes_of_all_sizes():
    """Most classes have one image and one has hundreds, as in LFW."""
    labels_N = torch.cat([torch.full((size,), label) for label, size in enumerate([1, 2, 1, 70, 3, 1, 30, 9])])
    z_ND = F.normalize(embeddings(8, 8, 1)[labels_N] + 0.5 * embeddings(len(labels_N), 8), dim=1)
    agree(retrieve(z_ND, labels_N, KS), expected(z_ND, labels_N, KS))


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_agrees_with_the_loops_on_a_gallery(distance):
    """Some classes occur only in the queries, and some only in the gallery."""
    for seed in range(3):
        queries = 2 * embeddings(40, seed=seed), random_labels(40, 12, seed)
        gallery = embeddings(70, seed=seed + 10), random_labels(70, 15, seed + 10) + 2
        found = retrieve(*queries, KS, gallery_z_MD=gallery[0], gallery_labels_M=gallery[1], distance=distance)
        agree(found, expected(*queries, KS, gallery, distance))


def test_the_images_as_their_own_gallery_are_not_removed():
    z_ND, labels_N = embeddings(40), random_labels(40, 5)
    found = retrieve(z_ND, labels_N, (1,), gallery_z_MD=z_ND, gallery_labels_M=labels_N)
    assert found.figures()["recall@1"] == 1


@st.composite
def on_the_axes(draw):
    """Return embeddings on ± the axes. Their similarities −1, 0 and 1 are exact, so that many ties occur."""
    count = draw(st.integers(3, 20))
    places = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(-1, 3), min_size=count, max_size=count).filter(lambda x: len({*x}) < len(x)))
    z_ND = torch.tensor([[(-1.0) ** place * (place // 2 == axis) for axis in range(3)] for place in places])
    return z_ND, torch.tensor(labels)


@settings(max_examples=200, deadline=None)
@given(case=on_the_axes(), distance=st.sampled_from(["cosine", "euclidean"]))
def test_ties_count_as_in_the_loops(case, distance):
    agree(retrieve(*case, (1, 2), distance=distance), expected(*case, (1, 2), distance=distance))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(4, 40), classes=st.integers(1, 3))
def test_recall_grows_with_k_and_the_order_of_images_does_not_matter(seed, count, classes):
    z_ND, labels_N = embeddings(count, seed=seed), random_labels(count, classes, seed)
    ks = (1, 2, 3, count - 1)
    found = plain(retrieve(z_ND, labels_N, ks).figures())
    recall = [found[f"recall@{k}"] for k in ks]
    assert recall == sorted(recall)
    assert recall[-1] == 1
    assert found["map@r"] <= found["r_precision"] + 1e-6
    assert found["recall@1"] <= found["mrr"] + 1e-6
    order_N = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    assert plain(retrieve(z_ND[order_N], labels_N[order_N], ks).figures()) == found


@pytest.mark.parametrize("entries", [1, 10_000, 2**24])
@pytest.mark.parametrize("classes", [2, 10])
def test_tiles_of_any_size_give_the_same(entries, classes, monkeypatch):
    z_ND, labels_N = embeddings(90), random_labels(90, classes)
    whole = plain(retrieve(z_ND, labels_N).figures())
    monkeypatch.setattr(ranking, "TILE_ENTRIES", {"cpu": entries})
    monkeypatch.setattr(ranking, "COUNTED_ENTRIES", {"cpu": entries // 7})
    assert plain(retrieve(z_ND, labels_N).figures()) == whole


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("dimensions", [2, 64, 512])
@pytest.mark.parametrize("count", [5, 60, 257])
def test_a_collapsed_network_scores_0(count, dimensions, distance):
    """All other images come first, although rounding can change similarities of equal embeddings in the last bit."""
    labels_N = torch.arange(count) % (count // 2)
    for seed in range(5):
        z_ND = 3 * embeddings(1, dimensions, seed).repeat(count, 1)
        found = plain(retrieve(z_ND, labels_N, (1, 2), distance=distance).figures())
        assert [found.pop(name) for name in ("recall@1", "recall@2", "r_precision", "map@r")] == [0, 0, 0, 0]
        others_Q = count - labels_N.bincount()[labels_N]
        assert found["mrr"] == pytest.approx(float((1 / (1 + others_Q)).mean()))


def test_perfect_clusters_score_1():
    labels_N = torch.arange(20).repeat_interleave(7)
    found = retrieve(torch.eye(20)[labels_N], labels_N).figures()
    assert set(plain(found).values()) == {1.0}


def test_random_embeddings_are_at_chance():
    """A query has 4 of 49 other images in its class (10 classes of 5); bounds are four standard errors of 40 draws."""
    labels_N = torch.arange(50) % 10
    draws = [plain(retrieve(embeddings(50, 32, seed), labels_N, (1, 2)).figures()) for seed in range(40)]
    chance = {"recall@1": 4 / 49, "recall@2": 1 - 45 / 49 * 44 / 48, "r_precision": 4 / 49}
    for name, share in chance.items():
        drawn = torch.tensor([found[name] for found in draws])
        assert abs(drawn.mean() - share) < 4 * drawn.std() / math.sqrt(len(drawn)), name


def test_the_query_is_removed_by_index_and_its_duplicate_counts():
    """Two equal images find each other; an equal image of another class is a tie and counts against the model."""
    z_ND = torch.eye(4)[[0, 0, 1, 1, 2]]
    assert plain(recall_at_k(z_ND, torch.tensor([0, 0, 1, 1, 2]), (1,))) == {1: 1.0}
    assert plain(recall_at_k(z_ND, torch.tensor([0, 1, 0, 1, 2]), (1, 2))) == {1: 0.0, 2: 0.0}


def test_an_image_alone_in_its_class_is_a_distractor():
    z_ND = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.5], [1.0, 0.2]]), dim=1)
    found = retrieve(z_ND, torch.tensor([0, 0, 5]), (1, 2))
    assert found.query_Q.tolist() == [0, 1]
    assert plain(found.figures()) == {"recall@1": 0.0, "recall@2": 1.0, "r_precision": 0.0, "map@r": 0.0, "mrr": 0.5}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_compared_in_float32(dtype):
    z_ND, labels_N = embeddings(40).to(dtype), random_labels(40, 8)
    assert plain(retrieve(z_ND, labels_N).figures()) == plain(retrieve(z_ND.float(), labels_N).figures())


@pytest.mark.parametrize("inference", [False, True])
def test_retrieval_works_with_gradients_and_in_inference_mode(inference):
    z_ND, labels_N = embeddings(40), random_labels(40, 8)
    expected_figures = plain(retrieve(z_ND, labels_N).figures())
    with torch.inference_mode(inference), torch.autocast("cpu", torch.bfloat16):
        inside = (z_ND.clone() if inference else z_ND.clone().requires_grad_()) * 1
        assert plain(retrieve(inside, labels_N).figures()) == expected_figures


def test_the_thin_functions_give_the_same_figures():
    z_ND, labels_N = clustered(6, 9, 1.0)
    found = retrieve(z_ND, labels_N).figures()
    assert plain(recall_at_k(z_ND, labels_N)) == {k: found[f"recall@{k}"].item() for k in KS}
    for function, name in ((r_precision, "r_precision"), (map_at_r, "map@r"), (mrr, "mrr")):
        assert torch.equal(function(z_ND, labels_N), found[name])


@pytest.mark.parametrize("lost", [math.nan, math.inf])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_non_finite_embeddings_count_against_the_model_and_keep_their_query(lost, distance):
    """The image finds nothing, is not found, and ranks before all of other classes: first for four queries here."""
    z_ND, labels_N = torch.eye(3).repeat_interleave(2, 0), torch.arange(3).repeat_interleave(2)
    assert retrieve(z_ND, labels_N, (1,), distance=distance).figures()["mrr"] == 1
    z_ND[0, 1] = lost
    found = retrieve(z_ND, labels_N, (1, 2), distance=distance)
    assert found.hit_QK.tolist() == [[False, False]] * 2 + [[False, True]] * 4
    assert found.reciprocal_rank_Q.tolist() == [0, 0, 0.5, 0.5, 0.5, 0.5]
    everything = retrieve(torch.full((6, 3), lost), labels_N, (1, 5), distance=distance).figures()
    assert set(plain(everything).values()) == {0.0}


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
@pytest.mark.parametrize(("classes", "each"), [(12, 10), (3, 80)])
def test_agrees_with_pytorch_metric_learning(classes, each, spread):
    z_ND, labels_N = clustered(classes, each, spread)
    ours_by_theirs = {"precision_at_1": "recall@1", "r_precision": "r_precision"}
    ours_by_theirs |= {"mean_average_precision_at_r": "map@r", "mean_reciprocal_rank": "mrr"}
    theirs = AccuracyCalculator(include=tuple(ours_by_theirs), k=len(z_ND) - 1, device=torch.device("cpu"))
    expected = theirs.get_accuracy(z_ND, labels_N)
    found = retrieve(z_ND, labels_N).figures()
    for their_name, name in ours_by_theirs.items():
        assert found[name].item() == pytest.approx(expected[their_name], abs=1e-6)


def test_figures_by_class():
    values = per_class(torch.tensor([1.0, 0.0, 0.5, 0.25]), torch.tensor([7, 7, -1, 7]))
    assert values.label_C.tolist() == [-1, 7]
    assert values.mean_C.tolist() == pytest.approx([0.5, 1.25 / 3])
    assert values.queries_C.tolist() == [1, 3]


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_the_nearest_agree_with_the_loops(distance, monkeypatch):
    monkeypatch.setattr(ranking, "TILE_ENTRIES", {"cpu": 100})
    z_ND = embeddings(30) * torch.linspace(0.2, 2, 30)[:, None]
    compared_ND = F.normalize(z_ND, dim=1) if distance == "cosine" else z_ND
    apart_NN = torch.cdist(compared_ND.double(), compared_ND.double()).fill_diagonal_(torch.inf)
    found = nearest(z_ND, z_ND, 4, torch.arange(30), distance=distance)
    assert torch.equal(found.index_Qk, apart_NN.argsort(1)[:, :4])
    assert torch.allclose(found.distance_Qk.double(), apart_NN.sort(1).values[:, :4], atol=1e-5)
    assert torch.equal(nearest(z_ND, z_ND, 1, distance=distance).index_Qk[:, 0], torch.arange(30))


def test_the_approximate_index_is_recorded_and_near_the_exact_figures():
    """600 images make 15 cells, and two of them are searched."""
    z_ND, labels_N = clustered(20, 30, 0.7)
    for distance in ("cosine", "euclidean"):
        exact = retrieve(z_ND, labels_N, distance=distance)
        found = retrieve(z_ND, labels_N, distance=distance, index="faiss")
        assert exact.index == "exact"
        assert "IVF15,Flat nprobe=2" in found.index
        assert found.query_Q.tolist() == exact.query_Q.tolist()
        for name, figure in found.figures().items():
            assert figure == pytest.approx(exact.figures()[name].item(), abs=0.1)


def test_the_approximate_index_that_searches_all_cells_is_exact(monkeypatch):
    monkeypatch.setattr("siamese_lab.metrics.approximate.SHARE_PROBED", 1)
    z_ND, labels_N = clustered(20, 30, 1.0)
    for distance in ("cosine", "euclidean"):
        exact = retrieve(z_ND, labels_N, distance=distance)
        found = retrieve(z_ND, labels_N, distance=distance, index="faiss")
        assert torch.equal(found.hit_QK[:, 0], exact.hit_QK[:, 0])
        assert torch.allclose(found.average_precision_Q, exact.average_precision_Q)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"z_ND": torch.ones(4)}, r"expects embeddings \(N, D\) and labels \(N,\), but got \(4,\) and \(4,\)\."),
        ({"z_ND": torch.ones(3, 2)}, r"expects embeddings \(N, D\) and labels \(N,\), but got \(3, 2\) and \(4,\)\."),
        ({"k": (1, 0)}, r"must be at least 1, .* but they are \(1, 0\)\."),
        ({"k": ()}, r"there must be one, but they are \(\)\."),
        ({"k": (1, 4)}, r"Recall@4 needs at least 4 images to find, but each query has 3\. Ask for a smaller K"),
        ({"labels_N": torch.arange(4)}, r"needs a class with at least 2 images, but all 4 have one\."),
        ({"distance": "cosin"}, r"distance must be one of cosine, euclidean, but is 'cosin'\."),
        ({"index": "hnsw"}, r"index must be one of exact, faiss, but is 'hnsw'\."),
        ({"gallery_z_MD": torch.ones(5, 2)}, r"needs both gallery_z_MD and gallery_labels_M"),
        (
            {"gallery_z_MD": torch.ones(5, 3), "gallery_labels_M": torch.zeros(5).long()},
            r"as many dimensions, but have 2 and 3\.",
        ),
        (
            {"gallery_z_MD": torch.ones(5, 2), "gallery_labels_M": torch.ones(5).long()},
            r"None of the classes of the 4 queries is in the gallery",
        ),
        ({"z_ND": torch.full((4, 2), math.nan), "index": "faiss"}, r"needs finite embeddings, but some are not"),
    ],
)
def test_inconsistent_arguments_are_refused(options, message):
    given_ = {"z_ND": torch.ones(4, 2), "labels_N": torch.zeros(4).long(), "k": (1,)} | options
    with pytest.raises(ValueError, match=message):
        retrieve(**given_)


@pytest.mark.parametrize("k", [0, 5])
def test_more_neighbors_than_images_are_refused(k):
    with pytest.raises(ValueError, match=rf"k must be 1 to 4, the number of images that can be found, but is {k}\."):
        nearest(torch.ones(2, 3), torch.ones(5, 3), k, torch.tensor([0, 1]))


def test_labels_that_cannot_be_evaluated_are_refused():
    check_labels(torch.arange(9) // 2)
    with pytest.raises(ValueError, match="needs a class with at least 2 images, but all 9 have one"):
        check_labels(torch.arange(9))


def test_large_ks_equal_a_full_ranking():
    z_ND, labels_N = clustered(40, 60, 3.0)
    ks = (1, 10, 100, 1000, 2399)
    found = retrieve(z_ND, labels_N, ks)
    similarity_NN = (z_ND.double() @ z_ND.double().T).fill_diagonal_(-torch.inf)
    order_NM = similarity_NN.argsort(1, descending=True)[:, :-1]
    first_N = (labels_N[order_NM] == labels_N[:, None]).int().argmax(1) + 1
    assert first_N.max() > 100
    expected_K = [float((first_N <= k).float().mean()) for k in ks]
    assert [float(found.figures()[f"recall@{k}"]) for k in ks] == pytest.approx(expected_K, abs=1e-3)
    assert expected_K[2] < expected_K[3] == expected_K[4] == 1


def test_distances_of_many_neighbors_are_computed_in_tiles(monkeypatch):
    """At K = 1,000 all differences of 10,000 images at once would take 5 GB."""
    z_ND = embeddings(50)
    at_once = nearest(z_ND, z_ND, 20, torch.arange(50))
    monkeypatch.setattr(ranking, "TILE_ENTRIES", {"cpu": 60})
    shapes = []
    norm = torch.linalg.vector_norm

    def counted(x, *arguments, **options):
        shapes.append(x.shape)
        return norm(x, *arguments, **options)

    monkeypatch.setattr(torch.linalg, "vector_norm", counted)
    in_tiles = nearest(z_ND, z_ND, 20, torch.arange(50))
    assert all(map(torch.equal, in_tiles, at_once))
    assert max(shape[0] for shape in shapes if len(shape) == 3) == 1
