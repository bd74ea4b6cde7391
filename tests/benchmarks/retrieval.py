"""Compare evaluation with pytorch-metric-learning's calculator: `python -m tests.benchmarks.retrieval [SET …]`.

The lab computes Recall@{1, 2, 4, 8}, R-Precision, MAP@R and MRR. The peer computes precision@1, R-Precision and MAP@R,
and searches with faiss. The embeddings have 128 dimensions. Clustered embeddings resemble those of a network in
training; embeddings without structure need more counting. Of the million images only a few are queries: more queries
would take as long each, and no more memory. Every call uses one thread and is measured in processor time, in turns
within one process. The memory is the rise of the peak memory of a separate process.
"""

import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import faiss
import torch
import torch.nn.functional as F
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from rich.console import Console
from rich.table import Table
from torch import Tensor

from siamese_lab.metrics.retrieval import Retrieval, retrieve
from tests.benchmarks.timing import medians

DIMENSIONS = 128
THEIRS = ("precision_at_1", "r_precision", "mean_average_precision_at_r")


class Given(NamedTuple):
    """Queries, and a gallery; without a gallery, each image is searched among all others."""

    z_ND: Tensor
    labels_N: Tensor
    gallery_z_MD: Tensor | None = None
    gallery_labels_M: Tensor | None = None


class Case(NamedTuple):
    """A set of images in classes of one size."""

    classes: int
    each: int
    structure: float
    """Distance between the class centers, in standard deviations of the images of a class in each dimension."""
    peer: bool = True
    """False if the peer cannot run: with 6,000 images per class it needs more than 15 GiB of memory."""
    queries: int | None = None
    """Number of queries, searched among the remaining images; None: each image is searched among all others."""

    def data(self) -> Given:
        """Return unit-norm embeddings and labels, in a random order."""
        generator = torch.Generator().manual_seed(0)
        images = self.classes * self.each
        labels_N = torch.arange(self.classes).repeat_interleave(self.each)
        labels_N = labels_N[torch.randperm(images, generator=generator)]
        centre_CD = self.structure * torch.randn(self.classes, DIMENSIONS, generator=generator)
        z_ND = torch.randn(images, DIMENSIONS, generator=generator).add_(centre_CD[labels_N])
        z_ND = F.normalize(z_ND, dim=1)
        if self.queries is None:
            return Given(z_ND, labels_N)
        return Given(z_ND[: self.queries], labels_N[: self.queries], z_ND[self.queries :], labels_N[self.queries :])

    def __str__(self) -> str:
        asking = "" if self.queries is None else f"{self.queries:,} of "
        return f"{asking}{self.classes * self.each:,} ({self.classes:,} × {self.each:,}), structure {self.structure:g}"


SETS = {
    "omniglot": [Case(659, 20, 0.6), Case(659, 20, 0.0)],
    "mnist_test": [Case(10, 1000, 0.4), Case(10, 1000, 0.0)],
    "mnist": [Case(10, 6000, 0.4, peer=False), Case(10, 6000, 0.0, peer=False)],
    "million": [Case(50_000, 20, 0.6, peer=False, queries=512), Case(1000, 1000, 0.4, peer=False, queries=512)],
}


class Cost(NamedTuple):
    """Cost of one contestant."""

    seconds: float
    megabytes: float | None


def ours(given: Given) -> Retrieval:
    """Compute all figures of the lab."""
    return retrieve(
        given.z_ND,
        given.labels_N,
        gallery_z_MD=given.gallery_z_MD,
        gallery_labels_M=given.gallery_labels_M,
    )


def peers(given: Given) -> dict[str, float]:
    """Compute the three figures of the peer."""
    calculator = AccuracyCalculator(include=THEIRS, k="max_bin_count", device=torch.device("cpu"))
    figures: dict[str, float] = calculator.get_accuracy(given.z_ND, given.labels_N)
    return figures


CONTESTANTS = {"ours": ours, "peer": peers}


def one_thread() -> None:
    """Limit PyTorch and faiss to one thread."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)


def measure(case: Case, repeats: int, memory: bool = True) -> dict[str, Cost]:
    """Return the seconds and megabytes of each contestant."""
    one_thread()
    given = case.data()
    names = ["ours", "peer"] if case.peer else ["ours"]
    seconds = medians({name: lambda name=name: CONTESTANTS[name](given) for name in names}, repeats)  # type: ignore[misc]
    return {name: Cost(seconds[name], extra_memory(case, CONTESTANTS[name]) if memory else None) for name in names}


def extra_memory(case: Case, run: Callable[[Given], object]) -> float:
    """Return by how many megabytes the peak memory of a new process rises."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_rise, (case, run))


def _rise(case: Case, run: Callable[[Given], object]) -> float:
    one_thread()
    run(Case(20, 20, 0.5).data())
    given = case.data()
    reset_peak()
    before = peak()
    run(given)
    return peak() - before


def reset_peak() -> None:
    """Reset the peak memory of this process to its current memory. This needs Linux."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak() -> float:
    """Return the peak memory of this process in megabytes, since the last reset."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Print a table."""
    shown = Table(title="Retrieval: seconds / additional MB")
    for column in ("", "ours", "peer", "× faster"):
        shown.add_column(column, justify="right" if column else "left")
    for name in sys.argv[1:] or SETS:
        for case in SETS[name]:
            taken = measure(case, repeats=1 if not case.peer else 5)
            costs = [f"{cost.seconds:.2f} / {cost.megabytes:.0f}" for cost in taken.values()]
            ratio = f"{taken['peer'].seconds / taken['ours'].seconds:.1f}" if case.peer else ""
            shown.add_row(str(case), costs[0], costs[1] if case.peer else "–", ratio)
    Console(width=110).print(shown)


if __name__ == "__main__":
    main()
