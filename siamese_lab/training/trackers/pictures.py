"""Histograms and pictures: the interface through which callbacks hand them to every logger that can show them."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from lightning import Trainer
from numpy.typing import NDArray
from torch import Tensor

BINS = 30


class Histogram(NamedTuple):
    """The number of values in each of some intervals of equal width."""

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    """Limits of the intervals: one more than there are counts."""

    @classmethod
    def of(cls, values: Tensor) -> "Histogram":
        """Count the finite values of a tensor of any shape in BINS intervals between the least and the greatest one."""
        finite = values.detach().double().cpu().flatten()
        return cls(*np.histogram(finite[finite.isfinite()].numpy(), BINS))


@runtime_checkable
class PictureLogger(Protocol):
    """Describes a logger that shows histograms and pictures. Only the first process of a run calls it."""

    def log_histogram(self, name: str, values: Tensor, step: int) -> None:
        """Show how values of any shape are distributed."""

    def log_picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Show a picture (height, width, 3)."""


def picture_loggers(trainer: Trainer) -> list[PictureLogger]:
    """Return the loggers of a run that show histograms and pictures; the same ones in all processes."""
    return [each for each in trainer.loggers if isinstance(each, PictureLogger)]
