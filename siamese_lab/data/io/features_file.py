"""Write and read a file of frozen features: the outputs of a backbone for a data set, with classes, parts and roles.

The file is an uncompressed .npz. `features` holds one row (float32) for each stored image. Each part has the rows and
labels of its images; official pairs and roles follow as rows. `about` and `classes` are JSON.

Shapes: S stored images, F features, N images of a part, M pairs.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from siamese_lab.data.io.messages import readable
from siamese_lab.data.official_protocols import RowPairs
from siamese_lab.data.tables.feature_table import FeatureTable
from siamese_lab.errors import UserError
from siamese_lab.query_gallery import QueryGallery
from siamese_lab.runs.checkpoint_bounds import check_archive
from siamese_lab.runs.files import whole_file
from siamese_lab.runs.plain_values import WrongValueError, build_record, check_name, of_type, parse_json

SUFFIX = ".npz"
FORMAT = 1
"""Version of the files, and a part of the name of kept ones. Increase it when the same network gives other content."""
PARTS = ("train", "validation", "test")
MORE_PARTS = ("pairs", "gallery")
"""Further images that the test of some sets uses."""
ROLES = ("query", "gallery_role", "group")
MOST_FEATURES = 1_000_000


@dataclass
class AboutFeatures:
    """The origin of features. Checkpoints of networks on top of them store it."""

    features: int
    """F."""
    encoder: str
    """SHA-256 of the backbone's weights."""
    network: str
    """Name of the backbone."""
    images: str
    """Form of the images that the backbone gets."""
    data: dict[str, Any]
    """Options of the source set that decide which images and classes are in which part, with its name."""
    title: str
    protocol: str | None
    """Title and protocol of the source set."""
    source: dict[str, str]
    """Provenance of the images."""

    @classmethod
    def of(cls, content: Any) -> "AboutFeatures":
        """Return the record of plain values from a file.

        Raises:
            WrongValueError: if they have another form.
        """
        about = build_record(cls, content, "about")
        if not 0 < about.features <= MOST_FEATURES:
            raise WrongValueError(f"about.features is {about.features}, expected 1 to {MOST_FEATURES:,}")
        shown = {name: getattr(about, name) for name in ("encoder", "network", "images", "title", "protocol")}
        for name, text in (*shown.items(), ("data.name", about.data.get("name")), *about.source.items()):
            if text is not None or name == "data.name":
                check_name(text, f"about.{name}")
        return about


