"""How numbers are written in tables and sentences: shares in per cent, differences of shares in points."""

from collections.abc import Sequence
from statistics import median

from siamese_lab.study.statistics import Estimate

MISSING = "–"


def percent(value: float) -> str:
    """In per cent, without the sign."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """A difference of shares, with its sign; 0.0 has none."""
    text = f"{100 * value:+.1f}".replace("-", "−")
    return text[1:] if text[1:] == "0.0" else text


def mean(estimate: Estimate, seeds: int) -> str:
    """With half the width of the interval, and the number of seeds where it is not the table's."""
    told = percent(estimate.mean)
    if estimate.high is not None:
        told += f" ± {percent(estimate.high - estimate.mean)}"
    return told if estimate.number == seeds else f"{told} [{estimate.number}]"


def p_value(p: float | None) -> str:
    """To three folders."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_in_sentence(p: float) -> str:
    """In a sentence."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def spread(values: Sequence[float], form: str) -> str:
    """The median, and between which the values lie."""
    if not values:
        return MISSING
    low, middle, high = (format(value, form) for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"
