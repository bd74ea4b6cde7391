"""Print the configuration of a run at its start and the metrics at its end."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from siamese_lab.runs.display_names import metric_name
from siamese_lab.runs.results import FILE_NAME, Results

if TYPE_CHECKING:  # the report prints without loading torch
    from siamese_lab.data import DataModule

FLOOR_NAMES = {"pixels": "raw pixels", "untrained": "untrained"}
METRICS_OF_TABLE = 7
"""Number of metrics that fit into a table of 80 columns."""
COUNTS_OF_PAIRS = ("positives", "negatives", "threshold")


def print_choices(console: Console, results: Results, datamodule: "DataModule") -> None:
    """Print the composed configuration in a few lines."""
    choices, trainer = results.choices, results.choices["trainer"]
    optimizer, schedule = (choices[group]["_target_"].rsplit(".", 1)[1] for group in ("optimizer", "schedule"))
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
    print_retrieval(console, results)
    print_verification(console, results)
    shown = short(folder)
    spent = results.seconds
    print_plainly(
        console,
        f"Trained for {spent['training']:.1f} s, including {spent['mining']:.1f} s of mining.",
        f"Results: {shown / FILE_NAME}",
    )
    if results.choices["logger"] is not None:
        print_plainly(console, f'Curves:  tensorboard --logdir "{shown}"')


def print_retrieval(console: Console, results: Results) -> None:
    """Print the metrics of the test, with a row for each floor, and of the validation, in tables of 80 columns."""
    metrics = list(results.validation)
    for start in range(0, len(metrics), METRICS_OF_TABLE):
        shown = metrics[start : start + METRICS_OF_TABLE]
        title = f"{results.data}, {results.sampler}: weights of step {results.tested_step:,}, on test images"
        table = _table_of_shares(shown, None if start else title)
        rows = _test_rows(results)
        for name, values in rows.items():
            table.add_row(name, *(_share(values[metric]) for metric in shown), end_section=values is results.test)
        table.add_row("validation", *(_share(results.validation[metric]) for metric in shown))
        console.print(table)
    if "untrained" in results.floors and "pixels" not in results.floors:
        print_plainly(console, "Raw pixels were not compared: the test images are too large or too many.")


def _table_of_shares(metrics: Sequence[str], title: str | None) -> Table:
    """Return an empty table with a column for the name of a row and one for each metric. Long names take two lines."""
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
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
    protocols = {name.split("/")[0] for name in results.test if "/" in name}
    for protocol in sorted(protocols):
        rows = {name: _of_protocol(protocol, values) for name, values in _test_rows(results).items()}
        trained = rows["trained"]
        positives, negatives, threshold = (trained[name] or 0 for name in COUNTS_OF_PAIRS)
        title = f"{protocol}: {positives + negatives:,.0f} pairs, accepted up to distance {threshold:.3f}"
        shown = [name for name in trained if name not in COUNTS_OF_PAIRS]
        table = _table_of_shares(shown, title)
        for row, values in rows.items():
            table.add_row(row, *(_share(values[name]) for name in shown))
        console.print(table)
        if None in trained.values():
            print_plainly(
                console, f"– means that {negatives:,.0f} negative pairs are too few for such a low false accept rate."
            )


def _of_protocol(protocol: str, metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    prefix = f"{protocol}/"
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


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
