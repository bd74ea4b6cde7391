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


def n_pair(points, triplets, labels, temperature=0.1, l2_penalty=None, expansion=0, **_):
    terms = []
    for a, p, negatives in triplets:
        compared = [dot(points[a], points[p]), *(most_similar(points, labels, a, n, expansion) for n in negatives)]
        logits = [each / temperature for each in compared]
        highest = max(logits)
        terms.append(highest + math.log(sum(math.exp(x - highest) for x in logits)) - logits[0])
    cross_entropy, active = mean(terms, "mean")
    penalty = (l2_penalty or 0.0) * sum(dot(point, point) for point in points) / len(points)
    return cross_entropy + penalty, active


def most_similar(points, labels, a, n, expansion):
    """Return the largest similarity of the anchor to the negative and to points near it: embedding expansion."""
    found = [dot(points[a], points[n])]
    for mate in range(len(labels)) if expansion else ():
        if labels[mate] == labels[n]:
            for point in range(1, expansion + 1):
                share = point / (expansion + 1)
                mixed = [(1 - share) * x + share * y for x, y in zip(points[n], points[mate], strict=True)]
                found.append(dot(points[a], mixed) / max(math.sqrt(dot(mixed, mixed)), 1e-3))
    return max(found)


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


def log_sum(exponents: list[float], one_plus: bool = False) -> float:
    """Return log Σ exp, or log(1 + Σ exp); minus infinity for an empty sum."""
    every = [*exponents, 0.0] if one_plus else exponents
    if not every:
        return -math.inf
    highest = max(every)
    return highest + math.log(sum(math.exp(each - highest) for each in every))


def pairs_of(i: int, points, labels, ids) -> tuple[list[float], list[float]]:
    """Return the similarities of an image to its positives, which have another id, and to its negatives."""
    others = range(len(points))
    positives = [dot(points[i], points[j]) for j in others if labels[i] == labels[j] and ids[i] != ids[j]]
    return positives, [dot(points[i], points[j]) for j in others if labels[i] != labels[j]]


def multi_similarity(points, labels, ids, vectors, alpha=2.0, beta=50.0, threshold=1.0, epsilon=None, **_):
    total = 0.0
    for i in range(len(points)):
        positives, negatives = pairs_of(i, points, labels, ids)
        if epsilon is not None:
            least, most = min(positives, default=math.inf), max(negatives, default=-math.inf)
            positives = [s for s in positives if s < most + epsilon]
            negatives = [s for s in negatives if s > least - epsilon]
        total += log_sum([-alpha * (s - threshold) for s in positives], one_plus=True) / alpha
        total += log_sum([beta * (s - threshold) for s in negatives], one_plus=True) / beta
    return total / len(points)


def supcon(points, labels, ids, vectors, temperature=0.1, **_):
    terms = []
    for i in range(len(points)):
        positives, negatives = pairs_of(i, points, labels, ids)
        every = log_sum([s / temperature for s in (*positives, *negatives)])
        if positives:
            terms.append(-sum(s / temperature - every for s in positives) / len(positives))
    return sum(terms) / max(1, len(terms))


def circle(points, labels, ids, vectors, margin=0.4, gamma=80.0, weighting=None, **_):
    """Compute the circle loss. `weighting` are the points that the weights are computed from, if others."""
    terms = []
    for i in range(len(points)):
        positives, negatives = pairs_of(i, points, labels, ids)
        heavy_positives, heavy_negatives = pairs_of(i, weighting or points, labels, ids)
        if not positives or not negatives:
            continue
        near = [gamma * max(0.0, w + margin) * (s - margin) for s, w in zip(negatives, heavy_negatives, strict=True)]
        far = [
            -gamma * max(0.0, 1 + margin - w) * (s - (1 - margin))
            for s, w in zip(positives, heavy_positives, strict=True)
        ]
        terms.append(log_sum([log_sum(near) + log_sum(far)], one_plus=True))
    return sum(terms) / max(1, len(terms))


def cosines(points, vectors) -> list[list[float]]:
    """Return the cosine similarity of each point of unit norm to each vector."""
    return [[dot(point, each) / math.sqrt(dot(each, each)) for each in vectors] for point in points]


def proxy_anchor(points, labels, ids, vectors, margin=0.1, alpha=32.0, **_):
    s = cosines(points, vectors)
    pull, push = [], []
    for c in range(len(vectors)):
        own = [-alpha * (s[i][c] - margin) for i in range(len(points)) if labels[i] == c]
        others = [alpha * (s[i][c] + margin) for i in range(len(points)) if labels[i] != c]
        if own:
            pull.append(log_sum(own, one_plus=True))
        push.append(log_sum(others, one_plus=True))
    return sum(pull) / max(1, len(pull)) + sum(push) / len(push)


def arcface(points, labels, ids, vectors, margin=0.5, scale=64.0, **_):
    total = 0.0
    for row, label in zip(cosines(points, vectors), labels, strict=True):
        cosine = max(-1.0, min(1.0, row[label]))
        angle = math.acos(cosine)
        own = math.cos(angle + margin) if angle + margin <= math.pi else cosine - margin * math.sin(margin)
        logits = [scale * (own if c == label else each) for c, each in enumerate(row)]
        total += log_sum(logits) - logits[label]
    return total / len(points)


LABEL_ORACLES = {
    "arcface": arcface,
    "circle": circle,
    "multi_similarity": multi_similarity,
    "proxy_anchor": proxy_anchor,
    "supcon": supcon,
}
"""The losses of labels, except softmax, which also computes the share of correct classes."""


def _d(points, i: int, j: int, kind: str) -> float:
    return distance(points[i], points[j], kind)


ORACLES = {"triplet": triplet, "margin": margin, "n_pair": n_pair, "contrastive": contrastive}
"""The losses of triplets."""
