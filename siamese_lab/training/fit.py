"""Train a network from Python on objects: images, a network, a strategy and a loss, without a configuration.

Shapes: N images of C × H × W, B images of a batch, D embedding dimensions.
"""

import copy
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig
from torch import Tensor

from siamese_lab import losses, networks, samplers
from siamese_lab.config import hydra_app, schema, targets
from siamese_lab.data import DataModule
from siamese_lab.data.augment.pipeline import Augmentation, to_float
from siamese_lab.data.labeled_images import Labeled, LabeledImages, checked_images
from siamese_lab.errors import UserError
from siamese_lab.runs.console import new_console
from siamese_lab.runs.disk import disk_errors
from siamese_lab.runs.files import write_json
from siamese_lab.runs.option_bounds import LARGEST_SEED
from siamese_lab.runs.results import Point
from siamese_lab.samplers.kernels.counter_rng import Noise
from siamese_lab.training.build import build_verification, check_norms
from siamese_lab.training.callbacks import (
    CollapseWatch,
    History,
    LatestMetrics,
    Progress,
    StopOnNonFinite,
    TrainingClock,
)
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.threads import threads_restored, use_one_thread_if_small
from siamese_lab.training.trainer import build_trainer
from siamese_lab.training.validation_plan import plan_validations

SECONDS_WITHOUT_BAR = 2.0
"""A training shows its progress once it has taken longer."""
WEIGHTS, METRICS = "network.pt", "metrics.json"
BATCH = 256
"""Number of images that are embedded together."""


class Fitted(NamedTuple):
    """A trained network with its figures, as `fit` returns it."""

    network: networks.SiameseNetwork
    """The trained network, on the CPU and in evaluation mode."""
    validation: Mapping[str, float]
    """Metrics of the validation images at the end, by name, such as `recall@1`; NaN if undefined."""
    test: Mapping[str, float]
    """Metrics of the test images at the end, by name; NaN if undefined."""
    history: list[Point]
    """One point for each validation during training, with means of the logged values since the one before."""
    collapse_reasons: list[str]
    """The signs of a collapse; empty if there is none."""
    data: DataModule
    """The images, as they were divided: `data.splits`."""

    def __repr__(self) -> str:
        """Return the names of the network and of the data set, and the test Recall@1."""
        network, data_set = type(self.network.backbone).__name__, type(self.data).__name__
        return f"<{network} trained on {data_set}: test Recall@1 {self.test['recall@1']:.1%}>"

    def embed(self, images_NCHW: Any) -> Tensor:
        """Return the embeddings of images: float32 (N, D) of unit norm.

        Args:
            images_NCHW: uint8, of the size and with the channels of the training; a tensor or an array.

        Raises:
            UserError: if the images have another type or shape.
        """
        images_NCHW = checked_images("images_NCHW", images_NCHW)
        expected = (self.data.channels, self.data.image_size, self.data.image_size)
        if images_NCHW.shape[1:] != expected:
            raise UserError(
                f"images_NCHW must have the shape {expected} (C, H, W) of the training, but have "
                f"{tuple(images_NCHW.shape[1:])}. Resize them as the images of the training."
            )
        with torch.no_grad():
            chunks = [self.network(to_float(images_BCHW)) for images_BCHW in images_NCHW.split(BATCH)]
        return self.network.unit_vectors(torch.cat(chunks))


