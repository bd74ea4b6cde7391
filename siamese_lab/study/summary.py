"""Summarize the answer of a study over its data sets, in a few sentences.

The sentences count and join the tests of all pairs of strategies. They add no test of their own.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from siamese_lab.runs.display import counted, listed
from siamese_lab.runs.display_names import sort_strategies, unique
from siamese_lab.study.comparison import BASELINE
from siamese_lab.study.pairs import Pair
from siamese_lab.study.statistics import ALPHA
from siamese_lab.study.status import MOST_MOVED, CellStatus
from siamese_lab.study.tables import cells

MOST_NAMED = 4
"""Number of strategies that the summary names; those that are among the best on more data sets come first."""


class OfDataSet(NamedTuple):
    """Holds what the answer says about one data set."""

    data: str
    pairs: Sequence[Pair]
    """Pairs of the strategies that count."""
    cut_off: Sequence[str]
    """Strategies that count and have not converged."""
    left_out: Sequence[str]
    """Strategies that do not count, because they collapsed or are not above their floor."""
    statuses: Mapping[str, CellStatus]
    floor: str = ""
    """Name of the floor that the best strategy does not beat; empty if it beats all."""

    @property
    def name(self) -> str:
        """Return the name of the data set for sentences."""
        return in_sentence(self.data)

    @property
    def is_compared(self) -> bool:
        """Return whether the differences of the data set count and have a test."""
        return not self.floor and any(each.low is not None for each in self.pairs)

    def strategies(self) -> set[str]:
        """Return the strategies of the pairs."""
        return {name for each in self.pairs for name in (each.first, each.second)}

    def best(self) -> set[str]:
        """Return the strategies that no other one is significantly above."""
        beaten = {each.second if each.mean > 0 else each.first for each in self.pairs if each.separated}
        return self.strategies() - beaten

    def gains(self) -> dict[str, float]:
        """Return the significant differences from random sampling, by strategy."""
        of_second = {each.first: each.mean for each in self.pairs if each.separated and each.second == BASELINE}
        return of_second | {each.second: -each.mean for each in self.pairs if each.separated and each.first == BASELINE}


def in_sentence(label: str) -> str:
    """Return the name of a data set with its protocol in brackets, because lists in sentences have commas.

    >>> in_sentence("LFW, View 1"), in_sentence("Omniglot")
    ('LFW (View 1)', 'Omniglot')
    """
    title, _, protocol = label.rpartition(", ")
    return f"{title} ({protocol})" if title else protocol


def summarize(every: Sequence[OfDataSet]) -> list[str]:
    """Summarize the comparisons on at least two data sets; return no sentence for fewer.

    Args:
        every: all data sets of the study.
    """
    compared = [each for each in every if each.is_compared]
    if len(compared) < 2:
        return []
    strategies = sort_strategies(name for each in compared for name in each.strategies())
    ordered = sorted(strategies, key=lambda name: -sum(name in each.best() for each in compared))
    return [
        _describe_scope(every),
        _describe_best(ordered, compared),
        *_describe_left_out(every),
        *_describe_gains([name for name in ordered if name != BASELINE], compared),
        *_describe_convergence(compared),
    ]


def _describe_scope(every: Sequence[OfDataSet]) -> str:
    """Say which data sets count, and what a significant difference is."""
    compared = [each for each in every if each.is_compared]
    sentences = [f"The answer counts {len(compared)} of {len(every)} data sets."]
    for floor in unique(each.floor for each in every if each.floor):
        below = [each for each in every if each.floor == floor]
        sentences.append(f"{_names(below)} {_are(below)} excluded: no strategy is above {floor} there.")
    untested = [each for each in every if not each.floor and not each.is_compared]
    if untested:
        why = "fewer than two strategies count there, or share two seeds"
        sentences.append(f"{_names(untested)} {_are(untested)} excluded: {why}.")
    sentences.append("Differences are percentage points of test Recall@1.")
    sentences.append(f"Significant means p ≤ {ALPHA:g} after Holm's correction.")
    return " ".join(sentences)


def _describe_best(ordered: Sequence[str], compared: Sequence[OfDataSet]) -> str:
    """Say on which data sets each strategy is among the best."""
    parts = []
    for name in ordered[:MOST_NAMED]:
        counts = [each for each in compared if name in each.strategies()]
        on = [each for each in counts if name in each.best()]
        missed = [each for each in counts if name not in each.best()]
        if not on:
            parts.append(f"{name} on none")
        elif not missed:
            parts.append(f"{name} on all {len(on)}{'' if len(counts) == len(compared) else ' on which it counts'}")
        elif len(missed) < len(on) and len(counts) == len(compared):
            parts.append(f"{name} on all except {_names(missed)}")
        else:
            parts.append(f"{name} only on {_names(on)}")
    if others := ordered[MOST_NAMED:]:
        parts.append(f"the table of all pairs has {counted(len(others), 'further strategy', 'further strategies')}")
    rule = "A strategy is among the best on a data set if no other one is significantly above it"
    return f"{rule}: {'; '.join(parts)}."


def _describe_left_out(every: Sequence[OfDataSet]) -> list[str]:
    """Say on which data sets a strategy does not count, one sentence for each strategy."""
    sentences = []
    for name in sort_strategies(name for each in every if not each.floor for name in each.left_out):
        on = [each for each in every if name in each.left_out and not each.floor]
        sentences.append(f"{name} does not count on {_names(on)}: it collapsed there, or is not above its floor.")
    return sentences


def _describe_gains(strategies: Sequence[str], compared: Sequence[OfDataSet]) -> list[str]:
    """Say how much each strategy gains or loses against random sampling; return nothing without random sampling."""
    sentences = []
    for name in strategies[:MOST_NAMED]:
        both = [each for each in compared if {name, BASELINE} <= each.strategies()]
        found = sorted((each.gains()[name], each.name) for each in both if name in each.gains())
        gains = [(gain, data) for gain, data in found if gain > 0]
        losses = [(-gain, data) for gain, data in reversed(found) if gain <= 0]
        equal = [each for each in both if name not in each.gains()]
        parts = [
            *([_describe_sizes("gains", gains)] if gains else []),
            *([_describe_sizes("loses", losses)] if losses else []),
            *([f"does not differ significantly on {_names(equal)}"] if equal else []),
        ]
        if parts:
            sentences.append(f"Compared with {BASELINE} sampling, {name} {'. It '.join(parts)}.")
    return sentences


def _describe_sizes(verb: str, sizes: Sequence[tuple[float, str]]) -> str:
    """Say the sizes of at least one difference of one sign, the smallest first."""
    (low, lowest), (high, highest) = sizes[0], sizes[-1]
    if len(sizes) == 1:
        return f"{verb} {cells.percent(low)} points on {lowest}"
    if len(sizes) == 2:
        return f"{verb} {cells.percent(low)} points on {lowest} and {cells.percent(high)} on {highest}"
    ends = f"from {cells.percent(low)} points on {lowest} to {cells.percent(high)} on {highest}"
    return f"{verb} on {len(sizes)} data sets, {ends}"


def _describe_convergence(compared: Sequence[OfDataSet]) -> list[str]:
    """Say where strategies have not converged, and the largest lead with the study's and with twice the steps."""
    limited = [each for each in compared if each.cut_off]
    if not limited:
        return []
    moved = (
        f"twice the steps move a strategy by more than {100 * MOST_MOVED:g} points, or turn the sign of a difference"
    )
    sentences = [
        f"Not all strategies have converged on {_names(limited)}: {moved}.",
        "The differences there describe training with the study's number of steps.",
    ]
    leads: dict[str, list[str]] = {}
    for each in limited:
        name, lead = _lead_at_both(each)
        if lead:
            before, after = (fmean(values) for values in zip(*lead, strict=True))
            change = f"from {cells.percent(before)} to {cells.points(after).removeprefix('+')} points on {each.name}"
            leads.setdefault(name, []).append(f"{change} ({counted(len(lead), 'seed')})")
    sentences += [
        f"With twice the steps, the lead of {name} over {BASELINE} sampling goes {listed(on)}."
        for name, on in leads.items()
    ]
    return [" ".join(sentences)]


def _lead_at_both(of_data: OfDataSet) -> tuple[str, list[tuple[float, float]]]:
    """Return the strategy with the largest significant lead over random sampling, and its lead in each seed.

    A lead has two values, with the study's number of steps and with twice the steps, for the seeds that have both.
    """
    gain, name = max(((gain, name) for name, gain in of_data.gains().items()), default=(0.0, BASELINE))
    if gain <= 0:
        return name, []
    best, baseline = (
        of_data.statuses[which].at_both if which in of_data.statuses else {} for which in (name, BASELINE)
    )
    seeds = sorted(best.keys() & baseline.keys())
    return name, [(best[seed][0] - baseline[seed][0], best[seed][1] - baseline[seed][1]) for seed in seeds]


def _are(data: Sequence[OfDataSet]) -> str:
    return "is" if len(data) == 1 else "are"


def _names(data: Sequence[OfDataSet]) -> str:
    return listed([each.name for each in data])
