"""Create batches to sample from, and define the strategies in plain loops over Python floats.

Shapes: B images, D embedding dimensions, T (anchor, positive) pairs.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab.batch import Selection, Triplets
from siamese_lab.losses.pairs import selected_distances
from siamese_lab.samplers.statistics import describe


class Pair(NamedTuple):
    """An (anchor, positive) pair, as indices into the batch."""

    anchor: int
    positive: int


class Oracle:
    """Holds the distances of a batch, and returns what each strategy may choose for a pair.

    With `batch`, only the first images belong to the batch; later images are only negatives.
    """

    def __init__(self, z_BD: Tensor, labels_B: Tensor, batch: int | None = None) -> None:
        points = z_BD.double().tolist()
        self.labels = labels_B.tolist()
        self.batch = len(points) if batch is None else batch
        self.dimensions = z_BD.shape[1]
        self.d = [[math.dist(left, right) for right in points] for left in points]

    def pairs(self) -> list[Pair]:
        images = range(self.batch)
        return [Pair(a, p) for a in images for p in images if a != p and self.labels[a] == self.labels[p]]

    def negatives(self, anchor: int) -> list[int]:
        return [n for n, label in enumerate(self.labels) if label != self.labels[anchor]]

    def hard(self, pair: Pair) -> int:
        return min(self.negatives(pair.anchor), key=lambda n: self.d[pair.anchor][n])

    def window(self, pair: Pair, margin: float, distance: str) -> list[int]:
        """Return the negatives with d_ap < d_an < d_ap + margin."""
        power = 2 if distance == "squared" else 1
        anchor, positive = pair
        d_ap = self.d[anchor][positive] ** power
        return [n for n in self.negatives(anchor) if d_ap < self.d[anchor][n] ** power < d_ap + margin]

    def semi_hard_fallback(self, pair: Pair) -> int:
        """Return the nearest negative beyond the positive; if there is none, the farthest negative."""
        d_a = self.d[pair.anchor]
        beyond = [n for n in self.negatives(pair.anchor) if d_a[n] > d_a[pair.positive]]
        if beyond:
            return min(beyond, key=lambda n: d_a[n])
        return max(self.negatives(pair.anchor), key=lambda n: d_a[n])

    def semi_hard_nearest(self, pair: Pair, margin: float, distance: str) -> int:
        window = self.window(pair, margin, distance)
        if not window:
            return self.semi_hard_fallback(pair)
        return min(window, key=lambda n: self.d[pair.anchor][n])

    def semi_hard_eligible(self, pair: Pair, margin: float, distance: str) -> list[int]:
        return self.window(pair, margin, distance) or [self.semi_hard_fallback(pair)]

    def positives(self, anchor: int) -> list[int]:
        return [pair.positive for pair in self.pairs() if pair.anchor == anchor]

    def batch_hard(self, anchor: int) -> tuple[int, int]:
        """Return the farthest positive and the nearest negative."""
        farthest = max(self.positives(anchor), key=lambda p: self.d[anchor][p])
        return farthest, min(self.negatives(anchor), key=lambda n: self.d[anchor][n])

    def easy_positive(self, anchor: int) -> tuple[int, int]:
        """Return the nearest positive, and the nearest negative beyond it or the farthest of all."""
        nearest = min(self.positives(anchor), key=lambda p: self.d[anchor][p])
        return nearest, self.semi_hard_fallback(Pair(anchor, nearest))

    def similarity(self, left: int, right: int) -> float:
        return 1 - self.d[left][right] ** 2 / 2

    def multi_similarity(self, anchor: int, epsilon: float) -> tuple[set[int], set[int]]:
        """Return the informative positives and negatives; without any, the farthest positive and nearest negative."""
        s_ap = {p: self.similarity(anchor, p) for p in self.positives(anchor)}
        s_an = {n: self.similarity(anchor, n) for n in self.negatives(anchor)}
        positives = {p for p, s in s_ap.items() if s < max(s_an.values()) + epsilon}
        negatives = {n for n, s in s_an.items() if s > min(s_ap.values()) - epsilon}
        return positives or {min(s_ap, key=s_ap.__getitem__)}, negatives or {max(s_an, key=s_an.__getitem__)}

    def near(self, anchor: int, cutoff: float = 1.4) -> list[int]:
        """Return the negatives that distance-weighted sampling may draw without falling back."""
        return [n for n in self.negatives(anchor) if self.d[anchor][n] < cutoff]

    def distance_weighted(
        self, anchor: int, nearest: float = 0.5, cutoff: float = 1.4, weight_limit: float = math.inf
    ) -> dict[int, float]:
        """Return the probability of each eligible negative: min(λ, 1/q(d)), normalized; uniform if none is eligible."""
        if not self.near(anchor, cutoff):
            negatives = self.negatives(anchor)
            return {n: 1 / len(negatives) for n in negatives}
        log_weights = {}
        for n in self.near(anchor, cutoff):
            d = max(self.d[anchor][n], nearest)
            log_inverse = (2 - self.dimensions) * math.log(d) - (self.dimensions - 3) / 2 * math.log(1 - d * d / 4)
            log_weights[n] = min(log_inverse, math.log(weight_limit))
        largest = max(log_weights.values())
        weights = {n: math.exp(log_weight - largest) for n, log_weight in log_weights.items()}
        return {n: weight / sum(weights.values()) for n, weight in weights.items()}


def statistics_of(selection: Selection) -> dict[str, Tensor]:
    """Return all statistics of a selection, as a training step reports them."""
    return dict(describe(selection, selected_distances(selection)))


def chosen(triplets: Triplets) -> dict[Pair, int]:
    """Return the negative of each pair; each pair must occur once."""
    rows = list(zip(*(index_T.flatten().tolist() for index_T in triplets), strict=True))
    choice = {Pair(a, p): n for a, p, n in rows}
    assert len(choice) == len(rows)
    return choice


def rows(triplets: Triplets) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return anchor, positive and the negatives of each pair, in a fixed order."""
    anchor_T, positive_T, negative_TM = (index.tolist() for index in triplets)
    return sorted((a, p, tuple(n)) for a, p, n in zip(anchor_T, positive_T, negative_TM, strict=True))


