"""NMI, AMI and F1 of k-means have known values and agree with torchmetrics, and 0 is returned for equal embeddings."""

import warnings
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torchmetrics.functional.clustering import adjusted_mutual_info_score, normalized_mutual_info_score

from siamese_lab.metrics.clustering import clustering_scores, pairwise_f1


def unit(count, dimensions=16, seed=0):
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_perfect_clusters_are_found():
    labels_N = torch.arange(100) % 10
    assert clustering_scores(unit(10)[labels_N], labels_N * 3 - 5) == pytest.approx((1, 1, 1))


def test_equal_embeddings_score_0_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = clustering_scores(unit(1).repeat(60, 1), torch.arange(60) % 6)
    assert (found.nmi, found.ami) == pytest.approx((0, 0), abs=1e-9)
    assert found.f1 == pytest.approx(2 * 6 * 45 / (6 * 45 + 60 * 59 / 2)), "one cluster has all pairs"


@pytest.mark.parametrize("seed", range(3))
def test_random_embeddings_are_chance_only_when_adjusted_for_it(seed):
    """With 100 classes of five images, clusters share much information with the classes by chance."""
    found = clustering_scores(unit(500, seed=seed), torch.arange(500) % 100, seed)
    assert found.nmi > 0.5
    assert found.ami == pytest.approx(0, abs=0.05)


def test_agrees_with_torchmetrics():
    labels_N = torch.arange(90) % 9
    z_ND = F.normalize(
        unit(9)[labels_N] + 0.35 * torch.randn(90, 16, generator=torch.Generator().manual_seed(3)), dim=1
    )
    cluster_N = torch.from_numpy(KMeans(9, n_init=1, random_state=0).fit_predict(z_ND.numpy())).long()
    found = clustering_scores(z_ND, labels_N, seed=0)
    assert 0.3 < found.ami < found.nmi < 1
    assert found.nmi == pytest.approx(float(normalized_mutual_info_score(cluster_N, labels_N)), abs=1e-5)
    assert found.ami == pytest.approx(float(adjusted_mutual_info_score(cluster_N, labels_N)), abs=1e-4)


def test_a_seed_decides_the_start_of_k_means():
    z_ND, labels_N = unit(300), torch.arange(300) % 30
    assert (
        clustering_scores(z_ND, labels_N, 0)
        == clustering_scores(z_ND, labels_N, 0)
        != clustering_scores(z_ND, labels_N, 1)
    )


def test_half_precision_is_accepted():
    labels_N = torch.arange(60) % 6
    assert clustering_scores(unit(6)[labels_N].bfloat16(), labels_N).nmi == pytest.approx(1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([4, 4, 4, 4], r"Clustering needs at least 2 classes, but all 4 images are of one\."),
        ([0, 1, 2, 3], r"Clustering needs a class with at least 2 images, but all 4 have one\."),
        ([0, 1, 2], r"Clustering expects embeddings \(N, D\) and labels \(N,\), but got \(4, 16\) and \(3,\)\."),
    ],
)
def test_sets_without_clusters_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        clustering_scores(unit(4), torch.tensor(labels))


def test_embeddings_that_are_not_finite_are_refused():
    z_ND = unit(4)
    z_ND[1, 2] = torch.inf
    with pytest.raises(ValueError, match=r"1 of 4 embeddings are not finite, the first of them that of image 1\."):
        clustering_scores(z_ND, torch.tensor([0, 0, 1, 1]))


@pytest.mark.parametrize("seed", range(8))
def test_f1_equals_plain_loops_over_pairs(seed):
    draws = torch.Generator().manual_seed(seed)
    labels_N = torch.randint(2, 2 + seed, (40,), generator=draws) if seed else torch.arange(40)
    cluster_N = torch.randint(0, 9, (40,), generator=draws)
    true, of_cluster, of_class = 0, 0, 0
    for one, other in combinations(range(40), 2):
        same_class, same_cluster = bool(labels_N[one] == labels_N[other]), bool(cluster_N[one] == cluster_N[other])
        true, of_cluster, of_class = (
            true + (same_class and same_cluster),
            of_cluster + same_cluster,
            of_class + same_class,
        )
    precision, recall = true / of_cluster, true / of_class if of_class else 0.0
    expected = 2 * precision * recall / (precision + recall) if true else 0.0
    assert pairwise_f1(labels_N, cluster_N) == pytest.approx(expected)


def test_f1_of_images_without_pairs_is_0():
    assert pairwise_f1(torch.arange(5), torch.arange(5)) == 0.0


def test_f1_is_of_the_same_clusters_as_nmi():
    labels_N = torch.arange(90) % 9
    z_ND = unit(9)[labels_N] + 0.35 * torch.randn(90, 16, generator=torch.Generator().manual_seed(3))
    clusters_N = KMeans(9, n_init=1, random_state=1).fit_predict(F.normalize(z_ND, dim=1).numpy())
    found = clustering_scores(F.normalize(z_ND, dim=1), labels_N, seed=1)
    assert found.f1 == pairwise_f1(labels_N, torch.from_numpy(clusters_N))
    assert 0.1 < found.f1 < found.nmi
