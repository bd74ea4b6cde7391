"""results.json: the configuration, environment, duration and metrics of a run."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from siamese_lab.errors import Fault, UserError, fault_of
from siamese_lab.runs import reserve
from siamese_lab.runs.disk import FULL
from siamese_lab.runs.files import as_json, write_text
from siamese_lab.runs.migrations import RESULTS, UnknownVersionError, migrate
from siamese_lab.runs.option_bounds import check_bound
from siamese_lab.runs.options import recorded
from siamese_lab.runs.plain_values import (
    OtherFieldsError,
    WrongValueError,
    build_record,
    check_name,
    read_json,
    shortened,
)
from siamese_lab.runs.ranges import check_not_negative, check_shares
from siamese_lab.runs.studied_options import check_studied

SCHEMA_VERSION = 2
"""Increase it when the meaning of a field changes, and add a step to `migrations.RESULTS`."""
FILE_NAME = "results.json"
Status = Literal["running", "finished", "shortened", "interrupted", "failed"]
"""A run is "shortened" if an option of the trainer, such as max_time, ended it early; `error` names the option."""


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

    `features` takes the place of `pixels` if the images are frozen features. Empty without a test, with
    `metrics.floors=false`, and if the run had no floors. `pixels` is missing for sets that are too large.
    """
    per_class: dict[str, dict[str, float]] | None = None
    """Number of `queries`, `recall@1` and `map@r` of each test class, by its name; None for very many classes."""
    embedding: dict[str, float | None] | None = None
    """`mean_distance` and `effective_rank` of the test embeddings: see `metrics.health.Spread`."""
    collapsed: bool | None = None
    """True if the embeddings have collapsed: see `training.collapse`. None without a test."""
    collapse_reasons: list[str] = field(default_factory=list)
    telemetry: list[dict[str, float | None]] = field(default_factory=list)
    """Measurements at fixed points of training: see `training.callbacks.telemetry`."""
    history: list[Point] = field(default_factory=list)
    """One point for each validation, also while the run continues."""
    seconds_of_history: list[float] = field(default_factory=list)
    """Seconds of training without validation, up to each point."""
    data_set: dict[str, Any] | None = None
    """The description of the data set, as returned by `DataModule.describe`; None if it was not recorded."""
    validated: dict[str, Any] | None = None
    """The images of all validations, and the views of `network.tta` that only the last validation and the test use.

    None in older files, where all validations took all images and all views.
    """
    classes: dict[str, Any] | None = None
    """Number of classes and images of each part, and a hash of the names; checkpoints store the names themselves."""
    label_noise: dict[str, Any] | None = None
    """`share` of wrong training labels, number of training `images` and of `changed` labels; None without noise."""
    started_from: dict[str, Any] | None = None
    """`checkpoint`, `step` and `sha256` of the weights that `start_from` names, and which `layers` come from them."""
    selected: dict[str, int] | None = None
    """Number of `triplets` up to the last validation, and the number `by_rule`, one for each (anchor, positive) pair.

    None unless the strategy is a miner of another library, which decides itself how many triplets it selects.
    """
    pruned: dict[str, float] | None = None
    """The `step`, `best` and `median` at which a tuning ended the run early: see `training.callbacks.prune_trial`."""
    changed_options: list[dict[str, Any]] = field(default_factory=list)
    """One entry for each resume with other options: `step` and `options`, by name the values before and after it."""
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


MAX_METRICS = 500
"""Largest number of metrics. Each metric of the test gets its own tables."""
NAMED = ("data", "sampler", "loss", "network")
"""Fields that are names."""


def read_results(folder: Path) -> Results:
    """Read results.json from the folder of a run. Every field of the returned results has its declared type.

    Raises:
        OSError: if the file does not exist or cannot be read.
        UserError: if the file is damaged, breaks a bound of `runs.plain_values`, or another version wrote it.
    """
    path = folder / FILE_NAME
    return results_from(lambda: read_json(path), str(path), "Delete the file and run that job again.")


