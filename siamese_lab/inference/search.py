"""The images of a folder that are nearest to one image.

Shapes: N images, D embedding dimensions.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.inference import embeddings_file
from siamese_lab.inference.folder import embed_folder
from siamese_lab.inference.model import TrainedNetwork
from siamese_lab.inference.threshold import fingerprint
from siamese_lab.metrics.nearest import nearest


class Gallery(NamedTuple):
    """What is searched."""

    place: Path
    """The folder that the names start from."""
    names: tuple[str, ...]
    z_ND: Tensor


class Hit(NamedTuple):
    """An image that was found."""

    path: Path
    name: str
    """From the folder that was searched."""
    distance: float


def gallery_of(
    network: TrainedNetwork, place: Path, *, skip_unreadable: bool = False, console: Console | None = None
) -> Gallery:
    """The images of a folder, embedded now, or those of a file that `siamese_lab.embed` wrote.

    Raises:
        UserError: as `embed_folder` and `embeddings_file.read`; for embeddings by another network.
    """
    if place.is_dir() or place.suffix not in (embeddings_file.NPZ, embeddings_file.PARQUET):
        embedded = embed_folder(network, place, skip_unreadable=skip_unreadable, console=console)
        return Gallery(place, embedded.names, embedded.z_ND)
    stored = embeddings_file.read(place)
    if stored.about["weights"] != fingerprint(network.network):
        raise UserError(
            f"{place} is of another network ({stored.about['checkpoint']}), whose distances from those of "
            "this one mean nothing. Embed the folder anew: python -m siamese_lab.embed."
        )
    return Gallery(Path(stored.about["folder"]), stored.names, stored.z_ND)


def search(network: TrainedNetwork, query: Path, gallery: Gallery, k: int) -> list[Hit]:
    """The k nearest, the nearest first, fewer where there are not as many; the query itself is not among them.

    Raises:
        UserError: for a query that is no image, for k below 1, and where there is nothing but the query.
    """
    if k < 1:
        raise UserError(f"k must be at least 1, but is {k}.")
    z_1D = network.embed(query)
    itself = _place_of(query, gallery)
    left = len(gallery.names) - (itself is not None)
    if not left:
        raise UserError(f"{gallery.place} holds no image but the query.")
    leave_out = None if itself is None else torch.tensor([itself])
    found = nearest(z_1D, gallery.z_ND, min(k, left), leave_out)
    names = [gallery.names[index] for index in found.index_Qk[0].tolist()]
    return [
        Hit(gallery.place / name, name, distance)
        for name, distance in zip(names, found.distance_Qk[0].tolist(), strict=True)
    ]


def _place_of(query: Path, gallery: Gallery) -> int | None:
    """Which of the gallery the query itself is."""
    folder, query = gallery.place.resolve(), query.resolve()
    if not query.is_relative_to(folder):
        return None
    name = query.relative_to(folder).as_posix()
    return gallery.names.index(name) if name in gallery.names else None
