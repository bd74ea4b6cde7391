"""Resume a run by `resume=PATH`: with the options that it was started with, and in its own folder."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from siamese_lab.config.overrides import last_value, option_of, quoted
from siamese_lab.config.stored_overrides import checked_overrides
from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints
from siamese_lab.runs.checkpoints import stored_choices, stored_overrides
from siamese_lab.runs.plain_values import WrongValueError
from siamese_lab.runs.stored_paths import DATA_VARIABLE, not_read, unnamed_folder


def with_resumed_overrides(arguments: Sequence[str]) -> list[str]:
    """Return the command line, extended by the stored overrides of the run that it resumes.

    An override of the new command line replaces a stored one. If the checkpoint is in the folder of a run, the run
    continues in this folder.

    Raises:
        UserError: if the checkpoint does not exist or siamese_lab did not write it.
    """
    path = last_value("resume", arguments)
    if path is None:
        return list(arguments)
    checkpoint = Path(path).expanduser()
    if checkpoint.is_dir():
        checkpoint /= checkpoints.LAST
    if not checkpoint.is_file():
        raise UserError(f"There is no checkpoint {checkpoint} to resume. A run leaves one at {checkpoints.LAST}.")
    content = checkpoints.read_checkpoint(checkpoint)
    stored = stored_overrides(content)
    given = {option_of(argument) for argument in arguments}
    if DATA_VARIABLE in os.environ:  # it names the folder of the data sets too
        given.add("paths.data")
    stored = [override for override in stored if option_of(override) not in {*given, "resume"}]
    stored = harmless_overrides(stored, checkpoint)
    check_data_is_named(content, given, checkpoint)
    run = checkpoints.run_of(checkpoint)
    if run is not None and "hydra.run.dir" not in given:
        stored += [f"hydra.run.dir={quoted(str(run))}", f"hydra.output_subdir={quoted(folder_of_options(content))}"]
    others = [argument for argument in arguments if not argument.startswith("resume=")]
    return [*others, *stored, f"resume={quoted(str(checkpoint.absolute()))}"]


def check_data_is_named(content: Mapping[str, Any], given: Collection[str], checkpoint: Path) -> None:
    """Raise UserError if the run read its images from a folder that the user does not name, to prevent a download."""
    choices = stored_choices(content) or {}
    is_whole = all(isinstance(choices.get(group), Mapping) for group in ("data", "paths"))
    if is_whole and (unnamed := unnamed_folder(choices, given)) is not None:
        option, folder = unnamed
        raise UserError(f"{checkpoint} is not resumed. {not_read(folder, option)}")


def harmless_overrides(stored: Sequence[str], checkpoint: Path) -> list[str]:
    """Return the stored overrides that resuming uses, and say which ones it ignores.

    Raises:
        UserError: for an override that could run code or use other files. See `config.stored_overrides`.
    """
    try:
        used, ignored = checked_overrides(stored)
    except WrongValueError as error:
        raise UserError(f"{checkpoint} is not resumed: {error}.") from error
    if ignored and ignored != ["hydra.run.dir"]:  # a run that was resumed before stores its own folder
        print(
            f"Ignored: {', '.join(dict.fromkeys(ignored))}, because a checkpoint does not decide where files are "
            "written. Set such options again to use them.",
            file=sys.stderr,
        )
    return used


def folder_of_options(checkpoint: Mapping[str, Any]) -> str:
    """Return the subfolder for the options of a resumed run. The options of its start stay in `.hydra`."""
    step = checkpoint.get("global_step")
    return f".hydra/resumed_from_step_{step if isinstance(step, int) else 'unknown'}"
