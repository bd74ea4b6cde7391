"""What was held fixed in a study, what belongs to the strategies, and what differs besides, which it should not."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from siamese_lab.study.runs import Run, Study

JOB_KEYS = ("seed", "sampler.name", "data.name")
"""By which the jobs of a study are told apart."""
TARGET_KEY = "_target_"
"""The option that names a class."""


class Differing(NamedTuple):
    """An option that is not the same in all runs that are compared on a data set."""

    data: str
    option: str
    folders: dict[str, list[str]]
    """The runs of each value, as it is written."""


class Protocol(NamedTuple):
    """All options of a study."""

    fixed: dict[str, dict[str, str]]
    """Each option's value on each data set, where all runs of the set have the same."""
    of_strategies: dict[tuple[str, str], dict[str, str]]
    """Of each data set and strategy: the sampler's own options, and in a tuned study all that differ by strategy."""
    differing: list[Differing]
    """What makes a comparison one of more than strategies."""


def protocol(study: Study) -> Protocol:
    """The protocol of all runs, finished or not."""
    fixed: dict[str, dict[str, str]] = {}
    of_strategies: dict[tuple[str, str], dict[str, str]] = {}
    differing = []
    for data in study.data:
        runs = [run for run in study.runs if run.data == data]
        options = {run.folder: _options(run) for run in runs}
        for option in dict.fromkeys(name for each in options.values() for name in each):
            by_run = {run.folder: options[run.folder].get(option, "not there") for run in runs}
            of_strategy = option.startswith("sampler.") or (all_tuned(runs) and not _same(by_run.values()))
            if of_strategy and all(_same(by_run[run.folder] for run in mine) for mine in _by_strategy(runs).values()):
                for strategy, mine in _by_strategy(runs).items():
                    if option in options[mine[0].folder]:
                        of_strategies.setdefault((data, strategy), {})[option] = by_run[mine[0].folder]
            elif _same(by_run.values()):
                fixed.setdefault(option, {})[data] = by_run[runs[0].folder]
            else:
                differing.append(Differing(data, option, _places(by_run)))
    return Protocol(fixed, of_strategies, differing)


def all_tuned(runs: Iterable[Run]) -> bool:
    """Whether every strategy was given the options that its tuning found best."""
    return all(run.results.choices.get("tuned") is not None for run in runs)


def any_tuned(runs: Iterable[Run]) -> bool:
    """Whether any was."""
    return any(run.results.choices.get("tuned") is not None for run in runs)


def tuning_budgets(runs: Iterable[Run]) -> dict[str, set[str]]:
    """The budgets of the tunings on each data set: a single one where all strategies had the same."""
    budgets: dict[str, set[str]] = {}
    for run in runs:
        tuned = run.results.choices.get("tuned")
        if tuned is not None:
            budgets.setdefault(run.data, set()).add(f"{tuned['trials']} trials of {tuned['steps']} steps")
    return budgets


def _options(run: Run) -> dict[str, str]:
    results = run.results
    images = {f"images.{name}": value for name, value in run.data_set.compared.items()}
    precision = {"hardware.precision": results.hardware.get("precision")} if results.hardware else {}
    told = named(results, JOB_KEYS) | images | precision
    return {
        name.removesuffix(f".{TARGET_KEY}"): str(value).rsplit(".", 1)[-1]
        if name.endswith(TARGET_KEY)
        else written(value)
        for name, value in told.items()
        if not name.endswith("._partial_")
    }


def written(value: Any) -> str:
    """As on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same(values: Iterable[str]) -> bool:
    return len(set(values)) <= 1


def _by_strategy(runs: Iterable[Run]) -> dict[str, list[Run]]:
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.strategy, []).append(run)
    return grouped


def _places(by_run: Mapping[str, str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for place, value in by_run.items():
        folders.setdefault(value, []).append(place)
    return folders
