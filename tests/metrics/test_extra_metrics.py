"""Class recall agrees with plain loops, and the shell computes additional metrics once for each image."""

from collections import defaultdict

import pytest
import torch
from retrieval_oracles import embeddings, random_labels

from siamese_lab.errors import UserError
from siamese_lab.metrics import RetrievalMetrics, registry
from siamese_lab.metrics.class_recall import class_recall


@pytest.fixture
def two_metrics():
    registry.register("first_of_test")(lambda z_ND, labels_N: {"images": len(z_ND) / 100})
    registry.register("second_of_test")(lambda z_ND, labels_N: {"images": 0.5})
    registry.register("third_of_test")(lambda z_ND, labels_N: {"mrr": 0.5})
    yield
    for name in ("first_of_test", "second_of_test", "third_of_test"):
        registry._metrics.pop(name)


@pytest.mark.parametrize("seed", range(5))
def test_class_recall_agrees_with_plain_loops(seed):
    z_ND, labels_N = embeddings(40, seed=seed), random_labels(40, 9, seed=seed)
    hits = defaultdict(list)
    for query in range(40):
        others = [image for image in range(40) if image != query]
        if any(labels_N[image] == labels_N[query] for image in others):
            nearest = max(others, key=lambda image: float(z_ND[query].double() @ z_ND[image].double()))
            hits[int(labels_N[query])].append(float(labels_N[nearest] == labels_N[query]))
    expected = sum(sum(each) / len(each) for each in hits.values()) / len(hits)
    assert class_recall(z_ND, labels_N)["class_recall@1"].item() == pytest.approx(expected, abs=1e-6)


def test_additional_metrics_count_each_image_once(two_metrics):
    metric = RetrievalMetrics(extra=["first_of_test"])
    seen = torch.cat([torch.arange(20), torch.arange(5)])
    metric.update(embeddings(20)[seen], random_labels(20, 4)[seen], seen)
    assert metric.compute()["images"] == pytest.approx(0.2)


def test_an_unknown_metric_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"no metric 'clas_recall'.*'class_recall'"):
        RetrievalMetrics(extra=["clas_recall"])


@pytest.mark.parametrize("names", [["first_of_test", "second_of_test"], ["third_of_test"]])
def test_two_figures_of_one_name_are_a_bug_of_the_metric(names, two_metrics):
    metric = RetrievalMetrics(extra=names)
    metric.update(embeddings(20), random_labels(20, 4))
    with pytest.raises(ValueError, match=r"images|mrr"):
        metric.compute()


@pytest.mark.parametrize(("value", "valid"), [(1.0, True), (float("nan"), True), (7.0, False), (-0.5, False)])
def test_a_figure_that_is_no_share_is_refused(value, valid, monkeypatch):
    monkeypatch.setitem(registry._metrics, "of_test", lambda z_ND, labels_N: {"odd": value})
    if valid:
        assert registry.compute(["of_test"], embeddings(20), random_labels(20, 4))["odd"].item() == pytest.approx(
            value, nan_ok=True
        )
        return
    with pytest.raises(UserError, match=f"'of_test' returned {value:g} as odd, expected a share in 0…1"):
        registry.compute(["of_test"], embeddings(20), random_labels(20, 4))


def test_two_metrics_of_one_name_are_refused(two_metrics):
    with pytest.raises(ValueError, match="'class_recall'"):
        registry.register("class_recall")(lambda z_ND, labels_N: {})
