"""What is left to do of a run: nothing, the rest from its last checkpoint, or all of it."""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console

from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.checkpoints import stored_choices
from siamese_lab.runs.results import Results

IGNORED = ("paths", "logger", "resume", "threads", "name")
"""Choices that change no figure of a run: where files lie, and who computes when."""
PROCESSES = ("trainer.devices", "trainer.strategy", "trainer.num_nodes")
"""Choices of how many processes compute, which change figures by rounding only."""
DEFAULTS_OF_OLD_RUNS = {"trainer.accumulate_grad_batches": 1}
"""Options that older runs do not mention, with the value that these runs had."""
DATA_FOLDERS = ("root", "cache")
"""Likewise, of the data."""
SHOWN = 3
"""How many differences a message lists."""


class RemainingWork(NamedTuple):
    """What is left of a run."""

    what: Literal["nothing", "rest", "all"]
    checkpoint: Path | None = None
    """Where the rest begins."""


def remaining_work(folder: Path, choices: Mapping[str, Any], console: Console) -> RemainingWork:
    """What is left of the run in a folder; files that are damaged are set aside, and named on the console.

    Args:
        folder: of the run, which may be empty.
        choices: of the run that is wanted, as plain values.
        console: for warnings.

    Raises:
        UserError: if the folder holds a run of other choices.
    """
    left = read_or_quarantine(folder, console)
    if left is not None:
        check_same(folder, left.choices, choices)
        if left.status == "finished":
            return RemainingWork("nothing")
        if left.status == "failed":
            return RemainingWork("all")
    checkpoint = folder / checkpoints.FOLDER / f"last{checkpoints.SUFFIX}"
    if not checkpoint.is_file():
        return RemainingWork("all")
    try:
        stored = stored_choices(checkpoints.read_checkpoint(checkpoint))
    except UserError as error:
        quarantine(checkpoint, str(error), console)
        return RemainingWork("all")
    check_same(folder, stored or {}, choices)
    return RemainingWork("rest", checkpoint)


def read_or_quarantine(folder: Path, console: Console) -> Results | None:
    """Of the run in a folder, if there are some that can be read."""
    if not (folder / results.FILE_NAME).is_file():
        return None
    try:
        return results.read_results(folder)
    except UserError as error:
        quarantine(folder / results.FILE_NAME, str(error), console)
        return None


def quarantine(place: Path, why: str, console: Console) -> None:
    """Rename a file that cannot be used, so that it is neither trusted nor lost."""
    other = next(
        other for number in count(1) if not (other := place.with_name(f"{place.name}.damaged-{number}")).exists()
    )
    place.rename(other)
    console.print(f"Set aside as {other}: {why}", markup=False, highlight=False, soft_wrap=True, style="yellow")


def check_same(folder: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise UserError where a run was of other choices than these."""
    differing = list(differences(meaningful(there), meaningful(wanted)))
    if differing:
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise UserError(
            f"{folder} holds a run of other choices: {'; '.join(differing[:SHOWN])}{more}. "
            "Give this study a folder of its own, name=ANOTHER, or delete that run."
        )


def meaningful(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The choices that a run's figures depend on, by dotted names."""
    named = dict(leaves({key: value for key, value in choices.items() if key not in IGNORED}))
    left_out = *(f"data.{folder}" for folder in DATA_FOLDERS), *PROCESSES
    return DEFAULTS_OF_OLD_RUNS | {name: value for name, value in named.items() if name not in left_out}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of a nested dictionary."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """In words; an option that one of them lacks is as good as null."""
    for name in sorted(there.keys() | wanted.keys()):
        if there.get(name) != wanted.get(name):
            yield f"{name} was {there.get(name)!r} and is now {wanted.get(name)!r}"
