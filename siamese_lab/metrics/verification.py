"""Verification: decide by distance if two images are of one class, with a threshold chosen on other pairs.

A pair is accepted (classified as one class) if its distance is at most the threshold. The true accept rate (TAR) is the
accepted share of the pairs of one class. The false accept rate (FAR) is the accepted share of the pairs of two classes.

Shapes: N pairs, M images, D embedding dimensions, P points of a curve.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
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
    """Distances, ascending. Each accepts the pairs up to it; the first, −∞, accepts nothing."""


class TarAtFar(NamedTuple):
    """The true accept rate at a limit of the false accept rate."""

    far: float
    tar: float | None
    """None if undefined: a single pair of two classes is a greater share than `far`."""


class Verification(NamedTuple):
    """The reported figures of a set of pairs."""

    accuracy: float
    threshold: float
    """Chosen on other pairs, in units of the distance."""
    auc: float
    eer: float
    tar_at_far: tuple[TarAtFar, ...]
    positives: int
    """Number of pairs of one class."""
    negatives: int
    """Number of pairs of two classes."""

    def figures(self) -> dict[str, float]:
        """Return the figures by their names in results; NaN for an undefined rate."""
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
    """Choose a threshold on some pairs, decide others with it, and report the figures of the others.

    Args:
        z_MD: unit-norm embeddings of the images of both sets of pairs.
        choose: the pairs that the threshold is chosen on.
        decide: the pairs that are reported; none is among the pairs of `choose`.

    Raises:
        UserError: for embeddings that are not finite, and for pairs that are all of one kind.
    """
    threshold = best_threshold(pair_distances(z_MD, choose), choose.same_N)
    return report(pair_distances(z_MD, decide), decide.same_N, threshold)


def report(distance_N: Tensor, same_N: Tensor, threshold: float) -> Verification:
    """Compute all figures of pairs, given their distances and a threshold chosen on other pairs.

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
    """Return the threshold that decides most pairs correctly.

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
    """Compute the share of correct decisions, if pairs with a distance up to the threshold are accepted."""
    return float(((distance_N.double() <= threshold) == same_N.to(distance_N.device)).double().mean())


def roc(distance_N: Tensor, same_N: Tensor) -> Roc:
    """Compute both rates at every threshold, by scikit-learn, on the CPU. Equal distances are accepted together.

    Raises:
        UserError: for distances that are not finite, and for pairs that are all of one kind.
    """
    from sklearn.metrics import roc_curve  # takes most of a second

    check_pairs(distance_N, same_N)
    scores_N = -distance_N.cpu().double().numpy()
    far_P, tar_P, score_P = roc_curve(same_N.cpu().numpy(), scores_N, drop_intermediate=False)
    return Roc(torch.from_numpy(far_P), torch.from_numpy(tar_P), -torch.from_numpy(score_P))


def auc(curve: Roc) -> float:
    """Compute the area under the curve: how often a pair of one class is nearer than a pair of two; ties count half."""
    from sklearn import metrics as sklearn_metrics

    return float(sklearn_metrics.auc(curve.far_P.numpy(), curve.tar_P.numpy()))


def eer(curve: Roc) -> float:
    """Compute the equal error rate: the false accept rate where it equals the false reject rate, 1 − TAR.

    It is read off the straight line between the two points of the curve that it lies between.
    """
    excess_P = curve.far_P + curve.tar_P - 1  # ascends from −1 to 1
    after = int((excess_P >= 0).int().argmax())
    low, high = excess_P[after - 1], excess_P[after]
    return float(curve.far_P[after - 1].lerp(curve.far_P[after], -low / (high - low)))


def tar_at_far(curve: Roc, negatives: int, far: Sequence[float] = FARS) -> tuple[TarAtFar, ...]:
    """Compute the true accept rate at the highest threshold with at most each false accept rate, not interpolated.

    Args:
        curve: of some pairs.
        negatives: number of pairs of two classes. A rate below 1/negatives is undefined.
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

    Each of several processes sees one section of the table, in the order of the ranks.

    Args:
        name: prefix of the names of all figures.
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
        """Return {'view_1/accuracy': …}, the figures of `Verification.figures`."""
        return self.figures(dim_zero_cat(self.embeddings))

    def figures(self, z_MD: Tensor) -> dict[str, float]:
        """Return the figures of unit-norm embeddings of all images of the table."""
        verification = verify(z_MD, self.choose, self.decide)
        return {f"{self.name}/{figure}": value for figure, value in verification.figures().items()}