def pk_labels(classes: int, images_per_class: int, seed: int) -> Tensor:
    """Return P×K labels in a random order; they do not start at 0."""
    generator = torch.Generator().manual_seed(seed)
    labels_B = torch.arange(classes).repeat_interleave(images_per_class) * 7 - 3
    return labels_B[torch.randperm(len(labels_B), generator=generator)]


def random_embeddings(count: int, dimensions: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=1)


def clustered_embeddings(labels_B: Tensor, dimensions: int, spread: float, seed: int) -> Tensor:
    """Return images around a random center of their class, so that images lie on both sides of windows and cut-offs."""
    generator = torch.Generator().manual_seed(seed)
    class_B = labels_B.unique(return_inverse=True)[1]
    centre_CD = F.normalize(torch.randn(int(class_B.max()) + 1, dimensions, generator=generator), dim=1)
    noise_BD = torch.randn(len(labels_B), dimensions, generator=generator) * spread / math.sqrt(dimensions)
    return F.normalize(centre_CD[class_B] + noise_BD, dim=1)


def star(d_ap: float, d_an: list[float], positives: int, dimensions: int) -> tuple[Tensor, Tensor]:
    """Return image 0 with all its positives at one distance, and one single-image class at each distance of `d_an`.

    Image 0 is the anchor of as many equal pairs as it has positives; the negatives are images positives + 1, ….
    """
    lengths = [0.0] + [d_ap] * positives + d_an
    axis = [1] + [1] * positives + list(range(2, 2 + len(d_an)))
    z_BD = torch.zeros(len(lengths), dimensions, dtype=torch.float64)
    for row, (length, direction) in enumerate(zip(lengths, axis, strict=True)):
        angle = 2 * math.asin(length / 2)
        z_BD[row, 0] = math.cos(angle)
        z_BD[row, direction] += math.sin(angle)
    labels = [0] * (positives + 1) + list(range(1, len(d_an) + 1))
    return z_BD.float(), torch.tensor(labels)
