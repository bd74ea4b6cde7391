"""Compute the losses in plain loops over float64, from DEFINITIONS: the mean and the share of active terms."""

import math
from collections.abc import Sequence

Point = Sequence[float]
Triplet = tuple[int, int, tuple[int, ...]]
"""Anchor, positive and negatives of a pair."""


def dot(left: Point, right: Point) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


def distance(left: Point, right: Point, kind: str) -> float:
    return math.dist(left, right) ** (2 if kind == "squared" else 1)


def mean(terms: list[float], reduction: str) -> tuple[float, float]:
    active = sum(term > 0 for term in terms)
    count = len(terms) if reduction == "mean" else active
    return sum(terms) / max(1, count), active / max(1, len(terms))


def triplet(points, triplets, labels, margin=0.2, soft=False, distance="plain", reduction="mean", **_):
    terms = []
    for a, p, negatives in triplets:
        for n in negatives:
            excess = _d(points, a, p, distance) - _d(points, a, n, distance)
            terms.append(math.log(1 + math.exp(excess)) if soft else max(0.0, excess + margin))
    return mean(terms, reduction)


def margin(points, triplets, labels, margin=0.2, beta=1.2, distance="plain", betas=None, **_):
    """Compute the margin loss. `betas` are the values of the classes if each class has its own β."""
    terms = []
    for a, p, negatives in triplets:
        boundary = beta if betas is None else betas[labels[a]]
        for n in negatives:
            terms.append(max(0.0, _d(points, a, p, distance) - boundary + margin))
            terms.append(max(0.0, boundary - _d(points, a, n, distance) + margin))
    return mean(terms, "mean_active")


def n_pair(points, triplets, labels, temperature=0.1, l2_penalty=None, **_):
    terms = []
    for a, p, negatives in triplets:
        logits = [dot(points[a], points[i]) / temperature for i in (p, *negatives)]
        highest = max(logits)
        terms.append(highest + math.log(sum(math.exp(x - highest) for x in logits)) - logits[0])
    cross_entropy, active = mean(terms, "mean")
    penalty = (l2_penalty or 0.0) * sum(dot(point, point) for point in points) / len(points)
    return cross_entropy + penalty, active


def contrastive(points, triplets, labels, margin=1.0, reduction="mean", **_):
    terms = []
    for a, p, negatives in triplets:
        for n in negatives:
            terms.append(_d(points, a, p, "plain") ** 2 / 2)
            terms.append(max(0.0, margin - _d(points, a, n, "plain")) ** 2 / 2)
    return mean(terms, reduction)


def softmax(points, labels, vectors, temperature=0.05):
    """Compute the normalized softmax, which uses labels and no triplets, and the share of correct classes."""
    total, correct = 0.0, 0
    for point, label in zip(points, labels, strict=True):
        logits = [dot(point, each) / math.sqrt(dot(each, each)) / temperature for each in vectors]
        highest = max(logits)
        total += highest + math.log(sum(math.exp(each - highest) for each in logits)) - logits[label]
        correct += logits[label] == highest
    return total / len(points), correct / len(points)


def _d(points, i: int, j: int, kind: str) -> float:
    return distance(points[i], points[j], kind)


ORACLES = {"triplet": triplet, "margin": margin, "n_pair": n_pair, "contrastive": contrastive}
"""The losses of triplets."""
