"""The caveats and the environments of a study.

The environments are the versions of the code, the packages and the machines that the runs used.
"""

import re
from collections.abc import Callable

from siamese_lab.runs.plain_values import shortened
from siamese_lab.study.analysis import HEADLINE, Analysis, number_of_pairs
from siamese_lab.study.bounds import MAX_PAIRS, shorten_notes
from siamese_lab.study.protocol import all_tuned, any_tuned, tuning_budgets
from siamese_lab.study.runs import Run, Study

UNKNOWN = "unknown"
RECALL = re.compile(r"recall@\d+")


def caveats(analysis: Analysis) -> list[str]:
    """Return everything that a reader must know before trusting the results; empty if there is nothing."""
    study = analysis.study
    found = []
    if len(commits(study)) > 1:
        found.append(
            f"The runs used {len(commits(study))} versions of the code, listed under “Versions and machine”, and are "
            "counted together. To count only the runs of one version: --commit HASH."
        )
    dirty = sum(len(folders) for commit, folders in commits(study).items() if commit.endswith("-dirty"))
    if dirty:
        found.append(f"{dirty} runs used code with uncommitted changes, so their commit does not identify their code.")
    if any_tuned(study.runs) and not all_tuned(study.runs):
        found.append("Some runs use tuned options and others do not, so this does not compare strategies.")
    for data, budgets in tuning_budgets(study.runs).items():
        if len(budgets) > 1:
            listed = " and ".join(sorted(budgets))
            found.append(f"The tuning budgets on {data} differ ({listed}), so the comparison is not fair.")
    for each in analysis.protocol.differing:
        listed_values = [f"{shortened(value, 200)} in {_list_folders(names)}" for value, names in each.folders.items()]
        values = "; ".join(listed_values if len(listed_values) <= 10 else [*listed_values[:9], "…"])
        found.append(f"On {each.data} more than the strategy differs: {each.option} is {values}.")
    if len(ks_of_recall(study)) > 1:
        found.append(
            "The runs have different K's of Recall@K (metrics.k), so the table of a K has the runs that measured it."
        )
    if len(machines(study)) > 1:
        found.append(
            "The runs used different machines or numbers of threads or processes (see “Versions and machine”), so "
            "their seconds cannot be compared."
        )
    pairs = number_of_pairs(analysis.values[HEADLINE]) if HEADLINE in analysis.values else 0
    if pairs > MAX_PAIRS:
        found.append(f"All pairs of strategies are compared up to {MAX_PAIRS:,} pairs, but there are {pairs:,}.")
    unfinished = [run for run in study.runs if not run.finished]
    if unfinished or study.missing or study.excluded:
        counts = ((unfinished, "not finished"), (study.missing, "missing"), (study.excluded, "excluded"))
        listed = ", ".join(f"{len(jobs)} {state}" for jobs, state in counts if jobs)
        found.append(f"Jobs without a result: {listed}; see “Failed and missing jobs”.")
    found += [f"{data}: {note}" for data, notes in study.notes.items() for note in notes]
    return shorten_notes(found)


def _list_folders(folders: list[str]) -> str:
    return ", ".join(folders) if len(folders) <= 4 else f"{', '.join(folders[:3])} and {len(folders) - 3} more"


def ks_of_recall(study: Study) -> set[frozenset[str]]:
    """Return the different sets of K's at which the finished runs on one data set measured Recall@K, as metric names.

    Data sets may have different K's, because each metric is tabulated by data set.
    """
    found: dict[str, set[frozenset[str]]] = {}
    for run in study.runs:
        if run.finished:
            names = frozenset(name for name in run.results.test if RECALL.fullmatch(name))
            found.setdefault(run.data, set()).add(names)
    return max(found.values(), key=len, default=set())


def commits(study: Study) -> dict[str, list[str]]:
    """Return the folders of the runs for each commit of the lab's code, the most frequent commit first."""
    return _group_folders(study.runs, lambda run: run.results.commit or UNKNOWN)


def versions(study: Study) -> dict[str, dict[str, list[str]]]:
    """Return the folders of the runs for each version of each package."""
    packages = dict.fromkeys(package for run in study.runs for package in run.results.versions)
    return {package: _group_folders(study.runs, _version_of(package)) for package in packages}


def _version_of(package: str) -> Callable[[Run], str]:
    return lambda run: run.results.versions.get(package, UNKNOWN)


def machines(study: Study) -> dict[str, list[str]]:
    """Return the folders of the runs for each machine; other numbers of threads or processes are another machine."""
    return _group_folders(study.runs, _machine)


def _machine(run: Run) -> str:
    hardware = run.results.hardware
    if not hardware:
        return UNKNOWN
    facts = [str(hardware.get("device", UNKNOWN))]
    for name, prefix in (("precision", ""), ("cores", "cores "), ("threads", "threads ")):
        if name in hardware:
            facts.append(f"{prefix}{hardware[name]}")
    if hardware.get("processes", 1) > 1:
        facts.append(f"processes {hardware['processes']}")
    return ", ".join(facts)


def _group_folders(runs: list[Run], key: Callable[[Run], str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for run in runs:
        folders.setdefault(key(run), []).append(run.folder)
    return dict(sorted(folders.items(), key=lambda each: -len(each[1])))