def fit(
    images: DataModule | Labeled,
    network: networks.SiameseNetwork | networks.Backbone,
    sampler: samplers.Sampler,
    loss: losses.Loss,
    *,
    test: Labeled | None = None,
    validation: Labeled | None = None,
    steps: int = 1000,
    lr: float = 3e-3,
    seed: int | None = None,
    accelerator: str = "auto",
    precision: str = "auto",
    progress: bool = True,
    folder: str | PathLike[str] | None = None,
) -> Fitted:
    """Train a network on triplets that a strategy selects, and test it.

    The training is that of `python -m siamese_lab.train recipe=none` with the same parts: AdamW, a cosine schedule,
    P×K batches, four to ten validations, and a test of the last weights. Without `folder` it writes no file. The
    objects that you pass stay as they are: the copy of the network in the result is trained. So several calls with one
    network start from the same weights, and calls with equal arguments return equal weights, on a CPU bit by bit.

    Args:
        images: a data set of `siamese_lab.data.build`; or a pair of images (uint8, N×C×H×W, square) and labels (N
            integers or texts); or a data set of PyTorch with (image, label) items. `siamese_lab.LabeledImages` also
            takes the size of batches and an augmentation.
        network: a network of `siamese_lab.networks.build`, or your own `siamese_lab.networks.Backbone`, which gets a
            linear layer with 128 dimensions.
        sampler: the strategy, from `siamese_lab.samplers.build` or your own `siamese_lab.samplers.Sampler`.
        loss: from `siamese_lab.losses.build` or your own `siamese_lab.losses.Loss`.
        test: images and labels to test, as in `images`; None holds out a fifth of the classes of `images`.
        validation: images and labels that validate; None holds out a fifth of the remaining classes.
        steps: number of training steps; 0 only evaluates.
        lr: largest learning rate.
        seed: seed of the batches, the augmentation, the sampler and PyTorch's generators, whatever seeds the parts were
            built with. The weights are those of `network`. None is the seed of the data set, or 0 for a pair.
        accelerator: "auto" is the best available device.
        precision: "auto" is bfloat16 autocast if the device computes in it, else float32.
        progress: show progress on standard error if the training takes over two seconds, and warn of a collapse.
        folder: folder for the trained weights (`network.pt`, a state dict) and for the metrics with the history
            (`metrics.json`); None writes nothing.

    Raises:
        UserError: if an argument has another type, shape or range, or parts do not go together.
        NonFiniteLossError: if the loss is not finite.
        KeyboardInterrupt: after Ctrl-C.

    >>> import siamese_lab as sl
    >>> network = sl.networks.build("mlp", channels=1, image_size=16, seed=0)
    >>> sampler, loss = sl.samplers.build("semi_hard"), sl.losses.build("triplet", margin=0.2)
    >>> fitted = sl.fit(sl.data.build("digits", classes_per_batch=6), network, sampler, loss, steps=20)
    >>> fitted.test["recall@1"] > 0.9
    True
    >>> fitted.embed(torch.zeros(3, 1, 16, 16, dtype=torch.uint8)).shape
    torch.Size([3, 128])
    """
    check_parts(network, sampler, loss)
    check_numbers(steps, lr, seed)
    check_device_and_folder(accelerator, precision, folder)
    datamodule = build_data(images, test, validation, None if seed is None else int(seed))
    config = build_config(datamodule.seed, int(steps), float(lr), accelerator, precision)
    if folder is not None:  # a folder that cannot be written is found before the training
        with disk_errors(Path(folder), "folder"):
            Path(folder).mkdir(parents=True, exist_ok=True)
    hydra_app.silence_lightning()
    with threads_restored(), isolate_rng(), torch.inference_mode(False):
        torch.manual_seed(datamodule.seed)
        module = build_module(config, datamodule, network, sampler, loss)
        fitted = train_and_test(config, datamodule, module, progress)
    if folder is not None:
        write(fitted, Path(folder))
    return fitted


def check_parts(network: Any, sampler: Any, loss: Any) -> None:
    """Raise UserError if a part has another type."""
    kinds = {
        "network": (network, (networks.SiameseNetwork, networks.Backbone), "siamese_lab.networks.build(NAME, …)"),
        "sampler": (sampler, (samplers.Sampler,), "siamese_lab.samplers.build(NAME)"),
        "loss": (loss, (losses.Loss,), "siamese_lab.losses.build(NAME)"),
    }
    for name, (part, classes, example) in kinds.items():
        if not isinstance(part, classes):
            expected = " or ".join(each.__name__ for each in classes)
            got = repr(part) if isinstance(part, (str, type)) else f"a {type(part).__name__}"
            raise UserError(f"{name} must be a {expected}, such as {example}, but is {got}.")


def check_numbers(steps: Any, lr: Any, seed: Any) -> None:
    """Raise UserError if a number has another type or range. Numbers of NumPy are accepted, true and false are not."""
    if not is_whole(steps) or steps < 0:
        raise UserError(f"steps must be a whole number of at least 0, but is {steps!r}.")
    if isinstance(lr, bool) or not isinstance(lr, (int, float, np.number)) or not 0 < lr < float("inf"):
        raise UserError(f"lr must be a finite number above 0, but is {lr!r}.")
    if seed is not None and not (is_whole(seed) and 0 <= seed <= LARGEST_SEED):
        raise UserError(f"seed must be None or a whole number from 0 to {LARGEST_SEED:,}, but is {seed!r}.")


