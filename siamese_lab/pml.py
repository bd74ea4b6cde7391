"""Find and build the classes of pytorch-metric-learning by name. The package is imported when it is first needed.

pytorch-metric-learning is an optional package: `pip install 'siamese_lab[pml]'`.
"""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from types import ModuleType
from typing import Any

import numpy as np
import torch

from siamese_lab.errors import UserError
from siamese_lab.registry import check_options, options_of

PARTS: Mapping[str, str] = {
    "distance": "distances",
    "reducer": "reducers",
    "embedding_regularizer": "regularizers",
    "weight_regularizer": "regularizers",
}
"""Options that take an object, by the module of its class.

A configuration names the class as PART_name, with its options as PART_options. So `loss.distance`, which strategies
follow, keeps its meaning.
"""
NOT_SETTABLE = ("args", "mat_based_loss", "weight_init_func", "collect_stats")
"""Parameters of constructors that a configuration cannot set, or that have no effect on a run."""


def module(kind: str) -> ModuleType:
    """Import a module of pytorch-metric-learning, such as "losses".

    Raises:
        UserError: if the package is not installed.
    """
    try:
        return importlib.import_module(f"pytorch_metric_learning.{kind}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pytorch_metric_learning":
            raise
        raise UserError(
            "Losses and miners of pytorch-metric-learning need this package: pip install 'siamese_lab[pml]'."
        ) from None


def classes(kind: str, left_out: tuple[str, ...] = ()) -> dict[str, type]:
    """Return the public classes of a module by name, without base classes and mixins, and without `left_out`."""
    found = {name: each for name, each in vars(module(kind)).items() if inspect.isclass(each)}
    abstract = [name for name in found if name.startswith(("Base", "GenericPair")) or name.endswith("Mixin")]
    return {name: found[name] for name in sorted(found) if name not in (*abstract, *left_out)}


def find(kind: str, name: str, option: str, left_out: Mapping[str, str] | None = None) -> type:
    """Return the class with a name.

    Args:
        kind: module of pytorch-metric-learning, such as "losses".
        name: name of the class.
        option: option of the lab that holds the name, for messages.
        left_out: classes that the lab cannot use, each with the reason.

    Raises:
        UserError: if the name is unknown, or the lab cannot use the class; the message gives the nearest names.
    """
    left_out = left_out or {}
    known = classes(kind, tuple(left_out))
    if name in left_out:
        raise UserError(f"{option}={name} of pytorch-metric-learning cannot be used here: {left_out[name]}.")
    if name not in known:
        by_lower = {each.lower(): each for each in known}
        nearest = get_close_matches(str(name).lower(), list(by_lower), n=3, cutoff=0.4)
        names = f"The nearest names: {', '.join(by_lower[each] for each in nearest)}."
        every = f"Names: {', '.join(known)}."
        raise UserError(f"pytorch-metric-learning has no {option}={name}. {names if nearest else every}")
    return known[name]


def build(cls: type, group: str, options: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Any:
    """Build an object of pytorch-metric-learning.

    Args:
        cls: its class.
        group: group of the lab's configuration, "loss" or "sampler", for messages.
        options: options of its constructor, with PART_name and PART_options for each of `PARTS`.
        given: values that the lab sets itself, such as the number of classes, where the constructor requires them.

    Raises:
        UserError: if an option is unknown, missing, or refused by the class.
    """
    given = given or {}
    accepted = [each for each in dict.fromkeys(options_of(cls)) if each not in (*NOT_SETTABLE, *given)]
    known = [each for each in accepted if each not in PARTS]
    known += [f"{part}_{what}" for part in PARTS if part in accepted for what in ("name", "options")]
    check_options(f"{group}.name={cls.__name__} of pytorch-metric-learning", known, options)
    arguments = {name: plain(value) for name, value in options.items()}
    for part, kind in PARTS.items():
        name, its_options = arguments.pop(f"{part}_name", None), arguments.pop(f"{part}_options", None)
        if name is not None:
            arguments[part] = build(find(kind, name, f"{group}.{part}_name"), f"{group}.{part}", its_options or {})
        elif its_options is not None:
            raise UserError(f"{group}.{part}_options needs {group}.{part}_name, the name of a class.")
    required = required_of(cls)
    arguments |= {name: value for name, value in given.items() if name in required}
    missing = [name for name in inspect.signature(cls).parameters if name in required and name not in arguments]
    if missing:
        examples = " ".join(f"+{group}.{name}=VALUE" for name in missing)
        raise UserError(f"{group}.name={cls.__name__} has options without a default. Set {examples}.")
    try:
        return cls(**arguments)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"{group}.name={cls.__name__} refuses its options {arguments}: {error}") from error


def required_of(cls: type) -> list[str]:
    """Return the parameters without a default, of the constructor and of those of its base classes."""
    required = []
    for ancestor in inspect.getmro(cls):
        if "__init__" not in vars(ancestor):
            continue
        parameters = list(inspect.signature(vars(ancestor)["__init__"]).parameters.values())[1:]
        named = [each for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
        required += [each.name for each in named if each.default is each.empty]
        if len(named) == len(parameters):
            break
    return required


def plain(value: Any) -> Any:
    """Return a value of a configuration as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return value
    return [plain(each) for each in value]


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Give the random numbers of PyTorch and NumPy a seed within the block, and their own state back afterwards.

    pytorch-metric-learning draws from these global generators.
    """
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)
