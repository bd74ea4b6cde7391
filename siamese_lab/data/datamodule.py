"""The base class of all data sets: three image tables, P×K batches for training, sequential batches for evaluation.

A data set is one file. It states the size of its images and implements `load`, which makes the three tables.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, cast

import lightning
import torch
from PIL import Image
from torch import Tensor

from siamese_lab.batch import Batch
from siamese_lab.data.augment.pipeline import Augmentation, to_float
from siamese_lab.data.category_order import CategoryOrder, check_number
from siamese_lab.data.convert.center import center_crop
from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.info import CrossValidation, DataSetInfo
from siamese_lab.data.io.messages import announce
from siamese_lab.data.label_noise import NoisyTable, check_share, with_wrong_labels
from siamese_lab.data.official_protocols import OfficialPairs, OneShot
from siamese_lab.data.pk_batches import PKBatches
from siamese_lab.data.sequential_batches import SequentialBatches
from siamese_lab.data.splits import balanced_sample, check_evaluated_part
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.errors import UserError
from siamese_lab.query_gallery import QueryGallery
from siamese_lab.registry import Registry, check_options, options_of
from siamese_lab.runs.classes import ClassParts, Part

TRAINED_CLASSES = "learnt"
"""Key of a state dict: the data options that decide which classes were trained on; see `DataModule.check_unseen`."""


TestPart = Literal["images", "pairs", "gallery"]
"""A table of the test: the test images, the images of the official pairs, the gallery that is searched."""


class Splits(NamedTuple):
    """The three parts of a data set: `train` fits the network, `validation` guides choices, `test` is reported."""

    train: BaseTable
    validation: BaseTable
    test: BaseTable


class QueryGalleryParts(NamedTuple):
    """The roles of the images of validation and of the test, in the order of the tables."""

    validation: QueryGallery
    test: QueryGallery


class ProcessShare(NamedTuple):
    """The rank of this process, and the number of processes."""

    rank: int
    ranks: int


class StoredTable(BaseTable, Protocol):
    """A table of images that may be larger than the network sees them."""

    def centered(self, size: int) -> BaseTable:
        """Return a table of the middle of each image, `size` high and wide."""


class DataModule(lightning.LightningDataModule, ABC):
    """Yields `Batch`es of uint8 images, and converts them to float32 in 0…1 on the model's device.

    Args:
        classes_per_batch: P, counted over all processes of a distributed run.
        images_per_class: K.
        seed: seed of the batches and of the augmentation.
        repeats: if True, a class with fewer than K images may show an image twice in a batch.
        repeats_are_positives: if True, a repeated image is a positive of itself.
        min_images_per_class: classes with fewer images are excluded from training.
        batches_per_epoch: length of an epoch; None divides the number of images by the batch size.
        eval_batch_size: number of images per batch in validation and test.
        validation_images: largest number of images that validate a run, the same ones in all runs; None takes all.
        augment: options of `Augmentation`, applied to training images only; None disables augmentation.
        label_noise: share of the training images that get a wrong label (see `label_noise`), at least 0 and below 1.
            Validation and test images keep their labels.
        stored_size: height and width of the images in the training table, at least `image_size`, for sets that resize
            photographs; None is `image_size`. Random crops are taken from these images. The middle of `image_size` is
            validated, tested, embedded, and trained on without random crops.
        categories_per_batch: number of categories that the P classes of a batch are taken from, in equal shares (see
            `CategoryOrder`); None ignores categories.
    """

    title: str = "Images"
    """Name of the set for display."""
    order: int = 100
    """Position of the set in tables and figures, lowest first."""
    notes: tuple[str, ...] = ()
    """Sentences that the report shows as notes on the figures of the set."""
    limitations: tuple[str, ...] = ()
    """Paragraphs that the model card of a network trained on the set repeats."""
    compared: tuple[str, ...] = ()
    """Entries of `provenance` that must agree between runs that are compared."""
    protocol: str | None = None
    """Name of the protocol if the set has several; figures of different protocols are not comparable."""
    split_options: tuple[str, ...] = ()
    """Options that decide which class is in which part of a set with content that can change."""
    cross_validation: CrossValidation | None = None
    """The fold that is tested, if the set reports the mean over folds."""
    resizes_photographs: bool = False
    """True for a set that resizes photographs, and therefore has the option `stored_size`."""
    holds_pixels: bool = True
    """False if the tables hold frozen features (float32, F×1×1), which are not drawn."""
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
        validation_images: int | None = 5000,
        augment: Mapping[str, Any] | None = None,
        label_noise: float = 0.0,
        stored_size: int | None = None,
        categories_per_batch: int | None = None,
    ) -> None:
        super().__init__()
        if stored_size is not None and not self.resizes_photographs:
            raise UserError(
                f"data.stored_size is for sets that resize photographs, but the images of {self.title} are stored as "
                f"the network sees them. Set data.stored_size=null instead of {stored_size}."
            )
        self.classes_per_batch = classes_per_batch
        self.images_per_class = images_per_class
        self.seed = seed
        self.repeats = repeats
        self.repeats_are_positives = repeats_are_positives
        self.min_images_per_class = min_images_per_class
        self.batches_per_epoch = batches_per_epoch
        self.eval_batch_size = eval_batch_size
        self.validation_images = validation_images
        self.augment = build_augmentation(augment, seed)
        check_share(label_noise)
        self.label_noise = label_noise
        self.stored_size = stored_size
        if categories_per_batch is not None:
            check_number(categories_per_batch, classes_per_batch)
        self.categories_per_batch = categories_per_batch
        self.unread: str | None = None
        """Reason why the images are not read, as a message to the user; None reads them."""

    def __repr__(self) -> str:
        """Return the set, the size of its batches, and the number of images and classes once they are loaded."""
        batches = f"{self.classes_per_batch} classes × {self.images_per_class} images per batch"
        if "splits" not in vars(self):
            return f"{type(self).__name__}({batches}, not loaded)"
        parts = (f"{part}: {len(table)} images of {len(table.class_names)} classes" for part, table in self._parts())
        return f"{type(self).__name__}({'; '.join((batches, *parts))})"

    __str__ = __repr__  # Lightning's own one expects torch.utils.data

    def _parts(self) -> Iterable[tuple[str, BaseTable]]:
        return self.splits._asdict().items()

    @abstractmethod
    def load(self) -> Splits:
        """Make the three tables, each with labels that count from 0.

        Raises:
            UserError: if the data is missing or differs from the official data.
        """

    def converted(self, image: Image.Image) -> Converted:
        """Convert any image in the way this set converts its own images, so that a trained network can embed it.

        The default is `PhotoConverter`, with `stored_size`. A set that converts its own files in another way overrides
        this method.

        Args:
            image: the image as read from its file.

        Returns:
            An 8-bit image, gray or RGB by `channels`, `image_size` high and wide, and the list of changes.
        """
        return PhotoConverter(self.image_size, self.channels == 3, self.stored_size).converted(image)

    def provenance(self) -> dict[str, str]:
        """Return the origin and the location of the images, for results and for display. Call it after `splits`."""
        return {}

    def check_unseen(self, training_data: Mapping[str, Any]) -> None:
        """Raise UserError if a network was trained on classes that this set tests.

        The default accepts every network.

        Args:
            training_data: the config group `data` that the network was trained with, for any set. It has every option
                of its set: see `siamese_lab.data.trained_options`.
        """

    def absent(self) -> list[str]:
        """Return one sentence for each missing file that loading would have to download. No file is read."""
        return []

    def left_out_of_all(self) -> bool:
        """Return whether `python -m siamese_lab.data all` leaves the set out, such as a large one without a copy."""
        return False

    def verify(self) -> list[str]:
        """Read the whole copy and return one sentence for each fault. Nothing is downloaded."""
        return []

    def class_parts(self) -> ClassParts:
        """Return the names and the numbers of images of the classes of each part, as checkpoints store them.

        Training classes with too few images count as well: they belong to the training part, and are never tested.
        """
        return self._loaded[1]

    def current_classes(self) -> frozenset[str] | None:
        """Return the names of all classes; None for a published set, because its classes do not change."""
        return None

    def keep_parts(self, parts: ClassParts) -> None:
        """Keep each class in the part that it had in a training. Classes that are new since then are in no part.

        Call it before `splits`. The default does nothing: the classes of a published set do not change.
        """

    def describe(self) -> DataSetInfo:
        """Return the description that a run records. No image is loaded."""
        return DataSetInfo(self.title, self.protocol, self.order, self.notes, self.compared, self.cross_validation)

    @cached_property
    def official_pairs(self) -> OfficialPairs | None:
        """Return the pairs of the set's official verification protocol, or None if it has no such protocol.

        Runs and evaluations report them together with all other figures.

        Raises:
            UserError: if the lists of pairs are missing.
        """
        return None

    @cached_property
    def one_shot(self) -> OneShot | None:
        """Return the official one-shot runs of the set, or None if it has none. Evaluations report them.

        Raises:
            UserError: if the runs are missing.
        """
        return None

    @cached_property
    def gallery(self) -> BaseTable | None:
        """Return the images that the test searches; None searches the other test images.

        The labels mean the classes of the test part. A data set with a gallery overrides this property.
        """
        return None

    @cached_property
    def categories(self) -> Tensor | None:
        """Return the category of each class of `splits.train` (int64), or None if the classes have no categories.

        A data set with categories overrides this property. `categories_per_batch` balances batches by them.
        """
        return None

    @cached_property
    def query_gallery(self) -> QueryGalleryParts | None:
        """Return the queries and the gallery among the images of validation and test; None if all images are both.

        A data set with such roles overrides this property. It has no `gallery` of further images.
        """
        return None

    def test_tables(self) -> dict[TestPart, BaseTable]:
        """Return the tables of the test in the order of its dataloaders: images, official pairs, gallery."""
        tables: dict[TestPart, BaseTable] = {"images": self.splits.test}
        if self.official_pairs is not None:
            tables["pairs"] = self.official_pairs.table
        if self.gallery is not None:
            tables["gallery"] = self.gallery
        return tables

    @cached_property
    def splits(self) -> Splits:
        """The three tables, loaded at first access, without the training classes that have too few images.

        With `stored_size`, training images have that size. Those of validation and test are the middle of it.
        """
        return self._loaded[0]

    @cached_property
    def _loaded(self) -> tuple[Splits, ClassParts]:
        """The three tables, and the classes of each part, including the classes that training leaves out."""
        if self.unread is not None:
            raise UserError(self.unread)
        train, validation, test = self.load()
        if self.stored_size is not None:
            validation, test = (cast(StoredTable, table).centered(self.image_size) for table in (validation, test))
        parts = ClassParts(*map(part_of, (train, validation, test)))
        train = self._without_small_classes(train)
        if self.label_noise:
            train = self._without_small_classes(with_wrong_labels(train, self.label_noise, self.seed))
        return Splits(train, validation, test), parts

    def _without_small_classes(self, train: BaseTable) -> BaseTable:
        """Return the training table without classes of fewer than `min_images_per_class` images; announce them."""
        enough_C = train.labels_N.bincount(minlength=len(train.class_names)) >= self.min_images_per_class
        if enough_C.all():
            return train
        labeled = " with this label after label noise" if isinstance(train, NoisyTable) else ""
        announce(
            f"Excluded from training: {int((~enough_C).sum())} of {len(enough_C)} classes, because they have "
            f"fewer than {self.min_images_per_class} images{labeled} (data.min_images_per_class)."
        )
        kept: BaseTable = train.classes(enough_C.nonzero().squeeze(1).tolist())
        return kept

    def noise_record(self) -> dict[str, Any] | None:
        """Return the share, the number of training images and the number of wrong labels; None without label noise."""
        train = self.splits.train
        return train.recorded(self.label_noise) if isinstance(train, NoisyTable) else None

    @cached_property
    def batches(self) -> PKBatches:
        """The stream of training batches."""
        train = self.splits.train
        return PKBatches(
            train,
            self.classes_per_batch,
            self.images_per_class,
            self.seed,
            repeats=self.repeats,
            repeats_are_positives=self.repeats_are_positives,
            batches_per_epoch=self.batches_per_epoch,
            true_labels_N=train.true_labels_N if isinstance(train, NoisyTable) else None,
            order=self._category_order(),
        )

    def _category_order(self) -> CategoryOrder | None:
        if self.categories_per_batch is None:
            return None
        if self.categories is None:
            raise UserError(
                f"data.categories_per_batch={self.categories_per_batch} needs the category of each class, but the "
                f"classes of {self.describe().title} have none. Set data.categories_per_batch=null, or, for a table, "
                "data.category_column=COLUMN."
            )
        names = self.splits.train.class_names
        return CategoryOrder(self.categories, self.classes_per_batch, self.categories_per_batch, names)

    @cached_property
    def validation_rows(self) -> Tensor:
        """The rows of the images of the validation part that validate a run, in ascending order."""
        table = self.splits.validation
        if self.validation_images is None:
            return torch.arange(len(table))
        rows = balanced_sample(table.labels_N, self.validation_images)
        if self.query_gallery is not None:
            roles, labels_M = self.query_gallery.validation.rows(rows), table.labels_N[rows]
            if len(roles.unmatched(labels_M)) == int(roles.query_N.sum()):
                return torch.arange(len(table))  # no query of the sample has a match
        return rows

    @property
    def process_share(self) -> ProcessShare:
        """Rank and number of processes of the trainer, or one process if no trainer is attached."""
        if self.trainer is None:
            return ProcessShare(0, 1)
        return ProcessShare(self.trainer.global_rank, self.trainer.world_size)

    def setup(self, stage: str) -> None:
        """Load the data, and check before training that P×K batches can be drawn and every part can be evaluated."""
        if not len(self.splits.train):
            raise UserError(
                f"{self.describe().title}: there are no training images in classes of at least "
                f"data.min_images_per_class={self.min_images_per_class} images, so nothing can be trained. Add images "
                "with split train (a table) or in train/ (a folder), or evaluate a trained network with "
                "siamese_lab.evaluate."
            )
        _ = self.batches  # raises if the data cannot satisfy the options
        if self.augment is not None:
            self.augment.check_form(self.channels, self.stored_size or self.image_size, self.image_size)
        if self.official_pairs is not None and not len(self.official_pairs.decide.same_M):
            raise UserError(f"The protocol of {self.title} names official pairs, but their list is empty.")
        for part in ("validation", "test"):
            check_evaluated_part(self.title, part, getattr(self.splits, part))

    def train_dataloader(self) -> PKBatches:
        """Return the endless stream of P×K batches. Each iteration yields one epoch."""
        self.batches.split_between_processes(*self.process_share)
        return self.batches

    def val_dataloader(self) -> SequentialBatches:
        """Return the validation images, at most `validation_images`, in sequential batches."""
        return SequentialBatches(
            self.splits.validation, self.eval_batch_size, *self.process_share, self.validation_rows
        )

    def test_dataloader(self) -> list[SequentialBatches]:
        """Return the images of each table of the test in sequential batches: see `test_tables`."""
        tables = self.test_tables().values()
        return [SequentialBatches(table, self.eval_batch_size, *self.process_share) for table in tables]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert the images to float on their device, and augment them if the trainer is training."""
        training = self.trainer is not None and self.trainer.training
        convert = self.training_images if training else to_float
        return batch._replace(images_BCHW=convert(batch.images_BCHW))

    def training_images(self, images_BCHW: Tensor) -> Tensor:
        """Convert images of the training table to float, `image_size` high and wide, with augmentation."""
        if self.augment is None:
            return to_float(center_crop(images_BCHW, self.image_size))
        return self.augment(images_BCHW, *self.process_share, size=self.image_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the positions of the batch stream and of the augmentation stream."""
        state = {"batches": self.batches.state_dict()}
        return state if self.augment is None else state | {"augment": self.augment.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the positions of both streams."""
        self.batches.load_state_dict(state_dict["batches"])
        if self.augment is not None and "augment" in state_dict:
            self.augment.load_state_dict(state_dict["augment"])


def part_of(table: BaseTable) -> Part:
    """Return the names and the numbers of images of the classes of a table."""
    return Part(tuple(table.class_names), tuple(table.labels_N.bincount(minlength=len(table.class_names)).tolist()))


def build_augmentation(options: Mapping[str, Any] | None, seed: int) -> Augmentation | None:
    """Build the augmentation with these options. Return None if `options` is None."""
    if options is None:
        return None
    check_options("Augmentation", options_of(Augmentation), options)
    return Augmentation(**{"seed": seed, **options})


registry: Registry[DataModule] = Registry("data set")
register = registry.register
available = registry.available
build = registry.build
