"""The extra metrics of a run, by name: `metrics.extra=[NAME]`.

Shapes: N images, D embedding dimensions.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean
from siamese_lab.runs.ranges import ROUNDING

Metric: TypeAlias = Callable[[Tensor, Tensor], Mapping[str, Tensor | float]]
"""Unit-norm embeddings z_ND and int64 labels_N → figures by name, each a share in 0…1, the higher the better."""

_metrics: dict[str, Metric] = {}


def register(name: str) -> Callable[[Metric], Metric]:
    """Register the decorated function as `name`.

    Raises:
        UserError: if another metric has that name.
    """

    def enter(metric: Metric) -> Metric:
        if name in _metrics:
            raise UserError(f"Two metrics are called {name!r}: {_metrics[name]} and {metric}.")
        _metrics[name] = metric
        return metric

    return enter


def available() -> tuple[str, ...]:
    """Return all names, sorted."""
    return tuple(sorted(_metrics))


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names.

    Raises:
        UserError: for a name that no metric has.
    """
    names = tuple(names)
    for name in names:
        if name not in _metrics:
            raise UserError(
                f"There is no metric {name!r}.{did_you_mean(name, _metrics)} Available: {', '.join(available())}."
            )
    return names


def compute(names: Iterable[str], z_ND: Tensor, labels_N: Tensor) -> dict[str, Tensor]:
    """Return the figures of several metrics together, float32 scalars on the device of the embeddings.

    Raises:
        ValueError: if two metrics return figures of one name.
        UserError: if a figure is no share in 0…1, because reports refuse such results. NaN is an undefined figure.
    """
    figures: dict[str, Tensor] = {}
    for name in names:
        for figure, value in _metrics[name](z_ND, labels_N).items():
            if figure in figures:
                raise ValueError(f"The metric {name!r} returns the figure {figure!r}, which is there already.")
            figures[figure] = torch.as_tensor(value, dtype=torch.float32, device=z_ND.device)
            if bool((figures[figure] < -ROUNDING) | (figures[figure] > 1 + ROUNDING)):
                raise UserError(
                    f"The metric {name!r} returned {float(figures[figure]):g} as {figure}, expected a share in 0…1."
                )
    return figures
