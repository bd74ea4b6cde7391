"""Compare a stored state with the state of a new object: the fields, kinds of values, lengths and shapes.

An object restores whatever a checkpoint holds, also attributes that it does not have and values of other types, and
fails only when it uses them.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from siamese_lab.runs.plain_values import WrongValueError, joined, wrong
from siamese_lab.runs.weights import is_other_kind, shape_of


def check_form(given: Any, wanted: Any, place: str) -> None:
    """Raise WrongValueError unless a stored value has the form of another value.

    Numbers must be finite, unless the other one is not. Fields may be missing, because earlier versions of torch and
    Lightning have fewer.

    Args:
        given: the stored value.
        wanted: the value of a new object.
        place: name of the value in messages.

    >>> check_form({"lr": 1.0, "steps": [1, 2]}, {"lr": 0.5, "steps": [0, 0]}, "state")
    """
    if isinstance(wanted, Mapping):
        if not isinstance(given, Mapping):
            raise wrong(place, given, "a dictionary")
        for key in given:
            if key not in wanted:
                raise WrongValueError(f"the field {joined(place, str(key))} is unknown")
        for key, value in wanted.items():
            if key in given:
                check_form(given[key], value, joined(place, str(key)))
    elif isinstance(wanted, (list, tuple)):
        if not isinstance(given, (list, tuple)) or len(given) != len(wanted):
            raise wrong(place, given, f"a list of {len(wanted)} values")
        for number, (each, value) in enumerate(zip(given, wanted, strict=True)):
            check_form(each, value, joined(place, number))
    elif isinstance(wanted, Tensor):
        check_tensor_form(given, wanted, place)
    elif isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise wrong(place, given, "a number")
        if math.isfinite(wanted) and not math.isfinite(given):
            raise wrong(place, given, "a finite number")
    elif type(given) is not type(wanted):
        raise wrong(place, given, f"a value like {wanted!r}")


def check_tensor_form(given: Any, wanted: Tensor, place: str) -> None:
    """Raise WrongValueError unless a value is a tensor of the same shape and kind, without NaN."""
    if isinstance(given, (int, float)) and not wanted.ndim:  # earlier versions of torch count steps so
        check_form(given, 0.0, place)
        return
    if not isinstance(given, Tensor) or given.shape != wanted.shape:
        raise WrongValueError(f"{place} is {shape_of(given)}, expected {shape_of(wanted)}")
    if is_other_kind(given, wanted):
        raise WrongValueError(f"{place} holds {given.dtype}, expected {wanted.dtype}")
    check_finite(given, place)


def check_finite(tensor: Tensor, place: str) -> None:
    """Raise WrongValueError if a tensor holds NaN, or is an infinite number. A sum of squares may overflow."""
    if tensor.is_floating_point() and bool(tensor.isnan().any() or (not tensor.ndim and tensor.isinf())):
        raise WrongValueError(f"{place} is not finite")
