"""The options of a run by their dotted names, without those that change nothing in its figures."""

from collections.abc import Iterator, Mapping
from typing import Any

from siamese_lab.runs.results import Results

ASIDE = (
    "paths",
    "data.root",
    "data.cache",
    "logger",
    "launcher",
    "threads",
    "resume",
    "name",
    "budget",
    "recipe",
    "tuned",
    "tuning",
    "metrics",
)
"""Where files lie, what is shown, how jobs are started, and what has set options that are told by themselves."""


def named(run: Results, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Such as `loss.margin: 0.2`; of a class that is built, as `optimizer._target_: torch.optim.AdamW`.

    Args:
        run: whose options are wanted.
        without: further names, or beginnings of names, to leave out.
    """
    left_out = {*ASIDE, *without}
    return {name: value for name, value in _leaves(run.choices) if not left_out & set(_beginnings(name))}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _beginnings(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:number]) for number in range(1, len(parts) + 1))