def is_whole(value: Any) -> bool:
    """Return whether a value is an integer of Python or NumPy; bool does not count."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_device_and_folder(accelerator: Any, precision: Any, folder: Any) -> None:
    """Raise UserError if an argument that is a text or a path has another type."""
    if not isinstance(accelerator, str):
        raise UserError(f'accelerator must be a text, such as "auto" or "cpu", but is {accelerator!r}.')
    if not isinstance(precision, str) and not is_whole(precision):
        raise UserError(f'precision must be a text, such as "auto" or "32-true", but is {precision!r}.')
    if folder is not None and not isinstance(folder, (str, PathLike)):
        raise UserError(f"folder must be None or a path, but is {folder!r}.")


def build_data(images: Any, test: Any, validation: Any, seed: int | None) -> DataModule:
    """Return the images as a data set with its streams at their start; those of a data set share its tables."""
    if isinstance(images, DataModule):
        given = [name for name, part in (("test", test), ("validation", validation)) if part is not None]
        if given:
            raise UserError(f"{given[0]} is for pairs of images and labels, but {type(images).__name__} has its own.")
        datamodule = restarted(images, images.seed if seed is None else seed)
    else:
        datamodule = LabeledImages(images, test, validation, seed=0 if seed is None else seed)
    datamodule.setup("fit")
    return datamodule


def restarted(datamodule: DataModule, seed: int) -> DataModule:
    """Return a copy of a data set with fresh streams of batches and augmentation. The original stays as it is."""
    _ = datamodule.splits  # loaded before the copy, so that all copies share the tables
    copied = copy.copy(datamodule)
    copied.trainer, copied.seed = None, seed
    drawn = ("batches", "splits", "_loaded") if datamodule.label_noise and seed != datamodule.seed else ("batches",)
    for name in drawn:
        vars(copied).pop(name, None)
    if datamodule.augment is not None:
        copied.augment = Augmentation(seed=seed)
        for change in ("affine", "light", "erasing", "crop", "color"):
            setattr(copied.augment, change, getattr(datamodule.augment, change))
    return copied


def build_config(seed: int, steps: int, lr: float, accelerator: str, precision: str) -> DictConfig:
    """Return the configuration of the command, which builds the optimizer, the schedule and the trainer."""
    config = copy.deepcopy(defaults())
    config.seed, config.optimizer.lr = seed, lr
    config.trainer.max_steps, config.trainer.accelerator, config.trainer.precision = steps, accelerator, precision
    return config


@cache
def defaults() -> DictConfig:
    """Return the configuration of the command without options. Composing it takes half a second."""
    return schema.compose("recipe=none")


def build_module(
    config: DictConfig,
    datamodule: DataModule,
    network: networks.SiameseNetwork | networks.Backbone,
    sampler: samplers.Sampler,
    loss: losses.Loss,
) -> SiameseModule:
    """Connect copies of the parts. Raise UserError if they do not go together."""
    network, sampler, loss = copy.deepcopy((network, sampler, loss))
    if isinstance(network, networks.Backbone):
        with torch.random.fork_rng(devices=[]):  # the other random numbers are those of a network that is passed
            network = networks.SiameseNetwork(network)
    network = network.cpu()  # Lightning moves it to the device; the input of the check is on the CPU
    check_input(network, datamodule)
    check_loss(network, sampler, loss, len(datamodule.splits.train.class_names))
    for each in sampler.modules():
        if isinstance(each, samplers.Sampler):
            each.noise = Noise(datamodule.seed)
            each.images_per_class, each.finite_only = datamodule.images_per_class, False
    return SiameseModule(
        network.train(),  # Lightning trains in the mode that it finds
        sampler,
        loss,
        targets.Deferred("optimizer", config.optimizer),
        targets.Deferred("schedule", config.schedule),
        build_verification(datamodule),
        (),
        *(datamodule.query_gallery or (None, None)),
    )


def check_input(network: networks.SiameseNetwork, datamodule: DataModule) -> None:
    """Raise UserError if the network does not accept the images."""
    shape = (2, datamodule.channels, datamodule.image_size, datamodule.image_size)
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(shape))
    except RuntimeError as error:
        raise UserError(
            f"network does not accept the images of shape {shape} (B, C, H, W): {str(error).splitlines()[0]}. Build it "
            f"with channels={datamodule.channels}, image_size={datamodule.image_size}."
        ) from error


def check_loss(network: networks.SiameseNetwork, sampler: samplers.Sampler, loss: losses.Loss, classes: int) -> None:
    """Raise UserError if the loss does not fit the strategy, the network or the number of training classes."""
    check_norms(network, sampler, loss)
    names = type(loss).__name__, type(sampler).__name__
    if sampler.triplet_type not in loss.accepted_types:
        accepted = " or ".join(each.__name__ for each in loss.accepted_types)
        raise UserError(
            f"loss must fit sampler, but {names[0]} learns from {accepted}, and {names[1]} selects "
            f"{sampler.triplet_type.__name__}. Losses of labels only, such as softmax, need sampler none."
        )
    if loss.classes is not None and loss.classes < classes:
        raise UserError(f"loss was built for {loss.classes} classes, but there are {classes} training classes.")
    if loss.dimensions not in (None, network.embedding_dim):
        raise UserError(
            f"loss was built for {loss.dimensions} dimensions, but network.embedding_dim is {network.embedding_dim}."
        )


def train_and_test(config: DictConfig, datamodule: DataModule, module: SiameseModule, progress: bool) -> Fitted:
    """Train, validate and test; see `fit`."""
    console = new_console(stderr=True, quiet=not progress)
    clock = TrainingClock()
    history, metrics, collapse = History(clock), LatestMetrics(), CollapseWatch(console)
    trainer = build_trainer(
        config.trainer,
        validations=plan_validations(config, datamodule).number,
        callbacks=[StopOnNonFinite(), clock, LateProgress(console), history, metrics, collapse],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=None,
    )
    converted = trainer.precision_plugin.convert_module(module)
    assert converted is module  # the optimizer is built from it, and `network` belongs to it
    network, at_once = module.network, datamodule.classes_per_batch * datamodule.images_per_class
    if trainer.strategy.root_device.type == "cpu":
        use_one_thread_if_small(network, at_once, datamodule.channels, datamodule.image_size)
    with ctrl_c_raises():
        trainer.fit(module, datamodule=datamodule)
        if not history.points or history.points[-1].step != trainer.global_step or network.tta:
            trainer.validate(module, datamodule=datamodule, verbose=False)
        trainer.test(module, datamodule=datamodule, verbose=False)
    datamodule.trainer = None
    validation, test = (dict(metrics.values[stage]) for stage in ("validation", "test"))
    reasons = collapse.verdict(module, metrics.latest["test"].spread)
    return Fitted(network.cpu().eval(), validation, test, history.points, reasons, datamodule)


def write(fitted: Fitted, folder: Path) -> None:
    """Write the weights and the metrics into a folder that exists.

    Raises:
        ResourceError: if the folder cannot be written to, or the disk is full.
    """
    history = [asdict(point) for point in fitted.history]
    with disk_errors(folder, "folder"):
        torch.save(fitted.network.state_dict(), folder / WEIGHTS)
        write_json(folder / METRICS, {"validation": fitted.validation, "test": fitted.test, "history": history})


@contextmanager
def ctrl_c_raises() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt, as in any function.

    Lightning exits from the program and leaves signals ignored, which would end a notebook.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    former = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        if not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        if in_main_thread:
            signal.signal(signal.SIGINT, former)
        raise KeyboardInterrupt from None


class LateProgress(Progress):
    """Shows progress from the moment on when training has taken two seconds."""

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Start to wait."""
        self._since = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, *more: Any
    ) -> None:
        """Show the bar if the time has come, and update it."""
        if self._bar is None and time.monotonic() - self._since > SECONDS_WITHOUT_BAR:
            super().setup(trainer, pl_module, "fit")
            super().on_train_start(trainer, pl_module)
        super().on_train_batch_end(trainer, pl_module, outputs, *more)
