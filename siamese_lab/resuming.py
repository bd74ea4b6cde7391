"""`resume=PATH` goes on with a run: with the choices it was started with, in its own folder."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch

from siamese_lab.callbacks.stored_choices import stored_overrides
from siamese_lab.overrides import option_of, quoted
from siamese_lab.study.results import FILE_NAME


def with_resumed_choices(arguments: Sequence[str]) -> list[str]:
    """The command line, preceded by that of the run it resumes.

    What is said now comes before what was said then. The run goes on in its own folder, if the checkpoint lies in one.

    Raises:
        ValueError: if the checkpoint is not there or not the lab's.
    """
    given = [argument for argument in arguments if argument.startswith("resume=")]
    if not given or given[-1] in ("resume=null", "resume="):
        return list(arguments)
    checkpoint = Path(given[-1].removeprefix("resume=").strip("'\"")).expanduser()
    if not checkpoint.is_file():
        raise ValueError(f"There is no checkpoint {checkpoint} to resume. A run leaves one at checkpoints/last.ckpt.")
    try:
        stored = stored_overrides(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise ValueError(f"{checkpoint} cannot be resumed, as it is not a checkpoint that can be read.") from error
    said_now = {option_of(argument) for argument in arguments}
    stored = [override for override in stored if option_of(override) not in {*said_now, "resume"}]
    folder = checkpoint.absolute().parent.parent
    if (folder / FILE_NAME).is_file() and "hydra.run.dir" not in said_now:
        stored.append(f"hydra.run.dir={quoted(str(folder))}")
    others = [argument for argument in arguments if argument not in given]
    return [*others, *stored, f"resume={quoted(str(checkpoint.absolute()))}"]
