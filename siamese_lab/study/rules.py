"""The kinds of rules that decide hypotheses: each turns the runs of one data set into numbers with intervals.

Except for shares of runs, a rule computes one number for each seed, and the interval over seeds is Student's t. A
number of a seed needs all its cells, so that effects of a seed cancel.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.special
from numpy.typing import NDArray

from siamese_lab.runs.display_names import unique
from siamese_lab.study.power import POWER, detectable_difference
from siamese_lab.study.statistics import ALPHA, estimate, t_quantile

Rule = Mapping[str, Any]
"""A rule of `hypotheses.yaml`."""


def strategies_of(rule: Rule) -> list[str]:
    """Return the strategies that a rule compares."""
    named = [
        *rule.get("strategies", []),
        *(each["strategy"] for each in (rule, *rule.get("terms", [])) if "strategy" in each),
    ]
    return unique([*named, *(name for pair in rule.get("comparisons", []) for name in pair)])


class MissingRunsError(Exception):
    """Raised when a rule lacks runs; the message names them."""


class Number(NamedTuple):
    """A number of a rule on one data set."""

    label: str
    """The comparison, such as "semi_hard − random"."""
    value: float
    low: float
    high: float
    detectable: float
    """The distance from the threshold that the rule would see with a probability of 80%."""
    seeds: int


class Cells:
    """The runs of one data set, from which rules take values by strategy and options.

    Args:
        runs: rows of `run_table` of one data set.
        held: options that stay at their standard value unless a rule varies them.
        standard: standard values; the value of most runs is standard for other options.
        seeds: smallest number of seeds that a number needs.
        levels: smallest number of levels of a factor that a fit needs.
    """

    def __init__(
        self, runs: pd.DataFrame, held: Sequence[str], standard: Mapping[str, Any], seeds: int, levels: int
    ) -> None:
        stated = {option: value for option, value in standard.items() if option in runs}
        # A run that did not record an option is one of before this option, or of a part without it.
        self.runs = runs.assign(
            **{option: runs[option].where(runs[option].notna(), stated[option]) for option in stated}
        )
        self.seeds, self.levels = seeds, levels
        self.taken: list[tuple[Any, str]] = []
        """Seed and folder of each run that gave a value, in the order of the calls."""
        self._settled = 0
        self._columns: dict[str, NDArray[Any]] = {}
        self._strategies = self._column("strategy")
        self._options = {option: self.runs[option].map(hashable).to_numpy() for option in held if option in runs}
        self._standard = {
            option: stated[option] if option in stated else most_frequent(values)
            for option, values in self._options.items()
        }

    def _column(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            self._columns[name] = self.runs[name].to_numpy(dtype=object)
        return self._columns[name]

    def select(self, strategy: str | None, chosen: Mapping[str, Any], varied: Sequence[str] = ()) -> pd.DataFrame:
        """Return the runs of a strategy (None: of all) with the chosen options, and others at their standard value.

        Args:
            strategy: name of the strategy.
            chosen: values of options.
            varied: further options that may have any value.
        """
        return self.runs[self._kept(strategy, chosen, varied)]

    def _kept(self, strategy: str | None, chosen: Mapping[str, Any], varied: Sequence[str]) -> NDArray[np.bool_]:
        kept = np.ones(len(self.runs), dtype=bool) if strategy is None else self._strategies == strategy
        for option, value in chosen.items():
            kept = kept & (self._column(option) == value) if option in self.runs else np.zeros_like(kept)
        loss = self._standard.get("loss.name")
        other_loss = chosen.get("loss.name", loss) != loss
        for option, values in self._options.items():
            if option not in varied and option not in chosen:
                # The options of another loss have standard values of their own.
                own = other_loss and option.startswith("loss.")
                value = most_frequent(values[kept]) if own else self._standard[option]
                if value is not None:
                    kept = kept & ((values == value) | pd.isna(values))
        return kept

    def by_seed(self, metric: str, strategy: str, chosen: Mapping[str, Any], varied: Sequence[str] = ()) -> pd.Series:
        """Return the values of a metric by seed; the first run counts if a seed has several.

        Raises:
            MissingRunsError: if there are fewer seeds than needed.
        """
        kept = self._kept(strategy, chosen, varied)
        recorded: Iterable[Any] = self._column(metric)[kept] if metric in self.runs else []
        folders: Iterable[Any] = self._column("folder")[kept] if "folder" in self.runs else repeat("")
        of_seeds: dict[Any, float] = {}
        taken: dict[Any, str] = {}
        for seed, value, folder in zip(self._column("seed")[kept], recorded, folders, strict=False):
            if not pd.isna(value):
                of_seeds.setdefault(seed, float(value))
                taken.setdefault(seed, folder)
        values = pd.Series(of_seeds, dtype=float)
        if len(values) < self.seeds:
            options = "".join(f", {name}={_shown(value)}" for name, value in chosen.items())
            raise MissingRunsError(f"{strategy}{options}: {len(values)} of {self.seeds} seeds with {metric}")
        self.taken += taken.items()
        return values

    def common(self, columns: Mapping[Any, pd.Series]) -> pd.DataFrame:
        """Return the columns for the seeds that all of them have. Other seeds do not count as taken.

        Raises:
            MissingRunsError: if there are fewer common seeds than needed.
        """
        joined = pd.concat(columns, axis="columns", join="inner")
        if len(joined) < self.seeds:
            raise MissingRunsError(f"{len(joined)} of {self.seeds} seeds that all cells share")
        self.taken[self._settled :] = [each for each in self.taken[self._settled :] if each[0] in joined.index]
        self._settled = len(self.taken)
        return joined


def most_frequent(values: Sequence[Any] | np.ndarray) -> Any:
    """Return the most frequent value, the smallest one if several are; None if there is none."""
    counts = Counter(value for value in values if not pd.isna(value))
    return min(counts, key=lambda value: (-counts[value], str(type(value)), value)) if counts else None


def hashable(value: Any) -> Any:
    """Return a value of an option in a form that can be counted: lists and dictionaries as texts."""
    return str(value) if isinstance(value, list | dict) else value


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def number_over_seeds(label: str, values: Sequence[float] | pd.Series, comparisons: int) -> Number:
    """Return the mean over seeds with its t-interval, corrected for the number of comparisons of a rule."""
    found = estimate(values)
    if not found.deviation:
        return Number(label, found.mean, found.mean, found.mean, 0.0, found.number)
    level, freedom = ALPHA / comparisons, found.number - 1
    error = found.deviation / math.sqrt(found.number)
    half = t_quantile(1 - level / 2, freedom) * error
    detectable = detectable_difference(error, freedom, level)
    return Number(label, found.mean, found.mean - half, found.mean + half, detectable, found.number)


def contrast(cells: Cells, rule: Rule) -> list[Number]:
    """Return a weighted sum of cells."""
    columns = {}
    for number, term in enumerate(rule["terms"]):
        options = {name: value for name, value in term.items() if name not in ("weight", "strategy")}
        columns[number] = cells.by_seed(rule["metric"], term["strategy"], options)
    weights = [term["weight"] for term in rule["terms"]]
    return [number_over_seeds("", cells.common(columns) @ weights, 1)]


def fit(cells: Cells, rule: Rule) -> list[Number]:
    """Fit a straight line for each seed to the difference of two strategies over the levels of a factor.

    The number is the slope or the intercept. A seed needs all levels that both strategies have with enough seeds.
    """
    varied = rule.get("varies", [rule["factor"]])
    numbers = []
    for first, second in rule["comparisons"]:
        lines = _differences(cells, rule, varied, first, second)
        level_L = _transformed(np.array(list(lines.columns), dtype=float), rule)
        design_L2 = np.stack([np.ones_like(level_L), level_L], axis=1)
        coefficients_2S = np.linalg.lstsq(design_L2, lines.to_numpy().T, rcond=None)[0]
        values_S = coefficients_2S[1 if rule["take"] == "slope" else 0]
        numbers.append(number_over_seeds(f"{first} − {second}", values_S, len(rule["comparisons"])))
    return numbers


def _differences(cells: Cells, rule: Rule, varied: Sequence[str], first: str, second: str) -> pd.DataFrame:
    runs = cells.select(None, {}, varied)
    factor = rule["factor"]
    found: dict[Any, pd.Series] = {}
    lacking = []
    for level in _levels(runs[factor], rule["along"] != "linear") if factor in runs else []:
        try:
            of_both = [cells.by_seed(rule["metric"], name, {factor: level}, varied) for name in (first, second)]
        except MissingRunsError as error:
            lacking.append(str(error))
            continue
        found[level] = (of_both[0] - of_both[1]).dropna()
    if len(found) < cells.levels:
        raise MissingRunsError(
            f"{first} and {second}: {len(found)} of {cells.levels} levels of {factor}{_in_brackets(lacking)}"
        )
    return cells.common(found)


def _levels(values: pd.Series, positive: bool) -> list[float]:
    """Return the numbers among the values of a factor, ascending, without values that have no logarithm or inverse."""
    numbers = {value for value in values if isinstance(value, int | float) and math.isfinite(value)}
    return sorted(value for value in numbers if value > 0 or not positive)


def _in_brackets(lacking: Sequence[str]) -> str:
    return f" ({'; '.join(lacking)})" if lacking else ""


def _transformed(levels: np.ndarray, rule: Rule) -> np.ndarray:
    if rule["along"] == "log2":
        return np.log2(levels)
    return 1 / levels if rule["along"] == "inverse" else levels / rule.get("per", 1.0)


def share_difference(cells: Cells, rule: Rule) -> list[Number]:
    """Return the share of runs with a property at the first level of a factor, minus that at the second.

    The interval is Newcombe's hybrid score interval (1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873).
    """
    counts = []
    for level in rule["levels"]:
        values = cells.by_seed(rule["metric"], rule["strategy"], {rule["factor"]: level})
        counts.append((int(values.sum()), len(values)))
    (one, one_of), (two, two_of) = counts
    low, high = share_interval(one, one_of, two, two_of)
    normal = float(scipy.special.ndtri(1 - ALPHA / 2) + scipy.special.ndtri(POWER))
    # The variance of a share is largest at one half.
    detectable = min(1.0, normal * math.sqrt(0.25 / one_of + 0.25 / two_of))
    return [Number("", one / one_of - two / two_of, low, high, detectable, min(one_of, two_of))]


def share_interval(one: int, one_of: int, two: int, two_of: int) -> tuple[float, float]:
    """Return Newcombe's 95% interval of the difference of two shares."""
    (low_1, high_1), (low_2, high_2) = _wilson(one, one_of), _wilson(two, two_of)
    share_1, share_2 = one / one_of, two / two_of
    difference = share_1 - share_2
    below = math.hypot(share_1 - low_1, high_2 - share_2)
    above = math.hypot(high_1 - share_1, share_2 - low_2)
    return difference - below, difference + above


