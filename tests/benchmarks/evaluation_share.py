"""Measure the share of evaluation in each recipe and budget: `python -m tests.benchmarks.evaluation_share`.

The parts of a run are measured alone, in one process, in processor time: a training step, the embedding of a batch of
evaluated images with and without views, and the retrieval metrics of all validation and test images. The share is
their sum over a run, with the numbers of steps and of validations of its configuration. It does not train recipes.

Official pairs count as test images. Raw pixels are not counted, because the runs on a data set share their figures.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from siamese_lab.config.schema import compose
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.sequential_batches import SequentialBatches
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.training.build import build_datamodule, build_module
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.trainer import best_precision
from siamese_lab.training.validation_plan import ValidationPlan, number_of_validations, plan_validations, without_views
from tests.benchmarks.timing import medians

DATA = ("digits", "glyphs", "mnist", "mnist_closed", "fashion_mnist", "fashion_mnist_closed", "omniglot", "lfw")
KINDS = {"recipe": [], "study": ["experiment=study"]}
"""The overrides that choose the recipe of a data set, and its recipe in a study."""
BUDGETS = ("standard", "half")


class Costs(NamedTuple):
    """Processor seconds of the parts of a run."""

    step: float
    """One training step."""
    validation: float
    """One validation during training."""
    final: float
    """The validation with all views at the end."""
    test: float
    """The test of the trained network."""
    untrained: float
    """The test of the untrained network; 0 without `metrics.floors`."""


class Share(NamedTuple):
    """Seconds of training, and the time of each evaluation as a share of it."""

    training: float
    validations: float
    final: float
    test: float
    untrained: float

    @property
    def total(self) -> float:
        return self.validations + self.final + self.test + self.untrained


def share(costs: Costs, steps: int, plan: ValidationPlan) -> Share:
    """Return the shares of a run. A last validation that measures what the one at the end would measure replaces it."""
    training = steps * costs.step
    validations = min(steps, plan.number) * costs.validation
    final = costs.final if plan.views else 0.0
    return Share(training, *(each / training for each in (validations, final, costs.test, costs.untrained)))


def measure(config: DictConfig, repeats: int) -> tuple[Costs, ValidationPlan]:
    """Measure the parts of a run with this configuration, in the process's number of threads."""
    datamodule = build_datamodule(config)
    module = build_module(config, datamodule)
    plan = plan_validations(config, datamodule)
    splits, pairs = datamodule.splits, datamodule.official_pairs
    chunk = next(iter(SequentialBatches(splits.test, datamodule.eval_batch_size)))
    images_BCHW, size = to_float(chunk.images_BCHW), len(chunk.labels_B)
    asked = config.trainer.precision
    lowered = (best_precision("cpu") if asked == "auto" else asked) == "bf16-mixed"
    taken = medians(
        {
            "step": training_step(module, datamodule.batches, datamodule.augment or to_float, lowered),
            "plain": partial(embed, module, images_BCHW, False, lowered),
            "views": partial(embed, module, images_BCHW, True, lowered),
            "rank": partial(rank, module, splits.validation.labels_N[datamodule.validation_rows]),
            "rank test": partial(rank, module, splits.test.labels_N),
        },
        repeats,
    )
    tested = len(splits.test) + (len(pairs.table) if pairs else 0)
    test = tested / size * taken["views"] + taken["rank test"]
    costs = Costs(
        taken["step"],
        plan.images / size * taken["plain"] + taken["rank"],
        plan.images / size * taken["views"] + taken["rank"],
        test,
        test if config.metrics.floors else 0.0,
    )
    return costs, plan


def training_step(
    module: SiameseModule, batches: Iterable[Any], augment: Callable[..., Any], lowered: bool
) -> Callable[[], None]:
    """Return a call that trains one step."""
    stream, optimizer = endless(batches), module.configure_optimizers()["optimizer"]

    def step() -> None:
        module.train()
        batch = next(stream)
        with precision(lowered):
            z_BD = module.network(augment(batch.images_BCHW))
            unit_BD = module.network.unit_vectors(z_BD.detach())
            selection = module.sampler.mine(unit_BD, batch.labels_B, batch.image_ids_B)
            output = module.loss(selection, z_BD, batch.labels_B)
        output.value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def endless(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from batches


def embed(module: SiameseModule, images_BCHW: torch.Tensor, views: bool, lowered: bool) -> None:
    """Embed a batch as validation and test do."""
    module.eval()
    with torch.inference_mode(), precision(lowered), without_views(module.network, not views):
        module.network(images_BCHW)


def rank(module: SiameseModule, labels_N: torch.Tensor) -> None:
    """Compute the metrics of as many random embeddings as there are labels."""
    z_ND = F.normalize(torch.randn(len(labels_N), module.network.embedding_dim), dim=1)
    metrics = RetrievalMetrics()
    metrics.update(z_ND, labels_N, torch.arange(len(labels_N)))
    metrics.compute()


def precision(lowered: bool) -> torch.autocast:
    """Return the context of bfloat16, or the one of float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=lowered)


def cells(steps: int, costs: Costs, plan: ValidationPlan) -> list[str]:
    """Return the cells of a row: the parts of the run in seconds, then their shares of the training."""
    of_run = share(costs, steps, plan)
    shares = (of_run.validations, of_run.final, of_run.test, of_run.untrained, of_run.total)
    stored = of_run._replace(untrained=0.0).total
    return [
        f"{steps:,}",
        f"{1000 * costs.step:.1f}",
        f"{min(steps, plan.number)} × {costs.validation:.2f}",
        f"{costs.test:.1f}",
        *(f"{each:.1%}" for each in (*shares, stored)),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=DATA, help="data sets; real ones need SIAMESE_LAB_DATA")
    parser.add_argument("--quick", action="store_true", help="measure each part once")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shown = Table(title="Evaluation as a share of training, processor time, one thread", title_justify="left")
    measured = "data", "run", "budget", "steps", "ms/step", "validations, s", "test, s"
    for column in (*measured, "validations", "at the end", "test", "untrained", "share", "stored"):
        shown.add_column(column, justify="left" if column in ("data", "run", "budget") else "right")
    for data, kind in product(arguments.data, KINDS):
        overrides = [f"data={data}", "trainer.accelerator=cpu", *KINDS[kind]]
        costs, plan = measure(compose(*overrides), repeats=1 if arguments.quick else 5)
        for budget in BUDGETS:
            config = compose(*overrides, f"budget={budget}")
            steps = config.trainer.max_steps
            trained = steps * config.data.classes_per_batch * config.data.images_per_class
            plan = plan._replace(number=number_of_validations(trained, plan.images))
            shown.add_row(data, kind, budget, *cells(steps, costs, plan))
    shown.caption = "stored: the share if an earlier run has stored the figures of the same untrained network"
    Console(width=165).print(shown)


if __name__ == "__main__":
    main()
