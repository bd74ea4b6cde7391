"""The training step: embed, select, learn. Wiring and logging only.

Shapes: B images, D embedding dimensions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import lightning
from lightning.pytorch.plugins import Precision
from lightning.pytorch.utilities.enums import GradClipAlgorithmType
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from siamese_lab.batch import Batch, EveryTriplet, Triplets
from siamese_lab.losses import Loss
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.networks import SiameseNetwork
from siamese_lab.parameter_groups import parameter_groups
from siamese_lab.samplers import Sampler
from siamese_lab.stopwatch import Stopwatch


class Step(NamedTuple):
    """What the last training step saw and did, for callbacks to look at."""

    z_BD: Tensor
    labels_B: Tensor
    triplets: Triplets | EveryTriplet
    loss: Tensor


class SiameseModule(lightning.LightningModule):
    """Trains a Siamese network on triplets that a sampler selects, and measures retrieval and verification.

    Args:
        network: images → embeddings.
        sampler: embeddings, labels → triplets.
        loss: embeddings, triplets → scalar.
        optimizer: makes the optimizer from groups of parameters.
        schedule: makes the learning-rate schedule, one step of which follows each training step.
        verification: decides the official pairs of the data, where it has some, when the network is tested.
    """

    last: Step

    def __init__(
        self,
        network: SiameseNetwork,
        sampler: Sampler,
        loss: Loss,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        verification: VerificationMetrics | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.sampler = sampler
        self.loss = loss
        self.validation_retrieval = RetrievalMetrics()
        self.test_retrieval = RetrievalMetrics()
        self.verification = verification
        self.mining = Stopwatch()
        self._make_optimizer = optimizer
        self._make_schedule = schedule

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch through the way of the data."""
        self.sampler.progress = self.global_step / max(1, self.trainer.max_steps)
        z_BD = self.network(batch.images_BCHW)
        with self.mining.running(z_BD.device):
            triplets = self.sampler(self.network.direction(z_BD.detach()), batch.labels_B, batch.image_ids_B)
        loss: Tensor = self.loss(self.sampler.pool(z_BD), triplets, batch.labels_B)
        self.last = Step(z_BD.detach(), batch.labels_B, triplets, loss.detach())
        if self.is_logged(self.global_step + 1):
            self._log_step()
        return loss

    def is_logged(self, step: int) -> bool:
        """Whether the logger wants the figures of this step, the first of which is 1."""
        return bool(step % self.trainer.log_every_n_steps == 0)  # type: ignore[attr-defined]

    def _log_step(self) -> None:
        selection = self.sampler.statistics() | self.loss.statistics()
        self.log_dict({f"train/{name}": value for name, value in selection.items()})
        self.log("train/loss", self.last.loss)
        self.log("train/learning_rate", self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.log("train/mining_ms", 1000 * self.mining.latest())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Embed a chunk of the validation images."""
        self.validation_retrieval.update(self._directions(batch), batch.labels_B, batch.image_ids_B)

    def on_validation_epoch_end(self) -> None:
        """Log how well all validation images are retrieved."""
        self._log_retrieval("validation", self.validation_retrieval)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed a chunk of the test images, or, which come after them, of the images of the official pairs."""
        if dataloader_idx == 0:
            self.test_retrieval.update(self._directions(batch), batch.labels_B, batch.image_ids_B)
        elif self.verification is not None:
            self.verification.update(self._directions(batch))

    def on_test_epoch_end(self) -> None:
        """Log how well all test images are retrieved, and how the official pairs were decided."""
        self._log_retrieval("test", self.test_retrieval)
        if self.verification is not None:
            self.log_dict({f"test/{name}": value for name, value in self.verification.compute().items()})
            self.verification.reset()

    def _directions(self, batch: Batch) -> Tensor:
        return self.network.direction(self.network(batch.images_BCHW))

    def _log_retrieval(self, stage: str, metric: RetrievalMetrics) -> None:
        self.log_dict({f"{stage}/{name}": value for name, value in metric.compute().items()})
        metric.reset()

    def configure_optimizers(self) -> Any:
        """The optimizer, with a schedule that moves at every step."""
        optimizer = self._make_optimizer(parameter_groups(self.network, self.loss, self.loss.learning_rate))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self._make_schedule(optimizer), "interval": "step"},
        }

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip a fused optimizer's gradients too, unless they are scaled, as float16's are and bfloat16's are not.

        Lightning refuses it for both.
        """
        precision = self.trainer.precision_plugin
        if getattr(precision, "scaler", None) is not None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val, algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the seconds spent in mining beside the weights."""
        checkpoint["mining_seconds"] = self.mining.seconds()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting the seconds spent in mining."""
        self.mining = Stopwatch(checkpoint["mining_seconds"])
