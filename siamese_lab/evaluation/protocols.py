"""Evaluation protocols: each function computes metric values with intervals from embeddings.

Shapes: N images or pairs, D embedding dimensions, Q queries or images to classify, M images of pairs, E runs, W ways.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from siamese_lab.data.official_protocols import OfficialPairs, OneShot
from siamese_lab.evaluation.evaluation import ClassFigures, MetricValue, Protocol
from siamese_lab.evaluation.stages import Stages
from siamese_lab.metrics import bootstrap, clustering, few_shot, health
from siamese_lab.metrics.bootstrap_pairs import bounds_over_classes
from siamese_lab.metrics.pairs import ImagePairs, pair_distances, sampled_pairs
from siamese_lab.metrics.retrieval import Retrieval, macro_figures, per_class
from siamese_lab.metrics.verification import Roc, best_threshold, report, roc
from siamese_lab.query_gallery import QueryGallery

PAIR_RESAMPLES = 500
COUNTS = ("threshold", "positives", "negatives")
"""Names of the verification results that are facts of the protocol, not metrics."""


def retrieval(
    found: Retrieval,
    labels_N: Tensor,
    distance: str,
    seed: int,
    gallery_images: int | None = None,
    roles: QueryGallery | None = None,
) -> Protocol:
    """Return Recall@K, R-Precision, MAP@R and MRR, with intervals over classes if enough classes have queries.

    With roles, mAP follows.

    Args:
        found: the result of `retrieve`.
        labels_N: the classes of the test images.
        distance: the distance that was compared.
        seed: seed of the resampling.
        gallery_images: number of images of the gallery; None if the test images were searched themselves.
        roles: the queries and the gallery among the test images, if they have roles.
    """
    labels_Q = labels_N[found.query_Q]
    queries, queried = len(found.query_Q), len(labels_Q.unique())
    figures = {
        name: MetricValue(*bootstrap.over_classes(values_Q, labels_Q, seed=seed))
        if queried >= bootstrap.LEAST_CLASSES
        else MetricValue(float(values_Q.mean()))
        for name, values_Q in found.values().items()
    }
    figures |= {name: MetricValue(float(value)) for name, value in macro_figures(found, labels_N).items()}
    alone = len(labels_N) - queries
    searched, without = "all other images", f"{alone:,} images that are the only image of their class are distractors."
    if gallery_images is not None:
        searched = f"a gallery of {gallery_images:,} other images"
        without = f"{alone:,} images of classes that the gallery lacks are no queries."
    facts = {"queries": queries, "distractors": alone, "distance": distance, "index": found.index}
    title = "Retrieval"
    if roles is not None:
        title, searched, without, counts = of_roles(roles, queries)
        facts = {**counts, "distance": distance, "index": found.index}
    exact = found.index == "exact"
    return Protocol(
        title if exact else f"{title}, approximate",
        f"Each of {queries:,} images of {queried:,} classes is a query against {searched}, by {distance} "
        f"distance. {without} Ties count against the model. Macro figures are means over classes."
        + ("" if exact else f" Neighbors come from {found.index}, an approximate index that misses some."),
        figures,
        "classes" if queried >= bootstrap.LEAST_CLASSES else None,
        facts,
    )


class RolesText(NamedTuple):
    """The description of retrieval with roles."""

    title: str
    searched: str
    without: str
    facts: dict[str, Any]


def of_roles(roles: QueryGallery, queries: int) -> RolesText:
    """Describe the gallery, the groups and the queries without a match.

    Args:
        roles: the queries and the gallery.
        queries: number of queries with a match.
    """
    searched, unmatched = int(roles.gallery_N.sum()), int(roles.query_N.sum()) - queries
    rule = "" if roles.group_N is None else " Images of the query's own class and group are not searched."
    return RolesText(
        "Retrieval, query and gallery",
        f"a gallery of {searched:,} test images, without the query itself",
        f"{unmatched:,} further queries have no match in the gallery and are left out.{rule} Recall@K is the CMC curve "
        "at rank K; mAP takes the whole gallery.",
        {
            "queries": queries,
            "queries_without_a_match": unmatched,
            "gallery": searched,
            "groups": roles.group_N is not None,
        },
    )


def classes(found: Retrieval, labels_N: Tensor, names: tuple[str, ...]) -> list[ClassFigures]:
    """Return the retrieval results of each class, the worst class first."""
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


class VerificationResult(NamedTuple):
    """The metric values and the ROC curve of a verification protocol."""

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
) -> VerificationResult:
    """Return all verification metrics of a set of pairs, with intervals over the classes of the pairs if enough.

    Args:
        title: title of the protocol.
        how: description of the protocol in full sentences.
        distance_N: distance of each pair.
        same_N: True for each pair of one class.
        classes_2N: class of the first image and class of the second image of each pair.
        threshold: threshold that was chosen on other pairs.
        seed: seed of the resampling.
        stages: shows the progress.
    """
    distance_N, same_N = distance_N.cpu(), same_N.cpu()
    reported = report(distance_N, same_N, threshold).figures()
    facts = {name: reported[name] for name in COUNTS}
    if len(torch.cat(classes_2N).unique()) < bootstrap.LEAST_CLASSES:
        plain = {name: MetricValue(value) for name, value in nan_as_none(reported).items() if name not in COUNTS}
        return VerificationResult(Protocol(title, how, plain, None, facts), roc(distance_N, same_N))
    with stages.running(f"{title}: intervals", PAIR_RESAMPLES) as advance:
        bounds = bounds_over_classes(
            lambda index_M: report(distance_N[index_M], same_N[index_M], threshold).figures(),
            *classes_2N,
            seed=seed,
            resamples=PAIR_RESAMPLES,
            advance=advance,
        )
    figures = {
        name: MetricValue(None) if math.isnan(value) else MetricValue(value, *bounds[name])
        for name, value in reported.items()
        if name not in COUNTS
    }
    return VerificationResult(Protocol(title, how, figures, "classes", facts), roc(distance_N, same_N))


def nan_as_none(values: Mapping[str, float]) -> dict[str, float | None]:
    """Return the values with None for each undefined one (NaN)."""
    return {name: None if math.isnan(value) else value for name, value in values.items()}


class DrawnPairs(NamedTuple):
    """The embeddings of one split of a data set, and pairs drawn from that split."""

    z_MD: Tensor
    labels_M: Tensor
    pairs: ImagePairs


def draw_pairs(z_MD: Tensor, labels_M: Tensor, number: int, seed: int) -> DrawnPairs | None:
    """Draw pairs, half of them of one class. Return None if one kind of pair does not exist.

    Args:
        z_MD: unit-norm embeddings.
        labels_M: the class of each image.
        number: number of pairs. There are fewer if the images give fewer.
        seed: seed of the draw.
    """
    size_C = labels_M.cpu().bincount()
    of_one = int((size_C * (size_C - 1) // 2).sum())
    of_two = len(labels_M) * (len(labels_M) - 1) // 2 - of_one
    each = min(number // 2, of_one, of_two)
    return DrawnPairs(z_MD, labels_M, sampled_pairs(labels_M, 2 * each, seed)) if each else None


def sampled_verification(choose: DrawnPairs, decide: DrawnPairs, seed: int, stages: Stages) -> VerificationResult:
    """Verify pairs drawn from the test images (`decide`), with a threshold from validation pairs (`choose`)."""
    threshold = best_threshold(pair_distances(choose.z_MD, choose.pairs), choose.pairs.same_N)
    labels_M, pairs = decide.labels_M.cpu(), decide.pairs
    return verification(
        "Verification, sampled pairs",
        f"{len(pairs.same_N):,} pairs are drawn from the test images, half of them of one class. The threshold is the "
        f"best threshold of {len(choose.pairs.same_N):,} pairs drawn from the validation images.",
        pair_distances(decide.z_MD, pairs),
        pairs.same_N,
        (labels_M[pairs.left_N], labels_M[pairs.right_N]),
        threshold,
        seed,
        stages,
    )


def official_verification(official: OfficialPairs, z_MD: Tensor, seed: int, stages: Stages) -> VerificationResult:
    """Verify the official pairs of a data set's protocol."""
    labels_M = official.table.labels_N
    choose, decide = (
        ImagePairs(each.first_M, each.second_M, each.same_M) for each in (official.choose, official.decide)
    )
    return verification(
        f"Verification, {official.name.replace('_', ' ').capitalize()}",
        f"The {len(decide.same_N):,} official pairs are decided. The threshold is the best threshold of "
        f"{len(choose.same_N):,} other official pairs.",
        pair_distances(z_MD, decide),
        decide.same_N,
        (labels_M[decide.left_N], labels_M[decide.right_N]),
        best_threshold(pair_distances(z_MD, choose), choose.same_N),
        seed,
        stages,
    )


