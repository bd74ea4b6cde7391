"""Which data a network is evaluated on: what it was trained with unless another set is named, if the two fit."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from siamese_lab import data
from siamese_lab.config.errors import search_path_overrides
from siamese_lab.config.overrides import last_value, option_of, quoted
from siamese_lab.config.schema import config_folder
from siamese_lab.errors import UserError
from siamese_lab.evaluation.trained import Trained, choices_of
from siamese_lab.registry import options_of
from siamese_lab.runs import checkpoints

NODE = "evaluated_data"
"""What configs/evaluate.yaml calls the options of the data."""
FOLDERS = ("root", "cache")
"""Options of data that say where it is, not what it is."""


def with_evaluated_data(arguments: Sequence[str]) -> list[str]:
    """The command line, after what it says of data has become a part of the configuration.

    `data=NAME` names a set that is composed as for training. Without it, or where the network was trained on that very
    set, the options are those of its training. Folders are those of this machine, and only where there is none those
    of the training.

    Raises:
        UserError: for a checkpoint that is not there, not the lab's, or without its choices.
    """
    place, name = last_value("checkpoint", arguments), last_value("data", arguments)
    rest = [argument for argument in arguments if option_of(argument) != "data"]
    if place is None:
        store(composed(name, arguments) if name is not None else None)
        return rest
    checkpoint = checkpoints.find(Path(place))
    choices = choices_of(checkpoints.read(checkpoint), checkpoint)
    if name in (None, choices["data"]["name"]):
        store(with_folders_of_now(choices))
    else:
        store(composed(name, arguments))
    beside = max(number for number, argument in enumerate(rest) if option_of(argument) == "checkpoint")
    # Quoted, as the folders of runs have names like seed=0; flags such as --help may not come between overrides.
    rest[beside : beside + 1] = [*folders_of_then(choices, arguments), f"checkpoint={quoted(place)}"]
    return rest


def store(options: Mapping[str, Any] | None) -> None:
    """Let configs/evaluate.yaml find the options of the data."""
    ConfigStore.instance().store(name=NODE, node={"data": options}, package="_global_")


def composed(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The options of a data set as training would have them, with the folders left open."""
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", overrides=[f"data={name}", *search_path_overrides(arguments)])
    options = OmegaConf.to_container(config.data)
    assert isinstance(options, dict)
    return {str(option): value for option, value in options.items()}


def with_folders_of_now(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The data options of a training, whose folders are open again where `paths` had told them."""
    told = {"root": choices["paths"]["data"], "cache": choices["paths"]["cache"]}
    now = {"root": "${paths.data}", "cache": "${paths.cache}"}
    return {
        option: now[option] if option in told and value == told[option] else value
        for option, value in choices["data"].items()
    }


def folders_of_then(choices: Mapping[str, Any], arguments: Sequence[str]) -> list[str]:
    """Overrides that name the folders of the training, where they are here and none are named now."""
    said = {option_of(argument) for argument in arguments}
    if "SIAMESE_LAB_DATA" in os.environ:
        said.add("paths.data")
    then = {f"paths.{option}": choices["paths"][option] for option in ("data", "cache")}
    return [
        f"{option}={quoted(folder)}"
        for option, folder in then.items()
        if option not in said and folder is not None and Path(folder).is_dir()
    ]


def check_fit(trained: Trained, images: data.DataModule) -> None:
    """Raise UserError unless the images have the form that the network was trained with."""
    wanted = trained.images()
    if (images.channels, images.image_size) == (wanted.channels, wanted.image_size):
        return
    known = options_of(type(images))
    options = []
    if images.image_size != wanted.image_size and "image_size" in known:
        options.append(f"data.image_size={wanted.image_size}")
    if images.channels != wanted.channels and "colour" in known:
        options.append(f"data.colour={str(wanted.channels == 3).lower()}")
    fits = (images.image_size == wanted.image_size or "image_size" in known) and (
        images.channels == wanted.channels or "colour" in known
    )
    advice = f"Add {' '.join(options)}." if fits else "Train a network for images of that form."
    raise UserError(
        f"This network takes images of {form(wanted)}, as {wanted.title} has them, but "
        f"{images.title} here has {form(images)}. {advice}"
    )


def form(images: data.DataModule) -> str:
    """Channels and pixels, as a message says them."""
    kind = {1: "grey", 3: "colour"}.get(images.channels, f"{images.channels} channels")
    return f"{images.image_size}×{images.image_size} pixels in {kind}"


def count_seen(trained: Trained, options: Mapping[str, Any], images: data.DataModule) -> int:
    """How many of the classes to be tested the network was trained on.

    Args:
        trained: the network.
        options: of the data to test on.
        images: that data.

    Raises:
        UserError: if it was trained on classes that by its own split it was not, as when a folder of images is now
            parted in another way.
    """
    then = trained.choices["data"]
    if options["name"] != then["name"] or is_elsewhere(trained, options):
        return 0
    changed = [name for name in options if name not in FOLDERS and options[name] != then.get(name)]
    here = {name: options[name] for name in FOLDERS if name in options}
    at_training = data.build(**{**then, **here}, seed=trained.choices["seed"]) if changed else images
    learnt, tested = set(at_training.splits.train.class_names), set(images.splits.test.class_names)
    leaked = learnt & tested - set(at_training.splits.test.class_names)
    if leaked:
        said = " ".join(f"data.{name}={options[name]}" for name in changed)
        raise UserError(
            f"The network was trained on {len(leaked):,} of the {len(tested):,} classes that would be tested with "
            f"{said}, such as {min(leaked)}, so its figures would not be those of unseen classes. "
            f"Train one with {said} to report these, or test this one as it was trained."
        )
    return len(tested & learnt)


def is_elsewhere(trained: Trained, options: Mapping[str, Any]) -> bool:
    """Whether a folder of images of one's own, which is a set by itself, is another than that of the training."""
    root = trained.choices["data"].get("root")
    return root != trained.choices["paths"]["data"] and options.get("root") != root
