"""The embeddings of all images in a folder, which may be more than fit into memory, and of any format.

Shapes: N images, D embedding dimensions.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from siamese_lab.data.io.image_files import list_images
from siamese_lab.data.io.messages import announce
from siamese_lab.errors import UserError
from siamese_lab.evaluation.stages import Stages
from siamese_lab.inference.inputs import Taken, take_one
from siamese_lab.inference.model import BATCH, TrainedNetwork

SHOWN = 5
"""Files that a message names."""


class EmbeddedFolder(NamedTuple):
    """Embeddings with the files they are of."""

    place: Path
    names: tuple[str, ...]
    """Of the files, from the folder, with / between folders."""
    z_ND: Tensor
    """float32, of unit norm."""
    changes: tuple[tuple[str, ...], ...]
    """What was done to each image, as `siamese_lab.data.convert.common.Converted` has it."""


def embed_folder(
    network: TrainedNetwork,
    place: Path,
    *,
    batch_size: int = BATCH,
    skip_unreadable: bool = False,
    console: Console | None = None,
) -> EmbeddedFolder:
    """Embed every image in a folder and in the folders in it.

    Args:
        network: whose embeddings they are.
        place: the folder.
        batch_size: images that are decoded and embedded at a time.
        skip_unreadable: leave out files that are no images, each of which is named, instead of stopping at them.
        console: where to show progress.

    Raises:
        UserError: for a folder that is not there or has no images, and for files that are none.
    """
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, but is {batch_size}.")
    names = files_in(place)
    kept: list[str] = []
    parts: list[Tensor] = []
    changes: list[tuple[str, ...]] = []
    with Stages(console).running(f"Embedding {place.name or place}", len(names)) as advance:
        for start in range(0, len(names), batch_size):
            some = names[start : start + batch_size]
            readable, taken = _read(network, place, some, skip_unreadable, before=start)
            if readable:
                kept += readable
                changes += taken.changes
                parts.append(network.embed_taken(taken))
            advance(len(some))
    if not kept:
        raise UserError(f"{place} holds {len(names):,} files, but none of them can be read as an image.")
    return EmbeddedFolder(place, tuple(kept), torch.cat(parts), tuple(changes))


def files_in(place: Path) -> tuple[str, ...]:
    """The names of all files in a folder but hidden ones, sorted folder by folder.

    Raises:
        UserError: if there is no such folder, or nothing in it.
    """
    if not place.is_dir():
        raise UserError(f"There is no folder {place}{', but a file' * place.exists()}. Name one that holds images.")
    names = tuple(name for name in list_images(place, "").names if not any(map(_is_hidden, name.split("/"))))
    if not names:
        raise UserError(f"The folder {place} holds no files, so there are no images in it.")
    return names


def _is_hidden(part: str) -> bool:
    return part.startswith(".") or part in ("Thumbs.db", "desktop.ini")


def _read(
    network: TrainedNetwork, place: Path, names: Sequence[str], skip: bool, before: int
) -> tuple[list[str], Taken]:
    """Those that can be read, after so many `before`; of the others each is named."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        read = list(threads.map(_reader(network, place), names))
    bad = [str(each) for each in read if isinstance(each, UserError)]
    if bad and not skip:
        listed = "\n  ".join(bad[:SHOWN])
        more = f"\n  and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else ""
        raise UserError(
            f"Of the first {before + len(names):,} files in {place}, {len(bad):,} cannot be read as images:\n"
            f"  {listed}{more}\n"
            "Set skip_unreadable=true to leave out such files."
        )
    for complaint in bad:
        announce(f"Left out: {complaint}")
    good = [(name, each) for name, each in zip(names, read, strict=True) if not isinstance(each, UserError)]
    if not good:
        return [], Taken(torch.empty(0), ())
    images, changes = zip(*(each for _, each in good), strict=True)
    return [name for name, _ in good], Taken(torch.stack(images), changes)


def _reader(network: TrainedNetwork, place: Path) -> Callable[[str], tuple[Tensor, tuple[str, ...]] | UserError]:
    def read(name: str) -> tuple[Tensor, tuple[str, ...]] | UserError:
        try:
            return take_one(place / name, network.images)
        except UserError as error:
            return error

    return read
