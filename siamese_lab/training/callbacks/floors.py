"""Measure what raw pixels and the untrained network reach on the images of the test, in the same pass as the test.

Shapes: B images of a batch, C channels, H × W pixels, D values of an image.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from siamese_lab.batch import Batch
from siamese_lab.data import DataModule
from siamese_lab.data.datamodule import TestPart
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.metrics.raw_pixels import (
    PixelRetrieval,
    PixelVerification,
    directions,
    hash_of,
    is_cheap,
    read_figures,
    write_figures,
)
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.networks import SiameseNetwork
from siamese_lab.training.module import SiameseModule, among_test, tests_all_pairs

PIXELS, FEATURES, UNTRAINED = "pixels", "features", "untrained"
"""Names of the floors. FEATURES takes the place of PIXELS if the images are frozen features."""
LEAST_STORED = 1000
"""Smallest number of test images for which the figures of the untrained network are stored; fewer take a moment."""


class Floors(Callback):
    """Evaluates raw pixels and a copy of the initial network on every batch that the trained network is tested on.

    The initial network is in evaluation mode, and its batch norms have the statistics from before training: mean 0 and
    variance 1. Raw pixels are left out if `raw_pixels.is_cheap` says that there are too many.

    Args:
        cache: folder of the figures of raw pixels, which all runs on a data set share, and of untrained networks, which
            runs share that start from the same weights: see `StoredUntrained`.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.figures: dict[str, dict[str, float]] = {}
        """The metrics of each floor, with the names of the test metrics; empty before the test."""
        self._initial: SiameseNetwork | None = None
        self._untrained: SiameseNetwork | None = None
        self._metrics: dict[tuple[str, TestPart], Metric] = {}
        self._stored: StoredUntrained | None = None

    def remember(self, network: SiameseNetwork) -> None:
        """Copy the initial network, before training starts and before the weights of a checkpoint are loaded."""
        self._initial = copy.deepcopy(network).eval()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prepare the metrics, and move the initial network to the device."""
        if self._initial is None:
            return
        assert isinstance(pl_module, SiameseModule)
        self._untrained = self._initial.to(pl_module.device)
        trainer.precision_plugin.convert_module(self._untrained)
        self._metrics = {
            key: metric.to(pl_module.device)
            for key, metric in build_metrics(pl_module, trainer.datamodule, self.cache).items()  # type: ignore[attr-defined]
        }
        if trainer.world_size == 1 and not pl_module.test_retrieval.extra and tests_all_images(trainer):
            self._stored = StoredUntrained.of(self.cache, trainer.datamodule, pl_module.test_retrieval.k)  # type: ignore[attr-defined]

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the images of a batch."""
        if self._untrained is None:
            return
        assert isinstance(pl_module, SiameseModule)
        part = pl_module.test_parts[dataloader_idx]
        self._add(PIXELS, part, batch.images_BCHW.flatten(1), batch)
        if self._stored is not None and self._stored.figures is not None:
            return
        with trainer.precision_plugin.forward_context():
            z_BD = self._untrained.unit_vectors(self._untrained(batch.images_BCHW))
        if self._stored is not None and self._stored.place is None:
            self._stored.find(z_BD)
        # The images of the first batch are added also if the figures are stored; `on_test_epoch_end` drops them.
        self._add(UNTRAINED, part, z_BD, batch)

    def _add(self, floor: str, part: TestPart, vectors_BD: Tensor, batch: Batch) -> None:
        metric = self._metrics.get((floor, part))
        if isinstance(metric, RetrievalMetrics):
            metric.update(vectors_BD, batch.labels_B, batch.image_ids_B)
        elif metric is not None:
            metric.update(vectors_BD)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the metrics of both floors from the images of all processes."""
        self.figures, stored = {}, self._stored
        for (floor, part), metric in self._metrics.items():
            if floor == UNTRAINED and stored is not None and stored.figures is not None:
                self.figures[floor] = stored.figures
                continue
            if part == "gallery":  # searched by the images
                continue
            if part == "pairs" and not tests_all_pairs(trainer):
                continue
            gallery = self._metrics.get((floor, "gallery"))
            found = metric.compute() if part == "pairs" or gallery is None else in_gallery(metric, gallery)
            figures = {name: float(value) for name, value in found.items()}
            self.figures[floor] = self.figures.get(floor, {}) | figures
        if stored is not None and UNTRAINED in self.figures:
            stored.keep(self.figures[UNTRAINED])
        if not trainer.datamodule.holds_pixels:  # type: ignore[attr-defined]
            self.figures = {FEATURES if name == PIXELS else name: each for name, each in self.figures.items()}
        self._untrained, self._metrics, self._stored = None, {}, None


def tests_all_images(trainer: Trainer) -> bool:
    """Return whether no option, such as `trainer.limit_test_batches`, leaves out images of the test."""
    loaders = trainer.datamodule.test_dataloader()  # type: ignore[attr-defined]
    return list(trainer.num_test_batches) == [len(loader) for loader in loaders]


class StoredUntrained:
    """The figures of an untrained network, stored in a file of the cache by the run that has computed them.

    Runs with the same seed, network and data set start from the same weights, so the runs of a study that differ in the
    strategy share them. The file is named after a hash of all test images and of the first embeddings: these depend on
    the weights, the code of the network, its views, the precision and the device.

    Args:
        folder: the folder of the stored figures.
        images: the tensors that say what is tested: images, classes and pairs.
        ks: the K's of Recall@K.
    """

    def __init__(self, folder: Path, images: Sequence[Tensor], ks: Sequence[int]) -> None:
        self.folder, self.images, self.ks = folder, images, tuple(ks)
        self.place: Path | None = None
        """The file, once the first embeddings are known."""
        self.figures: dict[str, float] | None = None
        """The stored figures; None if there are none."""

    @classmethod
    def of(cls, cache: Path, datamodule: DataModule, ks: Sequence[int]) -> "StoredUntrained | None":
        """Return the place of a data set, or None if its test is small or its images are not in memory."""
        tables, pairs = datamodule.test_tables(), datamodule.official_pairs
        images: list[Tensor] = [] if pairs is None else [*pairs.choose, *pairs.decide]
        for table in tables.values():
            if not isinstance(table, ImageTable):
                return None
            images += [table.images_NCHW, table.labels_N]
        if datamodule.query_gallery is not None:
            images += datamodule.query_gallery.test.tensors()
        return cls(cache / "untrained", images, ks) if len(tables["images"]) >= LEAST_STORED else None

    def find(self, z_BD: Tensor) -> None:
        """Find the stored figures of the network that embeds the first test images as `z_BD`."""
        self.place = self.folder / f"{hash_of([z_BD.float(), *self.images], f'untrained {self.ks}')}.json"
        self.figures = read_figures(self.place)

    def keep(self, figures: Mapping[str, float]) -> None:
        """Store the figures, unless they are stored."""
        if self.place is not None and self.figures is None:
            write_figures(self.place, figures)


def in_gallery(images: Metric, gallery: Metric) -> Mapping[str, Tensor]:
    """Return the figures of the test images as queries of a gallery; of raw pixels, the better comparison."""
    assert isinstance(images, RetrievalMetrics) and isinstance(gallery, RetrievalMetrics)
    (x_ND, labels_N), (gallery_MD, gallery_labels_M) = images.gathered(), gallery.gathered()
    compared = [(x_ND, gallery_MD)]
    if isinstance(images, PixelRetrieval):
        every = directions(torch.cat([x_ND, gallery_MD]))
        compared = [(each[: len(x_ND)].clone(), each[len(x_ND) :].clone()) for each in every]
    figures = [
        images.figures_of(images.find(queries_ND, labels_N, (searched_MD, gallery_labels_M)), queries_ND, labels_N)
        | among_test(images.figures(queries_ND, labels_N))
        for queries_ND, searched_MD in compared
    ]
    return max(figures, key=lambda each: float(each["recall@1"]))


def build_metrics(module: SiameseModule, datamodule: DataModule, cache: Path) -> dict[tuple[str, TestPart], Metric]:
    """Return the metrics of each floor and table of the test, with the options of the trained network's metrics."""
    tables = datamodule.test_tables()
    values = datamodule.channels * datamodule.image_size**2
    pairs, tested = module.verification, module.test_retrieval
    options: dict[str, Any] = {"k": tested.k, "extra": tested.extra, "roles": tested.roles}
    metrics: dict[tuple[str, TestPart], Metric] = {}
    if all(is_cheap(len(table), values) for table in tables.values()):
        metrics[PIXELS, "images"] = PixelRetrieval(cache, **options)
        if pairs is not None:
            metrics[PIXELS, "pairs"] = PixelVerification(cache, pairs.name, pairs.choose, pairs.decide)
    metrics[UNTRAINED, "images"] = RetrievalMetrics(**options)
    if pairs is not None:
        metrics[UNTRAINED, "pairs"] = VerificationMetrics(pairs.name, pairs.choose, pairs.decide)
    if "gallery" in tables:
        for floor in {floor for floor, _ in metrics}:
            metrics[floor, "gallery"] = RetrievalMetrics()
    return metrics
