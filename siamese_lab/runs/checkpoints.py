"""Find and read checkpoints, by file or by the folder of a run, without executing their content."""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from siamese_lab.errors import UserError
from siamese_lab.runs import results
from siamese_lab.runs.files import is_draft
from siamese_lab.runs.options import recorded

FOLDER, SUFFIX = "checkpoints", ".ckpt"
LAST = f"{FOLDER}/last{SUFFIX}"
"""The checkpoint of the last weights, which a run resumes from, relative to the folder of the run."""
CONFIG_KEY = "StoredChoices"
"""Key of the configuration among the callbacks of a checkpoint."""
CONFIG_FORMAT = 2
"""Version of the stored configuration. Increase it when an older one can no longer be understood."""


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
        str(results.read_results(run).choices["report_checkpoint"]) if (run / results.FILE_NAME).is_file() else "last"
    )


def run_of(checkpoint: Path) -> Path | None:
    """Return the folder of the run that a checkpoint belongs to; None if the checkpoint is outside of a run."""
    run = checkpoint.absolute().parent.parent
    return run if (run / results.FILE_NAME).is_file() else None


def read_checkpoint(place: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: only tensors and plain values, never code.

    Raises:
        UserError: if the file cannot be read, is damaged, or holds code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about foreign pickles, which are refused anyway
            content = torch.load(place, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UserError(f"{place} cannot be read: {error.strerror}.") from error
    except UnpicklingError as error:
        if (called := re.search(r"GLOBAL (\S+)|allowlisted", str(error))) is not None:
            raise UserError(
                f"{place} holds more than weights and plain values: loading it would execute "
                f"{called[1] or 'a program'}, so it was not loaded. No checkpoint of siamese_lab does: "
                "use a checkpoint that a run wrote."
            ) from error
        raise _unreadable(place) from error
    except Exception as error:  # a damaged file can raise any exception
        raise _unreadable(place) from error
    # torch does not check the checksums
    if zipfile.is_zipfile(place) and (damaged := zipfile.ZipFile(place).testzip()) is not None:
        raise _unreadable(place) from zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
    if not isinstance(content, dict):
        raise UserError(f"{place} holds a {type(content).__name__}, not the checkpoint of a run of siamese_lab.")
    return content


def _unreadable(place: Path) -> UserError:
    return UserError(
        f"{place} is not a readable checkpoint: the file is truncated, damaged or of another format. "
        f"Copy it again, or use another checkpoint of the run's {FOLDER}/."
    )


def stored_overrides(checkpoint: Mapping[str, Any]) -> list[str]:
    """Return the command line stored in a loaded checkpoint.

    Raises:
        UserError: if siamese_lab or this version of it did not write the checkpoint.
    """
    return list(_stored(checkpoint)["overrides"])


def stored_choices(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the configuration stored in a loaded checkpoint; None in old checkpoints without a configuration.

    Raises:
        UserError: if siamese_lab or this version of it did not write the checkpoint.
    """
    choices = _stored(checkpoint).get("choices")
    return None if choices is None else dict(recorded(choices))


def _stored(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    callbacks = checkpoint.get("callbacks")
    state = callbacks.get(CONFIG_KEY) if isinstance(callbacks, Mapping) else None
    if not isinstance(state, Mapping) or "overrides" not in state:
        raise UserError("The checkpoint was not written by a run of siamese_lab, because it stores no configuration.")
    if state.get("format", CONFIG_FORMAT) != CONFIG_FORMAT:
        raise UserError(
            f"The checkpoint was written by another version of siamese_lab: its configuration has format "
            f"{state['format']}, but this version reads {CONFIG_FORMAT}. Use it with the version that wrote it."
        )
    return state
