"""Choose the data that a network is evaluated on: its training data by default, or another data set that fits it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from siamese_lab import data
from siamese_lab.config.errors import search_path_overrides
from siamese_lab.config.overrides import last_value, option_of, quoted, without_interpolations
from siamese_lab.config.schema import config_folder
from siamese_lab.errors import UserError
from siamese_lab.evaluation.stored_config import without_written_folders
from siamese_lab.evaluation.trained import Trained, choices_of
from siamese_lab.registry import options_of
from siamese_lab.runs import checkpoints
from siamese_lab.runs.options import DATA_FOLDERS

NODE = "evaluated_data"
"""Name of the data options in configs/evaluate.yaml."""


def with_evaluated_data(arguments: Sequence[str]) -> list[str]:
    """Move the data options of the command line into the configuration, and return the remaining command line.

    `data=NAME` names a data set. Its options are composed as for training. Without `data=NAME`, or if the network was
    trained on that data set, the options of the training are used. Folders are taken from this machine. The folders
    of the training are used only if this machine names none.

    Raises:
        UserError: if the checkpoint is missing, was not written by siamese_lab, or does not hold its configuration.
    """
    checkpoint_path, name = last_value("checkpoint", arguments), last_value("data", arguments)
    rest = [argument for argument in arguments if option_of(argument) != "data"]
    if checkpoint_path is None:
        store_data_options(compose_data_options(name, arguments) if name is not None else None)
        return rest
    checkpoint = checkpoints.find_checkpoint(Path(checkpoint_path))
    choices = without_written_folders(choices_of(checkpoints.read_checkpoint(checkpoint), checkpoint))
    if name in (None, choices["data"]["name"]):
        store_data_options(with_current_folders(choices))
    else:
        store_data_options(compose_data_options(name, arguments))
    position = max(number for number, argument in enumerate(rest) if option_of(argument) == "checkpoint")
    # Quoted because run folders have names like seed=0. Hydra allows no flag such as --help between overrides.
    rest[position : position + 1] = [
        *training_folder_overrides(choices, arguments),
        f"checkpoint={quoted(checkpoint_path)}",
    ]
    return rest


def store_data_options(options: Mapping[str, Any] | None) -> None:
    """Store the data options where configs/evaluate.yaml reads them."""
    ConfigStore.instance().store(name=NODE, node={"data": options}, package="_global_")


def compose_data_options(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Compose the options of a data set as for training. The folders stay interpolations."""
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", overrides=[f"data={name}", *search_path_overrides(arguments)])
    options = OmegaConf.to_container(config.data)
    assert isinstance(options, dict)
    return {str(option): value for option, value in options.items()}


def with_current_folders(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data options of a training. Folders that came from `paths` are interpolations again."""
    at_training = {"root": choices["paths"]["data"], "cache": choices["paths"]["cache"]}
    now = {"root": "${paths.data}", "cache": "${paths.cache}"}
    return {
        option: now[option] if option in at_training and value == at_training[option] else without_interpolations(value)
        for option, value in choices["data"].items()
    }


def training_folder_overrides(choices: Mapping[str, Any], arguments: Sequence[str]) -> list[str]:
    """Return the override for the folder of data sets of the training, which is only read.

    There is none if the folder does not exist here, or if the command line or SIAMESE_LAB_DATA names one.
    """
    given = {option_of(argument) for argument in arguments}
    folder = choices["paths"]["data"]
    if "paths.data" in given or "SIAMESE_LAB_DATA" in os.environ or folder is None or not Path(folder).is_dir():
        return []
    return [f"paths.data={quoted(folder)}"]


def check_fit(trained: Trained, datamodule: data.DataModule) -> None:
    """Raise UserError unless the images have the size and the channels that the network was trained with."""
    wanted = trained.build_datamodule()
    if (datamodule.channels, datamodule.image_size) == (wanted.channels, wanted.image_size):
        return
    known = options_of(type(datamodule))
    options = []
    if datamodule.image_size != wanted.image_size and "image_size" in known:
        options.append(f"data.image_size={wanted.image_size}")
    if datamodule.channels != wanted.channels and "color" in known:
        options.append(f"data.color={str(wanted.channels == 3).lower()}")
    fits = (datamodule.image_size == wanted.image_size or "image_size" in known) and (
        datamodule.channels == wanted.channels or "color" in known
    )
    advice = f"Add {' '.join(options)}." if fits else "Train a network for images of that form."
    raise UserError(
        f"This network takes images of {describe_form(wanted)} ({wanted.title}), but {datamodule.title} has images of "
        f"{describe_form(datamodule)}. {advice}"
    )


def describe_form(datamodule: data.DataModule) -> str:
    """Return the image size and the channels as a phrase for messages."""
    kind = {1: "grayscale", 3: "color"}.get(datamodule.channels, f"{datamodule.channels} channels")
    return f"{datamodule.image_size}×{datamodule.image_size} pixels in {kind}"


def count_seen(trained: Trained, options: Mapping[str, Any], datamodule: data.DataModule) -> int:
    """Return the number of test classes that the network was trained on.

    Args:
        trained: the network.
        options: options of the data to test on.
        datamodule: the data to test on.

    Raises:
        UserError: if the network was trained on test classes that its own split kept out of training. This happens
            when a folder of images is now split in another way.
    """
    then = trained.choices["data"]
    if options["name"] != then["name"] or is_other_folder(trained, options):
        return 0
    changed = [name for name in options if name not in DATA_FOLDERS and options[name] != then.get(name)]
    here = {name: options[name] for name in DATA_FOLDERS if name in options}
    at_training = data.build(**{**then, **here}, seed=trained.choices["seed"]) if changed else datamodule
    learned, tested = set(at_training.splits.train.class_names), set(datamodule.splits.test.class_names)
    leaked = learned & tested - set(at_training.splits.test.class_names)
    if leaked:
        overrides = " ".join(f"data.{name}={options[name]}" for name in changed)
        raise UserError(
            f"The network was trained on {len(leaked):,} of the {len(tested):,} test classes that {overrides} "
            f"selects, such as {min(leaked)}, so the results would not be results on unseen classes. "
            f"Train a network with {overrides}, or evaluate this network without {overrides}."
        )
    return len(tested & learned)


def is_other_folder(trained: Trained, options: Mapping[str, Any]) -> bool:
    """Return whether a user's own folder of images (a data set by itself) differs from the folder of the training."""
    root = trained.choices["data"].get("root")
    return root != trained.choices["paths"]["data"] and options.get("root") != root
