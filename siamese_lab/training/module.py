"""The Lightning module of a run: it embeds a batch, selects triplets, computes the loss and logs.

Strategies, losses and metrics are passed in; this file only connects them.

Shapes: B images, D embedding dimensions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import lightning
from lightning.pytorch.plugins import Precision
from lightning.pytorch.utilities.enums import GradClipAlgorithmType
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from siamese_lab.batch import Batch, PairDistances, Selection
from siamese_lab.data.datamodule import TestPart
from siamese_lab.devices.processes import gather, gather_batch
from siamese_lab.losses import Loss, LossOutput
from siamese_lab.losses.pairs import selected_distances
from siamese_lab.metrics import RetrievalMetrics
from siamese_lab.metrics.health import spread
from siamese_lab.metrics.retrieval import by_class
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.networks import SiameseNetwork
from siamese_lab.query_gallery import QueryGallery
from siamese_lab.runs.plain_values import finite_number
from siamese_lab.samplers import Sampler
from siamese_lab.samplers.statistics import describe, describe_wrong_labels
from siamese_lab.training.stage_metrics import NO_CLASSES, MetricsListener, StageMetrics, stage_metrics
from siamese_lab.training.timing import Timer
from siamese_lab.training.validation_plan import without_views


class StepOutput(NamedTuple):
    """The values of one training step that callbacks read, without gradients."""

    z_BD: Tensor
    """Embeddings of the whole batch, gathered from all processes."""
    labels_B: Tensor
    selection: Selection
    loss: Tensor
    loss_statistics: Mapping[str, Tensor]
    distances: PairDistances | None
    """Plain distances of the listed triplets; None if they are unlisted."""
    image_ids_B: Tensor | None = None
    """Ids of the images, if an image can occur twice."""
    logged: Mapping[str, Tensor] | None = None
    """Logged values by name, except durations, so that equal runs have equal values; None if the step is not logged."""

    @property
    def active_share(self) -> Tensor | None:
        """Return the share of triplets with a loss above 0, or None if the loss does not report it."""
        return self.loss_statistics.get("active_share")


class SiameseModule(lightning.LightningModule):
    """Trains a Siamese network on triplets that a sampler selects, and measures retrieval and verification.

    Args:
        network: images → embeddings.
        sampler: embeddings, labels → selection.
        loss: selection, embeddings → scalar.
        optimizer: builds the optimizer from groups of parameters.
        schedule: builds the learning-rate schedule, which advances after each training step.
        verification: evaluates the official pairs of the data set in the test; None if there are none.
        extra_metrics: names of registered metrics to compute in addition to retrieval, in validation and test.
        validation_roles: queries and gallery among the validation images; None searches all of them.
        test_roles: the same of the test images.
        ks: the K's of Recall@K in validation and test; None takes the defaults of `RetrievalMetrics`.
    """

    def __init__(
        self,
        network: SiameseNetwork,
        sampler: Sampler,
        loss: Loss,
        optimizer: Callable[[list[dict[str, Any]]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        verification: VerificationMetrics | None = None,
        extra_metrics: Sequence[str] = (),
        validation_roles: QueryGallery | None = None,
        test_roles: QueryGallery | None = None,
        ks: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.sampler = sampler
        self.loss = loss
        self.validation_retrieval = RetrievalMetrics(ks, extra=extra_metrics, roles=validation_roles)
        self.test_retrieval = RetrievalMetrics(ks, extra=extra_metrics, roles=test_roles)
        self.gallery_images = RetrievalMetrics()
        self.verification = verification
        self.mining = Timer()
        self._make_optimizer = optimizer
        self._make_schedule = schedule

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Freeze the backbone, or train it from this step on."""
        self.network.backbone.before_step(self.global_step)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Let the optimizer skip the weights of a frozen backbone, which several processes give gradients of 0."""
        if self.network.backbone.is_frozen:
            for each in self.network.backbone.parameters():
                each.grad = None

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Embed a batch, select triplets and compute their loss.

        Returns:
            `loss`, which Lightning differentiates, and `step`, a `StepOutput` for callbacks.
        """
        progress = self.global_step / max(1, self.trainer.max_steps)
        z_BD = self.network(batch.images_BCHW)
        z_BD, labels_B, image_ids_B = gather_batch(self, z_BD, batch.labels_B, batch.image_ids_B)
        with self.mining.running(z_BD.device):
            selection = self.sampler.mine(self.network.unit_vectors(z_BD.detach()), labels_B, image_ids_B, progress)
        output: LossOutput = self.loss(selection, z_BD, labels_B)
        distances = output.distances or selected_distances(selection)
        step = StepOutput(
            z_BD.detach(), labels_B, selection, output.value.detach(), output.statistics, distances, image_ids_B
        )
        if self.is_logged(self.global_step + 1):
            step = step._replace(logged=self._values_to_log(step, batch.true_labels_B))
            self._log_step(step)
        return {"loss": output.value, "step": step}

    def is_logged(self, step: int) -> bool:
        """Return whether the metrics of a step, counted from 1, are logged; `log_every_n_steps=0` logs none."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return every > 0 and step % every == 0

    def _values_to_log(self, step: StepOutput, true_labels_B: Tensor | None) -> dict[str, Tensor]:
        learning_rate = self.optimizers().param_groups[0]["lr"]  # type: ignore[union-attr]
        values = {
            **describe(step.selection, step.distances),
            **step.loss_statistics,
            "loss": step.loss,
            "learning_rate": step.loss.new_full((), learning_rate),
        }
        if true_labels_B is not None:
            values |= describe_wrong_labels(step.selection, step.labels_B, gather(self, true_labels_B))
        return {name: value.detach() for name, value in values.items()}

    def _log_step(self, step: StepOutput) -> None:
        self.log_dict({f"train/{name}": value for name, value in (step.logged or {}).items()})
        self.log("train/mining_ms", 1000 * self.mining.latest())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Embed a chunk of the validation images; during training without test-time augmentation."""
        with without_views(self.network, self.trainer.state.fn == "fit"):
            self.validation_retrieval.update(self._directions(batch), batch.labels_B, batch.image_ids_B)

    def on_validation_epoch_end(self) -> None:
        """Compute and log the retrieval metrics of all validation images, and pass them to the callbacks."""
        self._report(stage_metrics("validation", self._retrieval(self.validation_retrieval)))

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Embed a chunk of the table of this dataloader: see `DataModule.test_tables`."""
        part = self.test_parts[dataloader_idx]
        if part == "pairs":
            if self.verification is not None:
                self.verification.update(self._directions(batch))
            return
        images = self.test_retrieval if part == "images" else self.gallery_images
        images.update(self._directions(batch), batch.labels_B, batch.image_ids_B)

    @property
    def test_parts(self) -> list[TestPart]:
        """Return the tables of the test, in the order of the dataloaders."""
        return list(self.trainer.datamodule.test_tables())  # type: ignore[attr-defined]

    def on_test_epoch_end(self) -> None:
        """Compute retrieval metrics of all test images and verification metrics of the official pairs.

        They are logged and passed to the callbacks. Pairs are left out if an option of the trainer leaves out images of
        them: a pair needs both images, and processes would see other rows.
        """
        (z_ND, labels_N), metric = self.test_retrieval.gathered(), self.test_retrieval
        gallery = self.gallery_images.gathered() if "gallery" in self.test_parts else None
        found = metric.find(z_ND, labels_N, gallery, metric.gathered_roles())
        values: dict[str, Tensor | float] = {**metric.figures_of(found, z_ND, labels_N)}
        if gallery is not None:
            values |= among_test(metric.figures(z_ND, labels_N))
        if self.verification is not None:
            if tests_all_pairs(self.trainer):
                values |= self.verification.compute()
            self.verification.reset()
        names = self.trainer.datamodule.splits.test.class_names  # type: ignore[attr-defined]
        per_class = by_class(found, labels_N, names) if len(names) <= MOST_CLASSES else NO_CLASSES
        self._report(stage_metrics("test", values)._replace(per_class=per_class, spread=spread(z_ND)))
        metric.reset()
        self.gallery_images.reset()

    def _directions(self, batch: Batch) -> Tensor:
        return self.network.unit_vectors(self.network(batch.images_BCHW))

    def _retrieval(self, metric: RetrievalMetrics) -> dict[str, Tensor]:
        values: dict[str, Tensor] = metric.compute()
        metric.reset()
        return values

    def _report(self, metrics: StageMetrics) -> None:
        self.log_dict({f"{metrics.stage}/{name}": value for name, value in metrics.values.items()})
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, MetricsListener):
                callback.on_metrics(self.trainer, metrics)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its schedule, which advances at every step."""
        network, loss = self.network, self.loss
        optimizer = self._make_optimizer(
            parameter_groups(network, loss, loss.learning_rate, network.head_lr, layer_scales(network))
        )
        for group in optimizer.param_groups:
            if LR_SCALE in group:
                group["lr"] *= group.pop(LR_SCALE)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self._make_schedule(optimizer), "interval": "step"},
        }

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip gradients, also those of a fused optimizer if they are not scaled.

        Only float16 scales gradients. Lightning refuses to clip with any fused optimizer under mixed precision, also
        with bfloat16.
        """
        precision = self.trainer.precision_plugin
        if getattr(precision, "scaler", None) is not None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(precision, optimizer, gradient_clip_val, algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the seconds spent in mining with the weights."""
        checkpoint["mining_seconds"] = self.mining.seconds()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue counting the seconds spent in mining. An evaluation takes only the weights of the checkpoint.

        Otherwise the callbacks would return to the state of the checkpoint, and record a history that ends there.
        """
        if self.trainer.state.fn == "fit":
            self.mining = Timer(finite_number(checkpoint["mining_seconds"], "mining_seconds"))
        else:
            checkpoint.pop("callbacks", None)
            checkpoint.pop(type(self.trainer.datamodule).__qualname__, None)  # type: ignore[attr-defined]


def tests_all_pairs(trainer: lightning.Trainer) -> bool:
    """Return whether the test embeds all images of the official pairs; True without official pairs."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]
    parts, loaders = list(datamodule.test_tables()), datamodule.test_dataloader()
    tested = zip(parts, trainer.num_test_batches, loaders, strict=True)
    return all(batches == len(loader) for part, batches, loader in tested if part == "pairs")


