"""Each protocol: from embeddings to figures with their intervals.

Shapes: N images or pairs, D embedding dimensions, Q queries or images to classify, M images of pairs, E runs, W ways.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.official_protocols import OfficialPairs, OneShot
from siamese_lab.evaluation.evaluation import ClassFigures, Figure, Protocol
from siamese_lab.evaluation.stages import Stages
from siamese_lab.metrics import bootstrap, clustering, few_shot, health
from siamese_lab.metrics.bootstrap_pairs import bounds_over_classes
from siamese_lab.metrics.pairs import Pairs, pair_distances, sampled_pairs
from siamese_lab.metrics.retrieval import Retrieval, per_class
from siamese_lab.metrics.verification import Roc, best_threshold, report, roc

PAIR_RESAMPLES = 500
COUNTS = ("threshold", "positives", "negatives")
"""What is told of verification beside its figures."""


def retrieval(found: Retrieval, labels_N: Tensor, distance: str, seed: int) -> Protocol:
    """Recall@K, R-Precision, MAP@R and MRR, with intervals over classes where more than one has queries."""
    labels_Q = labels_N[found.query_Q]
    queries, queried = len(found.query_Q), len(labels_Q.unique())
    figures = {
        name: Figure(*bootstrap.over_classes(values_Q, labels_Q, seed=seed))
        if queried > 1
        else Figure(float(values_Q.mean()))
        for name, values_Q in found.values().items()
    }
    alone = len(labels_N) - queries
    exact = found.index == "exact"
    return Protocol(
        "Retrieval" if exact else "Retrieval, approximate",
        f"Each of {queries:,} images of {queried:,} classes queries all others by {distance} distance; "
        f"{alone:,} images that are alone in their class are distractors. Ties count against the model."
        + ("" if exact else f" What is near was looked up by {found.index}, which misses some."),
        figures,
        "classes" if queried > 1 else None,
        {"queries": queries, "distractors": alone, "distance": distance, "index": found.index},
    )


def classes(found: Retrieval, labels_N: Tensor, names: tuple[str, ...]) -> list[ClassFigures]:
    """What the images of each class found, the worst class first."""
    labels_Q = labels_N[found.query_Q]
    first_Q = (found.reciprocal_rank_Q == 1).float()
    recall, precision, average = (
        per_class(values_Q, labels_Q) for values_Q in (first_Q, found.r_precision_Q, found.average_precision_Q)
    )
    columns = (recall.label_C, recall.queries_C, recall.mean_C, precision.mean_C, average.mean_C)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return sorted(
        (ClassFigures(names[label], images, *means) for label, images, *means in rows),
        key=lambda each: (each.recall_at_1, each.map_at_r, each.name),
    )


class Verified(NamedTuple):
    """The figures and the curve of a set of pairs."""

    protocol: Protocol
    curve: Roc


def verification(
    title: str,
    how: str,
    distance_N: Tensor,
    same_N: Tensor,
    classes_2N: tuple[Tensor, Tensor],
    threshold: float,
    seed: int,
    stages: Stages,
) -> Verified:
    """All figures of pairs, with intervals over the classes they are of.

    Args:
        title: of the protocol.
        how: the protocol in a sentence.
        distance_N: of the pairs that are decided.
        same_N: whether each is of one class.
        classes_2N: the classes of their first and of their second images.
        threshold: chosen on other pairs.
        seed: of the resampling.
        stages: to show how far it is.
    """
    distance_N, same_N = distance_N.cpu(), same_N.cpu()
    reported = report(distance_N, same_N, threshold).figures()
    with stages.running(f"{title}: intervals", PAIR_RESAMPLES) as advance:
        bounds = bounds_over_classes(
            lambda index_M: report(distance_N[index_M], same_N[index_M], threshold).figures(),
            *classes_2N,
            seed=seed,
            resamples=PAIR_RESAMPLES,
            advance=advance,
        )
    figures = {
        name: Figure(None) if math.isnan(value) else Figure(value, *bounds[name])
        for name, value in reported.items()
        if name not in COUNTS
    }
    facts = {name: reported[name] for name in COUNTS}
    return Verified(Protocol(title, how, figures, "classes", facts), roc(distance_N, same_N))


class Drawn(NamedTuple):
    """Embeddings of a part of a set, and pairs drawn from it."""

    z_MD: Tensor
    labels_M: Tensor
    pairs: Pairs


def draw(z_MD: Tensor, labels_M: Tensor, number: int, seed: int) -> Drawn | None:
    """As many pairs as asked for, or as there are; None where there are not some of both kinds."""
    size_C = labels_M.cpu().bincount()
    of_one = int((size_C * (size_C - 1) // 2).sum())
    of_two = len(labels_M) * (len(labels_M) - 1) // 2 - of_one
    each = min(number // 2, of_one, of_two)
    return Drawn(z_MD, labels_M, sampled_pairs(labels_M, 2 * each, seed)) if each else None


def sampled_verification(choose: Drawn, decide: Drawn, seed: int, stages: Stages) -> Verified:
    """Verification of pairs drawn from the test images, with a threshold from pairs of the validation images."""
    threshold = best_threshold(pair_distances(choose.z_MD, choose.pairs), choose.pairs.same_N)
    labels_M, pairs = decide.labels_M.cpu(), decide.pairs
    return verification(
        "Verification, sampled pairs",
        f"{len(pairs.same_N):,} pairs drawn from the test images, half of them of one class; the threshold is the best "
        f"of {len(choose.pairs.same_N):,} pairs drawn from the validation images.",
        pair_distances(decide.z_MD, pairs),
        pairs.same_N,
        (labels_M[pairs.left_N], labels_M[pairs.right_N]),
        threshold,
        seed,
        stages,
    )


def official_verification(official: OfficialPairs, z_MD: Tensor, seed: int, stages: Stages) -> Verified:
    """Verification of the pairs that a data set's protocol names."""
    labels_M = official.table.labels_N
    choose, decide = (Pairs(each.first_M, each.second_M, each.same_M) for each in (official.choose, official.decide))
    return verification(
        f"Verification, {official.name.replace('_', ' ').capitalize()}",
        f"The {len(decide.same_N):,} official pairs; the threshold is the best of {len(choose.same_N):,} others.",
        pair_distances(z_MD, decide),
        decide.same_N,
        (labels_M[decide.left_N], labels_M[decide.right_N]),
        best_threshold(pair_distances(z_MD, choose), choose.same_N),
        seed,
        stages,
    )


