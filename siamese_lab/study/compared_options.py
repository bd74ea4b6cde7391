"""The options of a run by their dotted names, without the options that do not change its results."""

from collections.abc import Iterator, Mapping
from typing import Any

from siamese_lab.runs.results import Results

IGNORED = (
    "paths",
    "data.root",
    "data.cache",
    "logger",
    "launcher",
    "threads",
    "resume",
    "study_name",
    "budget",
    "recipe",
    "tuned",
    "tuning",
    "metrics",
)
"""Options that are not compared: file locations, console output, how jobs start, and options that only set others."""


def compared_options(run: Results, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the options of a run that its results depend on, such as `loss.margin: 0.2`.

    The class of a part is the option `_target_`, such as `optimizer._target_: torch.optim.AdamW`.

    Args:
        run: the results of the run.
        without: further names, or prefixes of names, to leave out.
    """
    ignored = {*IGNORED, *without}
    return {name: value for name, value in _leaves(run.choices) if not ignored & set(_prefixes(name))}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:number]) for number in range(1, len(parts) + 1))
