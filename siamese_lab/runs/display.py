"""Print the configuration of a run at its start and the metrics at its end."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
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
        "data": f"[bold]{data_name(results)}[/]  "
        + ", ".join(
            f"{use} on {counted(len(part), 'image')} of {counted(len(part.class_names), 'class', 'classes')}"
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


def data_name(results: Results) -> str:
    """Return the name of the data set of a run, with its protocol if the set has several."""
    protocol = None if results.data_set is None else results.data_set["protocol"]
    return results.data if protocol is None else f"{results.data} ({protocol})"


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
    title = f"{data_name(results)}, {results.sampler}: weights of step {results.tested_step:,}"
    table = Table()
    for column in ("", "validation", "test"):
        table.add_column(column, justify="right" if column else "left")
    for metric, value in results.validation.items():
        table.add_row(metric_name(metric), _share(value), _share(results.test[metric]))
    print_titled(console, title, table)
    print_verification(console, results.test)
    shown = short(folder)
    spent = results.seconds
    print_plainly(
        console,
        f"Trained for {spent['training']:.1f} s, including {spent['mining']:.1f} s of mining.",
        f"Results: {shown / FILE_NAME}",
    )
    print_plainly(console, *describe_curves(folder))


def describe_curves(folder: Path) -> list[str]:
    """Return a line for each kind of training curves below a folder: TensorBoard's files, and CSV files."""
    shown = short(folder.absolute())
    lines = []
    if next(folder.rglob("events.out.tfevents.*"), None) is not None:
        lines.append(f'Curves:  tensorboard --logdir "{shown}"')
    if (table := next(folder.rglob("metrics.csv"), None)) is not None:
        lines.append(f"Curves:  {short(table.absolute())}")
    return lines


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
        table = Table()
        for name in figures:
            table.add_column(metric_name(name), justify="right")
        table.add_row(*map(_share, figures.values()))
        print_titled(console, title, table)
        if None in figures.values():
            print_plainly(
                console, f"– means that {negatives:,.0f} negative pairs are too few for such a low false accept rate."
            )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def print_interrupted(console: Console, checkpoint: Path) -> None:
    """Print the command that resumes an interrupted run."""
    print_plainly(console, f"Interrupted. To resume: python -m siamese_lab.train \"resume='{short(checkpoint)}'\"")


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    >>> counted(1, "class", "classes"), counted(2000, "image")
    ('1 class', '2,000 images')
    """
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def print_titled(console: Console, title: str, *tables: Table) -> None:
    """Print tables below a title, which a narrow table does not break."""
    console.print(title, style="italic", markup=False, highlight=False)
    for table in tables:
        console.print(table)


def in_blocks(console: Console, columns: int, build: Callable[[Sequence[int]], Table]) -> list[Table]:
    """Split a wide table into tables that fit the console.

    Args:
        console: the console.
        columns: number of columns that may be in separate tables.
        build: returns the table with the columns of these indices.
    """
    options = console.options.update(max_width=sys.maxsize)
    blocks: list[list[int]] = [[]]
    for column in range(columns):
        wider = [*blocks[-1], column]
        if blocks[-1] and Measurement.get(console, options, build(wider)).minimum > console.width:
            blocks.append([column])
        else:
            blocks[-1] = wider
    return [build(block) for block in blocks]


def print_plainly(console: Console, *lines: str) -> None:
    """Print lines without wrapping or color, so that they can be copied."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def short(path: Path) -> Path:
    """Return the path relative to the current folder if it lies below, otherwise unchanged."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
