"""Pass the options of the evaluated data set to configs/evaluate.yaml, which has no group for data sets."""

from collections.abc import Mapping, Sequence
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from siamese_lab.config.errors import search_path_overrides
from siamese_lab.config.schema import config_folder

NODE = "evaluated_data"
"""Name of the data options in configs/evaluate.yaml."""


def store_data_options(options: Mapping[str, Any] | None) -> None:
    """Store the data options where configs/evaluate.yaml reads them.

    Args:
        options: options by name, or None if the command line names no data set.
    """
    ConfigStore.instance().store(name=NODE, node={"data": options}, package="_global_")


def compose_data_options(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Compose the options of a data set as for training. The folders stay interpolations.

    Args:
        name: name of a YAML file in configs/data.
        arguments: the command line; only --config-dir and --config-path matter.

    Raises:
        HydraException: if there is no such data set.
    """
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", overrides=[f"data={name}", *search_path_overrides(arguments)])
    options = OmegaConf.to_container(config.data)
    assert isinstance(options, dict)
    return {str(option): value for option, value in options.items()}
