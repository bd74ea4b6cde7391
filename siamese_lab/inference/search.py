"""Search a gallery for the images that are nearest to a query image.

Shapes: N images, D embedding dimensions.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from siamese_lab.data.io.file_names import escape_name, find_file
from siamese_lab.data.io.folder_walk import problem_of_folder
from siamese_lab.errors import UserError
from siamese_lab.inference import embeddings_file
from siamese_lab.inference.folder import embed_folder
from siamese_lab.inference.model import TrainedNetwork
from siamese_lab.inference.threshold import fingerprint
from siamese_lab.metrics.nearest import nearest


class Gallery(NamedTuple):
    """The images to search, with their embeddings."""

    folder: Path
    """Folder that the names are relative to."""
    names: tuple[str, ...]
    z_ND: Tensor


class Hit(NamedTuple):
    """One result of a search."""

    path: Path
    name: str
    """Path relative to the folder that was searched."""
    distance: float


def gallery_of(
    network: TrainedNetwork, path: Path, *, skip_unreadable: bool = False, console: Console | None = None
) -> Gallery:
    """Build a gallery: embed the images of a folder, or read a file that `siamese_lab.embed` wrote.

    Raises:
        UserError: in the same cases as `embed_folder` and `read_embeddings`, and if another network computed the
            embeddings.
    """
    if problem_of_folder(path) is None or path.suffix not in (embeddings_file.NPZ, embeddings_file.PARQUET):
        embedded = embed_folder(network, path, skip_unreadable=skip_unreadable, console=console)
        return Gallery(path, embedded.names, embedded.z_ND)
    stored = embeddings_file.read_embeddings(path)
    if stored.about["weights"] != fingerprint(network.network):
        raise UserError(
            f"The embeddings in {path} were computed by another network ({stored.about['checkpoint']}), so distances "
            "to embeddings by this network have no meaning. Embed the folder again with python -m siamese_lab.embed."
        )
    return Gallery(Path(stored.about["folder"]), stored.names, stored.z_ND)


def search(network: TrainedNetwork, query: Path, gallery: Gallery, k: int) -> list[Hit]:
    """Return the k nearest images, the nearest first, or fewer if the gallery has fewer. The query itself is excluded.

    Raises:
        UserError: if the query is not an image, k is below 1, or the gallery holds only the query.
    """
    if k < 1:
        raise UserError(f"k must be at least 1, but is {k}.")
    z_1D = network.embed(query)
    itself = _index_in_gallery(query, gallery)
    num_candidates = len(gallery.names) - (itself is not None)
    if not num_candidates:
        raise UserError(
            f"{escape_name(gallery.folder)} holds only the query, but a search needs at least 1 other image."
        )
    leave_out = None if itself is None else torch.tensor([itself])
    found = nearest(z_1D, gallery.z_ND, min(k, num_candidates), leave_out)
    names = [gallery.names[index] for index in found.index_Qk[0].tolist()]
    return [
        Hit(gallery.folder / name, name, distance)
        for name, distance in zip(names, found.distance_Qk[0].tolist(), strict=True)
    ]


def _index_in_gallery(query: Path, gallery: Gallery) -> int | None:
    """Return the index of the query in the gallery, or None if the query is not in the gallery."""
    folder, query = find_file(gallery.folder).resolve(), query.resolve()
    if not query.is_relative_to(folder):
        return None
    name = escape_name(query.relative_to(folder).as_posix())
    return gallery.names.index(name) if name in gallery.names else None
