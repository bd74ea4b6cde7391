"""Embed all images in a folder. The images may have any format, and need not fit into memory together.

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

from siamese_lab.data.io.file_names import escape_name
from siamese_lab.data.io.folder_walk import describe_left_out, problem_of_folder, walk_folder
from siamese_lab.data.io.messages import SHOWN, announce, announce_skipped
from siamese_lab.errors import UserError
from siamese_lab.evaluation.stages import Stages
from siamese_lab.inference import BATCH
from siamese_lab.inference.inputs import PreparedImages, prepare_image
from siamese_lab.inference.model import TrainedNetwork


class EmbeddedFolder(NamedTuple):
    """The embeddings of the images in a folder, with the names of the files."""

    folder: Path
    names: tuple[str, ...]
    """Paths of the files relative to the folder, with / as separator, in the form of `escape_name`."""
    z_ND: Tensor
    """Embeddings, float32, of unit norm."""
    changes: tuple[tuple[str, ...], ...]
    """Conversion steps of each image, in the form of `siamese_lab.data.convert.common.Converted`."""


def embed_folder(
    network: TrainedNetwork,
    folder: Path,
    *,
    batch_size: int = BATCH,
    skip_unreadable: bool = False,
    console: Console | None = None,
) -> EmbeddedFolder:
    """Embed every image in a folder and its subfolders.

    Args:
        network: the network.
        folder: folder that holds the images.
        batch_size: number of images that are decoded and embedded together.
        skip_unreadable: if True, skip files that are not readable images, and print their names. If False, raise.
        console: console that shows progress.

    Raises:
        UserError: if the folder does not exist or has no images, or if a file is not a readable image.
    """
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, but is {batch_size}.")
    names = list_files(folder)
    kept: list[str] = []
    parts: list[Tensor] = []
    changes: list[tuple[str, ...]] = []
    skipped: list[str] = []
    with Stages(console).running(f"Embedding {folder.name or folder}", len(names)) as advance:
        for start in range(0, len(names), batch_size):
            some = names[start : start + batch_size]
            readable, prepared, complaints = _prepare_files(network, folder, some, skip_unreadable, before=start)
            skipped += complaints
            if readable:
                kept += readable
                changes += prepared.changes
                parts.append(network.embed_prepared(prepared))
            advance(len(some))
    announce_skipped(skipped, len(names))
    if not kept:
        raise UserError(
            f"{escape_name(folder)} holds {len(names):,} image files, but none of them is readable. Name a folder of "
            "images."
        )
    return EmbeddedFolder(folder, tuple(kept), torch.cat(parts), tuple(changes))


def list_files(folder: Path) -> tuple[str, ...]:
    """Return the names of the image files in a folder, sorted folder by folder. Announce what is left out.

    A run on the folder reads the same files, see `siamese_lab.data.io.folder_walk`.

    Raises:
        UserError: if the folder does not exist, cannot be read or holds no image file.
    """
    name = escape_name(folder)
    if (problem := problem_of_folder(folder)) is not None:
        raise UserError(f"{name} is not a folder of images: {problem}. Name a folder that holds images.")
    content = walk_folder(folder)
    left_out = describe_left_out(folder, content.left_out)
    if not content.files:
        raise UserError(f"The folder {name} holds no image files. Name a folder that holds images. {left_out}".rstrip())
    if left_out:
        announce(left_out)
    return tuple(file.name for file in content.files)


def _prepare_files(
    network: TrainedNetwork, folder: Path, names: Sequence[str], skip: bool, before: int
) -> tuple[list[str], PreparedImages, list[str]]:
    """Prepare the readable images. Return their names, the images, and a message for each unreadable file.

    Args:
        network: the network.
        folder: folder that holds the images.
        names: names of the files.
        skip: if False, raise UserError for unreadable files.
        before: number of files that were read earlier.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        outcomes = list(threads.map(_image_reader(network, folder), names))
    bad = [str(each) for each in outcomes if isinstance(each, UserError)]
    if bad and not skip:
        shown = "\n  ".join(bad[:SHOWN])
        more = f"\n  and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else ""
        raise UserError(
            f"{len(bad):,} of the first {before + len(names):,} files in {escape_name(folder)} cannot be read as "
            "images:\n"
            f"  {shown}{more}\n"
            "Set skip_unreadable=true to skip such files."
        )
    good = [(name, each) for name, each in zip(names, outcomes, strict=True) if not isinstance(each, UserError)]
    if not good:
        return [], PreparedImages(torch.empty(0), ()), bad
    images, changes = zip(*(each for _, each in good), strict=True)
    return [name for name, _ in good], PreparedImages(torch.stack(images), changes), bad


def _image_reader(network: TrainedNetwork, folder: Path) -> Callable[[str], tuple[Tensor, tuple[str, ...]] | UserError]:
    def read_or_error(name: str) -> tuple[Tensor, tuple[str, ...]] | UserError:
        try:
            return prepare_image(folder / name, network.datamodule)
        except UserError as error:
            return error

    return read_or_error
