"""What a tuning says: a line for each trial, and the table of the best."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from siamese_lab.runs.display_names import metric_name
from siamese_lab.runs.tuned import Trial, Tuned
from siamese_lab.sweep.overview import clock, percent


def trial_message(folder: Path, every: Sequence[Trial], trials: int) -> str:
    """The line of the last trial: what it tried, what it scored, and the best so far."""
    trial = every[-1]
    best = max((each.score for each in every if each.score is not None), default=None)
    outcome = percent(trial.score) if trial.score is not None else f"failed ({trial.error})"
    place = "/".join((*folder.parts[-2:], f"trial={trial.number}"))
    counted = f"{len(every)}/{trials}"
    return "  ".join(
        (clock(datetime.now()), place, counted, outcome, f"best {percent(best)}", named(trial.options)),
    )


def table(tuned: Sequence[Tuned]) -> Table:
    """The best of every tuning, beside the recipe as it is shipped, which was the first trial."""
    metric = tuned[0].metric
    drawn = Table(title=f"Best {metric_name(metric)} on validation images", title_justify="left")
    for column in ("data", "sampler", "as shipped", "best", "of", "options"):
        drawn.add_column(column, justify="right" if column in ("as shipped", "best") else "left", overflow="fold")
    for each in tuned:
        best = next(trial.number for trial in each.every_trial if trial.options == each.options)
        shipped, options = percent(each.every_trial[0].score), named(each.options, "\n")
        drawn.add_row(each.data, each.sampler, shipped, percent(each.score), f"trial={best}", options)
    return drawn


def named(options: Mapping[str, Any], between: str = "  ") -> str:
    """Names and values, numbers with three digits."""
    return between.join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in options.items()
    )
