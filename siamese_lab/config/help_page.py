"""Answer `--help` of a command: what each group and option does, its default, three examples.

PyTorch is not imported, because it takes seconds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from siamese_lab.config.arguments import split_flags
from siamese_lab.config.errors import search_path_overrides
from siamese_lab.config.help_layout import example_lines, paragraph, two_columns
from siamese_lab.config.help_texts import DESCRIPTIONS, EXAMPLES, FLAGS, GROUPS, GROUPS_OF_EVALUATE, OPTIONS
from siamese_lab.config.overrides import in_grammar
from siamese_lab.config.schema import config_folder

IDENTITY = ("_target_", "_partial_", "name")
"""Keys that say which part a group holds, so its name shows them already."""


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Return whether a command line has the flag --help."""
    return not {"--help", "-h"}.isdisjoint(split_flags(arguments)[0])


def print_help(command: str, arguments: Sequence[str]) -> None:
    """Print the help of a command for the configuration that its command line chooses.

    Hydra's own --help composes the same configuration, but lists all groups twice before it prints, which takes longer
    than everything else together.
    """
    overrides = [*split_flags(arguments)[1], *search_path_overrides(arguments)]
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose(command, overrides=overrides, return_hydra_config=True)
        chosen = {str(group): name for group, name in config.hydra.runtime.choices.items()}
        names = partial(names_of_group, GlobalHydra.instance().config_loader().get_sources())
        print("\n".join(help_lines(command, plain_options(config), chosen, names)))


def help_lines(
    command: str, options: Mapping[str, Any], chosen: Mapping[str, Any], names: Callable[[str], Sequence[str]]
) -> Iterator[str]:
    """Yield the lines of the help.

    Args:
        command: `train` or `evaluate`.
        options: the composed options as plain values.
        chosen: the chosen name of each group, or None.
        names: returns the names of a group.
    """
    groups = {**GROUPS, **dict.fromkeys(own_groups(chosen), "")} if command == "train" else GROUPS_OF_EVALUATE
    yield from paragraph(DESCRIPTIONS[command])
    yield ""
    yield f"  python -m siamese_lab.{command} [GROUP=NAME] [OPTION=VALUE] [FLAG] …"
    yield ""
    yield "Groups, with the chosen name: GROUP=NAME chooses another one."
    yield ""
    for group, text in groups.items():
        listed = f"{text}. Names: {', '.join(names(group))}".removeprefix(". ")
        yield from two_columns([(f"{group}={in_grammar(chosen.get(group))}", listed)])
    yield ""
    if command == "train":
        yield from paragraph(
            "Options, with their values in this configuration: OPTION=VALUE sets another one. Other parts have other "
            "options: sampler=memory --help lists those of sampler=memory."
        )
    else:
        yield "Options, with their defaults: OPTION=VALUE sets another value."
    yield ""
    yield from two_columns(option_rows(command, options))
    yield ""
    yield from paragraph(closing(command))
    yield ""
    yield "Flags, anywhere on the command line:"
    yield ""
    yield from two_columns(FLAGS.items())
    yield ""
    yield from example_lines(EXAMPLES[command])


def names_of_group(sources: Sequence[ConfigSource], group: str) -> list[str]:
    """Return the names of a group, after which come those in its folders, such as `factors/loss`.

    Hydra's own list of a group copies all its sources for each call, which takes longer than to compose the options.
    """
    names = members(sources, group, ObjectType.CONFIG)
    for folder in members(sources, group, ObjectType.GROUP):
        if f"{group}/{folder}" not in GROUPS:
            names += [f"{folder}/{name}" for name in names_of_group(sources, f"{group}/{folder}")]
    return names


def members(sources: Sequence[ConfigSource], group: str, kind: ObjectType) -> list[str]:
    """Return the configs or the folders of a group, in alphabetical order."""
    return sorted({name for each in sources if each.is_group(group) for name in each.list(group, kind)})


def closing(command: str) -> str:
    """Return what the command line can do besides setting listed options."""
    general = "HYDRA_FULL_ERROR=1 in the environment shows the traceback of an error. configs/README.md has more."
    if command != "train":
        return f"data.OPTION=VALUE sets an option of the data set. {general}"
    return (
        "Every other option of Lightning's Trainer is set in the same way: trainer.fast_dev_run=true. +OPTION=VALUE "
        "adds an option that is not listed, such as +callbacks.mine={_target_: my_package.Mine}. GROUP=null leaves out "
        f"an optional group. {general}"
    )


def own_groups(chosen: Mapping[str, Any]) -> list[str]:
    """Return the groups of the user's own configs."""
    return sorted(group for group in chosen if group not in GROUPS and not group.startswith("hydra"))


def option_rows(command: str, options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield `OPTION=DEFAULT` and its sentence; groups come last, in the order of `GROUPS`."""
    texts = OPTIONS[command]
    first = {name: value for name, value in options.items() if name not in GROUPS}
    rest = {name: options[name] for name in GROUPS if isinstance(options.get(name), dict)}
    for name, value in leaves(first | rest, texts):
        text = texts.get(name, "") + (metrics_of_packages() if name == "metrics.extra" else "")
        yield f"{name}={'…' if value == '???' else in_grammar(value)}", text


def metrics_of_packages() -> str:
    """Return the names of the metrics that installed packages add. Only if there are any, PyTorch is loaded."""
    if not metadata.entry_points(group="siamese_lab.metrics"):
        return ""
    from siamese_lab import metrics

    own = OPTIONS["train"]["metrics.extra"]
    return "".join(f", {name}" for name in metrics.available() if name not in own)


def leaves(tree: Mapping[str, Any], texts: Mapping[str, str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and values of the options. A dictionary is one option if it has its own sentence."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if prefix and key in IDENTITY:
            continue
        if isinstance(value, dict) and value and (name not in texts or f"{name}.{next(iter(value))}" in texts):
            yield from leaves(value, texts, f"{name}.")
        else:
            yield name, value


def plain_options(root: DictConfig) -> dict[str, Any]:
    """Return the options without Hydra's, as plain values. Values that cannot be resolved stay interpolations."""
    task = OmegaConf.masked_copy(root, [str(key) for key in root if key != "hydra"])
    try:
        plain = OmegaConf.to_container(task, resolve=True, enum_to_str=True)
    except OmegaConfBaseException:
        plain = OmegaConf.to_container(task, enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
