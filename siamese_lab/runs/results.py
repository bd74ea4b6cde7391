"""results.json: what a run chose, where and how long it ran, and what came of it."""

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
    """Where a run stood at a validation."""

    step: int
    triplets: int
    """Selected so far."""
    train: dict[str, float]
    """Means of what was logged since the validation before: `loss`, `active_share`, `d_ap_q50` and so on."""
    validation: dict[str, float]
    """By name, such as `recall@1`."""


@dataclass
class Results:
    """One run. All that depends on the clock is under `seconds…`, so runs of one seed otherwise compare equal."""

    data: str
    sampler: str
    loss: str
    network: str
    seed: int
    choices: dict[str, Any]
    """The whole configuration."""
    images: dict[str, str]
    """Where they came from, as `DataModule.provenance` tells."""
    versions: dict[str, str]
    commit: str | None
    hardware: dict[str, Any]
    status: Status = "running"
    error: str | None = None
    fault: Fault | None = None
    """Whose fault a failure is; None for other runs, and in older files."""
    steps: int = 0
    tested_step: int | None = None
    """The step whose weights the metrics are of."""
    seconds: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float | None] = field(default_factory=dict)
    test: dict[str, float | None] = field(default_factory=dict)
    """By name; None for what the images cannot tell, as a rate finer than one of so many pairs."""
    history: list[Point] = field(default_factory=list)
    """A point for each validation, while it runs too."""
    seconds_of_history: list[float] = field(default_factory=list)
    """Of training, without validation, up to each point."""
    data_set: dict[str, Any] | None = None
    """The description of the data set, as `DataModule.describe` gives it; None in results of earlier versions."""
    schema_version: int = SCHEMA_VERSION

    def fail(self, error: BaseException) -> None:
        """Record the error that ended the run."""
        self.status, self.error, self.fault = "failed", f"{type(error).__name__}: {error}", fault_of(error)

    def write(self, folder: Path) -> Path:
        """Write into a run's folder, never leaving half a file."""
        return write_json(folder / FILE_NAME, asdict(self))


def read_results(folder: Path) -> Results:
    """The results of a run's folder.

    Raises:
        UserError: if they were written by another version of the schema, or not whole.
    """
    try:
        content = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / FILE_NAME} is damaged ({error}). Delete it, and run that job again.") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{folder / FILE_NAME} is damaged (it holds a {type(content).__name__}). Delete it, and run that job again."
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
