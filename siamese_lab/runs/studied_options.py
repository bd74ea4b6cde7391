"""Name the options that reports read from the results of runs, and check the type of their values.

A record holds the whole configuration of a run, also options of a user's own parts, and reports show most of them as
texts. They compute with the options of this module only: factors, levels and rules of hypotheses.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from siamese_lab.runs.options import flatten
from siamese_lab.runs.plain_values import check_name, of_type, wrong

STUDIED: Mapping[str, type] = MappingProxyType(
    {
        "data.classes_per_batch": int,
        "data.images_per_class": int,
        "data.label_noise": float,
        "data.rotations": bool,
        "loss.distance": str,
        "loss.margin": float,
        "loss.name": str,
        "loss.reduction": str,
        "loss.soft": bool,
        "network.batch_norm": bool,
        "network.embedding_dim": int,
        "network.name": str,
        "optimizer.lr": float,
        "sampler.choice": str,
        "sampler.num_negatives": int,
        "trainer.max_steps": int,
    }
)
"""Type of each option by dotted name. A run can lack an option, and every option can be null."""
GROUPS = tuple(dict.fromkeys(option.partition(".")[0] for option in STUDIED))
"""Groups of the options. A run can lack a group, but a group is never null."""


def check_studied(choices: Mapping[str, Any]) -> None:
    """Raise WrongValueError unless the options of `STUDIED` have their types, within a recorded configuration.

    >>> check_studied({"loss": {"name": "triplet", "margin": 0.2}, "trainer": {"max_steps": 400}})
    """
    for group in GROUPS:
        if group in choices:
            of_type(choices[group], dict[str, Any], f"choices.{group}")
    values = flatten(choices, branches=True)
    for option, kind in STUDIED.items():
        if (value := values.get(option)) is not None:
            check_value(value, kind, f"choices.{option}")


def check_value(value: Any, kind: type, place: str) -> None:
    """Raise WrongValueError unless a value has a type; a number must be finite, and a text a name."""
    of_type(value, kind, place)
    if kind is str:
        check_name(value, place)
    elif kind is float and not math.isfinite(value):
        raise wrong(place, value, "a finite number")


def studied_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `STUDIED` among options by dotted names."""
    return {option: value for option, value in options.items() if option in STUDIED}
