"""Measure what a training step costs besides its network: `python -m tests.benchmarks.training_loop [STRATEGY …]`.

A run trains the network of data=omniglot on batches of 128 images, on one thread, with all callbacks and loggers of a
run. Before each step, a copy of the network and its optimizer makes a bare step on the same batch: forward, backward
and optimizer in a plain loop. Both take turns in one process and are measured in processor time. The images are glyphs
of the size of Omniglot's, so that the benchmark needs no data. Loading a batch is measured with a second data module
and shown in a column of its own. Glyphs are not augmented.

The remaining time is that of Lightning, callbacks, logging, mining and the loss.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from siamese_lab import data
from siamese_lab.batch import Batch
from siamese_lab.config.process import keep_large_blocks
from siamese_lab.config.schema import compose
from siamese_lab.training.run import train

STRATEGIES = ("semi_hard", "distance_weighted")
IMAGES = 128
STEPS, WARM_UP = 120, 20
FILE_NAME = "bare_steps.json"
OPTIONS = (
    "data=glyphs",
    "recipe=omniglot",
    "data.image_size=36",
    "data.classes_per_batch=32",
    "data.images_per_class=4",
    "threads=1",
    "metrics.floors=false",
)


class Seconds(NamedTuple):
    """Processor time of one turn of each contestant."""

    bare: float
    """A step in a plain loop."""
    batch: float
    """Loading a batch and its conversion to floats."""
    whole: float
    """A step of the run, with its batch."""


class BareSteps(Callback):
    """Makes a bare step and a batch of its own before each step of the run, and writes the times into the run's folder.

    The gradient of a bare step is a fixed random one, in place of the loss.
    """

    def __init__(self) -> None:
        self._taken: list[Seconds] = []
        self._bare: Callable[[Batch], None] = lambda batch: None
        self._batches: Iterator[Batch] = iter(())
        self._own: tuple[float, float] | None = None
        self._ended = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the network and its optimizer, and open the data a second time."""
        self._bare = bare_step(trainer, pl_module)
        self._batches = training_batches()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the time since the last bare step, and make the next one."""
        started = time.process_time()
        if self._own is not None:
            self._taken.append(Seconds(*self._own, started - self._ended))
        self._bare(batch)
        stepped = time.process_time()
        next(self._batches)
        self._ended = time.process_time()
        self._own = stepped - started, self._ended - stepped

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the step that a validation follows."""
        self._own = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the times."""
        (Path(trainer.default_root_dir) / FILE_NAME).write_text(json.dumps(self._taken[WARM_UP:]))


def bare_step(trainer: Trainer, module: LightningModule) -> Callable[[Batch], None]:
    """Return a step in a plain loop, with a copy of the network and its optimizer, in the precision of the run."""
    network = copy.deepcopy(module.network)
    copies = dict(zip(module.network.parameters(), network.parameters(), strict=True))
    groups = [
        {**group, "params": [copies[each] for each in group["params"] if each in copies]}
        for group in trainer.optimizers[0].param_groups
    ]
    optimizer = type(trainer.optimizers[0])([group for group in groups if group["params"]])
    gradient_BD = torch.randn(IMAGES, network.embedding_dim)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        with trainer.precision_plugin.forward_context():
            z_BD = network(batch.images_BCHW)
        z_BD.backward(gradient_BD)
        optimizer.step()

    return step


def training_batches() -> Iterator[Batch]:
    """Yield training batches of float images, without end."""
    datamodule = data.build(**compose(*OPTIONS).data, seed=1)
    datamodule.setup("fit")
    while True:
        for batch in datamodule.batches:
            yield datamodule.on_after_batch_transfer(batch, 0)


def measure(strategy: str, steps: int = STEPS, console: Console | None = None) -> Seconds:
    """Return the medians over the steps of a run with this strategy."""
    overrides = [*OPTIONS, f"sampler={strategy}", f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}"]
    config = compose(*overrides)
    config.callbacks = {"bare_steps": {"_target_": "tests.benchmarks.training_loop.BareSteps"}}
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder), overrides, console or Console(quiet=True), with_test=False)
        taken = [Seconds(*each) for each in json.loads((Path(folder) / FILE_NAME).read_text())]
    return Seconds(*(statistics.median(each) for each in zip(*taken, strict=True)))


def added(taken: Seconds) -> float:
    """Return what the run adds to a bare step and its batch, as a share of the bare step."""
    return (taken.whole - taken.batch - taken.bare) / taken.bare


def main() -> None:
    """Print a table with a row for each strategy."""
    keep_large_blocks()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategies", nargs="*", metavar="STRATEGY", default=STRATEGIES)
    shown = Table(title="Milliseconds of a training step, 128 images", title_justify="left")
    for column in ("", "bare step", "batch", "step of a run", "added"):
        shown.add_column(column, justify="right" if column else "left")
    for strategy in parser.parse_args().strategies:
        taken = measure(strategy)
        shown.add_row(strategy, *(f"{1000 * each:.1f}" for each in taken), f"{added(taken):.1%}")
    Console(width=110).print(shown)


if __name__ == "__main__":
    main()
