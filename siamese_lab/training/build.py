"""Build the parts of a run from its configuration, and refuse combinations that have no meaning."""

from pathlib import Path

import lightning
from omegaconf import DictConfig

from siamese_lab import data, losses, networks, samplers
from siamese_lab.config import targets
from siamese_lab.errors import UserError
from siamese_lab.metrics import retrieval
from siamese_lab.metrics.pairs import Pairs
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.runs import checkpoints
from siamese_lab.training.module import SiameseModule


def build_datamodule(config: DictConfig) -> data.DataModule:
    """The data of a run, loaded and checked."""
    images = data.build(**config.data, seed=config.seed)
    images.setup("fit")
    for use, part in (("validation", images.splits.validation), ("test", images.splits.test)):
        try:
            retrieval.check_labels(part.labels_N)
        except UserError as error:
            raise UserError(f"The {use} images of data={config.data.name} cannot be evaluated: {error}") from None
    return images


def check_resumed(images: data.DataModule, checkpoint: Path) -> None:
    """Raise UserError where a network would go on with data that tests what it has seen."""
    state = checkpoints.read(checkpoint).get(type(images).__qualname__, {})
    if data.LEARNT in state:
        images.check_unseen(state[data.LEARNT])


def build_module(config: DictConfig, images: data.DataModule) -> SiameseModule:
    """The network, whose initial weights depend on the seed alone, with what it is trained with."""
    lightning.seed_everything(config.seed, verbose=False)
    network = networks.build(**config.network, channels=images.channels, image_size=images.image_size, seed=config.seed)
    loss = losses.build(**config.loss, classes=len(images.splits.train.class_names))
    sampler = samplers.build(
        **config.sampler, seed=config.seed, images_per_class=images.images_per_class, finite_only=False
    )
    check_lengths(network, sampler, loss)
    check_meaning(config, sampler, loss)
    return SiameseModule(
        network,
        sampler,
        loss,
        targets.Deferred("optimizer", config.optimizer),
        targets.Deferred("schedule", config.schedule),
        build_verification(images),
        config.metrics.extra,
    )


def build_verification(images: data.DataModule) -> VerificationMetrics | None:
    """What decides the official pairs of the data, where it has some."""
    official = images.official_pairs
    if official is None:
        return None
    choose, decide = (
        Pairs(pairs.first_M, pairs.second_M, pairs.same_M) for pairs in (official.choose, official.decide)
    )
    return VerificationMetrics(official.name, choose, decide)


def check_lengths(network: networks.SiameseNetwork, sampler: samplers.Sampler, loss: losses.Loss) -> None:
    """Raise UserError where the loss wants unit-norm embeddings and the network gives others, or the reverse."""
    if sampler.remembers and not loss.of_unit_norm:
        raise UserError(
            "A memory keeps embeddings at unit norm and so does not go with loss.l2_penalty: set loss.l2_penalty=null "
            "and network.normalize=true, or take a sampler without a memory."
        )
    if loss.of_unit_norm and not network.normalize:
        raise UserError(
            "This loss compares unit vectors, but network.normalize=false leaves embeddings as long as they come. "
            "Set network.normalize=true, or loss=n_pair with an l2_penalty."
        )
    if network.normalize and not loss.of_unit_norm:
        raise UserError(
            "An l2_penalty keeps short what network.normalize=true gives unit length anyway. "
            "Set network.normalize=false, or loss.l2_penalty=null."
        )


def check_meaning(config: DictConfig, sampler: samplers.Sampler, loss: losses.Loss) -> None:
    """Raise UserError where the loss cannot learn from what the strategy selects."""
    if sampler.gives not in loss.accepts:
        able = [name for name in losses.available() if sampler.gives in losses.registry.classes[name].accepts]
        raise UserError(
            f"loss={config.loss.name} has no meaning with sampler={config.sampler.name}, which gives "
            f"{sampler.gives.__name__}. Losses that do: {', '.join(able)}."
        )
