"""The conclusions of a study: the answer in at most three sentences, the rules that give it, caveats and environments.

The environments are the versions of the code, the packages and the machines that the runs used.
"""

from collections.abc import Callable, Sequence

from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.runs.plain_values import shortened
from siamese_lab.study.analysis import HEADLINE, Analysis, number_of_pairs
from siamese_lab.study.bounds import MAX_PAIRS, shorten_notes
from siamese_lab.study.comparison import BASELINE, Comparison
from siamese_lab.study.protocol import all_tuned, any_tuned, tuning_budgets
from siamese_lab.study.ranks import Ranks
from siamese_lab.study.runs import Run, Study
from siamese_lab.study.tables import cells

UNKNOWN = "unknown"
RULES = (
    "The first sentence names a strategy on a data set if the test Recall@1 of the strategy differs significantly from "
    "that of random sampling: p ≤ 0.05 in a paired t-test over seeds, with Holm's correction for all strategies and "
    "data sets together. If no strategy passes this test, the sentence says so.",
    "The second sentence compares average ranks over data sets. It separates two strategies if Friedman's test rejects "
    "at 5% and the average ranks differ by more than Nemenyi's critical difference.",
    "The third sentence lists the limitations of the first two.",
)


def answer(analysis: Analysis) -> list[str]:
    """Return the answer to the question of the study, in one to three sentences."""
    strategies = sorted({run.strategy for run in analysis.study.finished})
    if len(strategies) < 2:
        return [f"All finished runs use {strategies[0]}, so there is nothing to compare."]
    sentences = [
        _compare_with_random(analysis.comparisons.get(HEADLINE, [])),
        _compare_ranks(analysis.ranks.get(HEADLINE)),
        _list_limitations(analysis),
    ]
    return [sentence for sentence in sentences if sentence]


def _compare_with_random(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return f"No strategy shares a data set and a seed with {BASELINE} sampling, so no strategy is compared with it."
    if all(each.difference.number < 2 for each in comparisons):
        return (
            "Each strategy shares only one seed with random sampling. One seed cannot separate a difference from "
            "chance, so no strategy is separated from random sampling."
        )
    significant = [each for each in comparisons if each.significant]
    if not significant:
        data = unique(each.data for each in comparisons)
        where = data[0] if len(data) == 1 else f"any of {len(data)} data sets"
        return f"No strategy differs significantly from random sampling in test Recall@1 on {where}."
    parts = []
    for strategy in sort_strategies(each.strategy for each in significant):
        of_strategy = [each for each in significant if each.strategy == strategy]
        higher = [each for each in of_strategy if each.difference.mean > 0]
        lower = [each for each in of_strategy if each.difference.mean < 0]
        parts += [f"{strategy} is higher on {_list_data(higher)}"] if higher else []
        parts += [f"{strategy} is lower on {_list_data(lower)}"] if lower else []
    rest = len(comparisons) - len(significant)
    if rest:
        parts.append(f"{rest} of the {len(comparisons)} comparisons show no significant difference")
    return f"Test Recall@1 compared with random sampling: {'; '.join(parts)}."


def _list_data(comparisons: Sequence[Comparison]) -> str:
    return _join([f"{each.data} ({cells.points(each.difference.mean)} points)" for each in comparisons])


def _compare_ranks(ranks: Ranks | None) -> str:
    if ranks is None:
        return "Fewer than two data sets have runs of all strategies, so there are no ranks over data sets."
    listed = _join([f"{name} {rank:.2f}" for name, rank in ranks.average.items()])
    averages = f"Average ranks over {len(ranks.data)} data sets are {listed}"
    tests = f"Friedman’s {cells.p_in_sentence(ranks.p)}, critical difference {ranks.critical_difference:.2f}"
    if not ranks.significant_pairs:
        return f"{averages}; the differences are not significant ({tests})."
    pairs = _join([f"{better} ranks before {worse}" for better, worse in ranks.significant_pairs])
    return f"{averages}; significantly, {pairs} ({tests})."


def _list_limitations(analysis: Analysis) -> str:
    study = analysis.study
    limitations = []
    num_seeds = sorted({each.difference.number for each in analysis.comparisons.get(HEADLINE, [])})
    if num_seeds and num_seeds[0] < 5:
        fewest = "one seed" if num_seeds[0] == 1 else f"{num_seeds[0]} seeds"
        shows = "cannot separate a difference from chance" if num_seeds == [1] else "can only show large differences"
        limitations.append(f"{'as few as ' if len(num_seeds) > 1 else ''}{fewest} {shows}")
    unfinished = len(study.runs) - len(study.finished) + len(study.missing)
    if unfinished:
        limitations.append(f"{unfinished} of {len(study.runs) + len(study.missing)} jobs have not finished")
    if analysis.protocol.differing:
        limitations.append("options other than the strategy differ")
    if len(commits(study)) > 1:
        limitations.append("the runs used several versions of the code")
    return f"Limitations: {'; '.join(limitations)}." if limitations else ""


def _join(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


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
