"""`resume=PATH` goes on with a run: with the choices it was started with, in its own folder."""

from collections.abc import Sequence
from pathlib import Path

from siamese_lab.config.overrides import last_value, option_of, quoted
from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints
from siamese_lab.runs.checkpoints import stored_overrides


def with_resumed_overrides(arguments: Sequence[str]) -> list[str]:
    """The command line, preceded by that of the run it resumes.

    What is said now comes before what was said then. The run goes on in its own folder, if the checkpoint lies in one.

    Raises:
        UserError: if the checkpoint is not there or not the lab's.
    """
    asked = last_value("resume", arguments)
    if asked is None:
        return list(arguments)
    checkpoint = Path(asked).expanduser()
    if not checkpoint.is_file():
        raise UserError(f"There is no checkpoint {checkpoint} to resume. A run leaves one at checkpoints/last.ckpt.")
    stored = stored_overrides(checkpoints.read(checkpoint))
    said_now = {option_of(argument) for argument in arguments}
    stored = [override for override in stored if option_of(override) not in {*said_now, "resume"}]
    run = checkpoints.run_of(checkpoint)
    if run is not None and "hydra.run.dir" not in said_now:
        stored.append(f"hydra.run.dir={quoted(str(run))}")
    others = [argument for argument in arguments if not argument.startswith("resume=")]
    return [*others, *stored, f"resume={quoted(str(checkpoint.absolute()))}"]