class StoredFeatures(NamedTuple):
    """The content of a file of features."""

    about: AboutFeatures
    tables: dict[str, FeatureTable]
    """The three parts, and `pairs` and `gallery` if the source set has them."""
    pairs_name: str | None = None
    """Name of the official pairs; None if there are none."""
    choose: RowPairs | None = None
    decide: RowPairs | None = None
    roles: Mapping[str, QueryGallery] = {}
    """Roles of the images of validation and test, by part; empty if all images are queries and searched."""

    @property
    def features_SF(self) -> Tensor:
        """Return the features of all stored images."""
        return self.tables["train"].stored_SF

    def checksum(self) -> str:
        """Return the SHA-256 of all features, labels and rows."""
        digest = hashlib.sha256()
        for name, array in sorted(arrays_of(self).items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def arrays_of(stored: StoredFeatures) -> dict[str, NDArray[Any]]:
    """Return the arrays that a file holds, without its texts."""
    tensors: dict[str, Tensor] = {"features": stored.features_SF}
    for part, table in stored.tables.items():
        tensors |= {f"{part}.rows": table.row_N, f"{part}.labels": table.labels_N}
    for use, pairs in (("choose", stored.choose), ("decide", stored.decide)):
        if pairs is not None:
            tensors |= {f"pairs.{use}.{name}": each_M for name, each_M in pairs._asdict().items()}
    for part, roles in stored.roles.items():
        tensors |= {f"{part}.{name}": each_N for name, each_N in zip(ROLES, roles, strict=True) if each_N is not None}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def write_features(stored: StoredFeatures, path: Path) -> None:
    """Write a file completely or not at all. Its folder must exist."""
    texts = {
        "about": {"format": FORMAT, "pairs": stored.pairs_name, **asdict(stored.about)},
        "classes": {part: list(table.class_names) for part, table in stored.tables.items()},
    }
    with whole_file(path) as draft, draft.open("wb") as stream:
        arrays = arrays_of(stored) | {name: np.array(json.dumps(text)) for name, text in texts.items()}
        np.savez(stream, allow_pickle=False, **arrays)


def read_features(path: Path) -> StoredFeatures:
    """Read a file of features.

    Raises:
        UserError: if it does not exist, is damaged, holds no classes or no finite features, or something else.
    """
    if not path.is_file():
        raise UserError(f"There is no file of features {path}.")
    try:
        with readable(path):
            check_archive(path)
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            check_kind(arrays)
            return stored_features(arrays)
    except WrongValueError as error:
        raise UserError(f"{path} is no usable file of features: {error}.") from error


def check_kind(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise WrongValueError unless the file holds features with classes and parts."""
    if "embeddings" in arrays:
        raise WrongValueError(
            "it holds embeddings of a folder without classes and parts, written by siamese_lab.embed. "
            "Use the run that the network comes from"
        )
    needed = ("features", "about", "classes", *(f"{part}.{name}" for part in PARTS for name in ("rows", "labels")))
    if missing := [name for name in needed if name not in arrays]:
        raise WrongValueError(f"it lacks {', '.join(missing)}")


def stored_features(arrays: Mapping[str, NDArray[Any]]) -> StoredFeatures:
    """Return the content of the arrays in a file, each checked for its type, shape and range.

    Raises:
        WrongValueError: if an array has another form than `write_features` gives it.
    """
    about = of_type(parse_json(str(arrays["about"])), dict[str, Any], "about")
    if about.pop("format", None) != FORMAT:
        raise WrongValueError(f"another version of siamese_lab wrote it; this one reads format {FORMAT}")
    pairs_name = of_type(about.pop("pairs", None), str | None, "about.pairs")
    described = AboutFeatures.of(about)
    features_SF = torch.from_numpy(arrays["features"])
    if features_SF.ndim != 2 or features_SF.dtype != torch.float32 or features_SF.shape[1] != described.features:
        raise WrongValueError(f"features are {features_SF.dtype} {tuple(features_SF.shape)}, expected float32 rows")
    check_finite(features_SF)
    classes = of_type(parse_json(str(arrays["classes"])), dict[str, list[str]], "classes")
    tables = {
        part: table_of(part, features_SF, arrays, tuple(classes.get(part, ())))
        for part in (*PARTS, *MORE_PARTS)
        if f"{part}.rows" in arrays
    }
    roles = {part: roles_of(part, arrays, tables[part]) for part in PARTS if f"{part}.query" in arrays}
    if pairs_name is None:
        return StoredFeatures(described, tables, roles=roles)
    choose, decide = (pairs_of(use, arrays, tables) for use in ("choose", "decide"))
    return StoredFeatures(described, tables, pairs_name, choose, decide, roles)


def check_finite(features_SF: Tensor) -> None:
    """Raise WrongValueError if a feature is NaN or infinite."""
    broken = int((~torch.isfinite(features_SF).all(1)).sum())
    if broken:
        raise WrongValueError(
            f"the features of {broken:,} of {len(features_SF):,} images are not finite. Embed the images with another "
            "checkpoint"
        )


def table_of(
    part: str, features_SF: Tensor, arrays: Mapping[str, NDArray[Any]], class_names: tuple[str, ...]
) -> FeatureTable:
    """Return the table of one part."""
    row_N = numbers(arrays, f"{part}.rows", len(features_SF))
    labels_N = numbers(arrays, f"{part}.labels", len(class_names))
    if len(row_N) != len(labels_N):
        raise WrongValueError(f"{part} has {len(row_N):,} images but {len(labels_N):,} labels")
    return FeatureTable(features_SF, labels_N, class_names, row_N)


def pairs_of(use: str, arrays: Mapping[str, NDArray[Any]], tables: Mapping[str, FeatureTable]) -> RowPairs:
    """Return the pairs of one use, as rows of the table of pairs."""
    if "pairs" not in tables:
        raise WrongValueError("it names official pairs but lacks their images")
    first_M, second_M = (numbers(arrays, f"pairs.{use}.{name}", len(tables["pairs"])) for name in RowPairs._fields[:2])
    same_M = flags(arrays, f"pairs.{use}.same_M", len(first_M))
    if len(second_M) != len(first_M):
        raise WrongValueError(f"pairs.{use} have {len(first_M):,} first but {len(second_M):,} second images")
    return RowPairs(first_M, second_M, same_M)


def roles_of(part: str, arrays: Mapping[str, NDArray[Any]], table: FeatureTable) -> QueryGallery:
    """Return the roles of the images of a part."""
    query_N, gallery_N = (flags(arrays, f"{part}.{name}", len(table)) for name in ROLES[:2])
    if (place := f"{part}.{ROLES[2]}") not in arrays:
        return QueryGallery(query_N, gallery_N)
    group_N = torch.from_numpy(arrays[place])
    if group_N.dtype != torch.int64 or group_N.shape != query_N.shape or bool((group_N < -1).any()):
        raise WrongValueError(f"{place} is no list of {len(table):,} groups")
    return QueryGallery(query_N, gallery_N, group_N)


def numbers(arrays: Mapping[str, NDArray[Any]], name: str, end: int) -> Tensor:
    """Return a list of whole numbers (int64) from 0 to `end` − 1."""
    values_N = torch.from_numpy(arrays[name]) if name in arrays else torch.empty(0, 0)
    if values_N.ndim != 1 or values_N.dtype != torch.int64:
        raise WrongValueError(f"{name} is no list of whole numbers")
    if len(values_N) and not 0 <= int(values_N.min()) <= int(values_N.max()) < end:
        raise WrongValueError(
            f"{name} has numbers from {int(values_N.min())} to {int(values_N.max())}, not below {end}"
        )
    return values_N


def flags(arrays: Mapping[str, NDArray[Any]], name: str, count: int) -> Tensor:
    """Return a list of `count` booleans."""
    values_N = torch.from_numpy(arrays[name]) if name in arrays else torch.empty(0, 0)
    if values_N.dtype != torch.bool or values_N.shape != (count,):
        raise WrongValueError(f"{name} is no list of {count:,} booleans")
    return values_N
