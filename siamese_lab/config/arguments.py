"""Translate the arguments of a command line into the ones that Hydra accepts."""

import re
from collections.abc import Sequence
from typing import get_args, get_type_hints

from omegaconf import OmegaConf

from siamese_lab.config.path_options import with_readable_paths
from siamese_lab.config.renamed import with_new_option_names
from siamese_lab.config.schema import TrainConfig, config_folder
from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean

FLAGS_WITH_VALUE = ("--cfg", "--package", "--config-path", "--config-name", "--config-dir", "--experimental-rerun")
SHORT_FLAGS_WITH_VALUE = ("-c", "-p", "-cp", "-cn", "-cd")
FLAGS = (
    *FLAGS_WITH_VALUE,
    *("--help", "--hydra-help", "--info", "--multirun", "--resolve", "--run", "--shell-completion", "--version"),
)
SHORT_FLAGS = (*SHORT_FLAGS_WITH_VALUE, "-h", "-i", "-m", "-r", "-sc")
"""The flags of Hydra. A flag may be abbreviated."""
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""The optional values of Hydra's flag --info."""


def for_hydra(arguments: Sequence[str], command: str = "train") -> list[str]:
    """Return the arguments with all flags first, and for training with the translations of `train_overrides`."""
    flags, overrides = split_flags(arguments)
    check_flags(flags)
    check_names(overrides)
    return [*flags, *(train_overrides(overrides, flags) if command == "train" else with_readable_paths(overrides))]


def split_flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate flags, with their values, from overrides. Hydra accepts no flag between two overrides.

    >>> split_flags(["a=1", "--config-dir", "mine", "b=2", "-m"])
    (['--config-dir', 'mine', '-m'], ['a=1', 'b=2'])
    """
    flags: list[str] = []
    overrides: list[str] = []
    flag = ""
    for argument in arguments:
        if _is_value_of(argument, flag):
            flags.append(argument)
            flag = ""
        elif argument.startswith("-"):
            flags.append(argument)
            flag = argument
        else:
            overrides.append(argument)
            flag = ""
    return flags, overrides


def check_flags(flags: Sequence[str]) -> None:
    """Raise UserError for a flag that does not exist, such as --seed=1 instead of seed=1."""
    for flag in flags:
        name = flag.split("=", 1)[0]
        known = any(each.startswith(name) for each in FLAGS) if name.startswith("--") else name in SHORT_FLAGS
        if flag.startswith("-") and not known and not re.fullmatch(r"-[a-z]{1,2}=.*", flag):
            word = flag.lstrip("-")
            instead = f" Write {word}." if "=" in word else did_you_mean(name, FLAGS)
            raise UserError(
                f"There is no flag {name!r}.{instead} Options are written without dashes, such as seed=1; --help lists "
                "them."
            )


def check_names(overrides: Sequence[str]) -> None:
    """Raise UserError for an override without a name, which Hydra does not explain."""
    for override in overrides:
        if re.match(r"[+~]*(=|$)", override):
            raise UserError(f"{override!r} names no option. Options are written NAME=VALUE, such as seed=1.")


def _is_value_of(argument: str, flag: str) -> bool:
    if flag in ("--info", "-i"):
        return argument in INFO
    abbreviates = len(flag) > 2 and any(each.startswith(flag) for each in FLAGS_WITH_VALUE)
    return flag in SHORT_FLAGS_WITH_VALUE or abbreviates


def train_overrides(overrides: Sequence[str], flags: Sequence[str] = ()) -> list[str]:
    """Translate overrides of training that Hydra would refuse.

    An earlier name of an option becomes the name of today, with a warning: see `config.renamed`. A group may be null, a
    path needs no quotes, and an option of Lightning's Trainer needs no +.
    `siamese_lab.config.trainer_options` finds unknown ones after the configuration is composed.

    >>> train_overrides(["logger=null", "trainer.fast_dev_run=true", "trainer.max_steps=3"])
    ['logger=[]', '++trainer.fast_dev_run=true', 'trainer.max_steps=3']
    """
    shipped = OmegaConf.load(config_folder() / "trainer/default.yaml")
    readable = with_readable_paths(with_new_option_names(overrides, flags))
    return [_added_to_trainer(_without_null(each), [str(key) for key in shipped]) for each in readable]


def _added_to_trainer(override: str, shipped: Sequence[str]) -> str:
    named = re.match(r"trainer\.(\w+)=", override)
    return override if named is None or named[1] in shipped else f"++{override}"


def _without_null(override: str) -> str:
    group, _, value = override.partition("=")
    if group not in optional_groups() or not re.fullmatch(r"[\w,]+", value):
        return override
    nothing = "none" if (config_folder() / group / "none.yaml").is_file() else "[]"
    return f"{group}={','.join(nothing if each == 'null' else each for each in value.split(','))}"


def optional_groups() -> list[str]:
    """Return the groups that a run can do without, such as `logger`."""
    kinds = get_type_hints(TrainConfig)
    groups = sorted(path.name for path in config_folder().iterdir() if path.is_dir())
    return [group for group in groups if group not in kinds or type(None) in get_args(kinds[group])]
