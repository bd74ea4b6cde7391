"""The distance up to which two images count as one class, with its error rates on other pairs.

The threshold is chosen on half of the pairs drawn from validation images, and the error rates are measured on the
other half. They are rates of unseen classes if the data set keeps validation classes out of training; otherwise the
result says so. The threshold is stored beside the run in `threshold.json`. Test images are not used, so that test
figures stay valid.

Official pairs for choosing a threshold are not used either. Those of LFW's View 1 show people that the network has
seen, and their images lie closer together. After 4,000 steps of hard mining their best threshold was 1.01, which
rejected 47% of the validation people's own pairs and decided 81.7% of View 1's test pairs correctly. The threshold of
the validation people was 1.24, which rejected 14% and decided 87.4%, all in float32.

Shapes: M pairs, N images, D embedding dimensions.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lightning import Fabric
from torch import Tensor

from siamese_lab.data import DataModule
from siamese_lab.data.io.messages import announce
from siamese_lab.errors import UserError
from siamese_lab.evaluation.embed import embed
from siamese_lab.evaluation.protocols import draw
from siamese_lab.evaluation.trained import Trained
from siamese_lab.metrics.pairs import pair_distances
from siamese_lab.metrics.verification import accuracy, best_threshold
from siamese_lab.networks import SiameseNetwork
from siamese_lab.runs import checkpoints

FILE_NAME = "threshold.json"
SCHEMA_VERSION = 1
DRAWN = 20_000
"""Pairs drawn from validation images, fewer where there are not as many."""


@dataclass(frozen=True)
class Threshold:
    """A threshold and how it came to be."""

    threshold: float
    """The greatest distance (0…2) that is accepted as one of the same class."""
    accuracy: float
    """The share of the measured pairs, half of them of one class, that is decided rightly."""
    far: float
    """False accept rate: the share of the measured pairs of two classes that is taken for one."""
    frr: float
    """False reject rate: the share of the measured pairs of one class that is taken for two."""
    chosen_on: str
    """Which pairs it is the best threshold of."""
    chosen_pairs: int
    measured_on: str
    """Which pairs the accuracy and both rates are of; none of those that it was chosen on."""
    positives: int
    """How many of these are of one class."""
    negatives: int
    """How many are of two."""
    step: int
    """Of the weights."""
    weights: str
    """SHA-256 of these, by which a threshold of other weights is told apart."""

    def told(self) -> str:
        """In a line."""
        return (
            f"{self.threshold:.3f}, chosen on {self.chosen_pairs:,} {self.chosen_on}; of {self.measured_on} it accepts "
            f"{self.far:.1%} of {self.negatives:,} pairs of two classes and rejects {self.frr:.1%} of "
            f"{self.positives:,} pairs of one ({self.accuracy:.1%} right)"
        )


def threshold_of(trained: Trained, images: DataModule, fabric: Fabric) -> Threshold:
    """The threshold of a network: the stored one, or one that is chosen now and stored.

    Raises:
        UserError: where the data is not here, or makes no pairs to choose by; for a stored one of another version.
    """
    if (stored := stored_threshold(trained)) is not None:
        return stored
    place = place_of(trained.checkpoint)
    chosen = choose(trained, images, fabric)
    try:
        write(chosen, place)
    except OSError as error:
        announce(f"The threshold could not be kept in {place} ({error.strerror}), so it is chosen anew each time.")
    return chosen


def stored_threshold(trained: Trained) -> Threshold | None:
    """The threshold that was once chosen for these very weights, if one was.

    Raises:
        UserError: if it is damaged, or another version wrote it.
    """
    stored = read(place_of(trained.checkpoint))
    return stored if stored is not None and stored.weights == fingerprint(trained.network) else None


def place_of(checkpoint: Path) -> Path:
    """`threshold.json` beside the run for the weights that the run reports, beside the checkpoint for others."""
    run = checkpoints.run_of(checkpoint)
    if run is not None and checkpoints.find(run).absolute() == checkpoint.absolute():
        return run / FILE_NAME
    return checkpoint.with_name(f"{checkpoint.stem}.{FILE_NAME}")


class _Compared(NamedTuple):
    """Pairs of images with their distances."""

    distance_M: Tensor
    same_M: Tensor


def choose(trained: Trained, images: DataModule, fabric: Fabric) -> Threshold:
    """Choose a threshold on half of the pairs of validation images that are drawn, and measure it on the others.

    Args:
        trained: the network, on the device of `fabric`.
        images: the data it was trained on.
        fabric: the device.

    Raises:
        UserError: where the data is not here, or makes no pairs to choose by.
    """
    chosen, measured = halves(drawn_pairs(trained.network, images, fabric))
    threshold = best_threshold(*chosen)
    accepted_M, same_M = measured.distance_M.double() <= threshold, measured.same_M
    return Threshold(
        threshold=threshold,
        accuracy=accuracy(*measured, threshold),
        far=float(accepted_M[~same_M].double().mean()),
        frr=float((~accepted_M[same_M]).double().mean()),
        chosen_on=what_they_are(images),
        chosen_pairs=len(chosen.same_M),
        measured_on="others of these",
        positives=int(same_M.sum()),
        negatives=int((~same_M).sum()),
        step=trained.step,
        weights=fingerprint(trained.network),
    )


def drawn_pairs(network: SiameseNetwork, images: DataModule, fabric: Fabric) -> _Compared:
    """Pairs of validation images, half of them of one class.

    Raises:
        UserError: where there are less than two of each kind.
    """
    table = images.splits.validation
    z_ND = network.unit_vectors(embed(network, table, fabric))
    drawn = draw(z_ND, table.labels_N, DRAWN, seed=0)
    if drawn is None or len(drawn.pairs.same_N) < 4:
        raise UserError(
            f"A threshold is chosen on pairs of validation images, but the {len(table):,} of {images.title} make too "
            "few of one class and of two. Give one: threshold=0.8, or .same(a, b, threshold=0.8)."
        )
    return _Compared(pair_distances(z_ND, drawn.pairs).cpu(), drawn.pairs.same_N)


def what_they_are(images: DataModule) -> str:
    """The pairs in words, with what makes a threshold too good to hold for unseen classes."""
    train, validation, _ = images.splits
    known = set(train.class_names) & set(validation.class_names)
    return f"pairs of validation images of {images.title}{', whose classes it was trained on' if known else ''}"


def halves(drawn: _Compared) -> tuple[_Compared, _Compared]:
    """Every other pair, and the rest; the draw has no order but the kind."""
    return _Compared(*(each[::2] for each in drawn)), _Compared(*(each[1::2] for each in drawn))


def fingerprint(network: SiameseNetwork) -> str:
    """SHA-256 of the weights."""
    digest = hashlib.sha256()
    for name, state in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            state.detach().cpu().contiguous().numpy().tobytes() if isinstance(state, Tensor) else repr(state).encode()
        )
    return digest.hexdigest()


def write(threshold: Threshold, place: Path) -> None:
    """Store it, never leaving half a file."""
    draft = place.with_name(f"{place.name}.draft")
    content = {"schema_version": SCHEMA_VERSION, **asdict(threshold)}
    draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(place)


def read(place: Path) -> Threshold | None:
    """The stored threshold; None if there is none.

    Raises:
        UserError: if it is damaged, or another version wrote it.
    """
    if not place.is_file():
        return None
    try:
        content: Mapping[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {content['schema_version']} instead of {SCHEMA_VERSION}")
        return Threshold(**{name: value for name, value in content.items() if name != "schema_version"})
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{place} is damaged or of another version of siamese_lab ({error}). Delete it, and the threshold is "
            "chosen anew."
        ) from error
