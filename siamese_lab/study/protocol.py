"""The protocol of a study: fixed options, options of each strategy, and further differences, which are faults."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from siamese_lab.errors.controls import escape_line
from siamese_lab.runs.options import NEUTRAL, OUTSIDE_A_STUDY, compared_options
from siamese_lab.study.runs import Run, Study

JOB_KEYS = ("seed", "sampler.name", "data.name")
"""Options that identify a job of a study."""


OF_SEEDS = ("data.split", "data.split_seed")
"""Options that may differ between seeds, because strategies are compared within a seed."""


class Differing(NamedTuple):
    """An option that differs between runs that are compared on a data set."""

    data: str
    option: str
    folders: dict[str, list[str]]
    """Folders of the runs for each value."""


class Protocol(NamedTuple):
    """The options of all runs of a study."""

    fixed: dict[str, dict[str, str]]
    """Value of each option on each data set on which all runs share the value."""
    of_strategies: dict[tuple[str, str], dict[str, str]]
    """Sampler options of each data set and strategy; in a tuned study, all options that differ by strategy."""
    differing: list[Differing]
    """Differences between runs that neither the strategy nor its tuning explains."""


def protocol(study: Study) -> Protocol:
    """Collect the protocol from all runs, finished or not."""
    fixed: dict[str, dict[str, str]] = {}
    of_strategies: dict[tuple[str, str], dict[str, str]] = {}
    differing = []
    for data in study.data:
        runs = [run for run in study.runs if run.data == data]
        options = {run.folder: _options(run) for run in runs}
        for option in dict.fromkeys(name for each in options.values() for name in each):
            unset = as_override(NEUTRAL.get(option, "not set"))
            by_run = {run.folder: options[run.folder].get(option, unset) for run in runs}
            of_strategy = option.startswith("sampler.") or (all_tuned(runs) and not _all_equal(by_run.values()))
            if of_strategy and all(
                _all_equal(by_run[run.folder] for run in each) for each in _by_strategy(runs).values()
            ):
                for strategy, mine in _by_strategy(runs).items():
                    if option in options[mine[0].folder]:
                        of_strategies.setdefault((data, strategy), {})[option] = by_run[mine[0].folder]
            elif option in OF_SEEDS and not _all_equal(by_run.values()) and _equal_within_seeds(runs, by_run):
                values = dict.fromkeys(by_run[run.folder] for run in sorted(runs, key=lambda run: run.results.seed))
                fixed.setdefault(option, {})[data] = f"by seed: {', '.join(values)}"
            elif _all_equal(by_run.values()):
                fixed.setdefault(option, {})[data] = by_run[runs[0].folder]
            else:
                differing.append(Differing(data, option, _folders_by_value(by_run)))
    return Protocol(fixed, of_strategies, differing)


def all_tuned(runs: Iterable[Run]) -> bool:
    """Return whether all runs use tuned options."""
    return all(run.results.choices.get("tuned") is not None for run in runs)


def any_tuned(runs: Iterable[Run]) -> bool:
    """Return whether any run uses tuned options."""
    return any(run.results.choices.get("tuned") is not None for run in runs)


def tuning_budgets(runs: Iterable[Run]) -> dict[str, set[str]]:
    """Return the tuning budgets of each data set; a single budget if all strategies had the same."""
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
    options = compared_options(results.choices, (*OUTSIDE_A_STUDY, *JOB_KEYS)) | images | precision
    return {name: as_override(value) for name, value in options.items()}


def as_override(value: Any) -> str:
    """Return a value as it is written on the command line, in one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(as_override, value))}]"
    return f"{value:g}" if isinstance(value, float) else escape_line(str(value))


def _all_equal(values: Iterable[str]) -> bool:
    return len(set(values)) <= 1


def _by_strategy(runs: Iterable[Run]) -> dict[str, list[Run]]:
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.strategy, []).append(run)
    return grouped


def _equal_within_seeds(runs: Iterable[Run], by_run: Mapping[str, str]) -> bool:
    of_seed: dict[int, set[str]] = {}
    for run in runs:
        of_seed.setdefault(run.results.seed, set()).add(by_run[run.folder])
    return all(len(values) == 1 for values in of_seed.values())


def _folders_by_value(by_run: Mapping[str, str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for folder, value in by_run.items():
        folders.setdefault(value, []).append(folder)
    return folders
