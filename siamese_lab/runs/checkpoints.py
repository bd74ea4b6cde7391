"""Find and read checkpoints, by file or by the folder of a run, without executing their content."""

import errno
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from siamese_lab.errors import UserError
from siamese_lab.runs import results
from siamese_lab.runs.classes import ClassParts
from siamese_lab.runs.files import is_draft
from siamese_lab.runs.migrations import CONFIGURATION, UnknownVersionError, migrate
from siamese_lab.runs.options import recorded
from siamese_lab.runs.plain_values import WrongValueError, check_plain, check_regular, of_type, shortened

FOLDER, SUFFIX = "checkpoints", ".ckpt"
LAST = f"{FOLDER}/last{SUFFIX}"
"""The checkpoint of the last weights, which a run resumes from, relative to the folder of the run."""
CONFIG_KEY = "StoredChoices"
"""Key of the configuration among the callbacks of a checkpoint."""
VERSION_KEY = "version"
"""Key of the version of siamese_lab that wrote the configuration."""
CONFIG_FORMAT = 2
"""Version of the stored configuration. Increase it when its meaning changes, and add a step to
`migrations.CONFIGURATION`.
"""
UNNUMBERED_FORMAT = 1
"""Version of a stored configuration without a number."""


def find_checkpoint(place: Path) -> Path:
    """Return the checkpoint for a path: the file itself, or the checkpoint that the run in a folder reports.

    Raises:
        UserError: if there is no such checkpoint.
    """
    place = place.expanduser()
    if not place.is_dir():
        if not place.is_file():
            raise UserError(f"There is no checkpoint {place}. A run writes {LAST} into its folder.")
        return place
    folder = place if place.name == FOLDER else place / FOLDER
    there = sorted(each.stem for each in folder.glob(f"*{SUFFIX}") if not is_draft(each))
    if not there:
        raise UserError(f"{place} holds no {FOLDER}/*{SUFFIX}, so it is not the folder of a run with weights.")
    reported = _reported(folder.parent)
    if reported not in there:
        raise UserError(
            f"The run in {place} reports {reported}{SUFFIX}, but only has {', '.join(there)}. "
            f"Name the file, such as {folder / there[0]}{SUFFIX}."
        )
    return folder / f"{reported}{SUFFIX}"


def _reported(run: Path) -> str:
    return (
        str(results.read_results(run).choices.get("report_checkpoint"))
        if (run / results.FILE_NAME).is_file()
        else "last"
    )


def run_of(checkpoint: Path) -> Path | None:
    """Return the folder of the run that a checkpoint belongs to; None if the checkpoint is outside of a run."""
    run = checkpoint.absolute().parent.parent
    return run if (run / results.FILE_NAME).is_file() else None


