"""Resume a run by `resume=PATH`: with the options that it was started with, and in its own folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from siamese_lab.config.overrides import last_value, option_of, quoted
from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints
from siamese_lab.runs.checkpoints import stored_overrides


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
    stored = [override for override in stored if option_of(override) not in {*given, "resume"}]
    run = checkpoints.run_of(checkpoint)
    if run is not None and "hydra.run.dir" not in given:
        stored += [f"hydra.run.dir={quoted(str(run))}", f"hydra.output_subdir={quoted(folder_of_options(content))}"]
    others = [argument for argument in arguments if not argument.startswith("resume=")]
    return [*others, *stored, f"resume={quoted(str(checkpoint.absolute()))}"]


def folder_of_options(checkpoint: Mapping[str, Any]) -> str:
    """Return the subfolder for the options of a resumed run. The options of its start stay in `.hydra`."""
    step = checkpoint.get("global_step")
    return f".hydra/resumed_from_step_{step if isinstance(step, int) else 'unknown'}"