def _wilson(successes: int, number: int) -> tuple[float, float]:
    z = float(scipy.special.ndtri(1 - ALPHA / 2))
    share, scale = successes / number, 1 + z**2 / number
    center = (share + z**2 / (2 * number)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    return max(0.0, center - half), min(1.0, center + half)


def ranges(cells: Cells, rule: Rule) -> list[Number]:
    """Return the range over the levels of a factor minus the range over strategies.

    The best and the worst of each are chosen by their means over all seeds, and then compared seed by seed.
    """
    strategies, factor = rule["strategies"], rule["factor"]
    columns = {
        (level, strategy): cells.by_seed(rule["metric"], strategy, {factor: level})
        for level in rule["levels"]
        for strategy in strategies
    }
    common = cells.common(columns)
    over_levels, over_strategies = (_range_of_means(common, depth) for depth in (0, 1))
    return [number_over_seeds("", over_levels - over_strategies, 1)]


def _range_of_means(columns: pd.DataFrame, depth: int) -> pd.Series:
    means = columns.T.groupby(level=depth, sort=False).mean().T
    order = means.mean().sort_values(kind="stable").index
    difference: pd.Series = means[order[-1]] - means[order[0]]
    return difference


def tuned_range(cells: Cells, rule: Rule) -> list[Number]:
    """Return the range over strategies with tuned options, minus half of the range with standard options.

    The options of each strategy are those with the highest mean of another metric, such as one of validation classes.
    """
    varied, strategies = rule["varies"], rule["strategies"]
    tuned: dict[str, pd.Series] = {}
    untuned: dict[str, pd.Series] = {}
    for strategy in strategies:
        runs = cells.select(strategy, {}, varied)
        present = [name for name in varied if name in runs]
        options = [dict(zip(present, values, strict=True)) for values in _combinations(runs, present)]
        scored: list[tuple[float, int, dict[str, Any]]] = []
        lacking: list[str] = []
        for chosen in options:
            try:
                scored.append((cells.by_seed(rule["chosen_by"], strategy, chosen).mean(), len(scored), chosen))
            except MissingRunsError as error:
                lacking.append(str(error))
        if len(scored) < cells.levels:
            names = " × ".join(varied)
            raise MissingRunsError(
                f"{strategy}: {len(scored)} of {cells.levels} combinations of {names}{_in_brackets(lacking)}"
            )
        best = max(scored, key=lambda each: each[:2])[2]
        tuned[strategy] = cells.by_seed(rule["metric"], strategy, best)
        untuned[strategy] = cells.by_seed(rule["metric"], strategy, {})
    both = cells.common(
        {("tuned", name): each for name, each in tuned.items()}
        | {("untuned", name): each for name, each in untuned.items()}
    )
    after, before = (_range_of_means(both[name].T.rename_axis("strategy").T, 0) for name in ("tuned", "untuned"))
    return [number_over_seeds("", after - before / 2, 1)]


def _combinations(runs: pd.DataFrame, options: Sequence[str]) -> list[tuple[Any, ...]]:
    if not options:
        return []
    return sorted(runs[list(options)].dropna().drop_duplicates().itertuples(index=False, name=None))


def winners(cells: Cells, rule: Rule) -> list[Number]:
    """Return by how much two metrics disagree about the winner.

    If they have different winners, the number is the smaller lead of a winner over the other one. If they have the same
    winner, it is minus the smallest lead over any other strategy in any metric.
    """
    strategies = [name for name in rule["strategies"] if (cells.runs["strategy"] == name).any()]
    if len(strategies) < 2:
        raise MissingRunsError(f"{len(strategies)} of 2 strategies")
    of_metric = {
        metric: cells.common({name: cells.by_seed(metric, name, {}) for name in strategies})
        for metric in rule["metrics"]
    }
    best = {metric: str(values.mean().idxmax()) for metric, values in of_metric.items()}
    one, two = rule["metrics"]
    if best[one] != best[two]:
        leads = [(metric, best[metric], best[other], 1) for metric, other in ((one, two), (two, one))]
    else:
        rivals = [name for name in strategies if name != best[one]]
        leads = [(metric, best[one], name, -1) for metric in rule["metrics"] for name in rivals]
    numbers = [
        number_over_seeds(
            f"{winner} − {other}, {metric}", sign * (of_metric[metric][winner] - of_metric[metric][other]), len(leads)
        )
        for metric, winner, other, sign in leads
    ]
    # The lead that is shown least clearly decides.
    return [min(numbers, key=lambda each: each.low) if leads[0][3] > 0 else max(numbers, key=lambda each: each.high)]


KINDS: dict[str, Callable[[Cells, Rule], list[Number]]] = {
    each.__name__: each for each in (contrast, fit, share_difference, ranges, tuned_range, winners)
}
