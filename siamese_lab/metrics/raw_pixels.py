"""Compute what raw pixels reach without any network: the floor that a trained network must exceed.

Flattened images are compared like embeddings, by the cosine of their vectors. Images without their mean image are
compared in the same way, and the better one of both is the floor.

The figures depend only on the images and their classes, so all runs on a data set share the figures that the first run
has computed: a JSON file in the cache folder, named after a hash of the images.

Shapes: N images, M of the official pairs, D values of an image (channels × height × width).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from siamese_lab.metrics.retrieval_metrics import RetrievalMetrics
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.runs.files import write_json
from siamese_lab.runs.plain_values import WrongValueError, read_json

MAX_VALUES = 2**27
"""Maximum number of values of all images: 512 MiB as float32, and a few times as much while they are compared."""
MAX_PRODUCTS = 2**39
"""Maximum number of multiplications that compare all images, N²·D: about 20 seconds on two CPU cores."""

STORED_PRODUCTS = 2**33
"""Minimum number of multiplications after which figures are stored; fewer take less than half a second."""
FORMAT = 2
"""Part of the hash. Increase it when the figures of the same images change."""


def is_cheap(images: int, values: int) -> bool:
    """Return whether the raw pixels of a set fit in memory and are compared quickly.

    Args:
        images: N.
        values: D.
    """
    return images * values <= MAX_VALUES and images**2 * values <= MAX_PRODUCTS


class PixelRetrieval(RetrievalMetrics):
    """`RetrievalMetrics` of flattened images, of the comparison with the higher Recall@1.

    Args:
        cache: folder of stored figures; None computes them each time, and extra metrics are always computed.
        **options: options of `RetrievalMetrics`.
    """

    def __init__(self, cache: Path | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.cache = None if self.extra else cache

    def compute(self) -> dict[str, Any]:
        """Return the figures of `RetrievalMetrics`."""
        (pixels_ND, labels_N), roles = self.images(), self.roles_of_images()

        def measure() -> Mapping[str, Tensor]:
            compared = (self.figures(x_ND, labels_N, roles) for x_ND in directions(pixels_ND))
            return max(compared, key=lambda each: each["recall@1"])

        depends_on = (pixels_ND, labels_N, *([] if roles is None else roles.tensors()))
        return stored_or_measured(self.cache, depends_on, f"{self.k} {self.distance}", measure)


class PixelVerification(VerificationMetrics):
    """`VerificationMetrics` of flattened images, of the comparison with the higher accuracy.

    Args:
        cache: folder of stored figures; None computes them each time.
        *options: arguments of `VerificationMetrics`.
    """

    def __init__(self, cache: Path | None, *options: Any) -> None:
        super().__init__(*options)
        self.cache = cache

    def compute(self) -> dict[str, Any]:
        """Return the figures of `VerificationMetrics`."""
        pixels_MD = dim_zero_cat(self.embeddings)

        def measure() -> Mapping[str, float]:
            return max(map(self.figures, directions(pixels_MD)), key=lambda each: each[f"{self.name}/accuracy"])

        return stored_or_measured(self.cache, (pixels_MD, *self.choose, *self.decide), self.name, measure)


def stored_or_measured(
    cache: Path | None, tensors: Sequence[Tensor], options: str, measure: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the figures that an earlier run has stored for the same images, or measure and store them.

    Args:
        cache: the cache folder; None stores nothing.
        tensors: everything that the figures depend on; the first one holds the images (N, D).
        options: the options that the figures depend on.
        measure: computes the figures.
    """
    images, values = tensors[0].shape
    if cache is None or images**2 * values < STORED_PRODUCTS:
        return dict(measure())
    place = cache / "raw_pixels" / f"{hash_of(tensors, options)}.json"
    figures = read_figures(place)
    if figures is None:
        figures = {name: float(value) for name, value in measure().items()}
        write_figures(place, figures)
    return figures


def write_figures(place: Path, figures: Mapping[str, float]) -> None:
    """Store figures, unless the cache is full or read-only: then the next run measures again."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, figures)


def hash_of(tensors: Sequence[Tensor], options: str) -> str:
    """Return the SHA-256 of the tensors' shapes, types and values, the options and `FORMAT`."""
    digest = hashlib.sha256(f"{FORMAT} {options}".encode())
    for tensor in tensors:
        digest.update(f" {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def read_figures(place: Path) -> dict[str, float] | None:
    """Read stored figures; None if there are none, or if the file is damaged."""
    try:
        figures = read_json(place)
    except (OSError, WrongValueError):
        return None
    whole = isinstance(figures, dict) and figures and all(isinstance(value, float) for value in figures.values())
    return figures if whole else None


def directions(pixels_ND: Tensor) -> Iterator[Tensor]:
    """Yield the images as unit vectors, then the images without their mean image as unit vectors."""
    yield F.normalize(pixels_ND, dim=1)
    centered_ND = pixels_ND - pixels_ND.mean(0)
    yield F.normalize(centered_ND, dim=1, out=centered_ND)
