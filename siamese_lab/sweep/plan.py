"""Plan the runs of a sweep before the first run starts."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict

from siamese_lab.config import schema
from siamese_lab.config.errors import check_types, choices_of_groups, shipped_options
from siamese_lab.config.tuned_options import with_tuned_options
from siamese_lab.errors import UserError


class Planned(NamedTuple):
    """One planned run."""

    folder: Path
    name: str
    """The folder relative to that of the sweep."""
    data: str
    """Name on the command line, such as `mnist_closed`."""
    sampler: str
    seed: int
    steps: int
    choices: dict[str, Any]
    overrides: tuple[str, ...] = ()
    """The overrides of this run that differ between the runs of the sweep."""


def plan(config: DictConfig) -> list[Planned]:
    """Return the runs of a sweep in the order in which they start.

    Args:
        config: the configuration of the sweep, including `hydra`.

    Raises:
        UserError: if two runs would write into the same folder.
    """
    loader = GlobalHydra.instance().config_loader()
    params = [f"{name}={values}" for name, values in (config.hydra.sweeper.params or {}).items()]
    parser = OverridesParser.create(loader)
    overrides = parser.parse_overrides([*params, *config.hydra.overrides.task])
    every = combinations(overrides)
    differing = [position for position, values in enumerate(zip(*every, strict=True)) if len(set(values)) > 1]
    runs = []
    shipped: dict[tuple[str, ...], dict[str, Any]] = {}  # composed once for all runs of the same groups
    for number, each in enumerate(every):
        swept = loader.load_sweep_config(config, each)
        with open_dict(swept):
            swept.hydra.job.num = number
        HydraConfig.instance().set_config(swept)  # for ${hydra:job.num} in the name of a folder
        groups = tuple(choices_of_groups(swept.hydra.overrides.task))
        if groups not in shipped:
            shipped[groups] = shipped_options(groups)
        runs.append(planned(swept, tuple(each[position] for position in differing), shipped[groups]))
    HydraConfig.instance().set_config(config)
    check_folders(runs)
    return runs


def combinations(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the command line of each run of a sweep: every combination of the listed values, the last option fastest.

    If an option is set twice, the later values count, as in Hydra's own sweeper.

    Raises:
        UserError: if an option is an interval, from which only a search can choose values.
    """
    values_of_option: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise UserError(
                f"{override.input_line} is an interval, but a sweep runs listed values. List them, as in {key}=0.1,0.2."
            )
        listed = override.is_sweep_override()
        values = override.sweep_string_iterator() if listed else [override.get_value_element_as_str()]
        values_of_option[key] = [f"{key}={value}" for value in values]
    return [list(each) for each in product(*values_of_option.values())]


def planned(config: DictConfig, overrides: tuple[str, ...], shipped: Mapping[str, Any]) -> Planned:
    """Return the planned run of a composed configuration.

    Args:
        config: the composed configuration.
        overrides: the overrides that differ between the runs.
        shipped: the result of `shipped_options` for the groups of the run.

    Raises:
        UserError: for an unknown option or a value of the wrong type.
    """
    chosen = config.hydra.runtime.choices
    folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
    with open_dict(config):
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    schema.check_keys(task)
    check_types(task, shipped)
    wanted = schema.to_plain(with_tuned_options(task, config.hydra))
    return Planned(
        folder,
        config.hydra.sweep.subdir,
        chosen.data,
        chosen.sampler,
        config.seed,
        config.trainer.max_steps,
        wanted,
        overrides,
    )


def check_folders(runs: Sequence[Planned]) -> None:
    """Raise UserError if two runs share a folder."""
    folders = [run.folder for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise UserError(
                f"{folders.count(folder)} runs of this sweep would write into {folder}, because they differ in more "
                "than data, sampler and seed. Start a separate study for each value of a further option: "
                "study_name=ANOTHER."
            )
