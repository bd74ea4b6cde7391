"""Format numbers for tables and sentences: shares as percentages, differences of shares as percentage points."""

from collections.abc import Sequence
from statistics import median

from siamese_lab.study.statistics import Estimate

MISSING = "–"


def percent(value: float) -> str:
    """Return a share as a percentage with one decimal, without the % sign."""
    return f"{100 * value:.1f}"


def points(value: float) -> str:
    """Return a difference of shares as percentage points with a sign; 0.0 has no sign."""
    text = f"{100 * value:+.1f}".replace("-", "−")
    return text[1:] if text[1:] == "0.0" else text


def mean(estimate: Estimate, seeds: int) -> str:
    """Return a mean ± half of its interval; brackets give the number of seeds if it differs from that of the table."""
    text = percent(estimate.mean)
    if estimate.high is not None:
        text += f" ± {percent(estimate.high - estimate.mean)}"
    return text if estimate.number == seeds else f"{text} [{estimate.number}]"


def interval(low: float | None, high: float | None) -> str:
    """Return the interval of a difference of shares in percentage points."""
    return MISSING if low is None or high is None else f"{points(low)} … {points(high)}"


def p_value(p: float | None) -> str:
    """Return a p-value with three decimals."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_in_sentence(p: float) -> str:
    """Return a p-value in the form for sentences, such as "p = 0.012"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def spread(values: Sequence[float], form: str) -> str:
    """Return the median, followed by the minimum and the maximum in brackets."""
    if not values:
        return MISSING
    low, middle, high = (format(value, form) for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"
