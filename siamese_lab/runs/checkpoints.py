"""Checkpoints, read without ever executing what is in them, and named by their file or by the folder of their run."""

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

FOLDER, SUFFIX = "checkpoints", ".ckpt"
CONFIG_KEY = "StoredChoices"
"""Key of the configuration among the callbacks of a checkpoint."""
CONFIG_FORMAT = 1
"""Version of the stored configuration. Increase it when an older one can no longer be understood."""


def find_checkpoint(place: Path) -> Path:
    """The checkpoint that a path means: itself, or of a run's folder the one whose figures the run reports.

    Raises:
        UserError: if there is none.
    """
    place = place.expanduser()
    if not place.is_dir():
        if not place.is_file():
            raise UserError(f"There is no checkpoint {place}. A run leaves one at {FOLDER}/last{SUFFIX} in its folder.")
        return place
    folder = place if place.name == FOLDER else place / FOLDER
    there = sorted(each.stem for each in folder.glob(f"*{SUFFIX}"))
    if not there:
        raise UserError(f"{place} holds no {FOLDER}/*{SUFFIX}, so it is not the folder of a run that left weights.")
    reported = _reported(folder.parent)
    if reported not in there:
        raise UserError(
            f"The run in {place} was to report {reported}{SUFFIX}, but has left {', '.join(there)}. "
            f"Name the file, such as {folder / there[0]}{SUFFIX}."
        )
    return folder / f"{reported}{SUFFIX}"


def _reported(run: Path) -> str:
    return str(results.read_results(run).choices["tested"]) if (run / results.FILE_NAME).is_file() else "last"


def run_of(checkpoint: Path) -> Path | None:
    """The folder of the run that a checkpoint lies in, if it lies in one."""
    run = checkpoint.absolute().parent.parent
    return run if (run / results.FILE_NAME).is_file() else None


def read_checkpoint(place: Path) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU: tensors and plain values, never a program.

    Raises:
        UserError: for a file that cannot be read, is not whole, or holds what would have to be executed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch did not write, which are refused anyway
            content = torch.load(place, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise UserError(f"{place} cannot be read: {error.strerror}.") from error
    except UnpicklingError as error:
        if (called := re.search(r"GLOBAL (\S+)|allowlisted", str(error))) is not None:
            raise UserError(
                f"{place} holds more than weights and plain values: loading it would execute "
                f"{called[1] or 'a program'}, so it was not loaded. No checkpoint of siamese_lab does: "
                "use one that a run has left."
            ) from error
        raise _unreadable(place) from error
    except Exception as error:  # of damaged files, which raise whatever their bytes happen to mean
        raise _unreadable(place) from error
    # Torch compares no checksums.
    if zipfile.is_zipfile(place) and (damaged := zipfile.ZipFile(place).testzip()) is not None:
        raise _unreadable(place) from zipfile.BadZipFile(f"{damaged} is not as it was written")
    if not isinstance(content, dict):
        raise UserError(f"{place} holds a {type(content).__name__}, not the checkpoint of a run of siamese_lab.")
    return content


def _unreadable(place: Path) -> UserError:
    return UserError(
        f"{place} is no checkpoint that can be read: it is truncated, damaged or something else. "
        f"Copy it anew, or use another of its run's {FOLDER}/."
    )


def stored_overrides(checkpoint: Mapping[str, Any]) -> list[str]:
    """The command line in a loaded checkpoint.

    Raises:
        UserError: if the lab did not write it, or another version did.
    """
    return list(_stored(checkpoint)["overrides"])


def stored_choices(checkpoint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The configuration in a loaded checkpoint; None in those that were written before it was stored.

    Raises:
        UserError: if the lab did not write it, or another version did.
    """
    choices = _stored(checkpoint).get("choices")
    return None if choices is None else dict(choices)


def _stored(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    callbacks = checkpoint.get("callbacks")
    state = callbacks.get(CONFIG_KEY) if isinstance(callbacks, Mapping) else None
    if not isinstance(state, Mapping) or "overrides" not in state:
        raise UserError(
            "The checkpoint was not written by a run of siamese_lab, which stores its choices beside its weights."
        )
    if state.get("format", CONFIG_FORMAT) != CONFIG_FORMAT:
        raise UserError(
            f"The checkpoint was written by another version of siamese_lab: its choices are of format "
            f"{state['format']}, but this version reads {CONFIG_FORMAT}. Use it with the version that wrote it."
        )
    return state
