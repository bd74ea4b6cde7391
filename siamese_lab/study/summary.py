"""Summarize the answer of a study over its data sets, in a few sentences.

The sentences count and join the tests of all pairs of strategies. They add no test of their own.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from siamese_lab.runs.display_names import sort_strategies
from siamese_lab.study.comparison import BASELINE
from siamese_lab.study.pairs import Pair
from siamese_lab.study.status import CellStatus
from siamese_lab.study.tables import cells

LISTED = 4
"""Number of strategies that a sentence lists, those of more data sets first."""


class Compared(NamedTuple):
    """A data set and the pairs of strategies that count on it: at least one."""

    data: str
    pairs: Sequence[Pair]
    cut_off: Sequence[str]
    """Strategies that have not converged."""
    statuses: Mapping[str, CellStatus]

    def beaten(self) -> set[str]:
        """Return the strategies that another one is significantly above."""
        return {each.second if each.mean > 0 else each.first for each in self.pairs if each.separated}

    def strategies(self) -> set[str]:
        """Return the strategies of the pairs."""
        return {name for each in self.pairs for name in (each.first, each.second)}

    def gains(self) -> dict[str, float]:
        """Return the significant differences from random sampling, by strategy."""
        of_second = {each.first: each.mean for each in self.pairs if each.separated and each.second == BASELINE}
        return of_second | {each.second: -each.mean for each in self.pairs if each.separated and each.first == BASELINE}


def summarize(compared: Sequence[Compared], below_floor: Sequence[str]) -> list[str]:
    """Summarize the comparisons on at least two data sets; return no sentence for fewer.

    Args:
        compared: the data sets on which strategies can be compared.
        below_floor: the data sets that do not count, because no strategy beats their floor.
    """
    if len(compared) < 2:
        return []
    sentences = [_best(compared), *_against_baseline(compared), *_not_converged(compared)]
    if below_floor:
        count = "does not count" if len(below_floor) == 1 else "do not count"
        sentences.append(
            f"{_names(below_floor)} {count}, because no strategy beats both raw pixels and the untrained network there."
        )
    return sentences


def _best(compared: Sequence[Compared]) -> str:
    """Return in words on how many data sets each strategy is among the best."""
    strategies = sort_strategies(name for each in compared for name in each.strategies())
    number = {name: sum(name in each.strategies() - each.beaten() for each in compared) for name in strategies}
    first, *others = sorted(strategies, key=lambda name: -number[name])[:LISTED]
    counts = [f"{first} is among the best strategies on {number[first]} of {len(compared)} data sets"]
    counts += [f"{name} on {number[name] or 'none'}" for name in others]
    return f"{', '.join(counts)}. A strategy is among the best if no other one is significantly above it."


def _against_baseline(compared: Sequence[Compared]) -> list[str]:
    """Return in words how much each strategy gains or loses against random sampling; empty without it."""
    here = [each for each in compared if BASELINE in each.strategies()]
    others = sort_strategies(name for each in here for name in each.strategies() - {BASELINE})
    of_strategy = {
        name: sorted((gain[name], each.data) for each in here if name in (gain := each.gains())) for name in others
    }
    parts = []
    for name in sorted(others, key=lambda name: -len(of_strategy[name]))[:LISTED]:
        gains = [(gain, data) for gain, data in of_strategy[name] if gain > 0]
        losses = [(-gain, data) for gain, data in reversed(of_strategy[name]) if gain <= 0]
        both = " and ".join(filter(None, (_range("gains", gains), _range("loses", losses))))
        parts.append(f"{name} {both or 'does not differ significantly'}")
    return [f"Compared with {BASELINE} sampling, {'; '.join(parts)}."] if parts else []


def _range(verb: str, sizes: Sequence[tuple[float, str]]) -> str:
    """Return the sizes of differences of one sign in words, the smallest first; an empty text if there is none."""
    if not sizes:
        return ""
    (low, there), (high, here) = sizes[0], sizes[-1]
    if len(sizes) == 1:
        return f"{verb} {cells.percent(low)} points on {there}"
    return f"{verb} {cells.percent(low)} ({there}) to {cells.percent(high)} points ({here}) on {len(sizes)} data sets"


def _not_converged(compared: Sequence[Compared]) -> list[str]:
    """Return in words where strategies have not converged, and how twice the steps change the largest lead there."""
    limited = [each for each in compared if each.cut_off]
    if not limited:
        return []
    where = _names([each.data for each in limited])
    changes: dict[str, list[str]] = {}
    for each in limited:
        name, change = _change_of_lead(each)
        if change is not None:
            of = f"{cells.points(change)} points (of {cells.percent(each.gains()[name])})"
            changes.setdefault(name, []).append(f"{of} on {each.data}")
    leads = [f"the lead of {name} over {BASELINE} sampling changes by {'; '.join(on)}" for name, on in changes.items()]
    steps = "so the differences there hold at the study's number of steps only."
    return [
        f"Not all strategies have converged on {where}, {steps}",
        *([f"With twice the steps, {'; '.join(leads)}."] if leads else []),
    ]


def _change_of_lead(each: Compared) -> tuple[str, float | None]:
    """Return the strategy with the largest significant lead over random sampling, and how twice the steps change it."""
    gain, name = max(((gain, name) for name, gain in each.gains().items()), default=(0.0, BASELINE))
    moved = [each.statuses[which].moved if which in each.statuses else None for which in (name, BASELINE)]
    if gain <= 0 or moved[0] is None or moved[1] is None:
        return name, None
    return name, moved[0] - moved[1]


def _names(data: Sequence[str]) -> str:
    """Return data sets as a list in a sentence. Their names can contain commas."""
    *first, last = data
    if len(data) < 3:
        return " and ".join(data)
    return f"{'; '.join(first)}; and {last}"
