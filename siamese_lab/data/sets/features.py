"""Frozen features: a data set embedded once by a backbone, so that a network on top of it trains in seconds.

The parts, classes, official pairs, gallery and roles are those of the source set. The features are no pixels: nothing
is augmented or drawn, and no image can be converted to them without the backbone.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pooch
from PIL import Image

from siamese_lab.data.datamodule import TRAINED_CLASSES, DataModule, QueryGalleryParts, Splits, register, registry
from siamese_lab.data.info import DataSetInfo
from siamese_lab.data.io.features_file import FORMAT, SUFFIX, AboutFeatures, StoredFeatures, read_features
from siamese_lab.data.official_protocols import OfficialPairs
from siamese_lab.data.tables.feature_table import FeatureTable
from siamese_lab.data.tables.image_table import default_cache
from siamese_lab.errors import UserError
from siamese_lab.runs.checkpoints import find_checkpoint
from siamese_lab.runs.plain_values import WrongValueError

FOLDER = "features"
"""Folder of kept features in the cache."""
SHOWN_DIGITS = 16
"""Number of digits of a checksum that results and messages show."""


@register("features")
class Features(DataModule):
    """Reads the features of a data set from a file, or the features that were kept for a run.

    Args:
        from_: a run or checkpoint, which embeds the data set that it was trained on, or a file of features (.npz).
        root: folder of the source set, if it has to be embedded. It is only read.
        cache: folder of kept features; None is the user's cache folder.
        about: the origin of the features that a checkpoint stores; None reads it from the file.
        **common: see `DataModule`.

    Raises:
        UserError: if an augmentation is given, or `about` has another form.
    """

    title = "Features"
    order = 110
    compared = ("features",)
    holds_pixels = False
    image_size = 1

    def __init__(
        self,
        from_: str | Path | None = None,
        root: str | Path | None = None,
        cache: str | Path | None = None,
        about: Mapping[str, Any] | None = None,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if self.augment is not None:
            raise UserError("data=features has no pixels to augment. Set data.augment=null.")
        self.asked = None if from_ is None else Path(from_).expanduser()
        self.root = root
        self.cache = Path(cache) if cache is not None else default_cache()
        self._about: AboutFeatures | None = None
        if about is not None:
            self._adopt(checked_about(about))

    def _adopt(self, about: AboutFeatures) -> None:
        self._about = about
        self.title = about.title
        self.protocol = ", ".join(filter(None, (about.protocol, f"frozen features of {about.network}")))
        source = registry.classes.get(about.data["name"], DataModule)
        self.order = source.order
        self.notes = (
            *source.notes,
            f"{about.title} is embedded by a frozen {about.network}; only layers on top learn.",
        )
        self.limitations = (
            f"This network is only the layers on top of {about.network}. Its input is the {about.features} features of "
            f"that backbone (SHA-256 of its weights: {about.encoder}), computed from images of {about.images}; it "
            "takes no images.",
            *source.limitations,
        )

    @property
    def about(self) -> AboutFeatures:
        """The origin of the features."""
        if self._about is None:
            self._adopt(self.stored.about)
        assert self._about is not None
        return self._about

    @property
    def channels(self) -> int:  # type: ignore[override]
        """The number of features."""
        return self.about.features

    def place(self) -> Path:
        """Return the file of the features. Features of a run have a name that depends on the checkpoint's content.

        Raises:
            UserError: if there is no such run, checkpoint or file, or none is named.
        """
        if self.unread is not None:
            raise UserError(self.unread)
        if self.asked is None:
            raise UserError(
                "data=features reads features that a backbone has computed: set data.from=RUN_OR_FILE to a run, which "
                "embeds its data set once, or to a file of features."
            )
        if not self.asked.exists():
            raise UserError(
                f"data.from={self.asked} does not exist. Set it to a run, a checkpoint or a file of features."
            )
        if self.asked.suffix == SUFFIX:
            return self.asked
        checksum = pooch.file_hash(str(find_checkpoint(self.asked)), alg="sha256")
        return self.cache / FOLDER / f"{checksum[:32]}-v{FORMAT}{SUFFIX}"

    @cached_property
    def stored(self) -> StoredFeatures:
        """The content of the file.

        Raises:
            UserError: if it is missing, damaged or of another form.
        """
        place = self.place()
        if place != self.asked and not place.is_file():
            raise UserError(
                f"The features of data.from={self.asked} have not been computed yet. Run `python -m siamese_lab.data "
                f"features data.from={self.asked}`, or call siamese_lab.evaluation.features.prepare_features."
            )
        return read_features(place)

    def load(self) -> Splits:
        """Return the three tables of features."""
        self._adopt(self.stored.about)
        return Splits(*(self.stored.tables[part] for part in Splits._fields))

    @cached_property
    def official_pairs(self) -> OfficialPairs | None:
        """The official pairs of the source set."""
        stored = self.stored
        if stored.pairs_name is None or stored.choose is None or stored.decide is None:
            return None
        return OfficialPairs(stored.pairs_name, stored.tables["pairs"], stored.choose, stored.decide)

    @cached_property
    def gallery(self) -> FeatureTable | None:
        """The gallery of the source set."""
        return self.stored.tables.get("gallery")

    @cached_property
    def query_gallery(self) -> QueryGalleryParts | None:
        """The roles of the images in the source set."""
        roles = self.stored.roles
        return QueryGalleryParts(roles["validation"], roles["test"]) if "test" in roles else None

    def converted(self, image: Image.Image) -> NoReturn:
        """Raise UserError, because only the backbone turns an image into features."""
        raise UserError(
            f"This network takes features of {self.about.network}, not images. Train a network on images "
            f"(data={self.about.data['name']} network=…), or pass features as a tensor ({self.channels}, 1, 1)."
        )

    def describe(self) -> DataSetInfo:
        """Return the description of the source set, with the backbone as another protocol."""
        if self._about is None and self.asked is not None:
            self._adopt(self.stored.about)
        return super().describe()

    def check_unseen(self, training_data: Mapping[str, Any]) -> None:
        """Raise UserError if a network was trained on features of another backbone, or of another set or split."""
        if training_data.get("name") != "features" or training_data.get("about") is None:
            return
        then, here = checked_about(training_data["about"]), self.about
        if then.encoder != here.encoder:
            raise UserError(
                f"The network was trained on features of {described(then)}, but data.from={self.asked} holds features "
                f"of {described(here)}. Set data.from to features of the same backbone."
            )
        if then.data != here.data:
            raise UserError(
                f"The network was trained on features of {shown_options(then)}, but data.from={self.asked} holds "
                f"features of {shown_options(here)}, which may test classes of the training. Use the same set and "
                "options."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the base state and the origin of the features, which a checkpoint keeps for `check_unseen`."""
        return super().state_dict() | {TRAINED_CLASSES: {"name": "features", "about": asdict(self.about)}}

    def provenance(self) -> dict[str, str]:
        """Return the file, checksums of the features and of the backbone's weights, and the source of the images."""
        about = self.about
        return {
            **about.source,
            "file": str(self.place()),
            "features": self.stored.checksum()[:SHOWN_DIGITS],
            "backbone": described(about),
            "form": about.images,
        }

    def absent(self) -> list[str]:
        """Return a sentence if the features are not there."""
        try:
            place = self.place()
        except UserError as error:
            return [str(error)]
        return [] if place.is_file() else [f"The features of data.from={self.asked} have not been computed yet."]

    def verify(self) -> list[str]:
        """Read the file and return its faults."""
        try:
            read_features(self.place())
        except UserError as error:
            return [str(error)]
        return []


def checked_about(content: Any) -> AboutFeatures:
    """Return the origin of features from plain values.

    Raises:
        UserError: if they have another form.
    """
    try:
        return AboutFeatures.of(content)
    except WrongValueError as error:
        raise UserError(f"The origin of the features is damaged: {error}. Use another checkpoint.") from error


def described(about: AboutFeatures) -> str:
    """Return the name of the backbone and the beginning of the checksum of its weights."""
    return f"{about.network} (weights {about.encoder[:SHOWN_DIGITS]})"


def shown_options(about: AboutFeatures) -> str:
    """Return the source set with its options, as on the command line."""
    own = [f"data.{name}={value}" for name, value in about.data.items() if name != "name" and value is not None]
    return " ".join([f"data={about.data['name']}", *own])
