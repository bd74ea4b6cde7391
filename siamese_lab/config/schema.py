"""The schema of a configuration: unknown keys are errors, and values are checked for their types."""

import os
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from siamese_lab.config.installed import search_installed_packages
from siamese_lab.config.metric_options import check_ks
from siamese_lab.config.trainer_options import check_trainer
from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean
from siamese_lab.runs.option_bounds import LARGEST_SEED
from siamese_lab.runs.options import recorded

MOST_THREADS = 1024
"""Largest number of threads of a run; torch crashes if the system refuses a thread."""


@dataclass
class Paths:
    """Folders that files are read from and written to."""

    data: str | None = None
    """Folder of local copies of data sets."""
    cache: str | None = None
    """Folder of decoded images; null is the user's cache folder."""
    outputs: str = "outputs"


@dataclass
class Metrics:
    """Metrics that validation and test compute."""

    extra: list[str] = field(default_factory=list)
    """Names of registered metrics to compute in addition to retrieval."""
    floors: bool = True
    """If True, the test also measures raw pixels and the untrained network."""
    k: Any = None
    """List of the K's of Recall@K, ascending from 1; null is 1, 2, 4, 8, and 1, 5, 10 with queries and a gallery.

    `metric_options.check_ks` checks it, with a clearer message than the type would give.
    """


class ReportCheckpoint(Enum):
    """The weights that a run reports metrics of: the last ones, or the ones that validated best."""

    last = "last"
    best = "best"


@dataclass
class TrainConfig:
    """All options of a training run. Each group holds the options of the part that it chooses."""

    data: dict[str, Any] = MISSING
    sampler: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    network: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] | None = None
    """Loggers by name, each of which names its class by `_target_`; or the options of one logger of the user."""
    callbacks: dict[str, Any] | None = None
    """Callbacks of Lightning or of the user, in addition to the lab's own; each names its class by `_target_`."""
    metrics: Metrics = field(default_factory=Metrics)
    ema: float | None = None
    """Decay of the moving average of the weights that is evaluated; null evaluates the weights themselves."""
    paths: Paths = field(default_factory=Paths)
    seed: int = 0
    report_checkpoint: ReportCheckpoint = ReportCheckpoint.last
    resume: str | None = None
    start_from: str | None = None
    """Run or checkpoint with the weights that the network starts with; null draws them by the seed."""
    study_name: str | None = None
    """Name of a study and of its folder; null trains a single run."""
    recipe: dict[str, Any] | None = None
    """Name of the settings that train well on the data set; none trains every data set alike."""
    budget: dict[str, Any] | None = None
    tuning: dict[str, Any] | None = None
    """Options to vary and the number of trials when a strategy is tuned; null trains a run."""
    tuned: Any = None
    """Folder of a tuning with the best options, which the run uses. The results hold these options instead."""
    threads: int | None = None
    """Number of CPU threads of a run; null uses torch's default, and one thread for a very small network."""


@dataclass
class EvaluateConfig:
    """All options of an evaluation."""

    checkpoint: str = MISSING
    """A .ckpt file, or the folder of a run."""
    data: dict[str, Any] | None = None
    """Options of the evaluated data set; by default the data set that the checkpoint was trained on."""
    folder: str | None = None
    distance: str = "cosine"
    k: list[int] | None = None
    """K's of Recall@K; null takes those of the training."""
    index: str = "exact"
    pairs: int = MISSING
    episodes: int = MISSING
    map: str | None = None
    accelerator: str = "auto"
    precision: str = "32-true"
    seed: int = 0
    paths: Paths = field(default_factory=Paths)


def register_schema() -> None:
    """Let YAML files refer to `train_schema`, `evaluate_schema` and three resolvers.

    They are `${cores_for:THREADS}`, `${steps_of_budget:STEPS,FACTOR}` and
    `${classes_of_batch:IMAGES,IMAGES_PER_CLASS}`.

    Hydra then also finds the configs of installed packages.
    """
    OmegaConf.register_new_resolver("cores_for", cores_for, replace=True)
    OmegaConf.register_new_resolver("steps_of_budget", steps_of_budget, replace=True)
    OmegaConf.register_new_resolver("classes_of_batch", classes_of_batch, replace=True)
    search_installed_packages()
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
    ConfigStore.instance().store(name="evaluate_schema", node=EvaluateConfig)


def cores_for(threads: int) -> int:
    """Return how many runs with this number of threads fit on the cores of this process: at least one."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, here // threads)


def steps_of_budget(steps: int, factor: float) -> int:
    """Return the steps of a recipe times the factor of a budget, rounded to the nearest integer, at least one."""
    return max(1, round(steps * factor))


def classes_of_batch(images: int, images_per_class: int) -> int:
    """Return how many classes make a batch of about this number of images: at least two."""
    return max(2, round(images / images_per_class))


def config_folder() -> Path:
    """Return the folder of the YAML files: inside the installed package, or next to the package in a checkout."""
    package = Path(__file__).parents[1]
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def compose(*overrides: str) -> DictConfig:
    """Compose the configuration that `python -m siamese_lab.train OVERRIDES` would use.

    With `tuned=FOLDER` it holds the tuned options, as on the command line.

    Args:
        *overrides: overrides of the command line, such as `data=omniglot` or `trainer.max_steps=100`.

    Raises:
        UserError: if an override adds an unknown key by +, or there are no tuned options.
        HydraException: for an unknown group, name or option.
    """
    from siamese_lab.config.arguments import train_overrides  # both read the schema above
    from siamese_lab.config.tuned_options import with_tuned_options

    register_schema()
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", overrides=train_overrides(overrides))
        check_keys(config)
        if config.tuned is None:
            return config
        chosen = hydra.compose("train", overrides=train_overrides(overrides), return_hydra_config=True).hydra
    return with_tuned_options(config, chosen)


def check_keys(config: DictConfig, schema: type = TrainConfig) -> None:
    """Raise UserError for an unknown top-level key, an unknown path, or an unknown option of the trainer.

    Unknown keys inside other groups are rejected by the part that is built from this group.
    """
    for added, allowed in ((config, schema), (config.paths, Paths)):
        known = [field.name for field in fields(allowed)]
        for key in added:
            if key not in known:
                raise UserError(
                    f"There is no option {key!r}.{did_you_mean(str(key), known)} Options: {', '.join(known)}."
                )
    if "trainer" in config:
        check_trainer(config.trainer)
    if "metrics" in config:
        ks = config.metrics.get("k")
        check_ks(OmegaConf.to_container(ks) if OmegaConf.is_config(ks) else ks)
    check_seed_and_threads(config)


def check_seed_and_threads(config: DictConfig) -> None:
    """Raise UserError for a seed that NumPy rejects, or for less than one thread."""
    if not 0 <= config.seed <= LARGEST_SEED:
        raise UserError(f"seed must be a whole number from 0 to {LARGEST_SEED:,}, but is {config.seed}.")
    threads = config.get("threads")
    if threads is not None and not 1 <= threads <= MOST_THREADS:
        raise UserError(
            f"threads must be from 1 to {MOST_THREADS:,}, or null for torch's default, but is {threads}. This process "
            f"may use {cores_for(1)} cores."
        )


def to_plain(config: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain values in the form that a record holds, with names in place of class paths.

    It lacks `resume`, which is no property of the run.
    """
    values = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in recorded(values).items() if key != "resume"}
