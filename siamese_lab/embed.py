"""Embed a folder of images: `python -m siamese_lab.embed checkpoint=PATH images=FOLDER [out=FILE] [OPTION=VALUE] …`."""

import sys

if __name__ == "__main__":  # before the imports below, which Ctrl-C may interrupt
    from siamese_lab.__main__ import start

    sys.exit(start("embed", sys.argv[1:]))


import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from siamese_lab.errors import interrupted_at_once
from siamese_lab.inference import BATCH
from siamese_lab.inference.cli import Command
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import counted, print_plainly, short


@dataclass
class Options:
    """Options of the command."""

    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    images: Annotated[Path, "a folder of images of any format, size and mode; subfolders are included"]
    out: Annotated[Path | None, "the .npz or .parquet file to write; null writes outputs/embeddings/FOLDER.npz"] = None
    batch_size: Annotated[int, "number of images to decode and embed at a time"] = BATCH
    skip_unreadable: Annotated[bool, "skip files that are no images instead of stopping"] = False
    accelerator: Annotated[str, "cpu, cuda, mps, or auto for the best available one"] = "auto"
    force: Annotated[bool, "overwrite an existing file"] = False


COMMAND = Command(
    "siamese_lab.embed",
    "Embed every image of a folder with a trained network, and write the embeddings with their file names.",
    Options,
    notes=(
        "In Python:",
        "  stored = numpy.load('photographs.npz')",
        "  stored['names'], stored['embeddings'], stored['changes']",
    ),
    examples=(
        (
            "Embed the images of a folder",
            "python -m siamese_lab.embed checkpoint=RUN images=photographs",
        ),
        (
            "Choose the file and its format",
            "python -m siamese_lab.embed checkpoint=RUN images=photographs out=faces.parquet",
        ),
        (
            "Continue at files that are no images",
            "python -m siamese_lab.embed checkpoint=RUN images=photographs skip_unreadable=true",
        ),
    ),
)


def main() -> None:
    """Run the command."""
    COMMAND.run(job)


def job(options: Options) -> None:
    """Embed the images and write the embeddings.

    Raises:
        UserError: if the checkpoint, an image or the output file cannot be used.
    """
    with interrupted_at_once():  # PyTorch is loaded only here, so that --help and wrong options are answered at once
        from siamese_lab.data.io.file_names import escape_name
        from siamese_lab.inference import embeddings_file
        from siamese_lab.inference.folder import embed_folder
        from siamese_lab.inference.model import load
        from siamese_lab.inference.new_file import check_new

    console = new_console()
    place = options.out or Path("outputs/embeddings") / f"{options.images.resolve().name}.npz"
    embeddings_file.check_kind(place)
    check_new(place, options.force)
    network = load(options.checkpoint, accelerator=options.accelerator)
    embedded = embed_folder(
        network,
        options.images,
        batch_size=options.batch_size,
        skip_unreadable=options.skip_unreadable,
        console=console,
    )
    embeddings_file.write_embeddings(embedded, network, place)
    count, dimensions = embedded.z_ND.shape
    print_plainly(
        console,
        f"{counted(count, 'image')}, {dimensions} dimensions each, by {network!r}.",
        *summarize_changes(embedded.changes),
        f"Embeddings: {escape_name(short(place))}",
    )


def summarize_changes(changes: Sequence[Sequence[str]]) -> list[str]:
    """Return one line per kind of conversion with its number of images, most frequent first."""
    kinds = (re.sub(r"^\d+×\d+ to", "resized to", each) for of_one in changes for each in of_one)
    frequencies = Counter(kinds).most_common()
    return [f"Converted: {what}, {counted(count, 'image')}" for what, count in frequencies]
