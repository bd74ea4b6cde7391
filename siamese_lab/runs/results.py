"""results.json: the configuration, environment, duration and metrics of a run."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from siamese_lab.errors import Fault, UserError, fault_of
from siamese_lab.runs import reserve
from siamese_lab.runs.disk import FULL
from siamese_lab.runs.files import as_json, write_text
from siamese_lab.runs.options import recorded

SCHEMA_VERSION = 2
FILE_NAME = "results.json"
Status = Literal["running", "finished", "interrupted", "failed"]


@dataclass
class Point:
    """The state of a run at one validation."""

    step: int
    triplets: int
    """Number of triplets selected so far."""
    train: dict[str, float]
    """Means of the values logged since the previous validation: `loss`, `active_share`, `d_ap_q50` and so on."""
    validation: dict[str, float]
    """Validation metrics by name, such as `recall@1`."""


@dataclass
class Results:
    """The record of one run. Only the fields `seconds…` depend on the clock; runs of one seed equal otherwise."""

    data: str
    sampler: str
    loss: str
    network: str
    seed: int
    choices: dict[str, Any]
    """The whole configuration, with names in place of the paths of classes: see `runs.options.recorded`."""
    images: dict[str, str]
    """Origin of the images, as returned by `DataModule.provenance`."""
    versions: dict[str, str]
    commit: str | None
    hardware: dict[str, Any]
    status: Status = "running"
    error: str | None = None
    fault: Fault | None = None
    """Category of a failure; None for runs that did not fail, and in older files."""
    steps: int = 0
    tested_step: int | None = None
    """Step of the weights that the metrics belong to."""
    seconds: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float | None] = field(default_factory=dict)
    test: dict[str, float | None] = field(default_factory=dict)
    """Test metrics by name; None if undefined, such as a false accept rate below one in all pairs."""
    floors: dict[str, dict[str, float | None]] = field(default_factory=dict)
    """Test metrics of raw pixels (`pixels`) and of the initial network (`untrained`), with the names of `test`.

    Empty without a test, with `metrics.floors=false`, and if the run had no floors. `pixels` is missing for sets
    that are too large.
    """
    history: list[Point] = field(default_factory=list)
    """One point for each validation, also while the run continues."""
    seconds_of_history: list[float] = field(default_factory=list)
    """Seconds of training without validation, up to each point."""
    data_set: dict[str, Any] | None = None
    """The description of the data set, as returned by `DataModule.describe`; None if it was not recorded."""
    schema_version: int = SCHEMA_VERSION

    def fail(self, error: BaseException) -> None:
        """Record the error that ended the run."""
        self.status, self.error, self.fault = "failed", f"{type(error).__name__}: {error}", fault_of(error)

    def write(self, folder: Path) -> Path:
        """Write results.json into the folder of the run atomically, and return its path.

        While the run continues, space is kept on the disk for its last record.

        Raises:
            OSError: if the file cannot be written, or if there is no space for the last record.
        """
        path, text = folder / FILE_NAME, as_json(asdict(self))
        if self.status == "running":
            reserve.keep(folder, len(text.encode()))
            return write_text(path, text)
        try:
            write_text(path, text)
        except OSError as error:
            if error.errno not in FULL:
                raise
            reserve.release(folder)
            write_text(path, text)
        reserve.release(folder)
        return path


TYPES: dict[str, Any] = {
    "data": str,
    "sampler": str,
    "seed": int,
    "commit": (str, type(None)),
    "choices": dict,
    "images": dict,
    "versions": dict,
    "hardware": dict,
    "validation": dict,
    "test": dict,
    "floors": dict,
    "history": list,
    "seconds_of_history": list,
    "data_set": (dict, type(None)),
}
"""The expected type of each field."""


def read_results(folder: Path) -> Results:
    """Read results.json from the folder of a run. A field of the returned results has the expected type.

    Raises:
        UserError: if the file is damaged or another version of the schema wrote it.
    """
    try:
        content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{folder / FILE_NAME} is damaged ({error}). Delete the file and run that job again."
        ) from error
    if not isinstance(content, dict):
        raise UserError(
            f"{folder / FILE_NAME} is damaged (it holds a {type(content).__name__}). "
            "Delete the file and run that job again."
        )
    if content.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{folder / FILE_NAME} has schema version {content.get('schema_version')}, "
            f"but this version of siamese_lab reads {SCHEMA_VERSION}."
        )
    try:
        run = Results(**content | {"history": [Point(**point) for point in content.get("history", ())]})
    except TypeError as error:
        raise UserError(f"{folder / FILE_NAME} was written by another version of siamese_lab: {error}.") from error
    problem = _find_problem(run)
    if problem is not None:
        raise UserError(
            f"{folder / FILE_NAME} is damaged, or siamese_lab did not write it: {problem}. "
            "Delete the file and run that job again."
        )
    run.choices = recorded(run.choices)
    return run


def _find_problem(run: Results) -> str | None:
    for name, expected in TYPES.items():
        if not isinstance(getattr(run, name), expected):
            return f"{name} is {getattr(run, name)!r}"
    if run.status not in get_args(Status):
        return f"status is {run.status!r}, expected one of {', '.join(get_args(Status))}"
    if not isinstance(run.choices.get("data"), dict):
        return "choices has no data"
    tuned = run.choices.get("tuned")
    if tuned is not None and not (isinstance(tuned, dict) and {"trials", "steps"} <= tuned.keys()):
        return f"choices has tuned={tuned!r}, expected a dictionary with trials and steps"
    if not all(isinstance(metrics, dict) for metrics in run.floors.values()):
        return f"floors is {run.floors!r}, expected a dictionary of metrics for each floor"
    for point in run.history:
        if not isinstance(point.train, dict) or not isinstance(point.validation, dict):
            return f"history has {point!r}, expected dictionaries of numbers"
    numbers = [*run.test.values(), *run.validation.values(), *run.seconds_of_history]
    numbers += [value for metrics in run.floors.values() for value in metrics.values()]
    numbers += [value for point in run.history for value in (*point.train.values(), *point.validation.values())]
    for number in numbers:
        if not isinstance(number, (int, float, type(None))):
            return f"expected a number, but got {number!r}"
    if len(run.history) != len(run.seconds_of_history):
        return f"history has {len(run.history)} points, but seconds_of_history has {len(run.seconds_of_history)}"
    return None
