"""Build the parts of a run from its configuration, and reject combinations of parts that cannot work."""

import lightning
from omegaconf import DictConfig

from siamese_lab import data, losses, networks, samplers
from siamese_lab.batch import NoTriplets
from siamese_lab.config import targets
from siamese_lab.config.schema import compose
from siamese_lab.errors import UserError
from siamese_lab.metrics import retrieval
from siamese_lab.metrics.pairs import ImagePairs
from siamese_lab.metrics.verification import VerificationMetrics
from siamese_lab.networks.siamese import registry as backbones
from siamese_lab.training.module import SiameseModule


def build_datamodule(config: DictConfig) -> data.DataModule:
    """Build, load and check the data of a run.

    Raises:
        UserError: if the validation or test images cannot be evaluated.
    """
    datamodule = data.build(**config.data, seed=config.seed)
    datamodule.setup("fit")
    for use, part in (("validation", datamodule.splits.validation), ("test", datamodule.splits.test)):
        try:
            retrieval.check_labels(part.labels_N)
        except UserError as error:
            raise UserError(f"The {use} images of data={config.data.name} cannot be evaluated: {error}") from None
    return datamodule


def available_locally(*names: str) -> tuple[str, ...]:
    """Return the names of the data sets that have a local copy, in the given order. Nothing is read or downloaded.

    Copies are searched where `python -m siamese_lab.train data=NAME` searches: in the folder that the environment
    variable SIAMESE_LAB_DATA names, and among earlier downloads.

    Raises:
        UserError: if the folder in SIAMESE_LAB_DATA does not exist.
        HydraException: if a data set is unknown.
    """
    return tuple(name for name in names if not data.build(**compose(f"data={name}").data, seed=0).absent())


def build_module(config: DictConfig, datamodule: data.DataModule) -> SiameseModule:
    """Build the network with its sampler, loss, optimizer and metrics. Initial weights depend only on the seed."""
    check_input(config, datamodule)
    lightning.seed_everything(config.seed, verbose=False)
    network = networks.build(
        **config.network, channels=datamodule.channels, image_size=datamodule.image_size, seed=config.seed
    )
    loss = losses.build(
        **config.loss,
        classes=len(datamodule.splits.train.class_names),
        dimensions=network.embedding_dim,
        seed=config.seed,
    )
    sampler = samplers.build(
        **config.sampler, seed=config.seed, images_per_class=datamodule.images_per_class, finite_only=False
    )
    check_norms(network, sampler, loss)
    check_accepted(config, sampler, loss)
    validation_roles, test_roles = datamodule.query_gallery or (None, None)
    return SiameseModule(
        network,
        sampler,
        loss,
        targets.Deferred("optimizer", config.optimizer),
        targets.Deferred("schedule", config.schedule),
        build_verification(datamodule),
        config.metrics.extra,
        validation_roles,
        test_roles,
        config.metrics.k,
    )


def check_input(config: DictConfig, datamodule: data.DataModule) -> None:
    """Raise UserError if the network or its views need pixels, but the data has frozen features."""
    if datamodule.holds_pixels:
        return
    if config.network.name in networks.available() and not backbones.classes[config.network.name].accepts_features:
        raise UserError(
            f"network={config.network.name} looks for patterns among pixels, but data={config.data.name} has features. "
            "Set network=mlp; with network.depth=0 the network is one linear layer."
        )
    if config.network.get("tta"):
        raise UserError(f"network.tta changes pixels, but data={config.data.name} has features. Set network.tta=[].")


def build_verification(datamodule: data.DataModule) -> VerificationMetrics | None:
    """Return the metrics of the data set's official pairs, or None if it has no official pairs."""
    official = datamodule.official_pairs
    if official is None:
        return None
    choose, decide = (
        ImagePairs(pairs.first_M, pairs.second_M, pairs.same_M) for pairs in (official.choose, official.decide)
    )
    return VerificationMetrics(official.name, choose, decide)


def check_norms(network: networks.SiameseNetwork, sampler: samplers.Sampler, loss: losses.Loss) -> None:
    """Raise UserError if the loss needs unit vectors and the network gives other embeddings, or the reverse."""
    if sampler.uses_memory and not loss.needs_unit_norm:
        raise UserError(
            "A memory stores unit vectors, so it cannot be combined with loss.l2_penalty. Set loss.l2_penalty=null "
            "and network.normalize=true, or choose a sampler without a memory."
        )
    if sampler.uses_memory and not loss.accepts_memory:
        raise UserError("This loss compares the images of a batch only. Choose a sampler without a memory.")
    if loss.needs_unit_norm and not network.normalize:
        raise UserError(
            "This loss needs unit vectors, but network.normalize=false leaves embeddings unnormalized. "
            "Set network.normalize=true, or choose loss=n_pair with loss.l2_penalty."
        )
    if network.normalize and not loss.needs_unit_norm:
        raise UserError(
            "loss.l2_penalty limits the norm of embeddings, but network.normalize=true already gives them unit norm. "
            "Set network.normalize=false, or loss.l2_penalty=null."
        )


def check_accepted(config: DictConfig, sampler: samplers.Sampler, loss: losses.Loss) -> None:
    """Raise UserError if the loss does not accept the kind of selection that the strategy returns."""
    if sampler.triplet_type in loss.accepted_types:
        return
    if sampler.triplet_type is NoTriplets:
        accepted = {name: losses.registry.classes[name].accepted_types for name in losses.available()}
        of_labels = [name for name, types in accepted.items() if types == (NoTriplets,)]
        raise UserError(
            f"loss={config.loss.name} cannot be trained with sampler={config.sampler.name}: it needs triplets, and "
            f"this strategy selects none. Set another sampler, or loss to one of labels only: {', '.join(of_labels)}."
        )
    if loss.accepted_types == (NoTriplets,):
        raise UserError(
            f"loss={config.loss.name} cannot be trained with sampler={config.sampler.name}: it learns from labels "
            "only, so the selected triplets would have no effect. Set sampler=none."
        )
    able = [name for name in losses.available() if sampler.triplet_type in losses.registry.classes[name].accepted_types]
    raise UserError(
        f"loss={config.loss.name} does not accept sampler={config.sampler.name}, which returns "
        f"{sampler.triplet_type.__name__}. Set loss to one that accepts it: {', '.join(able)}."
    )
