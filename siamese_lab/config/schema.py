"""The schema of a run's configuration: a key that is not here does not pass, and values are checked for their type."""

import os
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from siamese_lab.config.installed import search_installed_packages
from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean


@dataclass
class Paths:
    """Where files are read from and written to."""

    data: str | None = None
    """Folder of local copies of data sets."""
    cache: str | None = None
    """Where decoded images are kept; null is the user's cache folder."""
    outputs: str = "outputs"


@dataclass
class Metrics:
    """What is measured in validation and test."""

    extra: list[str] = field(default_factory=list)
    """Names of registered metrics to compute beside retrieval."""


class Tested(Enum):
    """Whose figures a run reports."""

    last = "last"
    best = "best"


@dataclass
class TrainConfig:
    """Everything a run can be told. The groups hold the options of what they name."""

    data: dict[str, Any] = MISSING
    sampler: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    network: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] | None = None
    metrics: Metrics = field(default_factory=Metrics)
    ema: float | None = None
    """Decay of the moving average of the weights that is evaluated; null evaluates the weights themselves."""
    paths: Paths = field(default_factory=Paths)
    seed: int = 0
    tested: Tested = Tested.last
    resume: str | None = None
    name: str | None = None
    """Of a study, which is its folder's."""
    budget: dict[str, Any] | None = None
    tuning: dict[str, Any] | None = None
    """What is varied, and how often, to find the options that are best; null trains."""
    tuned: Any = None
    """The folder of a tuning, whose winners' options the run takes; in its results, what these were."""
    threads: int | None = None
    """Of the processor, for a run; null leaves it to torch."""


@dataclass
class EvaluateConfig:
    """Everything an evaluation can be told."""

    checkpoint: str = MISSING
    """A .ckpt file, or the folder of a run."""
    data: dict[str, Any] | None = None
    """As the checkpoint was trained with, unless another set is named."""
    folder: str | None = None
    distance: str = "cosine"
    k: list[int] = MISSING
    index: str = "exact"
    pairs: int = MISSING
    episodes: int = MISSING
    map: str | None = None
    accelerator: str = "auto"
    precision: str = "32-true"
    seed: int = 0
    paths: Paths = field(default_factory=Paths)


def register_schema() -> None:
    """Let YAML files refer to the schemas as `train_schema` and `evaluate_schema`, and to `${cores_for:THREADS}`.

    Configs of installed packages join the lab's own.
    """
    OmegaConf.register_new_resolver("cores_for", cores_for, replace=True)
    search_installed_packages()
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
    ConfigStore.instance().store(name="evaluate_schema", node=EvaluateConfig)


def cores_for(threads: int) -> int:
    """How many runs of so many threads this process's cores are enough for: at least one."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, here // threads)


def config_folder() -> Path:
    """The YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def compose(*overrides: str) -> DictConfig:
    """What `python -m siamese_lab.train OVERRIDES` would be told, for use from Python.

    Args:
        *overrides: as on the command line: `data=omniglot`, `trainer.max_steps=100`.

    Raises:
        UserError: for a key, added by +, that nothing would read.
        HydraException: for a group, a name or an option that is not there.
    """
    register_schema()
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", overrides=list(overrides))
    check_keys(config)
    return config


def check_keys(config: DictConfig, schema: type = TrainConfig) -> None:
    """Raise UserError for what was added by + where nothing would ever read it.

    Inside of a group the part that is built from it does the same.
    """
    for added, allowed in ((config, schema), (config.paths, Paths)):
        known = [field.name for field in fields(allowed)]
        for key in added:
            if key not in known:
                raise UserError(
                    f"There is no option {key!r}.{did_you_mean(str(key), known)} Options: {', '.join(known)}."
                )


def to_plain(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, without where a run was taken up from."""
    values = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key != "resume"}
