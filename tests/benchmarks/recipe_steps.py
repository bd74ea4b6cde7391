"""Measure a training step of each data set's recipe: `python -m tests.benchmarks.recipe_steps [NAME …]`.

Each run starts in its own process as a user starts it, and ends after a few steps. The figures are medians over its
steps: processor time and minor page faults of a step; and the peak memory of the process. A step lasts from the end of
the previous step to its own end, so that loading, augmentation, mining, callbacks and logging count.

--before FOLDER measures another checkout of the lab too, in turns with this one.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import lightning
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
DATA = ("digits", "glyphs", "mnist", "mnist_closed", "fashion_mnist", "fashion_mnist_closed", "omniglot", "lfw")
WARM_UP = 5
FEWEST, SECONDS = 6, 20.0
"""A run ends after FEWEST measured steps at the earliest, and when its measured steps have taken SECONDS."""
MOST = 40
KIB = 1024
CHILD = """
import siamese_lab.__main__ as commands

load = commands.import_module

def load_and_measure(name):
    module = load(name)
    if name == "siamese_lab.train":  # the command has set up its process, and PyTorch may be loaded
        import recipe_steps
        recipe_steps.measure_fits()
    return module

commands.import_module = load_and_measure
commands.start("train")
"""
"""The program of a measured process. It runs in checkouts that do not have this file."""


class Step(NamedTuple):
    """Medians of the steps of one run, and the peak memory of its process."""

    seconds: float
    """Processor time."""
    faults: float
    """Minor page faults."""
    peak_bytes: int

    def __str__(self) -> str:
        return f"{self.seconds * 1000:.0f} / {self.faults / 1000:.1f} / {self.peak_bytes / 1e9:.2f}"


class Clock(lightning.Callback):
    """Measures the steps of a run, prints the medians, and ends the process."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, int]] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any) -> None:
        """Add a step, and end the process after the last one."""
        self.ends.append((time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt))
        measured = self.ends[WARM_UP:]
        taken = measured[-1][0] - measured[0][0] if measured else 0.0
        if len(measured) > MOST or (len(measured) > FEWEST and taken > SECONDS):
            seconds, faults = (statistics.median(differences(each)) for each in zip(*measured, strict=True))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
            print(json.dumps(Step(seconds, faults, peak)), flush=True)
            os._exit(0)


def differences(values: tuple[float, ...]) -> list[float]:
    """Return the differences of neighboring values."""
    return [later - earlier for earlier, later in pairwise(values)]


def main() -> None:
    """Measure the recipes that the command line names, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"data sets: {', '.join(DATA)}")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="another checkout of the lab, measured too")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, such as 1,2")
    parser.add_argument("--option", action="append", default=[], metavar="OPTION=VALUE", help="an option of all runs")
    arguments = parser.parse_args()
    folders = [ROOT] if arguments.before is None else [arguments.before, ROOT]
    threads = [int(each) for each in arguments.threads.split(",")]
    titles = ["now"] if len(folders) == 1 else ["before", "now"]
    table = Table("data set", *(f"{title}, {number} thread(s)" for number in threads for title in titles))
    for name in arguments.names or DATA:
        cells = [str(measure(folder, name, each, arguments.option)) for each in threads for folder in folders]
        table.add_row(name, *cells)
    console = Console()
    console.print("Processor ms of a step / thousands of page faults / peak memory in GB", highlight=False)
    console.print(table)


def measure(folder: Path, data: str, threads: int, options: list[str]) -> Step:
    """Run the recipe of a data set with the lab in `folder`, in a process of its own, and return its figures."""
    with tempfile.TemporaryDirectory() as outputs:
        overrides = [f"data={data}", f"threads={threads}", f"paths.outputs={outputs}", *options]
        paths = f"{folder}{os.pathsep}{Path(__file__).parent}"
        ended = subprocess.run(
            [sys.executable, "-c", CHILD, *overrides],
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(threads)},
            cwd=outputs,
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("[")]
    if ended.returncode or not lines:
        raise RuntimeError(f"{data} in {folder} failed: {(ended.stderr or ended.stdout)[-1000:]}")
    seconds, faults, peak = json.loads(lines[-1])
    return Step(seconds, faults, peak)


def measure_fits() -> None:
    """Add a `Clock` to each training of this process."""
    fit = lightning.Trainer.fit

    def measured_fit(trainer: lightning.Trainer, *arguments: Any, **keywords: Any) -> None:
        trainer.callbacks.append(Clock())
        fit(trainer, *arguments, **keywords)

    lightning.Trainer.fit = measured_fit


if __name__ == "__main__":
    main()
