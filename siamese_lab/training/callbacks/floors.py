"""Measure what raw pixels and the untrained network reach on the images of the test, in the same pass as the test.

Shapes: B images of a batch, C channels, H × W pixels, D values of an image.
"""

import copy
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from siamese_lab.batch import Batch
from siamese_lab.data import DataModule
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.metrics.raw_pixels import PixelRetrieval, PixelVerification, is_cheap
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.networks import SiameseNetwork
from siamese_lab.training.module import SiameseModule

PIXELS, UNTRAINED = "pixels", "untrained"
IMAGES, PAIRS = 0, 1
"""Numbers of the test's dataloaders."""


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
        self._metrics: dict[tuple[str, int], Metric] = {}

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
        self._add(UNTRAINED, dataloader_idx, z_BD, batch)
        self._add(PIXELS, dataloader_idx, batch.images_BCHW.flatten(1), batch)

    def _add(self, floor: str, loader: int, vectors_BD: Tensor, batch: Batch) -> None:
        metric = self._metrics.get((floor, loader))
        if isinstance(metric, RetrievalMetrics):
            metric.update(vectors_BD, batch.labels_B, batch.image_ids_B)
        elif metric is not None:
            metric.update(vectors_BD)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the metrics of both floors from the images of all processes."""
        self.figures = {}
        for (floor, _), metric in self._metrics.items():
            figures = {name: float(value) for name, value in metric.compute().items()}
            self.figures[floor] = self.figures.get(floor, {}) | figures
        self._untrained, self._metrics = None, {}


def build_metrics(module: SiameseModule, datamodule: DataModule, cache: Path) -> dict[tuple[str, int], Metric]:
    """Return the metrics of each floor and dataloader, with the options of the metrics of the trained network."""
    tables = [datamodule.splits.test, *([datamodule.official_pairs.table] if datamodule.official_pairs else [])]
    values = datamodule.channels * datamodule.image_size**2
    extra, pairs = module.test_retrieval.extra, module.verification
    metrics: dict[tuple[str, int], Metric] = {}
    if all(is_cheap(len(table), values) for table in tables):
        metrics[PIXELS, IMAGES] = PixelRetrieval(cache, extra=extra)
        if pairs is not None:
            metrics[PIXELS, PAIRS] = PixelVerification(cache, pairs.name, pairs.choose, pairs.decide)
    metrics[UNTRAINED, IMAGES] = RetrievalMetrics(extra=extra)
    if pairs is not None:
        metrics[UNTRAINED, PAIRS] = VerificationMetrics(pairs.name, pairs.choose, pairs.decide)
    return metrics