def results_from(read: Callable[[], Any], place: str, cure: str) -> Results:
    """Read the content of a results.json, and return it as checked results.

    Args:
        read: reads the content, and raises WrongValueError if it is no JSON or breaks a bound.
        place: name of the file, for messages.
        cure: what to do about a damaged file, for messages.

    Raises:
        UserError: as `read_results`.
    """
    try:
        content = read()
        if isinstance(content, dict):
            content = migrate(content, content.get("schema_version"), SCHEMA_VERSION, RESULTS)
            content["schema_version"] = SCHEMA_VERSION
        run = build_record(Results, content)
        run.choices = recorded(run.choices)
        check_results(run)
    except UnknownVersionError as error:
        raise UserError(f"{place} has schema version {error}. {another_version(content)}") from error
    except OtherFieldsError as error:
        raise UserError(
            f"{place} was written by another version of siamese_lab: {error}. {another_version(content)}"
        ) from error
    except WrongValueError as error:
        raise UserError(f"{place} is damaged, or siamese_lab did not write it: {error}. {cure}") from error
    return run


def another_version(content: Mapping[str, Any]) -> str:
    """Return what to do about a record that this version cannot read; it names the version that wrote the record."""
    versions = content.get("versions")
    wrote = versions.get("siamese_lab") if isinstance(versions, Mapping) else None
    named = f"siamese_lab {shortened(str(wrote))}" if wrote else "the version of siamese_lab"
    return f"Read it with {named} that wrote it, or run that job again in another folder."


def check_results(run: Results) -> None:
    """Raise WrongValueError for values that have the declared type but cannot come from a run."""
    for name in NAMED:
        check_name(getattr(run, name), name)
    if not isinstance(run.choices.get("data"), dict):
        raise WrongValueError("choices.data is missing or is no dictionary")
    check_studied(run.choices)
    tuned = run.choices.get("tuned")
    if tuned is not None:
        build_record(TunedSummary, tuned, "choices.tuned")
    build_record(Hardware, {name: run.hardware[name] for name in HARDWARE if name in run.hardware}, "hardware")
    for place, number in {"test": len(run.test), "validation": len(run.validation), "floors": len(run.floors)}.items():
        if number > MAX_METRICS:
            raise WrongValueError(f"{place} has {number:,} entries, expected at most {MAX_METRICS}")
    for name in run.test:
        check_name(name, "a name in test")
    if len(run.history) != len(run.seconds_of_history):
        raise WrongValueError(
            f"history has {len(run.history)} points, but seconds_of_history has {len(run.seconds_of_history)}"
        )
    check_ranges(run)


def check_ranges(run: Results) -> None:
    """Raise WrongValueError for a number that no run can have."""
    check_bound("seed", run.seed)
    check_not_negative({"steps": run.steps, "tested_step": run.tested_step}, "")
    check_not_negative(run.seconds, "seconds")
    check_not_negative(run.selected or {}, "selected")
    check_shares(run.test, "test")
    check_shares(run.validation, "validation")
    for name, floor in run.floors.items():
        check_shares(floor, f"floors.{shortened(name)}")
    for name, of_class in (run.per_class or {}).items():
        check_shares(of_class, f"per_class.{shortened(name)}")
    for number, (point, seconds) in enumerate(zip(run.history, run.seconds_of_history, strict=True)):
        place = f"history[{number}]"
        check_not_negative({"step": point.step, "triplets": point.triplets, "seconds": seconds}, place)
        check_shares(point.validation, f"{place}.validation")


@dataclass
class TunedSummary:
    """The part of a configuration that says where tuned options come from."""

    trials: int
    steps: int
    options: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    metric: str | None = None


@dataclass
class Hardware:
    """The facts of `Results.hardware` that reports show or compare; a record may hold further ones."""

    device: str | None = None
    precision: str | None = None
    cores: int | None = None
    threads: int | None = None
    processes: int = 1


HARDWARE = tuple(each.name for each in fields(Hardware))
