"""State the largest values of options that are read from files. Options of the command line have no bounds."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from siamese_lab.runs.plain_values import WrongValueError, shortened

LARGEST: Mapping[str, int] = MappingProxyType(
    {
        "data.image_size": 1024,
        "data.stored_size": 2048,
        "data.workers": 256,
        "network.depth": 1000,
        "network.image_size": 1024,
        "threads": 1024,
        "trainer.devices": 1024,
        "trainer.num_nodes": 1024,
    }
)
"""Largest values of options that decide memory, processes or threads before any weight is compared."""
GROUPS = ("data", "loss", "network", "sampler")
LARGEST_IN_GROUPS = 1_000_000
"""Largest whole number of any other option in these groups."""
LARGEST_SEED = 2**32 - 1


def check_bound(option: str, value: Any) -> None:
    """Raise WrongValueError if a whole number from a file is above the bound of its option, given by dotted name.

    >>> check_bound("data.image_size", 28)
    """
    if not isinstance(value, int) or isinstance(value, bool):
        return
    largest = LARGEST.get(option)
    if largest is None and option.split(".")[0] in GROUPS:
        largest = LARGEST_IN_GROUPS
    if option == "seed" and not 0 <= value <= LARGEST_SEED:
        raise WrongValueError(f"seed is {shortened(str(value))}, expected 0 to {LARGEST_SEED:,}")
    if largest is not None and abs(value) > largest:
        raise WrongValueError(f"{option} is {shortened(str(value))}, expected at most {largest:,}")
