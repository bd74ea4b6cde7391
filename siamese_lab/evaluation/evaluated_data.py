"""Choose the data that a network is evaluated on: its training data by default, or another data set that fits it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from siamese_lab import data
from siamese_lab.config.data_options import compose_data_options, store_data_options
from siamese_lab.config.overrides import last_value, option_of, quoted, without_interpolations
from siamese_lab.data.trained_options import trained_options
from siamese_lab.errors import UserError
from siamese_lab.evaluation.stored_config import without_written_folders
from siamese_lab.evaluation.trained import Trained, choices_of
from siamese_lab.registry import options_of
from siamese_lab.runs import checkpoints
from siamese_lab.runs.classes import listed
from siamese_lab.runs.display import counted
from siamese_lab.runs.options import DATA_FOLDERS
from siamese_lab.runs.stored_paths import not_read, unnamed_folder

NO_CLASSES = (
    "The checkpoint was written before checkpoints stored class names, so its classes are split again. If classes were "
    "added or removed since the training, the test may contain classes that were trained on."
)


def with_evaluated_data(arguments: Sequence[str]) -> list[str]:
    """Move the data options of the command line into the configuration, and return the remaining command line.

    `data=NAME` names a data set. Its options are composed as for training. Without `data=NAME`, or if the network was
    trained on that data set, the options of the training are used. The user names the folders.

    Args:
        arguments: the command line, with checkpoint=PATH.

    Raises:
        UserError: if the checkpoint is missing, was not written by siamese_lab, or does not hold its configuration.
            Also if the training read a folder that the user does not name.
    """
    checkpoint_path, name = last_value("checkpoint", arguments), last_value("data", arguments)
    rest = [argument for argument in arguments if option_of(argument) != "data"]
    assert checkpoint_path is not None
    checkpoint = checkpoints.find_checkpoint(Path(checkpoint_path))
    choices = without_written_folders(choices_of(checkpoints.read_checkpoint(checkpoint), checkpoint))
    if name in (None, choices["data"]["name"]):
        if (unnamed := unnamed_folder(choices, {option_of(argument) for argument in arguments})) is not None:
            option, folder = unnamed
            raise UserError(not_read(folder, option))
        store_data_options(with_current_folders(choices))
    else:
        store_data_options(compose_data_options(name, arguments))
    position = max(number for number, argument in enumerate(rest) if option_of(argument) == "checkpoint")
    # Quoted because run folders have names like seed=0. Hydra allows no flag such as --help between overrides.
    rest[position] = f"checkpoint={quoted(checkpoint_path)}"
    return rest


def with_current_folders(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data options of a training. Folders that came from `paths` are interpolations again."""
    at_training = {"root": choices["paths"]["data"], "cache": choices["paths"]["cache"]}
    now = {"root": "${paths.data}", "cache": "${paths.cache}"}
    return {
        option: now[option] if option in at_training and value == at_training[option] else without_interpolations(value)
        for option, value in choices["data"].items()
    }


def check_fit(trained: Trained, datamodule: data.DataModule) -> None:
    """Raise UserError unless the images have the size and the channels that the network was trained with."""
    wanted = trained.build_datamodule()
    if (datamodule.channels, datamodule.image_size) == (wanted.channels, wanted.image_size):
        return
    known = options_of(type(datamodule))
    options = []
    if datamodule.image_size != wanted.image_size and "image_size" in known:
        options.append(f"data.image_size={wanted.image_size}")
        if wanted.stored_size is not None and datamodule.resizes_photographs:
            options.append(f"data.stored_size={wanted.stored_size}")
    if datamodule.channels != wanted.channels and "color" in known:
        options.append(f"data.color={str(wanted.channels == 3).lower()}")
    fits = (datamodule.image_size == wanted.image_size or "image_size" in known) and (
        datamodule.channels == wanted.channels or "color" in known
    )
    advice = f"Add {' '.join(options)}." if fits else "Train a network for images of that form."
    raise UserError(
        f"This network takes {described_input(wanted)} ({wanted.title}), but {datamodule.title} has "
        f"{described_input(datamodule)}. {advice}"
    )


def described_input(datamodule: data.DataModule) -> str:
    """Return the form of the images or the features with their noun."""
    return f"images of {describe_form(datamodule)}" if datamodule.holds_pixels else describe_form(datamodule)


