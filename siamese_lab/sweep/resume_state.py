"""Determine the remaining work of a run: nothing, the rest from its last checkpoint, or all."""

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console

from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.checkpoints import stored_choices
from siamese_lab.runs.options import compared_options
from siamese_lab.runs.packed import find_packed
from siamese_lab.runs.results import Results

SHOWN = 3
"""Maximum number of differences in a message."""


class RemainingWork(NamedTuple):
    """The remaining work of a run."""

    what: Literal["nothing", "rest", "all"]
    checkpoint: Path | None = None
    """Checkpoint from which the rest resumes."""


def remaining_work(folder: Path, choices: Mapping[str, Any], console: Console) -> RemainingWork:
    """Determine the remaining work of the run in a folder; quarantine damaged files and print a warning.

    Args:
        folder: the folder of the run, which may be empty.
        choices: the configuration of the requested run, as plain values.
        console: the console for warnings.

    Raises:
        UserError: if the folder holds a run with another configuration.
    """
    existing = read_or_quarantine(folder, console)
    if existing is not None:
        check_same(folder, existing.choices, choices)
        if existing.status == "finished":
            return RemainingWork("nothing")
        if existing.status == "failed" and existing.fault != "resource":  # after a full disk, the rest is done
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
    """Read the results of the run in a folder, or its packed results; quarantine a damaged file and return None."""
    if not (folder / results.FILE_NAME).is_file():
        return find_packed(folder)
    try:
        return results.read_results(folder)
    except UserError as error:
        quarantine(folder / results.FILE_NAME, str(error), console)
        return None


def quarantine(path: Path, reason: str, console: Console) -> None:
    """Rename a damaged file to NAME.damaged-N, so that it is neither used nor lost."""
    renamed = next(
        free for number in count(1) if not (free := path.with_name(f"{path.name}.damaged-{number}")).exists()
    )
    path.rename(renamed)
    console.print(f"Quarantined as {renamed}: {reason}", markup=False, highlight=False, soft_wrap=True, style="yellow")


def check_same(folder: Path, existing: Mapping[str, Any], requested: Mapping[str, Any]) -> None:
    """Raise UserError if an existing run has another configuration than the requested run."""
    differing = list(differences(compared_options(existing), compared_options(requested)))
    if differing:
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise UserError(
            f"{folder} holds a run with another configuration: {'; '.join(differing[:SHOWN])}{more}. "
            "Choose another folder for this study with study_name=ANOTHER, or delete that run."
        )


def differences(existing: Mapping[str, Any], requested: Mapping[str, Any]) -> Iterator[str]:
    """Describe each option that differs; a missing option counts as null."""
    for name in sorted(existing.keys() | requested.keys()):
        if existing.get(name) != requested.get(name):
            yield f"{name} was {existing.get(name)!r} and is now {requested.get(name)!r}"
