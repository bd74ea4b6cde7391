"""Write and read a file of embeddings: .npz (NumPy), or .parquet if pyarrow is installed.

An .npz file holds `names` (N), `embeddings` (N × D, float32), `changes` (N; the conversion steps of each image, joined
with "; ") and `about` (JSON that describes the network). A .parquet file holds the columns `name`, `embedding` and
`changes`, and `about` in the metadata of its schema.

Shapes: N images, D embedding dimensions.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from siamese_lab.data.io.file_names import escape_name, lies_below
from siamese_lab.errors import UserError
from siamese_lab.errors.controls import escape_line
from siamese_lab.inference.folder import EmbeddedFolder
from siamese_lab.inference.model import TrainedNetwork
from siamese_lab.inference.new_file import new_file
from siamese_lab.inference.threshold import fingerprint
from siamese_lab.runs.checkpoint_bounds import check_archive
from siamese_lab.runs.plain_values import MAX_TEXT, WrongValueError, of_type, parse_json, shortened, wrong

NPZ, PARQUET = ".npz", ".parquet"
SEPARATOR = "; "
ABOUT = "siamese_lab"
"""Key of `about` in the metadata of a .parquet file."""
FORMAT = 1
"""Version of `about`, also in exported networks. Files without a number are of version 1."""
MAX_IMAGES, MAX_NAMES = 2_000_000, 256 << 20
"""Largest number of images, and of characters of their names, in a .parquet file, which stores repeated values once."""
MAX_NUMBERS = 1 << 28
"""Largest number of components of all embeddings in a .parquet file: 1 GB."""
MAX_RATIO, SMALL = 100, 64 << 20
"""Largest ratio of the unpacked to the packed size of a .parquet file that unpacks to more than `SMALL` bytes."""


class StoredEmbeddings(NamedTuple):
    """The content of a file of embeddings."""

    names: tuple[str, ...]
    z_ND: Tensor
    about: dict[str, Any]
    """Description of the network from `about_network`, plus `folder`."""


def check_kind(path: Path) -> None:
    """Raise UserError if the suffix is neither .npz nor .parquet, or if .parquet is asked for without pyarrow."""
    if path.suffix not in (NPZ, PARQUET):
        raise UserError(f"Embeddings are written to a {NPZ} or a {PARQUET} file, but out is {path}.")
    if path.suffix == PARQUET:
        _pyarrow()


def about_network(network: TrainedNetwork) -> dict[str, Any]:
    """Return a description of the network: its checkpoint, its weights and the form of its input images."""
    trained, datamodule = network.trained, network.datamodule
    images = {"channels": datamodule.channels, "height": datamodule.image_size, "width": datamodule.image_size}
    if datamodule.stored_size is not None:
        images["resized"] = datamodule.stored_size  # the shorter side, before the middle is kept
    return {
        "format": FORMAT,
        "checkpoint": escape_name(trained.checkpoint.absolute()),
        "step": trained.step,
        "weights": fingerprint(network.network),
        "network": trained.choices["network"]["name"],
        "data": trained.choices["data"]["name"],
        "images": images,
    }


def write_embeddings(embedded: EmbeddedFolder, network: TrainedNetwork, path: Path) -> None:
    """Write the embeddings of a folder. The suffix of `path` selects the format.

    Raises:
        UserError: if the file cannot be written.
    """
    about = json.dumps(
        {"folder": escape_name(embedded.folder.absolute()), **about_network(network)}, ensure_ascii=False
    )
    changes = [SEPARATOR.join(each) for each in embedded.changes]
    with new_file(path) as draft:
        if path.suffix == PARQUET:
            _write_parquet(embedded, changes, about, draft)
        else:
            with draft.open("wb") as stream:
                np.savez(stream, names=embedded.names, embeddings=embedded.z_ND.numpy(), changes=changes, about=about)


def read_embeddings(path: Path) -> StoredEmbeddings:
    """Read a file of embeddings.

    Raises:
        UserError: if the file does not exist, is damaged, or holds something else.
    """
    if not path.is_file():
        raise UserError(f"There is no file of embeddings at {path}. Write one with python -m siamese_lab.embed.")
    try:
        stored = _read_parquet(path) if path.suffix == PARQUET else _read_npz(path)
        check_stored(stored)
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise any exception
        raise UserError(
            f"{path} is not a readable file of embeddings ({_reason(error)}). Write it again with "
            "python -m siamese_lab.embed."
        ) from error
    return stored


def _reason(error: Exception) -> str:
    """Return why a file cannot be read. NumPy's advice to unpickle objects would run the program in them."""
    if isinstance(error, MemoryError):
        return "the memory does not suffice for it"
    if "pickle" in str(error):
        return "it holds Python objects, which are never loaded, because they can run programs"
    return shortened(str(error), 200) or type(error).__name__


