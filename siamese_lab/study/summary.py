"""Summarize the answer of a study over its data sets, in a few sentences.

The sentences count and join the tests of all pairs of strategies. They add no test of their own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from siamese_lab.runs.display_names import sort_strategies
from siamese_lab.study.comparison import BASELINE
from siamese_lab.study.pairs import Pair
from siamese_lab.study.statistics import ALPHA
from siamese_lab.study.status import MOST_MOVED, CellStatus
from siamese_lab.study.tables import cells

LISTED = 4
"""Number of strategies that the summary names, those that are among the best on more data sets first."""


class Compared(NamedTuple):
    """A data set and the pairs of strategies that count on it: at least one."""

    data: str
    pairs: Sequence[Pair]
    cut_off: Sequence[str]
    """Strategies that have not converged."""
    statuses: Mapping[str, CellStatus]

    @property
    def name(self) -> str:
        """Return the name of the data set without a comma, for lists in a sentence: "LFW (View 1)"."""
        title, _, protocol = self.data.partition(", ")
        return f"{title} ({protocol})" if protocol else title

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


def summarize(compared: Sequence[Compared], below_floor: Sequence[Compared]) -> list[str]:
    """Summarize the comparisons on at least two data sets; return no sentence for fewer.

    Args:
        compared: the data sets on which strategies can be compared.
        below_floor: the data sets that are excluded, because no strategy beats their floor.
    """
    if len(compared) < 2:
        return []
    return [
        *_counted(compared, below_floor),
        _best(compared),
        *_against_baseline(compared),
        *_not_converged(compared),
    ]


def ordered(compared: Sequence[Compared]) -> list[str]:
    """Return the strategies, those that are among the best on more data sets first."""
    strategies = sort_strategies(name for each in compared for name in each.strategies())
    return sorted(strategies, key=lambda name: -sum(name in each.best() for each in compared))


def _counted(compared: Sequence[Compared], below_floor: Sequence[Compared]) -> list[str]:
    """Return which data sets count, and what a significant difference is."""
    every = len(compared) + len(below_floor)
    sentences = [f"The answer counts {len(compared)} of {every} data sets."]
    if below_floor:
        verb = "is" if len(below_floor) == 1 else "are"
        why = "because raw pixels or the untrained network are at least as good there"
        sentences.append(f"{_names(below_floor)} {verb} excluded, {why}.")
    sentences.append("Differences are percentage points of test Recall@1.")
    sentences.append(f"Significant means p ≤ {ALPHA:g} after Holm's correction.")
    return [" ".join(sentences)]


def _best(compared: Sequence[Compared]) -> str:
    """Return on which data sets each strategy is among the best."""
    parts = []
    for name in ordered(compared)[:LISTED]:
        on = [each for each in compared if name in each.best()]
        missed = [each for each in compared if name not in each.best()]
        if not on:
            parts.append(f"{name} on none")
        elif not missed:
            parts.append(f"{name} on all {len(compared)}")
        elif len(missed) < len(on):
            parts.append(f"{name} on all except {_names(missed)}")
        else:
            parts.append(f"{name} only on {_names(on)}")
    return f"A strategy is among the best on a data set if no other one is significantly above it: {'; '.join(parts)}."


def _against_baseline(compared: Sequence[Compared]) -> list[str]:
    """Return a sentence for each strategy: how much it gains or loses against random sampling; empty without it."""
    here = [each for each in compared if BASELINE in each.strategies()]
    sentences = []
    for name in [each for each in ordered(compared)[:LISTED] if each != BASELINE]:
        both = [each for each in here if name in each.strategies()]
        found = sorted((each.gains()[name], each.name) for each in both if name in each.gains())
        gains = [(gain, data) for gain, data in found if gain > 0]
        losses = [(-gain, data) for gain, data in reversed(found) if gain <= 0]
        equal = [each for each in both if name not in each.gains()]
        parts = [
            *([_range("gains", gains)] if gains else []),
            *([_range("loses", losses)] if losses else []),
            *([f"does not differ significantly on {_names(equal)}"] if equal else []),
        ]
        if parts:
            sentences.append(f"Compared with {BASELINE} sampling, {name} {'. It '.join(parts)}.")
    return sentences


def _range(verb: str, sizes: Sequence[tuple[float, str]]) -> str:
    """Return the sizes of at least one difference of one sign in words, the smallest first."""
    (low, there), (high, here) = sizes[0], sizes[-1]
    if len(sizes) == 1:
        return f"{verb} {cells.percent(low)} points on {there}"
    ends = f"{cells.percent(low)} points on {there} to {cells.percent(high)} on {here}"
    return f"{verb} {ends}" if len(sizes) == 2 else f"{verb} on {len(sizes)} data sets: {ends}"


def _not_converged(compared: Sequence[Compared]) -> list[str]:
    """Return where strategies have not converged, and how twice the steps change the largest lead there."""
    limited = [each for each in compared if each.cut_off]
    if not limited:
        return []
    moved = f"twice the steps move them by more than {100 * MOST_MOVED:g} points or turn the sign of a difference"
    sentences = [
        f"Not all strategies have converged on {_names(limited)}: {moved}.",
        "The differences there describe training with the study's number of steps, and longer training changes them.",
    ]
    changes: dict[tuple[str, str], list[str]] = {}
    for each in limited:
        name, change = _change_of_lead(each)
        if change is not None:
            of = f"by {cells.percent(abs(change))} of {cells.percent(each.gains()[name])} points on {each.name}"
            changes.setdefault((name, "falls" if change < 0 else "grows"), []).append(of)
    sentences += [
        f"With twice the steps, the lead of {name} over {BASELINE} sampling {verb} {cells.listed(on)}."
        for (name, verb), on in changes.items()
    ]
    return [" ".join(sentences)]


def _change_of_lead(each: Compared) -> tuple[str, float | None]:
    """Return the strategy with the largest significant lead over random sampling, and how twice the steps change it."""
    gain, name = max(((gain, name) for name, gain in each.gains().items()), default=(0.0, BASELINE))
    moved = [each.statuses[which].moved if which in each.statuses else None for which in (name, BASELINE)]
    if gain <= 0 or moved[0] is None or moved[1] is None:
        return name, None
    return name, moved[0] - moved[1]


def _names(data: Sequence[Compared]) -> str:
    return cells.listed([each.name for each in data])
