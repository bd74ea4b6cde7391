"""Print the configuration of a run at its start and the metrics at its end."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from siamese_lab.runs.display_names import metric_name, split_key
from siamese_lab.runs.results import FILE_NAME, Results

if TYPE_CHECKING:  # the report prints without loading torch
    from siamese_lab.data import DataModule


def print_choices(console: Console, results: Results, datamodule: "DataModule") -> None:
    """Print the composed configuration in a few lines."""
    choices, trainer = results.choices, results.choices["trainer"]
    optimizer, schedule = (choices[group]["name"] for group in ("optimizer", "schedule"))
    table = Table.grid(padding=(0, 2))
    for name, what in {
        "data": f"[bold]{results.data}[/]  "
        + ", ".join(
            f"{use} on {len(part):,} images of {len(part.class_names):,} classes"
            for use, part in zip(("train", "validate", "test"), datamodule.splits, strict=True)
        ),
        **_recipe(choices.get("recipe")),
        "sampler": _describe_part(results.sampler, choices["sampler"]),
        "loss": _describe_part(results.loss, choices["loss"]),
        "network": _describe_part(results.network, choices["network"]),
        "training": f"{trainer['max_steps']:,} steps of {datamodule.classes_per_batch} classes × "
        f"{datamodule.images_per_class} images, {optimizer} {choices['optimizer']['lr']:g}, {schedule}, "
        f"seed {results.seed}",
        **_accumulation(trainer.get("accumulate_grad_batches", 1)),
        "device": f"{results.hardware['device']}, {results.hardware['precision']}"
        + _processes(results.hardware.get("processes", 1)),
    }.items():
        table.add_row(f"[cyan]{name}[/]", what)
    console.print(table, highlight=False)


def _recipe(recipe: Mapping[str, str] | None) -> dict[str, str]:
    if recipe is None:
        return {}
    if recipe["name"] == "none":
        return {"recipe": "[bold]none[/]  every data set is trained with the same settings"}
    name = recipe["name"]
    return {"recipe": f"[bold]{name}[/]  configs/recipe/{name}.yaml; recipe=none trains all sets alike"}


def _accumulation(batches: int) -> dict[str, str]:
    if batches == 1:
        return {}
    note = f"A step adds the gradients of {batches} batches, but triplets are selected within one batch."
    return {"": note}


def _processes(processes: int) -> str:
    return "" if processes == 1 else f", {processes} processes"


def _describe_part(name: str, options: dict[str, Any]) -> str:
    shown = ", ".join(f"{key}={value}" for key, value in options.items() if key != "name" and value is not None)
    return f"[bold]{name}[/]  {shown}"


def print_outcome(console: Console, results: Results, folder: Path) -> None:
    """Print the final metrics as a table, the duration, and the paths of further files."""
    title = f"{results.data}, {results.sampler}: weights of step {results.tested_step:,}"
    table = Table(title=title, title_justify="left")
    for column in ("", "validation", "test"):
        table.add_column(column, justify="right" if column else "left")
    for metric, value in results.validation.items():
        table.add_row(metric_name(metric), _share(value), _share(results.test[metric]))
    console.print(table)
    print_verification(console, results.test)
    shown = short(folder)
    spent = results.seconds
    print_plainly(
        console,
        f"Trained for {spent['training']:.1f} s, including {spent['mining']:.1f} s of mining.",
        f"Results: {shown / FILE_NAME}",
    )
    if results.choices["logger"] is not None:
        print_plainly(console, f'Curves:  tensorboard --logdir "{shown}"')


def print_verification(console: Console, test: Mapping[str, float | None]) -> None:
    """Print the results of verification on official pairs, one table for each protocol; print nothing without pairs."""
    figures_of: dict[str, dict[str, float | None]] = {}
    for key, value in test.items():
        protocol, metric = split_key(key)
        if protocol is not None:
            figures_of.setdefault(protocol, {})[metric] = value
    for protocol, figures in sorted(figures_of.items()):
        positives, negatives, threshold = (figures.pop(name) or 0 for name in ("positives", "negatives", "threshold"))
        title = f"{protocol}: {positives + negatives:,.0f} pairs, accepted up to distance {threshold:.3f}"
        table = Table(title=title, title_justify="left")
        for name in figures:
            table.add_column(metric_name(name), justify="right")
        table.add_row(*map(_share, figures.values()))
        console.print(table)
        if None in figures.values():
            print_plainly(
                console, f"– means that {negatives:,.0f} negative pairs are too few for such a low false accept rate."
            )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def print_interrupted(console: Console, checkpoint: Path) -> None:
    """Print the command that resumes an interrupted run."""
    print_plainly(console, f"Interrupted. To resume: python -m siamese_lab.train \"resume='{short(checkpoint)}'\"")


def print_plainly(console: Console, *lines: str) -> None:
    """Print lines without wrapping or color, so that they can be copied."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def short(path: Path) -> Path:
    """Return the path relative to the current folder if it lies below, otherwise unchanged."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