def official_one_shot(runs: OneShot, z_MD: Tensor, seed: int) -> Protocol:
    """Return the error on the official one-shot runs of a data set's protocol, with an interval over runs."""
    answer_EQ = runs.answer_EQ.to(z_MD.device)
    error_E = few_shot.one_shot(z_MD[runs.known_EW], z_MD[runs.asked_EQ], answer_EQ).error_E.cpu()
    interval = bootstrap.over_classes(error_E, torch.arange(len(error_E)), seed=seed)
    return Protocol(
        f"One-shot, {runs.title}",
        runs.how,
        {"error": MetricValue(*interval)},
        "runs",
        {"runs": len(error_E)},
    )


def random_episodes(
    z_ND: Tensor, labels_N: Tensor, ways: int, shots: int, queries: int, number: int, seed: int
) -> Protocol:
    """Return the error on N-way k-shot episodes, drawn at random from all classes, with an interval over episodes."""
    drawn = few_shot.episodes(z_ND, labels_N, ways, shots, queries, number, seed)
    return Protocol(
        f"Random episodes, {ways}-way {shots}-shot",
        f"{number:,} episodes of {ways} classes are drawn from {drawn.classes:,} classes. Each class has {shots} known "
        f"image{'s' * (shots > 1)} and {queries} images to classify by the nearest class mean.",
        {
            "error": MetricValue(1 - drawn.accuracy, 1 - drawn.high, 1 - drawn.low),
            "accuracy": MetricValue(drawn.accuracy, drawn.low, drawn.high),
        },
        "episodes",
        {"ways": ways, "shots": shots, "queries": queries, "episodes": number, "classes": drawn.classes},
    )


def clusters(z_ND: Tensor, labels_N: Tensor, seed: int) -> Protocol:
    """Return NMI, AMI and F1 of a k-means clustering."""
    found = clustering.clustering_scores(z_ND, labels_N, seed)
    return Protocol(
        "Clustering",
        f"k-means with {len(labels_N.unique()):,} clusters, one for each class. Many small clusters raise NMI by "
        "chance, but not AMI. F1 is over pairs of images: those of one cluster against those of one class.",
        {name: MetricValue(value) for name, value in found._asdict().items()},
    )


def embedding_health(z_ND: Tensor, labels_N: Tensor) -> Protocol:
    """Return measures of how well the embeddings use the unit sphere."""
    found = health.health(z_ND, labels_N)
    return Protocol(
        "Embedding",
        f"All {len(z_ND):,} embeddings of {z_ND.shape[1]} dimensions.",
        {name: MetricValue(value, is_fraction=False) for name, value in found._asdict().items() if name != "collapsed"},
        facts={"collapsed": found.collapsed},
    )
