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

from siamese_lab.data.io.file_names import escape_name
from siamese_lab.errors import UserError
from siamese_lab.inference.folder import EmbeddedFolder
from siamese_lab.inference.model import TrainedNetwork
from siamese_lab.inference.new_file import new_file
from siamese_lab.inference.threshold import fingerprint
from siamese_lab.runs.checkpoint_bounds import check_archive
from siamese_lab.runs.plain_values import MAX_TEXT, WrongValueError, of_type, parse_json, shortened

NPZ, PARQUET = ".npz", ".parquet"
SEPARATOR = "; "
ABOUT = "siamese_lab"
"""Key of `about` in the metadata of a .parquet file."""


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
    return {
        "checkpoint": escape_name(trained.checkpoint.absolute()),
        "step": trained.step,
        "weights": fingerprint(network.network),
        "network": trained.choices["network"]["name"],
        "data": trained.choices["data"]["name"],
        "images": {"channels": datamodule.channels, "height": datamodule.image_size, "width": datamodule.image_size},
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
            f"{path} is not a readable file of embeddings ({shortened(str(error), 200)}). Write it again with "
            "python -m siamese_lab.embed."
        ) from error
    return stored


def check_stored(stored: StoredEmbeddings) -> None:
    """Raise WrongValueError unless the file holds a finite vector for each name, and a description of the network."""
    for key in ("folder", "weights", "checkpoint"):
        of_type(of_type(stored.about, dict[str, Any], "about").get(key), str, f"about.{key}")
    z_ND = stored.z_ND
    if z_ND.ndim != 2 or z_ND.dtype != torch.float32 or len(z_ND) != len(stored.names):
        shape = "×".join(map(str, z_ND.shape))
        raise WrongValueError(f"{len(stored.names):,} names have embeddings of {shape} {z_ND.dtype}")
    if not torch.isfinite(z_ND).all():
        raise WrongValueError("an embedding is not finite")
    for name in stored.names:
        if len(name) > MAX_TEXT or not name.isprintable():
            raise WrongValueError(f"the name {shortened(name)} is not printable")


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
    table = parquet.read_table(path)
    names = tuple(map(str, table["name"].to_pylist()))
    z_ND = torch.from_numpy(np.stack(table["embedding"].to_numpy()))
    return StoredEmbeddings(names, z_ND, parse_json(table.schema.metadata[ABOUT.encode()]))


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
