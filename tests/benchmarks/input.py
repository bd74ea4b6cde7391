"""How many 28×28 images a second reach the network, beside the usual way: `python -m tests.benchmarks.input`.

The usual way is a torchvision data set of PIL images, `RandomAffine` and `ToTensor`, a `DataLoader` and
pytorch-metric-learning's `MPerClassSampler`. Both yield batches of 8 classes × 16 images out of MNIST's 60,000 (out of
images made up in its shape, where SIAMESE_LAB_DATA does not name a folder that holds it).

The ratio that counts is by the clock on the wall, which wants a quiet machine: the lab in one process, with one thread
and with as many as PyTorch takes, beside a `DataLoader` with two workers. The other is by processor time, which other
work disturbs least: one thread of the lab beside a `DataLoader` without workers, which is one thread as well.
"""

import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from pytorch_metric_learning.samplers import MPerClassSampler
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import VisionDataset

from siamese_lab.data.augment.pipeline import Augmentation, to_float
from siamese_lab.data.io.idx_files import load_part
from siamese_lab.data.pk_batches import PKBatches
from siamese_lab.data.sets.mnist import Mnist
from siamese_lab.data.tables.image_table import ImageTable
from tests.benchmarks.timing import medians

CLASSES, IMAGES = 8, 16
BATCH = CLASSES * IMAGES
AFFINE = {"rotation": 10.0, "scale": 0.15, "shear": 8.0, "translation": 0.08}
WAYS = {
    "as they are": None,
    "affine, bilinear": AFFINE,
    "affine, nearest": AFFINE | {"interpolation": "nearest"},
}


class Rate(NamedTuple):
    """Thousands of images a second."""

    ours: float
    usual: float

    @property
    def ratio(self) -> float:
        return self.ours / self.usual


class PilImages(VisionDataset):
    """What torchvision's `MNIST` does for an image, from images that are in memory already."""

    def __init__(self, table: ImageTable, transform: Any) -> None:
        super().__init__(transform=transform)
        self.data = table.images_NCHW[:, 0]
        self.targets = table.labels_N

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, target = self.data[index], int(self.targets[index])
        return self.transform(Image.fromarray(image.numpy())), target


def usual_way(table: ImageTable, affine: bool, workers: int, batches: int) -> DataLoader[Any]:
    """An epoch of batches as most people make them."""
    moves = [transforms.RandomAffine(10, translate=(0.08, 0.08), scale=(0.85, 1.15), shear=8)] if affine else []
    images = PilImages(table, transforms.Compose([*moves, transforms.ToTensor()]))
    sampler = MPerClassSampler(images.targets, IMAGES, BATCH, batches * BATCH)
    return DataLoader(images, BATCH, sampler=sampler, num_workers=workers)


def our_way(table: ImageTable, options: dict[str, Any] | None) -> Iterator[Tensor]:
    """Batches as the lab makes them."""
    batches = PKBatches(table, CLASSES, IMAGES)
    to_images = to_float if options is None else Augmentation(**options)
    while True:
        yield from (to_images(batch.images_BCHW) for batch in batches)


def taking(batches: Iterable[Any], count: int) -> Callable[[], Any]:
    """A contestant that takes that many batches, which never end."""
    stream = iter(batches)
    return lambda: [None for _ in itertools.islice(stream, count)]


def going_through(loader: Iterable[Any]) -> Callable[[], Any]:
    """A contestant that takes an epoch, from the start of its workers to their end: none works while others run."""

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in loader:
                pass

    return run


def rates(table: ImageTable, workers: int, threads: int, ours: int, usual: int, repeats: int) -> dict[str, Rate]:
    """Images a second in each of the ways, beside the usual one.

    Args:
        table: the images.
        workers: processes of the usual way; 0 takes processor time, others the clock on the wall.
        threads: of ours.
        ours: batches of ours that are timed at once.
        usual: batches in an epoch of the usual way.
        repeats: how often both are timed.
    """
    contestants = {name: taking(our_way(table, options), ours) for name, options in WAYS.items()}
    contestants |= {str(affine): going_through(usual_way(table, affine, workers, usual)) for affine in (False, True)}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        taken = medians(contestants, repeats, time.perf_counter if workers else time.process_time)
    finally:
        torch.set_num_threads(before)
    return {
        name: Rate(ours * BATCH / taken[name] / 1000, usual * BATCH / taken[str(options is not None)] / 1000)
        for name, options in WAYS.items()
    }


def images() -> ImageTable:
    """MNIST's 60,000, or as many made up."""
    folder = os.environ.get("SIAMESE_LAB_DATA")
    if folder is not None and (Path(folder) / "MNIST").is_dir():
        mnist = Mnist(root=folder)
        return load_part(mnist.official, "train", mnist.sources, mnist.cache)
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randint(0, 256, (60_000, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels_N = torch.randint(0, 10, (60_000,), generator=generator)
    return ImageTable(images_NCHW, labels_N, tuple("0123456789"))


def main() -> None:
    """Print the table."""
    table = images()
    shown = Table(title=f"28×28 images, thousands a second, batches of {CLASSES} × {IMAGES} out of {len(table):,}")
    for column in ("", "workers", "usual way", "threads", "siamese_lab", "ratio"):
        shown.add_column(column, justify="left" if not column else "right")
    for workers, threads in ((0, 1), (2, 1), (2, torch.get_num_threads())):
        for name, rate in rates(table, workers, threads, ours=1000, usual=300, repeats=3).items():
            cells = name, workers, f"{rate.usual:.1f}", threads, f"{rate.ours:,.0f}", f"{rate.ratio:.0f}×"
            shown.add_row(*map(str, cells))
    Console().print(shown)


if __name__ == "__main__":
    main()
