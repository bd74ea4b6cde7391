"""results.json: the configuration, environment, duration and metrics of a run."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from siamese_lab.errors import Fault, UserError, fault_of
from siamese_lab.runs.files import write_json

SCHEMA_VERSION = 1
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
    """The whole configuration."""
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

    Empty without a test, with `metrics.floors=false`, and in results of earlier versions. `pixels` is missing for sets
    that are too large.
    """
    history: list[Point] = field(default_factory=list)
    """One point for each validation, also while the run continues."""
    seconds_of_history: list[float] = field(default_factory=list)
    """Seconds of training without validation, up to each point."""
    data_set: dict[str, Any] | None = None
    """The description of the data set, as returned by `DataModule.describe`; None in results of earlier versions."""
    schema_version: int = SCHEMA_VERSION

    def fail(self, error: BaseException) -> None:
        """Record the error that ended the run."""
        self.status, self.error, self.fault = "failed", f"{type(error).__name__}: {error}", fault_of(error)

    def write(self, folder: Path) -> Path:
        """Write results.json into the folder of the run atomically, and return its path."""
        return write_json(folder / FILE_NAME, asdict(self))


def read_results(folder: Path) -> Results:
    """Read results.json from the folder of a run.

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
        return Results(**content | {"history": [Point(**point) for point in content.get("history", ())]})
    except TypeError as error:
        raise UserError(f"{folder / FILE_NAME} was written by another version of siamese_lab: {error}.") from error
