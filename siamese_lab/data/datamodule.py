"""The base of all data sets: three image tables, class-balanced batches to train on, all images in order to evaluate.

A data set is one file that says how big its images are and how its tables are made.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import lightning
from PIL import Image

from siamese_lab.batch import Batch
from siamese_lab.data.augment.pipeline import Augmentation, to_float
from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.info import CrossValidation, DataSetInfo
from siamese_lab.data.io.messages import announce
from siamese_lab.data.official_pairs import OfficialPairs
from siamese_lab.data.one_shot import OneShot
from siamese_lab.data.pk_batches import PKBatches
from siamese_lab.data.sequential_batches import SequentialBatches
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError
from siamese_lab.registry import check_options, options_of

TRAINED_CLASSES = "learnt"
"""What a state may hold for `DataModule.check_unseen`."""


class Splits(NamedTuple):
    """What is learnt from, what choices are made on, and what is reported."""

    train: BaseTable
    validation: BaseTable
    test: BaseTable


class ProcessShare(NamedTuple):
    """Which of several processes this is, and how many there are."""

    rank: int
    ranks: int


class DataModule(lightning.LightningDataModule, ABC):
    """Yields `Batch`es: uint8 images, which become float32 0…1 on the model's device.

    Args:
        classes_per_batch: P, of all processes of a distributed run together.
        images_per_class: K.
        seed: of the batches and of the augmentation.
        repeats: whether a class of fewer than K images may show an image twice in a batch.
        repeats_are_positives: whether such an image is a positive of itself.
        min_images_per_class: classes with fewer images are left out of training.
        batches_per_epoch: length of an epoch; None takes as many batches as the images would fill.
        eval_batch_size: images at a time in validation and test.
        augment: options of `Augmentation`, for training only; None leaves the images as they are.
    """

    title: str = "Images"
    """The name of the set where people read it."""
    order: int = 100
    """Place of the set in tables and figures, lowest first."""
    notes: tuple[str, ...] = ()
    """Sentences that the report shows as notes on the figures of the set."""
    limitations: tuple[str, ...] = ()
    """Paragraphs that the model card of a network trained on the set repeats."""
    compared: tuple[str, ...] = ()
    """Entries of `provenance` that must agree between runs that are compared."""
    protocol: str | None = None
    """Names the use of the images where the set has several uses; figures of two protocols do not compare."""
    cross_validation: CrossValidation | None = None
    """The fold that is tested, where the figure of the set is the mean over folds."""
    channels: int
    image_size: int

    def __init__(
        self,
        classes_per_batch: int = 32,
        images_per_class: int = 4,
        seed: int = 0,
        repeats: bool = True,
        repeats_are_positives: bool = False,
        min_images_per_class: int = 2,
        batches_per_epoch: int | None = None,
        eval_batch_size: int = 512,
        augment: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class
        self.seed = seed
        self.repeats = repeats
        self.repeats_are_positives = repeats_are_positives
        self.min_images_per_class = min_images_per_class
        self.batches_per_epoch = batches_per_epoch
        self.eval_batch_size = eval_batch_size
        self.augment = build_augmentation(augment, seed)

    @abstractmethod
    def load(self) -> Splits:
        """Make the three tables, each with labels that count from 0.

        Raises:
            UserError: if the data is not there, or is not what it should be.
        """

    def converted(self, image: Image.Image) -> Converted:
        """An image of any kind, made as the images of this set are, so that a network trained on them understands it.

        A set whose own files are not made in the usual way (`PhotoConverter`) overrides this.

        Args:
            image: as it is in its file.

        Returns:
            8-bit grey or colour by `channels`, `image_size` high and wide, with what was changed.
        """
        return PhotoConverter(self.image_size, self.channels == 3).converted(image)

    def provenance(self) -> dict[str, str]:
        """Where the images come from and where they are kept, for results and for the user; after `splits`."""
        return {}

    def check_unseen(self, learnt: Mapping[str, Any]) -> None:
        """Raise UserError if a network has been trained on what this set tests.

        By default nothing is known of that, and nothing refused.

        Args:
            learnt: the choices of the group `data` that the network was trained with, of any set.
        """

    def absent(self) -> list[str]:
        """What would have to be downloaded before this set can be loaded, a sentence each; nothing is read."""
        return []

    def verify(self) -> list[str]:
        """Read the whole copy and say what is wrong with it, a sentence each; without downloading anything."""
        return []

    def describe(self) -> DataSetInfo:
        """Return the description that a run records; nothing is loaded."""
        return DataSetInfo(self.title, self.protocol, self.order, self.notes, self.compared, self.cross_validation)

    @cached_property
    def official_pairs(self) -> OfficialPairs | None:
        """Return the pairs that the set's own protocol wants to be decided, if it has any.

        Runs and evaluations report them beside all other figures.

        Raises:
            UserError: if they are not there.
        """
        return None

    @cached_property
    def one_shot(self) -> OneShot | None:
        """Return the one-shot runs that the set's own protocol defines, if it has any; evaluations report them.

        Raises:
            UserError: if they are not there.
        """
        return None

    @cached_property
    def splits(self) -> Splits:
        """The three tables, loaded when first asked for."""
        train, validation, test = self.load()
        enough_C = train.labels_N.bincount(minlength=len(train.class_names)) >= self.min_images_per_class
        if not enough_C.all():
            announce(
                f"Left out of training: {int((~enough_C).sum())} of {len(enough_C)} classes, which have fewer than "
                f"{self.min_images_per_class} images (data.min_images_per_class)."
            )
            train = train.classes(enough_C.nonzero().squeeze(1).tolist())
        return Splits(train, validation, test)

    @cached_property
    def batches(self) -> PKBatches:
        """The stream of training batches."""
        return PKBatches(
            self.splits.train,
            self.classes_per_batch,
            self.images_per_class,
            self.seed,
            repeats=self.repeats,
            repeats_are_positives=self.repeats_are_positives,
            batches_per_epoch=self.batches_per_epoch,
        )

    @property
    def process_share(self) -> ProcessShare:
        """What the trainer says; the whole of everything without one."""
        return (
            ProcessShare(0, 1)
            if self.trainer is None
            else ProcessShare(self.trainer.global_rank, self.trainer.world_size)
        )

    def setup(self, stage: str) -> None:
        """Load the data and check that P×K batches can be drawn from it, before anything else starts."""
        _ = self.batches  # raises for options that the data cannot meet
        if self.official_pairs is not None and not len(self.official_pairs.decide.same_M):
            raise UserError(f"The protocol of {self.title} names official pairs, but their list is empty.")

    def train_dataloader(self) -> PKBatches:
        """P×K batches without end, an epoch at a time."""
        self.batches.split_between_processes(*self.process_share)
        return self.batches

    def val_dataloader(self) -> SequentialBatches:
        """The validation images in order."""
        return SequentialBatches(self.splits.validation, self.eval_batch_size, *self.process_share)

    def test_dataloader(self) -> list[SequentialBatches]:
        """The test images in order; then those of the official pairs, if there are any."""
        tables = [self.splits.test, *([self.official_pairs.table] if self.official_pairs else [])]
        return [SequentialBatches(table, self.eval_batch_size, *self.process_share) for table in tables]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Make the images float, augmented while training, on the device they are now on."""
        training = self.trainer is not None and self.trainer.training
        if training and self.augment is not None:
            return batch._replace(images_BCHW=self.augment(batch.images_BCHW, *self.process_share))
        return batch._replace(images_BCHW=to_float(batch.images_BCHW))

    def state_dict(self) -> dict[str, Any]:
        """Where the batches and the augmentation stand."""
        state = {"batches": self.batches.state_dict()}
        return state if self.augment is None else state | {"augment": self.augment.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where they stood."""
        self.batches.load_state_dict(state_dict["batches"])
        if self.augment is not None and "augment" in state_dict:
            self.augment.load_state_dict(state_dict["augment"])


def build_augmentation(options: Mapping[str, Any] | None, seed: int) -> Augmentation | None:
    """The augmentation with these options; none for None."""
    if options is None:
        return None
    check_options("Augmentation", options_of(Augmentation), options)
    return Augmentation(**{"seed": seed, **options})