def describe_form(datamodule: data.DataModule) -> str:
    """Return the image size and the channels, or the number of features, as a phrase for messages."""
    if not datamodule.holds_pixels:
        return f"{datamodule.channels:,} features"
    kind = {1: "grayscale", 3: "color"}.get(datamodule.channels, f"{datamodule.channels} channels")
    return f"{datamodule.image_size}×{datamodule.image_size} pixels in {kind}"


def keep_trained_parts(trained: Trained, options: Mapping[str, Any], datamodule: data.DataModule) -> list[str]:
    """Keep each class in the part that it had in the training, and describe the classes that have changed since.

    A folder elsewhere is the folder of the training, moved, if it has most of its class names.

    Args:
        trained: the network.
        options: options of the data to test on.
        datamodule: the data to test on, which has loaded no image.

    Returns:
        Sentences for the user.
    """
    then = trained.choices["data"]
    now = datamodule.current_classes() if options["name"] == then["name"] else None
    if now is None:
        return []
    elsewhere = is_other_folder(trained, options)
    trained_with, tested_with = trained_options(then), trained_options(options)
    splits_again = any(tested_with.get(name) != trained_with.get(name) for name in datamodule.split_options)
    if trained.classes is None:
        return [] if elsewhere or splits_again else [NO_CLASSES]
    known = trained.classes.names()
    if elsewhere and (splits_again or 2 * len(known & now) <= len(known)):
        trained_on = frozenset(trained.classes.train.names) & now
        also = f"Not the folder of the training, but it also has {counted_classes(trained_on)}, which were trained on."
        return [also] if trained_on else []
    if splits_again:
        return []
    datamodule.keep_parts(trained.classes)
    new, missing = now - known, known - now
    return [
        *(["The folder has moved since the training, and has its class names."] if elsewhere else []),
        *([f"Not tested, because new since the training: {counted_classes(new)}."] if new else []),
        *([f"Missing since the training: {counted_classes(missing)}."] if missing else []),
    ]


def counted_classes(names: frozenset[str]) -> str:
    """Return a number of classes with the first names."""
    return f"{counted(len(names), 'class', 'classes')}, {listed(names)}"


def count_seen(trained: Trained, options: Mapping[str, Any], datamodule: data.DataModule) -> int:
    """Return the number of test classes that the network was trained on.

    Checkpoints that store no classes are compared with a split of the images that are there now.

    Args:
        trained: the network.
        options: options of the data to test on.
        datamodule: the data to test on.

    Raises:
        UserError: if the network was trained on test classes that its own split kept out of training. This happens
            when a folder of images is now split in another way.
    """
    then = trained.choices["data"]
    if options["name"] != then["name"] or (trained.classes is None and is_other_folder(trained, options)):
        return 0
    changed = [name for name in options if name not in DATA_FOLDERS and options[name] != then.get(name)]
    at_training = trained.classes
    if at_training is None:
        here = {name: options[name] for name in DATA_FOLDERS if name in options}
        built = data.build(**{**then, **here}, seed=trained.choices["seed"]) if changed else datamodule
        at_training = built.class_parts()
    learned, tested = frozenset(at_training.train.names), frozenset(datamodule.splits.test.class_names)
    leaked = learned & tested - frozenset(at_training.test.names)
    is_own = datamodule.current_classes() is not None and is_other_folder(trained, options)
    if leaked and not is_own:
        overrides = " ".join(f"data.{name}={options[name]}" for name in changed)
        if not changed:
            source = options.get("file") or datamodule.title
            raise UserError(
                f"The network was trained on {len(leaked):,} of the {len(tested):,} test classes, such as "
                f"{min(leaked)}: {source} has changed since the training. Restore it, or train a network."
            )
        raise UserError(
            f"The network was trained on {len(leaked):,} of the {len(tested):,} test classes that {overrides} "
            f"selects, such as {min(leaked)}, so the results would not be results on unseen classes. "
            f"Train a network with {overrides}, or evaluate this network without {overrides}."
        )
    return len(tested & learned)


def is_other_folder(trained: Trained, options: Mapping[str, Any]) -> bool:
    """Return whether a user's own folder or table (a data set by itself) differs from that of the training."""
    table = trained.choices["data"].get("file")
    if table is not None:
        return bool(options.get("file") != table)
    root = trained.choices["data"].get("root")
    return root != trained.choices["paths"]["data"] and options.get("root") != root