def check_stored(stored: StoredEmbeddings) -> None:
    """Raise WrongValueError unless the file holds a finite vector for each name, and a description of the network."""
    if (number := of_type(stored.about, dict[str, Any], "about").get("format", FORMAT)) != FORMAT:
        raise WrongValueError(
            f"its description has format {shortened(str(number))}, which another version of siamese_lab wrote; this "
            f"one reads {FORMAT}"
        )
    for key in ("folder", "weights", "checkpoint"):
        text = of_type(stored.about.get(key), str, f"about.{key}")
        if escape_line(text) != text:
            raise wrong(f"about.{key}", text, "printable characters")
    z_ND = stored.z_ND
    if z_ND.ndim != 2 or z_ND.dtype != torch.float32 or len(z_ND) != len(stored.names):
        shape = "×".join(map(str, z_ND.shape))
        raise WrongValueError(f"{len(stored.names):,} names have embeddings of {shape} {z_ND.dtype}")
    if not torch.isfinite(z_ND).all():
        raise WrongValueError("an embedding is not finite")
    for name in stored.names:
        if len(name) > MAX_TEXT or escape_line(name) != name:
            raise WrongValueError(f"the name {shortened(name)} is not printable")
        if not lies_below(name):
            raise WrongValueError(f"the name {shortened(name)} leads out of the folder of the images")


def _read_npz(path: Path) -> StoredEmbeddings:
    check_archive(path)
    with np.load(path, allow_pickle=False) as stored:
        names = tuple(str(name) for name in stored["names"])
        return StoredEmbeddings(names, torch.from_numpy(stored["embeddings"]), parse_json(str(stored["about"])))


def _write_parquet(embedded: EmbeddedFolder, changes: list[str], about: str, draft: Path) -> None:
    arrow, parquet = _pyarrow()
    flat = arrow.array(embedded.z_ND.flatten().numpy())
    columns = {
        "name": arrow.array(embedded.names),
        "embedding": arrow.FixedSizeListArray.from_arrays(flat, embedded.z_ND.shape[1]),
        "changes": arrow.array(changes),
    }
    table = arrow.table(columns).replace_schema_metadata({ABOUT: about})
    parquet.write_table(table, draft)


def _read_parquet(path: Path) -> StoredEmbeddings:
    _, parquet = _pyarrow()
    with parquet.ParquetFile(path) as file:
        check_parquet(file.metadata, path.stat().st_size)
        names = _read_names(file)
        embeddings = file.read(columns=["embedding"])["embedding"]
        about = file.schema_arrow.metadata[ABOUT.encode()]
    return StoredEmbeddings(names, torch.from_numpy(np.stack(embeddings.to_numpy())), parse_json(about))


def check_parquet(metadata: Any, size: int) -> None:
    """Raise WrongValueError if the metadata of a .parquet file announces more values than the bounds of this module.

    Args:
        metadata: a `pyarrow.parquet.FileMetaData`.
        size: size of the file in bytes.
    """
    if metadata.num_rows > MAX_IMAGES:
        raise WrongValueError(f"it has {metadata.num_rows:,} rows, expected at most {MAX_IMAGES:,}")
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    numbers = sum(column.num_values for column in columns if column.path_in_schema.startswith("embedding."))
    if numbers > MAX_NUMBERS:
        raise WrongValueError(f"its embeddings have {numbers:,} numbers, expected at most {MAX_NUMBERS:,}")
    unpacked = sum(column.total_uncompressed_size for column in columns)
    if unpacked > max(SMALL, MAX_RATIO * size):
        raise WrongValueError(f"it unpacks to {unpacked:,} bytes, but has {size:,}")


def _read_names(file: Any) -> tuple[str, ...]:
    """Return the names in a .parquet file. They are read one by one, because one stored name can stand in all rows."""
    names: list[str] = []
    left = MAX_NAMES
    for part in file.iter_batches(columns=["name"]):
        for value in part.column("name"):
            names.append(str(value))
            left -= len(names[-1])
            if left < 0:
                raise WrongValueError(f"its names have more than {MAX_NAMES:,} characters")
    return tuple(names)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            "A .parquet file needs pyarrow, which is not installed. Run `pip install 'siamese_lab[parquet]'`, or set "
            "out to a .npz file."
        ) from error
    return pyarrow, pyarrow.parquet
