"""Check that a resumed run goes on with the classes and the options it was started with, and keep what it recorded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from siamese_lab import data
from siamese_lab.config import schema
from siamese_lab.data.trained_options import trained_options
from siamese_lab.errors import UserError
from siamese_lab.runs import checkpoints, results
from siamese_lab.runs.classes import ClassParts, describe_changes
from siamese_lab.runs.options import compared_options
from siamese_lab.runs.plain_values import WrongValueError, whole_number

MAY_CHANGE = (
    "callbacks",
    "data.eval_batch_size",
    "data.from",  # `check_unseen` compares the features
    "data.in_memory",
    "data.validation_images",
    "data.memory_limit",
    "data.workers",
    "ema",
    "metrics",
    "report_checkpoint",
    "schedule.steps",
    "trainer.accelerator",
    "trainer.compile",
    "trainer.detect_anomaly",
    "trainer.log_every_n_steps",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.precision",
    "trainer.profiler",
    "trainer.val_check_interval",
)
"""Options, or beginnings of dotted names, that take effect from the resumed step on. Every other one must stay."""


class Resumed(NamedTuple):
    """Holds the state that a resumed run continues, and the notes about it for the user."""

    step: int
    """Number of steps that are done."""
    history: dict[str, Any] | None
    """State of the callback `History`; None if the checkpoint has none."""
    changes: list[dict[str, Any]]
    """Options that this resume and earlier ones changed, see `Results.changed_options`."""
    had_finished: bool
    """True if the run had finished, and now goes on with more steps."""
    notes: list[str]
    """Sentences for the user."""


def check_resumed(config: DictConfig, datamodule: data.DataModule, folder: Path) -> Resumed:
    """Check the checkpoint that `config.resume` names, and return what the run continues.

    Args:
        config: the whole configuration of the resumed run.
        datamodule: its data.
        folder: its folder.

    Raises:
        UserError: if the classes, their images or options are others than at the start of the run, or if there is
            nothing to resume. Nothing has been written then.
    """
    checkpoint = Path(str(config.resume))
    content = checkpoints.read_checkpoint(checkpoint)
    check_is_last(checkpoint, folder)
    state = content.get(type(datamodule).__qualname__, {})
    if isinstance(state, Mapping) and data.TRAINED_CLASSES in state:
        datamodule.check_unseen(trained_options(state[data.TRAINED_CLASSES]))
    notes = check_classes(checkpoints.stored_classes(content), datamodule.class_parts(), checkpoint)
    step, choices = stored_step(content, checkpoint), schema.to_plain(config)
    changed = changed_options(checkpoints.stored_choices(content) or choices, choices)
    check_steps(step, config.trainer.max_steps, changed, folder)
    changes = checkpoints.stored_changes(content)
    if changed:
        changes = [*changes, {"step": step, "options": changed}]
        listed = "; ".join(f"{name} {old} → {new}" for name, (old, new) in changed.items())
        notes.append(f"Changed from step {step:,} on: {listed}.")
    return Resumed(step, content["callbacks"].get("History"), changes, is_finished(folder), notes)


def stored_step(content: Mapping[str, Any], checkpoint: Path) -> int:
    """Return the number of steps of a loaded checkpoint.

    Raises:
        UserError: if it is missing, or no whole number of at least 0.
    """
    try:
        return whole_number(content.get("global_step"), "global_step")
    except WrongValueError as error:
        raise UserError(f"{checkpoint} cannot be resumed: {error}. Use another checkpoint of the run.") from error


def check_is_last(checkpoint: Path, folder: Path) -> None:
    """Raise UserError if the folder holds last weights that the resumed run would replace by others."""
    last = folder / checkpoints.LAST
    if last.is_file() and checkpoint.is_file() and not last.samefile(checkpoint):
        raise UserError(
            f"{checkpoint} does not hold the last weights of the run in {folder}, so resuming it there would replace "
            f"what the run recorded since. Set resume={folder}, or hydra.run.dir=NEW to go on in a new folder."
        )


def check_classes(stored: ClassParts | None, now: ClassParts, checkpoint: Path) -> list[str]:
    """Raise UserError if the classes of a run have changed. Return a note if the checkpoint stores none."""
    if stored is None:
        return [
            f"{checkpoint.name} was written before checkpoints stored class names, so nothing shows whether the "
            "images are the same as at the start of the run."
        ]
    if changes := describe_changes(stored, now):
        raise UserError(
            "The images differ from the images that the run was started with, so labels and parts would change within "
            f"the run: {'; '.join(changes)}. Restore the images, or start a new run without resume=."
        )
    return []


def changed_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the options that take effect from now on, by name with the values before and after.

    Raises:
        UserError: if another option has changed.
    """
    then, today = compared_options(before), compared_options(now)
    changed = {
        name: [then.get(name), today.get(name)]
        for name in sorted(then.keys() | today.keys())
        if then.get(name) != today.get(name)
    }
    refused = [name for name in changed if not may_change(name)]
    if refused:
        listed = "; ".join(f"{name} was {changed[name][0]!r} and is now {changed[name][1]!r}" for name in refused)
        raise UserError(
            f"A resumed run keeps the options it was started with, but {listed}. Remove the option from the command "
            "line, or start a new run without resume=. Only the steps (trainer.max_steps), callbacks, metrics, ema, "
            "and options of speed and logging may change."
        )
    return changed


def may_change(option: str) -> bool:
    """Return whether an option may change when a run is resumed."""
    return any(option == name or option.startswith(f"{name}.") for name in MAY_CHANGE)


def check_steps(step: int, max_steps: int, changed: Mapping[str, Any], folder: Path) -> None:
    """Raise UserError if there is no step to train and nothing to evaluate."""
    if step > max_steps:
        raise UserError(
            f"The checkpoint to resume is of step {step:,}, but trainer.max_steps={max_steps} ends before it. "
            f"Set trainer.max_steps above {step}."
        )
    if is_finished(folder) and (step == max_steps or not changed):
        raise UserError(
            f"The run in {folder} has finished at step {step:,}, so there is nothing to resume, and its record stays "
            f"as it is. To train longer, set trainer.max_steps above {step}. To train with other options, start a new "
            "run without resume=."
        )


def is_finished(folder: Path) -> bool:
    """Return whether the run in a folder has finished."""
    return (folder / results.FILE_NAME).is_file() and results.read_results(folder).status == "finished"


def keep_finished_record(folder: Path) -> Path | None:
    """Keep the record of a finished run that goes on under another name; return its path, or None if there is none."""
    if not is_finished(folder):
        return None
    record = folder / results.FILE_NAME
    kept = folder / f"results_of_step_{results.read_results(folder).steps}.json"
    kept.write_bytes(record.read_bytes())
    return kept