def read_checkpoint(place: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: only tensors and plain values, never code.

    Raises:
        UserError: if the file cannot be read, is damaged, holds code, or needs more memory than it has bytes.
    """
    import torch  # only here: commands that read no checkpoint start without it

    from siamese_lab.runs.checkpoint_bounds import check_archive, check_content

    try:
        check_regular(place)
        check_archive(place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about foreign pickles, which are refused anyway
            content = torch.load(place, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL and place.is_file():  # torch seeks beyond the end of a truncated file
            raise _unreadable(place) from error
        raise UserError(f"{place} cannot be read: {error.strerror or error}. Use another checkpoint.") from error
    except UnpicklingError as error:
        if (called := re.search(r"GLOBAL (\S+)|allowlisted", str(error))) is not None:
            raise UserError(
                f"{place} holds more than weights and plain values: loading it would execute "
                f"{called[1] or 'a program'}, so it was not loaded. No checkpoint of siamese_lab does: "
                "use a checkpoint that a run wrote."
            ) from error
        raise _unreadable(place) from error
    except WrongValueError as error:
        raise _foreign(place, error) from error
    except Exception as error:  # a damaged file can raise any exception
        raise _unreadable(place) from error
    # torch does not check the checksums
    if zipfile.is_zipfile(place) and (damaged := zipfile.ZipFile(place).testzip()) is not None:
        raise _unreadable(place) from zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
    if not isinstance(content, dict):
        raise UserError(f"{place} holds a {type(content).__name__}, not the checkpoint of a run of siamese_lab.")
    try:
        check_content(content, place.stat().st_size)
    except WrongValueError as error:
        raise _foreign(place, error) from error
    return content


def _foreign(place: Path, error: WrongValueError) -> UserError:
    return UserError(f"{place} was not written by a run of siamese_lab: {error}. Use a checkpoint that a run wrote.")


def _unreadable(place: Path) -> UserError:
    return UserError(
        f"{place} is not a readable checkpoint: the file is truncated, damaged or of another format. "
        f"Copy it again, or use another checkpoint of the run's {FOLDER}/."
    )


def stored_overrides(checkpoint: Mapping[str, Any]) -> list[str]:
    """Return the command line stored in a loaded checkpoint.

    Raises:
        UserError: if siamese_lab did not write the checkpoint, or if an earlier version did: its options have other
            names and defaults, and its training cannot be continued step by step.
    """
    stored = _stored(checkpoint)
    if (number := format_of(stored)) != CONFIG_FORMAT:
        raise UserError(
            f"The training of a checkpoint of an earlier version of siamese_lab (format {number}) cannot be continued, "
            "because its batches and random numbers were others. evaluate, embed, verify, search and export still use "
            "the checkpoint. Start a new run without resume= to train."
        )
    overrides = stored["overrides"]
    try:
        check_plain(overrides)
        return [str(override) for override in of_type(overrides, list[str], "the stored command line")]
    except WrongValueError as error:
        raise UserError(f"The checkpoint was not written by a run of siamese_lab: {error}.") from error


def stored_choices(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the configuration stored in a loaded checkpoint; None in old checkpoints without a configuration.

    Raises:
        UserError: if siamese_lab or this version of it did not write the checkpoint.
    """
    choices = _stored(checkpoint).get("choices")
    try:
        check_plain(choices)
        of_type(choices, dict[str, Any] | None, "the stored configuration")
    except WrongValueError as error:
        raise UserError(f"The checkpoint was not written by a run of siamese_lab: {error}.") from error
    return None if choices is None else dict(recorded(choices))


def stored_classes(checkpoint: Mapping[str, Any]) -> ClassParts | None:
    """Return the classes stored in a loaded checkpoint; None in earlier checkpoints, which stored no classes.

    Raises:
        UserError: if siamese_lab or this version of it did not write the checkpoint, or the classes are damaged.
    """
    text = _stored(checkpoint).get("classes")
    return None if text is None else ClassParts.from_text(text)


def stored_changes(checkpoint: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the options that earlier resumes have changed: see `Results.changed_options`."""
    changes = _stored(checkpoint).get("changes", [])
    if not isinstance(changes, list) or not all(isinstance(each, dict) for each in changes):
        raise UserError(f"The changed options in the checkpoint are damaged: {str(changes)[:40]}.")
    return changes


def _stored(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    callbacks = checkpoint.get("callbacks")
    state = callbacks.get(CONFIG_KEY) if isinstance(callbacks, Mapping) else None
    if not isinstance(state, Mapping) or "overrides" not in state:
        raise UserError("The checkpoint was not written by a run of siamese_lab, because it stores no configuration.")
    try:
        return migrate(state, format_of(state), CONFIG_FORMAT, CONFIGURATION)
    except UnknownVersionError as error:
        wrote = f" {shortened(str(state[VERSION_KEY]))}" if VERSION_KEY in state else ", the version that wrote it"
        raise UserError(
            f"The checkpoint was written by another version of siamese_lab: its configuration has format {error}. "
            f"Use it with siamese_lab{wrote}."
        ) from error


def format_of(state: Mapping[str, Any]) -> Any:
    """Return the version of a stored configuration."""
    return state.get("format", UNNUMBERED_FORMAT)
