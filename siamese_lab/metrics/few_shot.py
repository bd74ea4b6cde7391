"""Few-shot classification: assign an image to one of several new classes, given few images of each class.

There are two protocols: Lake's twenty one-shot runs (characters of one alphabet, by two people), and episodes drawn at
random from all classes. Their results must not be mixed, because a network errs up to three times as often in the first
protocol (arXiv:1902.03477).

An image is assigned to the class with the nearest mean embedding (Snell et al. 2017, arXiv:1703.05175, §2.3). With one
shot this is the nearest neighbor. A tie among n classes that includes the right class counts 1/n, so a collapsed
network scores chance.

Shapes: E episodes or runs, W ways, Q images to classify in each, I images of a class in an episode (known and to
classify), N images, D embedding dimensions, C classes.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.errors import UserError
from siamese_lab.metrics.health import check_embeddings, check_finite

TIE = 1e-6
"""Scores nearer than this are equal: a matrix product rounds equal rows differently in different places."""
NORMAL_975 = 1.96
"""Half the width of a 95% interval, in standard errors."""
CHUNK_CELLS = 2**20
"""Numbers of embeddings gathered at once: 4 MiB."""


class OneShot(NamedTuple):
    """The result of Lake's runs."""

    error: float
    """The share of images that are assigned to a wrong class, averaged over the runs, 0…1."""
    error_E: Tensor
    """The error of each run; float64."""


class Episodes(NamedTuple):
    """The result of random episodes."""

    accuracy: float
    """The mean accuracy over the episodes, 0…1."""
    low: float
    """Lower end of the 95% interval for these classes, ± 1.96 standard errors over the episodes."""
    high: float
    classes: int
    """Number of classes with enough images to be drawn."""
    accuracy_E: Tensor
    """The accuracy of each episode; float64."""


def one_shot(known_EWD: Tensor, asked_EQD: Tensor, answer_EQ: Tensor) -> OneShot:
    """Compute the error over the runs of Lake et al. 2015 (doi:10.1126/science.aab3050), 20 ways and images each.

    Args:
        known_EWD: unit-norm embeddings of one image of each class.
        asked_EQD: unit-norm embeddings of the images to classify.
        answer_EQ: int64, 0…W − 1: the right class of each image.

    Raises:
        ValueError: for shapes that do not match.
        UserError: for embeddings that are not finite.
    """
    if known_EWD.ndim != 3 or asked_EQD.shape[:2] != answer_EQ.shape or asked_EQD.shape[::2] != known_EWD.shape[::2]:
        raise ValueError(
            f"one_shot expects embeddings (E, W, D) and (E, Q, D) and answers (E, Q), "
            f"but got {tuple(known_EWD.shape)}, {tuple(asked_EQD.shape)} and {tuple(answer_EQ.shape)}."
        )
    for z in (known_EWD, asked_EQD):
        check_finite(z.flatten(0, 1))
    error_E = 1 - share_right(known_EWD, asked_EQD, answer_EQ).mean(1)
    return OneShot(float(error_E.mean()), error_E)


def episodes(
    z_ND: Tensor, labels_N: Tensor, ways: int, shots: int, queries: int = 15, number: int = 1000, seed: int = 0
) -> Episodes:
    """Compute the accuracy of N-way k-shot episodes. Each draws classes and images without repetition.

    Args:
        z_ND: unit-norm embeddings.
        labels_N: their classes. Classes with fewer images than `shots` + `queries` are not drawn.
        ways: classes of an episode.
        shots: images of each class that are known.
        queries: further images of each class that are classified.
        number: of episodes.
        seed: of the draw, which is the same on every device.

    Raises:
        UserError: where too few classes have images enough, and for embeddings that are not finite.
    """
    check_embeddings("episodes", z_ND, labels_N)
    _check_counts(ways, shots, queries, number)
    images = shots + queries
    order_N = labels_N.cpu().argsort(stable=True)
    _, size_C = labels_N.cpu().unique(return_counts=True)
    large_C = size_C >= images
    classes = int(large_C.sum())
    if classes < ways:
        raise UserError(
            f"{ways}-way episodes of {shots} + {queries} images need {ways} classes of at least {images} images, "
            f"but of {len(size_C):,} classes {classes:,} have as many. Ask for fewer ways, shots or queries."
        )
    first_C, size_C = (size_C.cumsum(0) - size_C)[large_C], size_C[large_C]
    generator = torch.Generator().manual_seed(seed)
    accuracy = []
    for chunk_E in torch.arange(number).split(max(1, CHUNK_CELLS // (ways * images * z_ND.shape[1]))):
        class_EW = draw_distinct(torch.full_like(chunk_E, classes), ways, generator)
        row_EWI = order_N[first_C[class_EW][..., None] + draw_distinct(size_C[class_EW], images, generator)]
        z_EWID = z_ND[row_EWI.to(z_ND.device)].float()
        answer_EQ = torch.arange(ways, device=z_ND.device).repeat_interleave(queries).expand(len(chunk_E), -1)
        right_EQ = share_right(z_EWID[:, :, :shots].mean(2), z_EWID[:, :, shots:].flatten(1, 2), answer_EQ)
        accuracy.append(right_EQ.mean(1))
    accuracy_E = torch.cat(accuracy)
    mean, half = float(accuracy_E.mean()), NORMAL_975 * float(accuracy_E.std()) / math.sqrt(number)
    return Episodes(mean, max(0.0, mean - half), min(1.0, mean + half), classes, accuracy_E)


def share_right(known_EWD: Tensor, asked_EQD: Tensor, answer_EQ: Tensor) -> Tensor:
    """Return 1/n for each image if its class is among the n nearest classes that tie, else 0; float64 (E, Q)."""
    with distances.full_float32(known_EWD.device):
        dot_EQW = asked_EQD.float() @ known_EWD.float().transpose(1, 2)
    score_EQW = dot_EQW - known_EWD.float().square().sum(2)[:, None] / 2  # falls as the distance rises
    nearest_EQW = score_EQW >= score_EQW.amax(2, keepdim=True) - TIE
    return nearest_EQW.gather(2, answer_EQ[..., None])[..., 0].double() / nearest_EQW.sum(2)


def draw_distinct(size: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Draw `number` different integers 0…size − 1 for each size, in random order: (…) gives (…, number).

    All draws run in parallel, in a time that does not depend on the sizes (Floyd's algorithm: Bentley & Floyd 1987).
    """
    drawn = size.new_empty(*size.shape, number)
    for place in range(number):
        last = size - number + place
        one = (torch.rand(size.shape, dtype=torch.float64, generator=generator) * (last + 1)).long()
        taken = (drawn[..., :place] == one[..., None]).any(-1)
        drawn[..., place] = one.where(~taken, last)
    return drawn.gather(-1, torch.rand(drawn.shape, generator=generator).argsort(-1))


def _check_counts(ways: int, shots: int, queries: int, number: int) -> None:
    for name, value, least in (("ways", ways, 2), ("shots", shots, 1), ("queries", queries, 1), ("number", number, 2)):
        if value < least:
            raise UserError(f"episodes needs {name}={least} or more, but got {value}.")
