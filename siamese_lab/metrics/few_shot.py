"""Few-shot classification: which of some new classes is an image of, given few images of each?

Two protocols that differ by about a factor of two in error on the same network, never to be mixed: Lake's twenty one-shot
runs (within an alphabet, drawn by two people), and episodes drawn at random from all classes.

Shapes: R runs, C classes of a run, T images to classify in a run, N images, D embedding dimensions, E episodes.
"""

from typing import NamedTuple

from torch import Tensor


class OneShot(NamedTuple):
    """Lake's runs."""

    error: float
    """The mean of the runs' shares of images that are classified wrongly, 0…1."""
    error_R: Tensor
    """Of each run."""


class Episodes(NamedTuple):
    """Random episodes."""

    accuracy: float
    """The mean over episodes, 0…1."""
    low: float
    """Of the 95% interval: mean ± 1.96 standard errors over the episodes."""
    high: float
    classes: int
    """How many classes had images enough to be drawn."""
    accuracy_E: Tensor


def one_shot(z_RCD: Tensor, z_RTD: Tensor, answer_RT: Tensor) -> OneShot:
    """The error of the nearest of the C images, one of each class, over the runs of Lake et al. (2015).

    Args:
        z_RCD: unit-norm embeddings of the one image that is known of each class.
        z_RTD: those of the images to classify.
        answer_RT: int64, which of the C each is of.

    Raises:
        ValueError: for shapes that do not match, and embeddings that are not finite.
    """
    raise NotImplementedError


def episodes(
    z_ND: Tensor,
    labels_N: Tensor,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    number: int = 1000,
    seed: int = 0,
) -> Episodes:
    """N-way k-shot accuracy of the nearest class mean (Snell et al. 2017, 1703.05175), over random episodes.

    Each episode draws `ways` classes, of each of which `shots` images make the mean and `queries` others are classified.

    Raises:
        ValueError: where fewer than `ways` classes have `shots` + `queries` images, and for embeddings not finite.
    """
    raise NotImplementedError
