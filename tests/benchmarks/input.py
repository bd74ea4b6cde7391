"""Measure how many 28×28 images per second reach the network: `python -m tests.benchmarks.input [--quick]`.

The peer is a torchvision data set of PIL images, `RandomAffine` and `ToTensor`, a `DataLoader` and
pytorch-metric-learning's `MPerClassSampler`. Both yield batches of 8 classes × 16 images out of MNIST's 60,000 images.
If SIAMESE_LAB_DATA does not name a folder with MNIST, random images of the same shape replace them.

The ratio that counts uses wall-clock time, which needs a quiet machine. It compares the lab in one process, with one
thread and with PyTorch's default number of threads, to a `DataLoader` with two workers. The other ratio uses processor
time, which other work disturbs least. It compares one thread of the lab to a `DataLoader` without workers, which is
one thread as well.
"""

import argparse
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
    """Thousands of images per second."""

    ours: float
    usual: float

    @property
    def ratio(self) -> float:
        return self.ours / self.usual


class PilImages(VisionDataset):
    """Process an image like torchvision's `MNIST`, but from images that are already in memory."""

    def __init__(self, table: ImageTable, transform: Any) -> None:
        super().__init__(transform=transform)
        self.data = table.images_NCHW[:, 0]
        self.targets = table.labels_N

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, target = self.data[index], int(self.targets[index])
        return self.transform(Image.fromarray(image.numpy())), target


def peer_loader(table: ImageTable, affine: bool, workers: int, batches: int) -> DataLoader[Any]:
    """Return a loader of one epoch, built as is usual with torchvision and pytorch-metric-learning."""
    moves = [transforms.RandomAffine(10, translate=(0.08, 0.08), scale=(0.85, 1.15), shear=8)] if affine else []
    images = PilImages(table, transforms.Compose([*moves, transforms.ToTensor()]))
    sampler = MPerClassSampler(images.targets, IMAGES, BATCH, batches * BATCH)
    return DataLoader(images, BATCH, sampler=sampler, num_workers=workers)


def lab_batches(table: ImageTable, options: dict[str, Any] | None) -> Iterator[Tensor]:
    """Yield batches of the lab without end."""
    batches = PKBatches(table, CLASSES, IMAGES)
    to_images = to_float if options is None else Augmentation(**options)
    while True:
        yield from (to_images(batch.images_BCHW) for batch in batches)


def take_batches(batches: Iterable[Any], count: int) -> Callable[[], Any]:
    """Return a contestant that takes `count` batches from an endless stream."""
    stream = iter(batches)
    return lambda: [None for _ in itertools.islice(stream, count)]


def iterate_epoch(loader: Iterable[Any]) -> Callable[[], Any]:
    """Return a contestant that iterates one epoch. Its workers end with it, so they do not run in other turns."""

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in loader:
                pass

    return run


def rates(table: ImageTable, workers: int, threads: int, ours: int, usual: int, repeats: int) -> dict[str, Rate]:
    """Return images per second of the lab and of the peer, for each augmentation.

    Args:
        table: the images.
        workers: worker processes of the peer; 0 measures processor time, other numbers wall-clock time.
        threads: threads of the lab.
        ours: timed batches of the lab.
        usual: batches in an epoch of the peer.
        repeats: number of timed rounds.
    """
    contestants = {name: take_batches(lab_batches(table, options), ours) for name, options in WAYS.items()}
    contestants |= {str(affine): iterate_epoch(peer_loader(table, affine, workers, usual)) for affine in (False, True)}
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
    """Return MNIST's 60,000 training images, or as many random images if MNIST is absent."""
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="time one short round")
    quick = parser.parse_args().quick
    ours, usual, repeats = (50, 15, 1) if quick else (1000, 300, 3)
    table = images()
    shown = Table(title=f"28×28 images, thousands per second, batches of {CLASSES} × {IMAGES} out of {len(table):,}")
    for column in ("", "workers", "peer", "threads", "siamese_lab", "ratio"):
        shown.add_column(column, justify="left" if not column else "right")
    for workers, threads in ((0, 1), (2, 1), (2, torch.get_num_threads())):
        for name, rate in rates(table, workers, threads, ours, usual, repeats).items():
            cells = name, workers, f"{rate.usual:.1f}", threads, f"{rate.ours:,.0f}", f"{rate.ratio:.0f}×"
            shown.add_row(*map(str, cells))
    Console().print(shown)


if __name__ == "__main__":
    main()
