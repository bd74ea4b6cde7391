"""Console output of a tuning: a line for each trial, and the table of the best trials."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from siamese_lab.runs.display import print_titled
from siamese_lab.runs.display_names import metric_name
from siamese_lab.runs.tuned import Trial, Tuned
from siamese_lab.sweep.overview import clock, percent


def trial_message(folder: Path, every: Sequence[Trial], trials: int) -> str:
    """Return the line of the last trial: its options, its score and the best score so far."""
    trial = every[-1]
    best = max((each.score for each in every if each.score is not None), default=None)
    outcome = percent(trial.score) if trial.score is not None else str(trial.error)
    if trial.status == "failed":
        outcome = f"failed ({trial.error})"
    folder_name = "/".join((*folder.parts[-2:], f"trial={trial.number}"))
    counted = f"{len(every)}/{trials}"
    return "  ".join(
        (clock(datetime.now()), folder_name, counted, outcome, f"best {percent(best)}", format_options(trial.options)),
    )


def print_best(console: Console, tuned: Sequence[Tuned]) -> None:
    """Print the table of the best trial of each tuning, alongside the first trial with the shipped options.

    If a trial was pruned, a column has the number of pruned trials.
    """
    drawn, some_pruned = Table(), any(trial.status == "pruned" for each in tuned for trial in each.every_trial)
    numbers = ("as shipped", "best", *(["pruned"] if some_pruned else []))
    for column in ("data", "sampler", *numbers, "of", "options"):
        drawn.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for each in tuned:
        best = next(
            trial.number for trial in each.every_trial if (trial.options, trial.score) == (each.options, each.score)
        )
        shipped, options = percent(each.every_trial[0].score), format_options(each.options, "\n")
        pruned = sum(trial.status == "pruned" for trial in each.every_trial)
        counts = [f"{pruned} of {each.trials}"] if some_pruned else []
        drawn.add_row(each.data, each.sampler, shipped, percent(each.score), *counts, f"trial={best}", escape(options))
    print_titled(console, f"Best {metric_name(tuned[0].metric)} on validation images", drawn)


def format_options(options: Mapping[str, Any], between: str = "  ") -> str:
    """Return names and values of options, with three significant digits for numbers."""
    return between.join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in options.items()
    )
