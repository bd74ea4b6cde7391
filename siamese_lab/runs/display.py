"""Print the configuration of a run at its start and the metrics at its end."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from siamese_lab.runs.display_names import metric_name, split_key
from siamese_lab.runs.results import FILE_NAME, Results
from siamese_lab.runs.stored_paths import resume_command

if TYPE_CHECKING:  # the report prints without loading torch
    from siamese_lab.data import DataModule

FLOOR_NAMES = {"pixels": "raw pixels", "features": "raw features", "untrained": "untrained"}
METRICS_OF_TABLE = 7
"""Number of metrics that fit into a table of 80 columns."""
COUNTS_OF_PAIRS = ("positives", "negatives", "threshold")


def print_choices(console: Console, results: Results, datamodule: "DataModule", validation: str | None = None) -> None:
    """Print the composed configuration in a few lines.

    Args:
        console: where to print.
        results: the record of the run, which holds its configuration.
        datamodule: its data.
        validation: a phrase about the images and views of the validations; None if all are used.
    """
    choices, trainer = results.choices, results.choices["trainer"]
    optimizer, schedule = (choices[group]["name"] for group in ("optimizer", "schedule"))
    table = Table.grid(padding=(0, 2))
    for name, what in {
        "data": f"[bold]{escape(data_name(results))}[/]  "
        + ", ".join(
            f"{use} on {counted(len(part), 'image')} of {counted(len(part.class_names), 'class', 'classes')}"
            for use, part in zip(("train", "validate", "test"), datamodule.splits, strict=True)
        ),
        **({"test": escape(results.images["tested"])} if "tested" in results.images else {}),
        **_recipe(choices.get("recipe")),
        "sampler": _describe_part(results.sampler, choices["sampler"]),
        "loss": _describe_part(results.loss, choices["loss"]),
        "network": _describe_part(results.network, choices["network"]),
        "training": f"{trainer['max_steps']:,} steps of {datamodule.classes_per_batch} classes × "
        f"{datamodule.images_per_class} images, {optimizer} {choices['optimizer']['lr']:g}, {schedule}, "
        f"seed {results.seed}",
        **_accumulation(trainer.get("accumulate_grad_batches", 1)),
        **({} if validation is None else {"validation": validation}),
        "device": f"{results.hardware['device']}, {results.hardware['precision']}"
        + _threads(results.hardware)
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
    return {"recipe": f"[bold]{escape(name)}[/]  configs/recipe/{name}.yaml; recipe=none trains all sets alike"}


def _accumulation(batches: int) -> dict[str, str]:
    if batches == 1:
        return {}
    note = f"A step adds the gradients of {batches} batches, but triplets are selected within one batch."
    return {"": note}


def _threads(hardware: Mapping[str, Any]) -> str:
    on_processor = hardware.get("accelerator") == "cpu" and "threads" in hardware
    return ", " + counted(hardware["threads"], "thread") if on_processor else ""


def _processes(processes: int) -> str:
    return "" if processes == 1 else f", {processes} processes"


def _describe_part(name: str, options: dict[str, Any]) -> str:
    shown = ", ".join(f"{key}={value}" for key, value in options.items() if key != "name" and value is not None)
    return f"[bold]{escape(name)}[/]  {escape(shown)}"


def print_outcome(console: Console, results: Results, folder: Path) -> None:
    """Print the final metrics as a table, the duration, and the paths of further files."""
    print_retrieval(console, results)
    print_verification(console, results)
    shown = short(folder)
    spent = results.seconds
    print_plainly(
        console,
        f"Trained for {spent['training']:.1f} s, including {spent['mining']:.1f} s of mining.",
        f"Results: {shown / FILE_NAME}",
        *(f"Profile: {shown / each.name}" for each in sorted(folder.glob("*-profile*.txt"))),
    )
    if results.status == "shortened":
        print_plainly(console, f"Studies and reports leave this run out: {results.error}")
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


def print_retrieval(console: Console, results: Results) -> None:
    """Print the metrics of the test, with a row for each floor, and of the validation, in tables of 80 columns."""
    metrics = [name for name in results.validation if not name.endswith("_macro")]  # they stay in results.json
    tables = []
    for start in range(0, len(metrics), METRICS_OF_TABLE):
        shown = metrics[start : start + METRICS_OF_TABLE]
        table = _table_of_shares(shown)
        for name, values in _test_rows(results).items():
            table.add_row(name, *(_share(values.get(metric)) for metric in shown), end_section=values is results.test)
        table.add_row("validation", *(_share(results.validation[metric]) for metric in shown))
        tables.append(table)
    title = f"{data_name(results)}, {results.sampler}: weights of step {results.tested_step:,}, on test images"
    print_titled(console, title, *tables)
    if list(results.floors) == ["untrained"]:
        print_plainly(console, "Raw pixels were not compared: the test images are too large or too many.")


def _table_of_shares(metrics: Sequence[str]) -> Table:
    """Return an empty table with a column for the name of a row and one for each metric. Long names take two lines."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for metric in metrics:
        table.add_column(re.sub(r"([-=])", r"\1\n", metric_name(metric)), justify="right", no_wrap=True)
    return table


def _test_rows(results: Results) -> dict[str, Mapping[str, float | None]]:
    """Return the test metrics of the floors and of the trained network, by the name of their row."""
    floors = {FLOOR_NAMES[floor]: figures for floor, figures in results.floors.items()}
    return {**floors, "trained": results.test}


def print_verification(console: Console, results: Results) -> None:
    """Print the results of verification on official pairs, one table for each protocol; print nothing without pairs."""
    protocols = {protocol for protocol, _ in map(split_key, results.test) if protocol is not None}
    for protocol in sorted(protocols):
        rows = {name: _of_protocol(protocol, values) for name, values in _test_rows(results).items()}
        trained = rows["trained"]
        positives, negatives, threshold = (trained[name] or 0 for name in COUNTS_OF_PAIRS)
        title = f"{protocol}: {positives + negatives:,.0f} pairs, accepted up to distance {threshold:.3f}"
        shown = [name for name in trained if name not in COUNTS_OF_PAIRS]
        table = _table_of_shares(shown)
        for row, values in rows.items():
            table.add_row(row, *(_share(values[name]) for name in shown))
        print_titled(console, title, table)
        if None in trained.values():
            print_plainly(
                console, f"– means that {negatives:,.0f} negative pairs are too few for such a low false accept rate."
            )


def _of_protocol(protocol: str, metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    return {split_key(name).metric: value for name, value in metrics.items() if split_key(name).protocol == protocol}


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def print_interrupted(console: Console, checkpoint: Path, overrides: Sequence[str]) -> None:
    """Print the command that resumes an interrupted run with these overrides."""
    print_plainly(console, f"Interrupted. To resume: {resume_command(short(checkpoint), overrides)}")


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    >>> counted(1, "class", "classes"), counted(2000, "image")
    ('1 class', '2,000 images')
    """
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def listed(words: Sequence[str]) -> str:
    """Return at least one word as a list in a sentence.

    >>> listed(["random", "hard", "semi_hard"])
    'random, hard and semi_hard'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


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
