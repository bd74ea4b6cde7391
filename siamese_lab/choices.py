"""The schema of a run's configuration: a key that is not here does not pass, and values are checked for their type."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class Paths:
    """Where files are read from and written to."""

    data: str | None = None
    """Folder of local copies of data sets."""
    cache: str | None = None
    """Where decoded images are kept; null is the user's cache folder."""
    outputs: str = "outputs"


@dataclass
class Choices:
    """Everything a run can be told. The groups hold the options of what they name."""

    data: dict[str, Any] = MISSING
    sampler: dict[str, Any] = MISSING
    loss: dict[str, Any] = MISSING
    network: dict[str, Any] = MISSING
    optimizer: dict[str, Any] = MISSING
    schedule: dict[str, Any] = MISSING
    trainer: dict[str, Any] = MISSING
    logger: dict[str, Any] | None = None
    paths: Paths = field(default_factory=Paths)
    seed: int = 0
    resume: str | None = None


def register_schema() -> None:
    """Let YAML files refer to the schema as `choices`."""
    ConfigStore.instance().store(name="choices", node=Choices)