MOST_CLASSES = 20_000
"""Largest number of classes that a test reports one by one."""
AMONG_TEST = ("recall@1", "map@r", "recall@1_macro", "map@r_macro")


def among_test(figures: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the second figures of a test with a gallery: the test images among the other test images."""
    return {f"{name}_among_test": figures[name] for name in AMONG_TEST}


LR_SCALE = "lr_scale"
"""Key of a group of parameters with the factor of its learning rate, while the optimizer is built."""


def layer_scales(network: SiameseNetwork) -> dict[str, float]:
    """Return the factor of the learning rate of each weight of the backbone by its name; empty without layer decay."""
    if network.layer_decay is None:
        return {}
    depths = network.backbone.layer_depths()
    return {f"backbone.{name}": network.layer_decay**depth for name, depth in depths.items()}


def parameter_groups(
    network: nn.Module,
    loss: nn.Module,
    loss_lr: float | None = None,
    head_lr: float | None = None,
    scales: Mapping[str, float] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """Group parameters for an optimizer: decaying weights, other network parameters, parameters of the loss.

    Only weights decay. Biases, the scale and shift of a norm, and a learnt boundary of a loss gain nothing from being
    small (He et al. 2019, arXiv:1812.01187, §3.1). Empty groups are left out.

    Args:
        network: its parameters with at least two dimensions decay.
        loss: its parameters do not decay.
        loss_lr: learning rate of the loss's parameters; None uses the learning rate of the network.
        head_lr: learning rate of the parameters outside of the network's backbone, which then have two groups of their
            own after those of the backbone; None uses the learning rate of the network.
        scales: factors of the learning rate of the weights of the backbone, as returned by `layer_scales`. Each factor
            has two groups, the largest factor first, after those of the other weights of the network.
    """
    trainable = {name: each for name, each in network.named_parameters() if each.requires_grad}
    if head_lr is None and not scales:
        groups = by_decay(trainable.values())
    else:
        backbone = {name: each for name, each in trainable.items() if name.startswith("backbone.")}
        head = by_decay(each for name, each in trainable.items() if name not in backbone)
        head = head if head_lr is None else [{**group, "lr": head_lr} for group in head]
        groups = [*head, *by_scale(backbone, scales)] if scales else [*by_decay(backbone.values()), *head]
    loss_group: dict[str, Any] = {"params": list(loss.parameters()), "weight_decay": 0.0}
    groups.append(loss_group if loss_lr is None else loss_group | {"lr": loss_lr})
    return [group for group in groups if group["params"]]


def by_scale(backbone: Mapping[str, nn.Parameter], scales: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the groups of `by_decay` for each factor of the learning rate, the largest factor first."""
    groups: list[dict[str, Any]] = []
    for scale in sorted(set(scales.values()), reverse=True):
        chosen = by_decay(each for name, each in backbone.items() if scales[name] == scale)
        groups += [{**group, LR_SCALE: scale} for group in chosen]
    return groups


def by_decay(parameters: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Return a group of the parameters that decay and a group of the others."""
    listed = list(parameters)
    return [
        {"params": [each for each in listed if each.ndim >= 2]},
        {"params": [each for each in listed if each.ndim < 2], "weight_decay": 0.0},
    ]
