"""Measure what a training step costs besides its network: `python -m tests.benchmarks.training_loop [STRATEGY …]`.

A run trains the network of data=omniglot on batches of 128 images, on one thread, with all callbacks and loggers of a
run. Before each step, copies of the network and its optimizer make two steps on the same batch in a plain loop: a bare
step (forward, backward, optimizer), and a step with mining and the loss. All take turns in one process and are measured
in processor time. The images are glyphs of the size of Omniglot's, so that the benchmark needs no data. Loading a batch
is measured with a second data module and shown in a column of its own. Glyphs are not augmented.

The last two columns divide what a run adds to a bare step and its batch: mining with the loss and their gradient, and
Lightning with callbacks and logging.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
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
STEPS, WARM_UP = 200, 20
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
    learning: float
    """A step with mining and loss in a plain loop."""
    batch: float
    """Loading a batch and its conversion to floats."""
    whole: float
    """A step of the run, with its batch."""


class BareSteps(Callback):
    """Makes plain steps and a batch before each step of the run, and writes the times into the folder of the run."""

    def __init__(self) -> None:
        self._taken: list[Seconds] = []
        self._steps: list[Callable[[Batch], None]] = []
        self._batches: Iterator[Batch] = iter(())
        self._own: list[float] = []
        self._ended = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the network and its optimizer, and open the data a second time."""
        self._steps = [plain_step(trainer, pl_module, learns) for learns in (False, True)]
        self._batches = training_batches()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the time since the last plain steps, and make the next ones."""
        times = [time.process_time()]
        if self._own:
            self._taken.append(Seconds(*self._own, times[0] - self._ended))
        for step in self._steps:
            step(batch)
            times.append(time.process_time())
        next(self._batches)
        self._ended = time.process_time()
        self._own = [after - before for before, after in pairwise([*times, self._ended])]

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the step that a validation follows."""
        self._own = []

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the times."""
        (Path(trainer.default_root_dir) / FILE_NAME).write_text(json.dumps(self._taken[WARM_UP:]))


def plain_step(trainer: Trainer, module: LightningModule, learns: bool) -> Callable[[Batch], None]:
    """Return a step in a plain loop, with a copy of the network and its optimizer, in the precision of the run.

    If `learns`, it mines and computes the loss as the module does, with copies. Otherwise a fixed random gradient takes
    their place.
    """
    sampler, loss = copy.deepcopy((module.sampler, module.loss))
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
            if learns:
                selection = sampler.mine(network.unit_vectors(z_BD.detach()), batch.labels_B, batch.image_ids_B, 0.0)
                value = loss(selection, z_BD, batch.labels_B).value
        if learns:
            value.backward()
        else:
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
    """Return the times of a step of a run with this strategy: see `median_of_means`."""
    overrides = [*OPTIONS, f"sampler={strategy}", f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}"]
    config = compose(*overrides)
    config.callbacks = {"bare_steps": {"_target_": "tests.benchmarks.training_loop.BareSteps"}}
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder), overrides, console or Console(quiet=True), with_test=False)
        taken = [Seconds(*each) for each in json.loads((Path(folder) / FILE_NAME).read_text())]
    return Seconds(*(median_of_means(each, config.trainer.log_every_n_steps) for each in zip(*taken, strict=True)))


def median_of_means(times: Sequence[float], window: int) -> float:
    """Return the median over windows of the mean time of a step, so that the one logged step of a window counts.

    >>> median_of_means([1, 1, 4, 1, 1, 4, 1, 1, 40], window=3)
    2.0
    """
    starts = range(0, len(times) - window + 1, window)
    return statistics.median(statistics.fmean(times[start : start + window]) for start in starts)


def added(taken: Seconds) -> tuple[float, float]:
    """Return what a run adds to a bare step, as shares of the bare step: mining with the loss, and everything else."""
    learning, loop = taken.learning - taken.bare, taken.whole - taken.batch - taken.learning
    return learning / taken.bare, loop / taken.bare


def main() -> None:
    """Print a table with a row for each strategy."""
    keep_large_blocks()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("strategies", nargs="*", metavar="STRATEGY", default=STRATEGIES)
    shown = Table(title="Milliseconds of a training step, 128 images", title_justify="left")
    for column in ("", "bare step", "with loss", "batch", "step of a run", "mining, loss", "loop"):
        shown.add_column(column, justify="right" if column else "left")
    for strategy in parser.parse_args().strategies:
        taken = measure(strategy)
        shown.add_row(strategy, *(f"{1000 * each:.1f}" for each in taken), *(f"{each:.1%}" for each in added(taken)))
    Console(width=110).print(shown)


if __name__ == "__main__":
    main()
