"""Compute what raw pixels reach without any network: the floor that a trained network must exceed.

Flattened images are compared like embeddings, by the cosine of their vectors. Images without their mean image are
compared in the same way, and the better one of both is the floor.

Shapes: N images, M of the official pairs, D values of an image (channels × height × width).
"""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from siamese_lab.metrics.retrieval_metrics import RetrievalMetrics
from siamese_lab.metrics.verification import VerificationMetrics

MAX_VALUES = 2**27
"""Maximum number of values of all images: 512 MiB as float32, and a few times as much while they are compared."""
MAX_PRODUCTS = 2**39
"""Maximum number of multiplications that compare all images, N²·D: about 20 seconds on two CPU cores."""


def is_cheap(images: int, values: int) -> bool:
    """Return whether the raw pixels of a set fit in memory and are compared quickly.

    Args:
        images: N.
        values: D.
    """
    return images * values <= MAX_VALUES and images**2 * values <= MAX_PRODUCTS


class PixelRetrieval(RetrievalMetrics):
    """`RetrievalMetrics` of flattened images, of the comparison with the higher Recall@1."""

    def compute(self) -> dict[str, Tensor]:
        """Return the figures of `RetrievalMetrics`."""
        pixels_ND, labels_N = self.images()
        return max((self.figures(x_ND, labels_N) for x_ND in directions(pixels_ND)), key=lambda each: each["recall@1"])


class PixelVerification(VerificationMetrics):
    """`VerificationMetrics` of flattened images, of the comparison with the higher accuracy."""

    def compute(self) -> dict[str, float]:
        """Return the figures of `VerificationMetrics`."""
        compared = map(self.figures, directions(dim_zero_cat(self.embeddings)))
        return max(compared, key=lambda each: each[f"{self.name}/accuracy"])


def directions(pixels_ND: Tensor) -> Iterator[Tensor]:
    """Yield the images as unit vectors, then the images without their mean image as unit vectors."""
    yield F.normalize(pixels_ND, dim=1)
    centered_ND = pixels_ND - pixels_ND.mean(0)
    yield F.normalize(centered_ND, dim=1, out=centered_ND)
