"""Options that have another name than in an earlier version: one table for the command line and for stored files.

The command line accepts an earlier name until the next minor version, with a warning: see `config.renamed`. Stored
files of an earlier version always get the names of today: see `migrations`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Renamed(NamedTuple):
    """An option with an earlier name."""

    old: str
    """Dotted name before the change."""
    new: str
    """Dotted name from `since` on."""
    since: str
    """First version with the new name, such as "0.1.0"."""
    convert: Callable[[Any], Any] | None = None
    """Translates the value, if its meaning changed with the name. It raises ValueError for a value that has no
    translation.
    """


def share_of_every(nth: Any) -> float:
    """Return the fraction that holds out every nth item.

    Raises:
        ValueError: if `nth` is no whole number of at least 2.

    >>> share_of_every(10)
    0.1
    """
    if type(nth) is not int or nth < 2:
        raise ValueError(f"{nth!r} is no whole number of at least 2")
    return 1 / nth


RENAMED = (
    Renamed("name", "study_name", "0.1.0"),
    Renamed("tested", "report_checkpoint", "0.1.0"),
    Renamed("data.colour", "data.color", "0.1.0"),
    Renamed("data.hold_out", "data.validation_fraction", "0.1.0", share_of_every),
    Renamed("data.validation_share", "data.validation_fraction", "0.1.0"),
    Renamed("data.test_share", "data.test_fraction", "0.1.0"),
    Renamed("sampler.negatives", "sampler.num_negatives", "0.1.0"),
    Renamed("network.views", "network.tta", "0.1.0"),
    Renamed("network.doubling", "network.double_width", "0.1.0"),
    Renamed("network.round_up", "network.ceil_mode", "0.1.0"),
    Renamed("schedule.warm_up", "schedule.warmup_fraction", "0.1.0"),
    Renamed("schedule.drops", "schedule.milestones", "0.1.0"),
)
"""All renamed options. An entry stays for ever, because stored files keep the earlier name."""
REMOVED_CHOICES = {
    "budget=full": "Leave it out for all steps of a recipe, or set trainer.max_steps.",
    "budget=quick": "budget=half trains half the steps of a recipe, and trainer.max_steps=100 sets a number.",
}
"""Choices that an earlier version had, with what to use instead."""


def with_new_names(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with the names of today. A value that has no translation keeps its earlier name.

    >>> with_new_names({"network": {"name": "conv4", "views": []}, "tested": "last"})
    {'network': {'name': 'conv4', 'tta': []}, 'report_checkpoint': 'last'}
    """
    renamed = dict(choices)
    for each in RENAMED:
        group, _, old = each.old.rpartition(".")
        options = renamed.get(group) if group else renamed
        new = each.new.rpartition(".")[2]
        if not isinstance(options, Mapping) or old not in options or new in options:
            continue
        try:
            value = options[old] if each.convert is None else each.convert(options[old])
        except ValueError:
            continue
        named = {**{name: kept for name, kept in options.items() if name != old}, new: value}
        renamed = {**renamed, group: named} if group else named
    return renamed
