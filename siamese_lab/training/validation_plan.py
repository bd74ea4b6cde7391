"""Decide how often a run validates during training and on which images, so that validation costs little of its time.

Validation embeds an image in about a third of the time in which training embeds it and learns from it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from omegaconf import DictConfig

from siamese_lab.data import DataModule
from siamese_lab.networks import SiameseNetwork

MOST, LEAST = 10, 4
"""Largest and smallest number of validations of a run with `trainer.val_check_interval=auto`."""
IMAGES_PER_VALIDATED_IMAGE = 10
"""Least number of images that train for each image that is validated, unless that leaves fewer than LEAST."""


class ValidationPlan(NamedTuple):
    """Holds the number of validations of a run, and the images and views that they use."""

    number: int
    """Validations during training, evenly spaced, with `trainer.val_check_interval=auto`."""
    images: int
    """Images of each validation."""
    held_out: int
    """Images that the data set holds out for validation."""
    views: tuple[str, ...]
    """Views of `network.tta`, which only the validation at the end and the test use."""

    def recorded(self) -> dict[str, Any]:
        """Return what the results say about the images that validate."""
        return {"images": self.images, "of": self.held_out, "views_at_end": list(self.views)}

    def described(self) -> str | None:
        """Return a phrase for the user if a validation leaves out images or views, else None."""
        phrases = [] if self.images == self.held_out else [f"{self.images:,} of {self.held_out:,} images"]
        phrases += [f"{', '.join(self.views)} (network.tta) only at the end"] if self.views else []
        return "; ".join(phrases) or None


def plan_validations(config: DictConfig, datamodule: DataModule) -> ValidationPlan:
    """Return the plan of a run. Runs with the same data and the same number of steps have the same plan.

    Args:
        config: the whole configuration, with a number of steps.
        datamodule: its loaded data.
    """
    batches = config.trainer.max_steps * config.trainer.get("accumulate_grad_batches", 1)
    trained = batches * datamodule.classes_per_batch * datamodule.images_per_class
    images, held_out = len(datamodule.validation_rows), len(datamodule.splits.validation)
    views = tuple(config.network.get("tta") or ())
    return ValidationPlan(number_of_validations(trained, images), images, held_out, views)


def number_of_validations(trained: int, validated: int) -> int:
    """Return how often a run validates, from the images it trains on and the images of one validation.

    >>> number_of_validations(trained=120_000, validated=1_000), number_of_validations(24_000, 1_000)
    (10, 4)
    """
    return min(MOST, max(LEAST, trained // (IMAGES_PER_VALIDATED_IMAGE * validated)))


@contextmanager
def without_views(network: SiameseNetwork, active: bool = True) -> Iterator[None]:
    """Let the network embed images without test-time augmentation within the block, if `active`."""
    views = network.tta
    if active:
        network.tta = []
    try:
        yield
    finally:
        network.tta = views
