"""Verification: are two images of one class? Decided by their distance, with a threshold chosen on other pairs.

A pair is accepted, which is to say taken to be of one class, where its distance is at most the threshold. Of the pairs
of one class the accepted share is the true accept rate (TAR), of those of two classes the false accept rate (FAR).

Shapes: N pairs, M images, D embedding dimensions, P points of a curve.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from siamese_lab.errors import UserError
from siamese_lab.metrics.pairs import ImagePairs, pair_distances

FARS = (1e-1, 1e-2, 1e-3)


class Roc(NamedTuple):
    """The receiver operating characteristic, from accepting nothing to accepting everything; float64."""

    far_P: Tensor
    tar_P: Tensor
    threshold_P: Tensor
    """Distances, ascending. Accepting those up to each gives its rates; the first, −∞, accepts nothing."""


class TarAtFar(NamedTuple):
    """The true accept rate where no more than that share of the pairs of two classes is accepted."""

    far: float
    tar: float | None
    """None where the pairs cannot tell: one of their negatives alone is a greater share than `far`."""


class Verification(NamedTuple):
    """What is reported of a set of pairs."""

    accuracy: float
    threshold: float
    """Chosen on other pairs, in units of the distance."""
    auc: float
    eer: float
    tar_at_far: tuple[TarAtFar, ...]
    positives: int
    """How many pairs are of one class."""
    negatives: int
    """How many are of two."""

    def figures(self) -> dict[str, float]:
        """By the names that results have; NaN for a rate that these pairs cannot tell."""
        return {
            "accuracy": self.accuracy,
            "threshold": self.threshold,
            "auc": self.auc,
            "eer": self.eer,
            **{f"tar@far={far:g}": math.nan if tar is None else tar for far, tar in self.tar_at_far},
            "positives": self.positives,
            "negatives": self.negatives,
        }


def verify(z_MD: Tensor, choose: ImagePairs, decide: ImagePairs) -> Verification:
    """Choose a threshold on some pairs, decide others with it, and report how well these can be told apart.

    Args:
        z_MD: unit-norm embeddings of the images of both.
        choose: the pairs that the threshold is chosen on.
        decide: the pairs that are reported, none of which is among those.

    Raises:
        UserError: for embeddings that are not finite, and for pairs that are all of one kind.
    """
    threshold = best_threshold(pair_distances(z_MD, choose), choose.same_N)
    return report(pair_distances(z_MD, decide), decide.same_N, threshold)


def report(distance_N: Tensor, same_N: Tensor, threshold: float) -> Verification:
    """All figures of pairs whose distances are known, with a threshold that was chosen on others.

    Raises:
        UserError: for distances that are not finite, and for pairs that are all of one kind.
    """
    curve = roc(distance_N, same_N)
    positives = int(same_N.sum())
    return Verification(
        accuracy=accuracy(distance_N, same_N, threshold),
        threshold=threshold,
        auc=auc(curve),
        eer=eer(curve),
        tar_at_far=tar_at_far(curve, len(same_N) - positives),
        positives=positives,
        negatives=len(same_N) - positives,
    )


def best_threshold(distance_N: Tensor, same_N: Tensor) -> float:
    """The threshold by which most of the pairs are decided rightly, of all that there are.

    Thresholds between two neighbouring distances decide alike, so their middle stands for them; one by 1 below the
    smallest distance accepts nothing, one by 1 above the greatest everything. Of equally good ones the lowest is taken,
    which accepts fewest.

    Raises:
        UserError: for distances that are not finite, and for pairs that are all of one kind.
    """
    check_pairs(distance_N, same_N)
    sorted_N, order_N = distance_N.cpu().double().sort()
    same_N = same_N.cpu()[order_N]
    right_N = torch.cat([(~same_N).sum()[None], (~same_N).sum() + (2 * same_N.long() - 1).cumsum(0)])
    below_N = torch.cat([sorted_N[:1] - 2, sorted_N])
    above_N = torch.cat([sorted_N, sorted_N[-1:] + 2])
    right_N = right_N.masked_fill(below_N == above_N, -1)  # between equal distances there is no threshold
    best = right_N.argmax()
    middle = (below_N[best] + above_N[best]) / 2
    return float(middle if middle < above_N[best] else below_N[best])


def accuracy(distance_N: Tensor, same_N: Tensor, threshold: float) -> float:
    """The share of the pairs that are decided rightly, where those of a distance up to the threshold are accepted."""
    return float(((distance_N.double() <= threshold) == same_N.to(distance_N.device)).double().mean())


def roc(distance_N: Tensor, same_N: Tensor) -> Roc:
    """Both rates at every threshold, by scikit-learn, on the CPU. Equal distances are accepted together.

    Raises:
        UserError: for distances that are not finite, and for pairs that are all of one kind.
    """
    check_pairs(distance_N, same_N)
    scores_N = -distance_N.cpu().double().numpy()
    far_P, tar_P, score_P = sklearn_metrics.roc_curve(same_N.cpu().numpy(), scores_N, drop_intermediate=False)
    return Roc(torch.from_numpy(far_P), torch.from_numpy(tar_P), -torch.from_numpy(score_P))


def auc(curve: Roc) -> float:
    """The area under the curve: how often a pair of one class is nearer than one of two, an equal distance half."""
    return float(sklearn_metrics.auc(curve.far_P.numpy(), curve.tar_P.numpy()))


def eer(curve: Roc) -> float:
    """The equal error rate: the false accept rate where it equals the false reject rate, 1 − TAR.

    It is read off the straight line between the two points of the curve that it lies between.
    """
    excess_P = curve.far_P + curve.tar_P - 1  # ascends from −1 to 1
    after = int((excess_P >= 0).int().argmax())
    low, high = excess_P[after - 1], excess_P[after]
    return float(curve.far_P[after - 1].lerp(curve.far_P[after], -low / (high - low)))


def tar_at_far(curve: Roc, negatives: int, far: Sequence[float] = FARS) -> tuple[TarAtFar, ...]:
    """The true accept rate at the highest threshold with at most each false accept rate; nothing is interpolated.

    Args:
        curve: of some pairs.
        negatives: how many of these are of two classes. A rate below one in so many is not told.
        far: the false accept rates.
    """
    return tuple(
        TarAtFar(rate, float(curve.tar_P[curve.far_P <= rate].max()) if rate >= 1 / negatives else None) for rate in far
    )


def check_pairs(distance_N: Tensor, same_N: Tensor) -> None:
    """Raise UserError unless there are pairs of both kinds, each with a finite distance."""
    if distance_N.ndim != 1 or distance_N.shape != same_N.shape:
        raise ValueError(
            f"Verification expects distances and kinds of pairs, both (N,), "
            f"but got {tuple(distance_N.shape)} and {tuple(same_N.shape)}."
        )
    positives = int(same_N.sum())
    if positives in (0, len(same_N)):
        kinds = "none at all" if not len(same_N) else f"only pairs of {'one class' if positives else 'two classes'}"
        raise UserError(f"Verification needs pairs of one class and pairs of two, but there are {kinds}.")
    if not distance_N.isfinite().all():
        raise UserError(
            f"{int((~distance_N.isfinite()).sum()):,} of {len(distance_N):,} pairs have no finite distance: "
            "some embeddings are NaN or infinite."
        )


class VerificationMetrics(Metric):
    """Verification of official pairs by the embeddings of their images, which come in the order of their table.

    Of several processes each sees one stretch of the table, the first the first.

    Args:
        name: what the names of all figures begin with.
        choose: the pairs that the threshold is chosen on.
        decide: the pairs that are reported.
    """

    full_state_update = False
    embeddings: list[Tensor]

    def __init__(self, name: str, choose: ImagePairs, decide: ImagePairs) -> None:
        super().__init__()
        self.name = name
        self.choose, self.decide = choose, decide
        self.add_state("embeddings", default=[], dist_reduce_fx="cat")

    def update(self, z_BD: Tensor) -> None:
        """Add unit-norm embeddings of the next images of the table."""
        self.embeddings.append(z_BD.float())

    def compute(self) -> dict[str, float]:
        """{'view_1/accuracy': …}, as `Verification.figures`."""
        verification = verify(dim_zero_cat(self.embeddings), self.choose, self.decide)
        return {f"{self.name}/{figure}": value for figure, value in verification.figures().items()}
