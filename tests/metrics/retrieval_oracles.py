"""Define retrieval in plain loops and float64, and create embeddings to test it on."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from siamese_lab.metrics.ranking import TIE


class Expected(NamedTuple):
    hit: list[list[bool]]
    r_precision: list[float]
    average_precision: list[float]
    reciprocal_rank: list[float]
    query: list[int]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b) or 1), TIE


def half_squared(a, b):
    return -sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / 2, TIE * max(math.hypot(*a), math.hypot(*b)) ** 2


NEARNESS = {"cosine": cosine, "euclidean": half_squared}


def relevance(query, label, others, distance):
    """Return whether the nearest, the next, … image is of the class. In a tie, images of the class come last."""
    own, foreign = [], []
    for other, other_label in others:
        nearness, tie = NEARNESS[distance](query, other)
        if other_label == label:
            own.append(nearness - tie)
        else:
            foreign.append(nearness)
    ranking = sorted([(-nearness, True) for nearness in own] + [(-nearness, False) for nearness in foreign])
    return [of_class for _, of_class in ranking]


def figures(relevant, ks):
    total = sum(relevant)
    precision = [sum(relevant[: i + 1]) / (i + 1) for i in range(len(relevant))]
    return (
        [any(relevant[:k]) for k in ks],
        sum(relevant[:total]) / total,
        sum(precision[i] for i in range(total) if relevant[i]) / total,
        1 / (relevant.index(True) + 1),
    )


def expected(z_ND, labels_N, ks, gallery=None, distance="cosine"):
    """Return the figures that `retrieve` should compute."""
    points, labels = z_ND.double().tolist(), labels_N.tolist()
    rows = []
    for i, (query, label) in enumerate(zip(points, labels, strict=True)):
        if gallery is None:
            others = [(other, labels[j]) for j, other in enumerate(points) if j != i]
        else:
            others = list(zip(gallery[0].double().tolist(), gallery[1].tolist(), strict=True))
        relevant = relevance(query, label, others, distance)
        if any(relevant):
            rows.append((*figures(relevant, ks), i))
    return Expected(*map(list, zip(*rows, strict=True)))


def embeddings(count, dimensions=8, seed=0):
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=1)


def random_labels(count, classes, seed=0):
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(seed))


def clustered(classes, each, spread, dimensions=16, seed=0):
    """Return classes in a random order, with the images of each class around its own center."""
    generator = torch.Generator().manual_seed(seed)
    labels_N = torch.arange(classes).repeat_interleave(each)[torch.randperm(classes * each, generator=generator)]
    centre_CD = torch.randn(classes, dimensions, generator=generator)
    noise_ND = torch.randn(classes * each, dimensions, generator=generator)
    return F.normalize(centre_CD[labels_N] + spread * noise_ND, dim=1), labels_N
