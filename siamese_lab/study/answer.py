"""Answer the question of a study: a summary, at most four sentences for each data set, and one of limitations.

Cells that collapsed or are not above raw pixels are not compared. Differences of cells that are cut off have a sentence
of their own, because they hold at the study's number of steps only. The next one says how twice the steps move them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from siamese_lab.runs.display import listed
from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.analysis import HEADLINE, Analysis, number_of_pairs
from siamese_lab.study.bounds import MAX_PAIRS
from siamese_lab.study.conclusions import commits
from siamese_lab.study.pairs import BOUND, Pair
from siamese_lab.study.references import FEATURES, PIXELS, UNTRAINED
from siamese_lab.study.status import COUNTED, CellStatus
from siamese_lab.study.summary import OfDataSet, in_sentence, summarize
from siamese_lab.study.tables import cells

CUT_OFF = "cut off"
LISTED = 4
"""Number of strategies up to which the answer lists every significant difference; of more, those of the best one."""
REASONS = {
    "collapsed": ("collapsed", "collapsed"),
    "below floor": ("is not above {raw}", "are not above {raw}"),
}
"""Reasons why one cell, or several, do not count. `raw` is the floor without a network: raw pixels or raw features."""
RULES = (
    "The answer names two strategies of a data set if their test Recall@1 differs significantly: p ≤ 0.05 with Holm's "
    "correction for all pairs of strategies on all data sets. The brackets hold the 95% interval of the difference.",
    f"Two strategies are equivalent if they differ significantly by less than {100 * BOUND:g} points (two one-sided "
    "tests). All other pairs are not settled; the answer gives the difference that the test would have detected with a "
    "probability of 80%.",
    "A strategy does not count on a data set if at least half of its runs collapsed, or if it is not above raw pixels "
    "(on frozen features: the raw features). If the best strategy does not beat them and the untrained network, none "
    "counts.",
    "A strategy has not converged if twice the steps move it by more than half a point, or turn the sign of a "
    "difference. Its differences hold at the study's number of steps only. The answer says so, and by how many points "
    "twice the steps move it, in the mean over the seeds that ran with both numbers of steps.",
    "The last sentence lists the limitations.",
)


class Answer(NamedTuple):
    """Holds the answer to the question of a study, in sentences."""

    summary: list[str]
    """Sentences over all data sets; empty if strategies can be compared on fewer than two of them."""
    of_data: list[str]
    """One paragraph for each data set, or one that says why there is nothing to compare."""
    limitations: list[str]
    """At most one sentence."""

    @property
    def sentences(self) -> list[str]:
        """Return all paragraphs, in the order of a report."""
        return [*self.summary, *self.of_data, *self.limitations]

    @property
    def headline(self) -> list[str]:
        """Return the summary and the limitations; without a summary, all paragraphs."""
        return [*(self.summary or self.of_data), *self.limitations]


def answer(analysis: Analysis) -> Answer:
    """Answer the question of a study."""
    strategies = sort_strategies(run.strategy for run in analysis.study.finished)
    if len(strategies) < 2:
        return Answer([], [f"All finished runs use {strategies[0]}, so there is nothing to compare."], [])
    found = _limitations(analysis)
    limitations = [f"Limitations: {'; '.join(found)}."] if found else []
    if HEADLINE not in analysis.values:
        return Answer([], ["No run has a test Recall@1, so there is nothing to compare."], limitations)
    if HEADLINE in analysis.pairs:
        with_pairs = [
            name for name in analysis.study.data if any(each.data == name for each in analysis.pairs[HEADLINE])
        ]
        summary = summarize([described(analysis, name) for name in analysis.study.data])
        return Answer(summary, [" ".join(of_data_set(analysis, name)) for name in with_pairs], limitations)
    if number_of_pairs(analysis.values[HEADLINE]) > MAX_PAIRS:
        return Answer([], ["There are too many pairs of strategies to compare them all."], limitations)
    why = "No two strategies share two seeds. One seed cannot separate a difference from chance."
    return Answer([], [why], limitations)


def described(analysis: Analysis, data: str) -> OfDataSet:
    """Return what the summary needs of a data set."""
    statuses = {name: each for (where, name), each in analysis.statuses.items() if where == data}
    out = sort_strategies(name for name, each in statuses.items() if each.status not in (*COUNTED, CUT_OFF))
    pairs = [
        each
        for each in analysis.pairs[HEADLINE]
        if each.data == data and each.first not in out and each.second not in out
    ]
    cut = sort_strategies(name for name, each in statuses.items() if each.status == CUT_OFF)
    return OfDataSet(data, pairs, cut, out, statuses, missed_floor(analysis, data).floor)


def of_data_set(analysis: Analysis, data: str) -> list[str]:
    """Return at most four sentences about a data set that has pairs of strategies."""
    missed = missed_floor(analysis, data)
    if missed.floor:
        return [f"{data}: {missed.text}, so its differences do not count."]
    _, compared, cut, _, statuses, _ = described(analysis, data)
    numbers = unique(str(each.number) for each in analysis.pairs[HEADLINE] if each.data == data)
    name = f"{data} ({number_of_seeds(numbers)})"
    settled = [each for each in compared if each.first not in cut and each.second not in cut]
    sentences = []
    if not compared:
        sentences.append(f"{name}: fewer than two strategies count.")
    if settled:
        sentences.append(f"{name}: {_in_words(settled, analysis, data)}.")
    if len(settled) < len(compared):
        limited = [each for each in compared if each not in settled]
        why = f"because {listed(cut)} {'has' if len(cut) == 1 else 'have'} not converged"
        where = "There, at" if settled else f"{name}, at"
        sentences.append(f"{where} the study's number of steps only, {why}: {_in_words(limited, analysis, data)}.")
    if rest := [*_unsettled(compared), *_left_out(statuses, raw_floor(analysis, data))]:
        sentences.append(f"There, {'; '.join(rest)}.")
    if len(settled) < len(compared):  # at the end, because "There" means the study's number of steps
        sentences.append(_moved({name: statuses[name] for name in cut}))
    return sentences


def _in_words(pairs: Sequence[Pair], analysis: Analysis, data: str) -> str:
    """Return the significant differences of some pairs of a data set in words."""
    separated = [each for each in pairs if each.separated]
    return _separated(separated, _means(analysis, data)) or "no two strategies differ significantly"


def _moved(cut: Mapping[str, CellStatus]) -> str:
    """Return in words by how many points twice the steps move the strategies that have not converged."""
    seeds = number_of_seeds(unique(str(each.doubled_seeds) for each in cut.values()))
    moves = [
        f"{name} {'gains' if each.moved > 0 else 'loses'} {cells.percent(abs(each.moved))} points"
        for name, each in cut.items()
        if each.moved is not None
    ]
    return f"With twice the steps ({seeds}), {listed(moves)}."


def _left_out(statuses: Mapping[str, CellStatus], raw: str) -> list[str]:
    """Return in words which strategies do not count, and why. `raw` is the name of the floor without a network."""
    parts = []
    for status, (one, several) in REASONS.items():
        names = sort_strategies(name for name, each in statuses.items() if each.status == status)
        if names:
            counts = "does not count, because it" if len(names) == 1 else "do not count, because they"
            parts.append(f"{listed(names)} {counts} {(one if len(names) == 1 else several).format(raw=raw)}")
    return parts


def number_of_seeds(seeds: Sequence[str]) -> str:
    """Return the number of seeds of the pairs of a data set in words."""
    numbers = sorted(map(int, seeds))
    shown = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}"
    return f"{shown} seed" if shown == "1" else f"{shown} seeds"


class MissedFloor(NamedTuple):
    """Holds the floor that the best strategy of a data set does not beat; both texts are empty if it beats all."""

    floor: str = ""
    text: str = ""


def missed_floor(analysis: Analysis, data: str) -> MissedFloor:
    """Return the highest floor of a data set if its best strategy does not beat it."""
    means = _means(analysis, data)
    references = analysis.references.get(HEADLINE)
    if not means or references is None:
        return MissedFloor()
    floors = {
        name: float(np.nanmean(references.loc[(data, name)]))
        for name in (PIXELS, FEATURES, UNTRAINED)
        if (data, name) in references.index
    }
    best = max(means, key=lambda name: means[name])
    if not floors or means[best] > max(floors.values()):
        return MissedFloor()
    highest = max(floors, key=lambda name: floors[name])
    floor = "the untrained network" if highest == UNTRAINED else highest
    named = f"{floor} ({cells.percent(floors[highest])}%)"
    return MissedFloor(floor, f"the best strategy, {best} ({cells.percent(means[best])}%), does not beat {named}")


def raw_floor(analysis: Analysis, data: str) -> str:
    """Return the name of the floor without a network on a data set."""
    references = analysis.references.get(HEADLINE)
    return FEATURES if references is not None and (data, FEATURES) in references.index else PIXELS


def _means(analysis: Analysis, data: str) -> dict[str, float]:
    if HEADLINE not in analysis.values:
        return {}
    values = analysis.values[HEADLINE]
    return {name: float(values.loc[(where, name)].mean()) for where, name in values.index if where == data}


def _separated(pairs: Sequence[Pair], means: dict[str, float]) -> str:
    """Return the significant differences in words, for each better strategy those from worse ones."""
    worse: dict[str, list[tuple[float, str]]] = {}
    for each in pairs:
        winner, loser = (each.first, each.second) if each.mean > 0 else (each.second, each.first)
        low, high = sorted((abs(each.low or 0.0), abs(each.high or 0.0)))
        text = f"{loser} by {cells.percent(abs(each.mean))} points [{cells.percent(low)} … {cells.percent(high)}]"
        worse.setdefault(winner, []).append((abs(each.mean), text))
    winners = sorted(worse, key=lambda name: -means[name])
    shown = winners if len(means) <= LISTED else winners[:1]
    parts = []
    for name in shown:
        losers = listed([text for _, text in sorted(worse[name], reverse=True)])
        parts.append(f"{name} ({cells.percent(means[name])}%) is above {losers}")
    further = sum(len(worse[name]) for name in winners if name not in shown)
    return "; ".join([*parts, f"{further} further pairs differ"] if further else parts)


def _unsettled(pairs: Sequence[Pair]) -> list[str]:
    parts = []
    equivalent = [f"{each.first} and {each.second}" for each in pairs if each.equivalent and not each.separated]
    if equivalent:
        parts.append(f"{listed(equivalent[:3])} are equivalent within ±{100 * BOUND:g} points")
    open_pairs = [each for each in pairs if not each.separated and not each.equivalent]
    if open_pairs:
        numbers = sorted(each.detectable for each in open_pairs if each.detectable is not None)
        shown = unique(cells.percent(each) for each in (numbers[0], numbers[-1])) if numbers else []
        what = f"{len(open_pairs)} of {len(pairs)} pairs" if len(pairs) > 1 else "its only pair"
        power = f" (differences of {'–'.join(shown)} points would have been detected)" if shown else ""
        parts.append(f"{what} {'is' if len(open_pairs) == 1 else 'are'} not settled{power}")
    return parts


def _limitations(analysis: Analysis) -> list[str]:
    study = analysis.study
    found = []
    numbers = sorted({each.number for each in analysis.pairs.get(HEADLINE, [])})
    if numbers and numbers[0] < 5:
        fewest = "one seed" if numbers[0] == 1 else f"{numbers[0]} seeds"
        shows = "cannot separate a difference from chance" if numbers == [1] else "can only show large differences"
        found.append(f"{'as few as ' if len(numbers) > 1 else ''}{fewest} {shows}")
    unchecked = unique(data for (data, _), each in analysis.statuses.items() if each.status == "not checked")
    if unchecked:
        where = "any data set" if len(unchecked) == len(study.data) else listed(list(map(in_sentence, unchecked)))
        found.append(f"whether more steps would change the results was not checked on {where}")
    floorless = [
        data for data in study.data if not any(run.results.floors for run in study.finished if run.data == data)
    ]
    if floorless:
        where = "any data set" if len(floorless) == len(study.data) else listed(list(map(in_sentence, floorless)))
        found.append(f"raw pixels were not measured on {where}")
    unfinished = len(study.runs) - len(study.finished) + len(study.missing)
    if unfinished:
        found.append(f"{unfinished} of {len(study.runs) + len(study.missing)} jobs have not finished")
    if analysis.protocol.differing:
        found.append("options other than the strategy differ")
    if len(commits(study)) > 1:
        found.append("the runs used several versions of the code")
    return found
