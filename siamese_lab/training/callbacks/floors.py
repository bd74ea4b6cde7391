"""Measure what raw pixels and the untrained network reach on the images of the test, in the same pass as the test.

Shapes: B images of a batch, C channels, H × W pixels, D values of an image.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from siamese_lab.batch import Batch
from siamese_lab.data import DataModule
from siamese_lab.data.datamodule import TestPart
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.metrics.raw_pixels import PixelRetrieval, PixelVerification, directions, is_cheap
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.networks import SiameseNetwork
from siamese_lab.training.module import SiameseModule, among_test

PIXELS, UNTRAINED = "pixels", "untrained"


class Floors(Callback):
    """Evaluates raw pixels and a copy of the initial network on every batch that the trained network is tested on.

    The initial network is in evaluation mode, and its batch norms have the statistics from before training: mean 0 and
    variance 1. Raw pixels are left out if `raw_pixels.is_cheap` says that there are too many.

    Args:
        cache: folder of the figures of raw pixels, which all runs on a data set share.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.figures: dict[str, dict[str, float]] = {}
        """The metrics of each floor, with the names of the test metrics; empty before the test."""
        self._initial: SiameseNetwork | None = None
        self._untrained: SiameseNetwork | None = None
        self._metrics: dict[tuple[str, TestPart], Metric] = {}

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
        with trainer.precision_plugin.forward_context():
            z_BD = self._untrained.unit_vectors(self._untrained(batch.images_BCHW))
        assert isinstance(pl_module, SiameseModule)
        part = pl_module.test_parts[dataloader_idx]
        self._add(UNTRAINED, part, z_BD, batch)
        self._add(PIXELS, part, batch.images_BCHW.flatten(1), batch)

    def _add(self, floor: str, part: TestPart, vectors_BD: Tensor, batch: Batch) -> None:
        metric = self._metrics.get((floor, part))
        if isinstance(metric, RetrievalMetrics):
            metric.update(vectors_BD, batch.labels_B, batch.image_ids_B)
        elif metric is not None:
            metric.update(vectors_BD)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the metrics of both floors from the images of all processes."""
        self.figures = {}
        for (floor, part), metric in self._metrics.items():
            if part == "gallery":  # searched by the images
                continue
            gallery = self._metrics.get((floor, "gallery"))
            found = metric.compute() if part == "pairs" or gallery is None else in_gallery(metric, gallery)
            figures = {name: float(value) for name, value in found.items()}
            self.figures[floor] = self.figures.get(floor, {}) | figures
        self._untrained, self._metrics = None, {}


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
    extra, pairs = module.test_retrieval.extra, module.verification
    metrics: dict[tuple[str, TestPart], Metric] = {}
    if all(is_cheap(len(table), values) for table in tables.values()):
        metrics[PIXELS, "images"] = PixelRetrieval(cache, extra=extra)
        if pairs is not None:
            metrics[PIXELS, "pairs"] = PixelVerification(cache, pairs.name, pairs.choose, pairs.decide)
    metrics[UNTRAINED, "images"] = RetrievalMetrics(extra=extra)
    if pairs is not None:
        metrics[UNTRAINED, "pairs"] = VerificationMetrics(pairs.name, pairs.choose, pairs.decide)
    if "gallery" in tables:
        for floor in {floor for floor, _ in metrics}:
            metrics[floor, "gallery"] = RetrievalMetrics()
    return metrics