def official_one_shot(runs: OneShot, z_MD: Tensor, seed: int) -> Protocol:
    """Measure the one-shot runs that a data set's protocol defines, with an interval over runs."""
    answer_EQ = runs.answer_EQ.to(z_MD.device)
    error_E = few_shot.one_shot(z_MD[runs.known_EW], z_MD[runs.asked_EQ], answer_EQ).error_E.cpu()
    interval = bootstrap.over_classes(error_E, torch.arange(len(error_E)), seed=seed)
    return Protocol(
        f"One-shot, {runs.title}",
        runs.how,
        {"error": Figure(*interval)},
        "runs",
        {"runs": len(error_E)},
    )


def random_episodes(
    z_ND: Tensor, labels_N: Tensor, ways: int, shots: int, queries: int, number: int, seed: int
) -> Protocol:
    """N-way k-shot episodes drawn at random from all classes, with an interval over episodes."""
    drawn = few_shot.episodes(z_ND, labels_N, ways, shots, queries, number, seed)
    return Protocol(
        f"Random episodes, {ways}-way {shots}-shot",
        f"{number:,} episodes of {ways} classes drawn from {drawn.classes:,}, {shots} known image{'s' * (shots > 1)} "
        f"of each and {queries} to classify by the nearest class mean.",
        {
            "error": Figure(1 - drawn.accuracy, 1 - drawn.high, 1 - drawn.low),
            "accuracy": Figure(drawn.accuracy, drawn.low, drawn.high),
        },
        "episodes",
        {"ways": ways, "shots": shots, "queries": queries, "episodes": number, "classes": drawn.classes},
    )


def clusters(z_ND: Tensor, labels_N: Tensor, seed: int) -> Protocol:
    """NMI and AMI of k-means."""
    found = clustering.nmi_ami(z_ND, labels_N, seed)
    return Protocol(
        "Clustering",
        f"k-means with as many clusters as classes, {len(labels_N.unique()):,}; NMI is raised by chance where these "
        "are many and small, AMI is not.",
        {"nmi": Figure(found.nmi), "ami": Figure(found.ami)},
    )


def embedding_health(z_ND: Tensor, labels_N: Tensor) -> Protocol:
    """Whether the embeddings make use of their sphere."""
    found = health.health(z_ND, labels_N)
    return Protocol(
        "Embedding",
        f"All {len(z_ND):,} embeddings of {z_ND.shape[1]} dimensions.",
        {name: Figure(value, share=False) for name, value in found._asdict().items() if name != "collapsed"},
        facts={"collapsed": found.collapsed},
    )
