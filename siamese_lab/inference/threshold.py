"""Choose the largest distance at which two images count as one class, and measure its error rates on other pairs.

The threshold is chosen on half of the pairs that are drawn from validation images. The error rates are measured on the
other half. If the data set keeps validation classes out of training, they are error rates on unseen classes. Otherwise
the result says that the classes were seen. The threshold is stored in the run folder, in `threshold.json`. Test images
are not used, so the test results stay valid.

The official pairs for choosing a threshold are not used either. In View 1 of LFW they show people that the network has
seen, and images of seen people lie closer together. After 4,000 steps of hard mining, the best threshold of the
official pairs was 1.01. It rejected 47% of the positive pairs of validation people, and decided 81.7% of the test pairs
of View 1 correctly. The threshold of the validation people was 1.24. It rejected 14% and decided 87.4% correctly (all
in float32).

Shapes: M pairs, N images, D embedding dimensions.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from lightning import Fabric
from torch import Tensor

from siamese_lab.data import DataModule
from siamese_lab.data.io.messages import announce
from siamese_lab.errors import UserError
from siamese_lab.errors.controls import escape_line
from siamese_lab.evaluation.embed import embed
from siamese_lab.evaluation.protocols import draw_pairs
from siamese_lab.evaluation.trained import Trained
from siamese_lab.metrics.pairs import pair_distances
from siamese_lab.metrics.verification import accuracy, best_threshold
from siamese_lab.networks import SiameseNetwork
from siamese_lab.runs import checkpoints
from siamese_lab.runs.files import write_json
from siamese_lab.runs.plain_values import WrongValueError, build_record, read_json, wrong

FILE_NAME = "threshold.json"
SCHEMA_VERSION = 1
NUM_PAIRS = 20_000
"""Number of pairs to draw from the validation images. There are fewer if the images give fewer."""


@dataclass(frozen=True)
class Threshold:
    """A threshold, its error rates, and the pairs and weights that they belong to."""

    threshold: float
    """Largest distance (0…2) that is accepted as the same class."""
    accuracy: float
    """Fraction of the measured pairs that are decided correctly. Half of the pairs have one class."""
    far: float
    """False accept rate: fraction of the measured pairs of two classes that are accepted."""
    frr: float
    """False reject rate: fraction of the measured pairs of one class that are rejected."""
    chosen_on: str
    """Description of the pairs that the threshold was chosen on."""
    chosen_pairs: int
    measured_on: str
    """Description of the pairs for the accuracy and both rates. The threshold was not chosen on these pairs."""
    positives: int
    """Number of measured pairs of one class."""
    negatives: int
    """Number of measured pairs of two classes."""
    step: int
    """Training step of the weights."""
    weights: str
    """SHA-256 of the weights. It shows whether a stored threshold belongs to other weights."""

    def describe(self) -> str:
        """Return the threshold and its error rates in one line."""
        return (
            f"{self.threshold:.3f}, chosen on {self.chosen_pairs:,} {escape_line(self.chosen_on)}; measured on "
            f"{escape_line(self.measured_on)}: "
            f"accepts {self.far:.1%} of {self.negatives:,} pairs of two classes, rejects {self.frr:.1%} of "
            f"{self.positives:,} pairs of one class, {self.accuracy:.1%} correct"
        )


def load_or_choose_threshold(trained: Trained, datamodule: DataModule, fabric: Fabric) -> Threshold:
    """Return the stored threshold of a network. If none is stored, choose one and store it.

    Raises:
        UserError: if the data is not on this machine or gives too few pairs, or if another version wrote the stored
            threshold.
    """
    if (stored := stored_threshold(trained)) is not None:
        return stored
    path = threshold_path(trained.checkpoint)
    chosen = choose_threshold(trained, datamodule, fabric)
    try:
        write_threshold(chosen, path)
    except OSError as error:
        announce(f"The threshold could not be stored in {path} ({error.strerror}), so the next use chooses it again.")
    return chosen


def stored_threshold(trained: Trained) -> Threshold | None:
    """Return the stored threshold of these weights, or None if there is none.

    Raises:
        UserError: if the file is damaged, or another version wrote it.
    """
    stored = read_threshold(threshold_path(trained.checkpoint))
    return stored if stored is not None and stored.weights == fingerprint(trained.network) else None


def threshold_path(checkpoint: Path) -> Path:
    """Return the path of a checkpoint's threshold file.

    It is `threshold.json` in the run folder for the checkpoint that the run reports. For any other checkpoint it is a
    file in the folder of the checkpoint.
    """
    run = checkpoints.run_of(checkpoint)
    if run is not None and checkpoints.find_checkpoint(run).absolute() == checkpoint.absolute():
        return run / FILE_NAME
    return checkpoint.with_name(f"{checkpoint.stem}.{FILE_NAME}")


class _PairDistances(NamedTuple):
    """The distance of each pair of images, and whether its images have one class."""

    distance_M: Tensor
    same_M: Tensor


def choose_threshold(trained: Trained, datamodule: DataModule, fabric: Fabric) -> Threshold:
    """Choose a threshold on half of the sampled pairs of validation images, and measure it on the other half.

    Args:
        trained: the network, on the device of `fabric`.
        datamodule: the data of its training.
        fabric: the device.

    Raises:
        UserError: if the data is not on this machine, or gives too few pairs.
    """
    chosen, measured = split_in_halves(sample_pair_distances(trained.network, datamodule, fabric))
    threshold = best_threshold(*chosen)
    accepted_M, same_M = measured.distance_M.double() <= threshold, measured.same_M
    return Threshold(
        threshold=threshold,
        accuracy=accuracy(*measured, threshold),
        far=float(accepted_M[~same_M].double().mean()),
        frr=float((~accepted_M[same_M]).double().mean()),
        chosen_on=describe_pairs(datamodule),
        chosen_pairs=len(chosen.same_M),
        measured_on="other such pairs",
        positives=int(same_M.sum()),
        negatives=int((~same_M).sum()),
        step=trained.step,
        weights=fingerprint(trained.network),
    )


def sample_pair_distances(network: SiameseNetwork, datamodule: DataModule, fabric: Fabric) -> _PairDistances:
    """Sample pairs of validation images, half of them of one class, and return their distances.

    Raises:
        UserError: if the images give fewer than two pairs of each kind.
    """
    table = datamodule.splits.validation
    z_ND = network.unit_vectors(embed(network, table, fabric))
    drawn = draw_pairs(z_ND, table.labels_N, NUM_PAIRS, seed=0)
    if drawn is None or len(drawn.pairs.same_N) < 4:
        raise UserError(
            f"A threshold needs at least 2 pairs of one class and 2 pairs of two classes, but the {len(table):,} "
            f"validation images of {datamodule.title} give fewer. Set threshold=0.8, or call "
            ".same(a, b, threshold=0.8)."
        )
    return _PairDistances(pair_distances(z_ND, drawn.pairs).cpu(), drawn.pairs.same_N)


def describe_pairs(datamodule: DataModule) -> str:
    """Describe the pairs, and say if their classes were seen in training: error rates on seen classes are too low."""
    train, validation, _ = datamodule.splits
    seen = set(train.class_names) & set(validation.class_names)
    return f"pairs of validation images of {datamodule.title}{' (classes seen in training)' if seen else ''}"


def split_in_halves(drawn: _PairDistances) -> tuple[_PairDistances, _PairDistances]:
    """Split the pairs into two halves: pairs at even and at odd positions. Both halves have both kinds of pairs."""
    return _PairDistances(*(each[::2] for each in drawn)), _PairDistances(*(each[1::2] for each in drawn))


def fingerprint(network: SiameseNetwork) -> str:
    """Return the SHA-256 of the weights."""
    digest = hashlib.sha256()
    for name, state in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(
            state.detach().cpu().contiguous().numpy().tobytes() if isinstance(state, Tensor) else repr(state).encode()
        )
    return digest.hexdigest()


def write_threshold(threshold: Threshold, path: Path) -> None:
    """Write a threshold file completely or not at all."""
    write_json(path, {"schema_version": SCHEMA_VERSION, **asdict(threshold)})


def check_threshold(stored: Threshold) -> None:
    """Raise WrongValueError for numbers that have the declared type but cannot come from measured pairs."""
    for name, largest in {"threshold": 2, "accuracy": 1, "far": 1, "frr": 1}.items():
        value = getattr(stored, name)
        if not 0 <= value <= largest:  # also refuses NaN
            raise wrong(name, value, f"a number in 0…{largest}")
    for name in ("chosen_pairs", "positives", "negatives", "step"):
        if getattr(stored, name) < 0:
            raise wrong(name, getattr(stored, name), "at least 0")


def read_threshold(path: Path) -> Threshold | None:
    """Read a threshold file. Return None if there is none.

    Raises:
        UserError: if the file is damaged, or another version wrote it.
    """
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            raise WrongValueError(f"its schema version is not {SCHEMA_VERSION}")
        stored = build_record(Threshold, {name: value for name, value in content.items() if name != "schema_version"})
        check_threshold(stored)
        return stored
    except (OSError, WrongValueError) as error:
        raise UserError(
            f"{path} is damaged, or another version of siamese_lab wrote it ({error}). Delete the file. The next use "
            "chooses the threshold again."
        ) from error
