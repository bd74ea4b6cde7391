"""Translate the arguments of a command line into the ones that Hydra accepts."""

import re
from collections.abc import Sequence
from typing import get_args, get_type_hints

from omegaconf import OmegaConf

from siamese_lab.config.schema import TrainConfig, config_folder

FLAGS_WITH_VALUE = ("--cfg", "--package", "--config-path", "--config-name", "--config-dir", "--experimental-rerun")
SHORT_FLAGS_WITH_VALUE = ("-c", "-p", "-cp", "-cn", "-cd")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
"""The optional values of Hydra's flag --info."""


def for_hydra(arguments: Sequence[str], command: str = "train") -> list[str]:
    """Return the arguments with all flags first, and for training with the translations of `train_overrides`."""
    flags, overrides = split_flags(arguments)
    return [*flags, *(train_overrides(overrides) if command == "train" else overrides)]


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


def _is_value_of(argument: str, flag: str) -> bool:
    if flag in ("--info", "-i"):
        return argument in INFO
    abbreviates = len(flag) > 2 and any(each.startswith(flag) for each in FLAGS_WITH_VALUE)
    return flag in SHORT_FLAGS_WITH_VALUE or abbreviates


def train_overrides(overrides: Sequence[str]) -> list[str]:
    """Translate overrides of training that Hydra would refuse.

    A group may be null, and an option of Lightning's Trainer needs no +. `siamese_lab.config.trainer_options` finds
    unknown ones after the configuration is composed.

    >>> train_overrides(["logger=null", "trainer.fast_dev_run=true", "trainer.max_steps=3"])
    ['logger=[]', '++trainer.fast_dev_run=true', 'trainer.max_steps=3']
    """
    shipped = OmegaConf.load(config_folder() / "trainer/default.yaml")
    return [_added_to_trainer(_without_null(each), [str(key) for key in shipped]) for each in overrides]


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
