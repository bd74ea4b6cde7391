"""Bring files of earlier versions to the form of today: one small function per step, from plain values to plain values.

Each kind of file has its own number, which rises when the meaning of a stored value changes. A field that is added with
a default leaves the number as it is. Files with a number that is not listed here are refused.
"""

from collections.abc import Callable, Mapping
from typing import Any

from siamese_lab.runs.plain_values import WrongValueError, shortened
from siamese_lab.runs.renamed_options import with_new_names

Content = dict[str, Any]
Step = Callable[[Content], Content]


class UnknownVersionError(WrongValueError):
    """Raised for the number of a version that this version of siamese_lab cannot read."""


def rename_options(content: Content) -> Content:
    """Give the stored configuration the names of version 0.1.0: see `renamed_options`."""
    choices = content.get("choices")
    return {**content, "choices": with_new_names(choices)} if isinstance(choices, Mapping) else content


RESULTS: Mapping[int, Step] = {1: rename_options}
"""Steps of results.json and of the lines of runs.jsonl.gz, by the number that they start from."""
CONFIGURATION: Mapping[int, Step] = {1: rename_options}
"""Steps of the configuration in a checkpoint."""
TUNED: Mapping[int, Step] = {1: rename_options}
"""Steps of tuned.json."""


def migrate(content: Mapping[str, Any], version: Any, current: int, steps: Mapping[int, Step]) -> Content:
    """Return a content in the form of the current version.

    Args:
        content: plain values.
        version: the number of the form that the content says it has.
        current: the number of today.
        steps: functions by the number that they start from; each returns the content in the form of the next number.

    Raises:
        UnknownVersionError: if there is no way from `version` to `current`.
    """
    if type(version) is not int or not min(steps, default=current) <= version <= current:
        earlier = f" and migrates {', '.join(map(str, sorted(steps)))}" if steps else ""
        kind = "" if type(version) is int else f" of type {type(version).__name__}"
        raise UnknownVersionError(
            f"{shortened(str(version))}{kind}, but this version of siamese_lab reads {current}{earlier}"
        )
    migrated = dict(content)
    for number in range(version, current):
        migrated = steps[number](migrated)
    return migrated
