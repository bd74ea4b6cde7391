"""Embed a folder of images: `python -m siamese_lab.embed checkpoint=PATH images=FOLDER [out=FILE] [OPTION=VALUE] …`."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from siamese_lab.inference import embeddings_file
from siamese_lab.inference.cli import Command
from siamese_lab.inference.folder import embed_folder
from siamese_lab.inference.model import BATCH, load
from siamese_lab.inference.new_file import check_new
from siamese_lab.runs.display import print_plainly, short


@dataclass
class Options:
    """Of the command."""

    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    images: Annotated[Path, "a folder of images of any format, size and mode, which may lie in folders of their own"]
    out: Annotated[Path | None, "the .npz or .parquet to write; null is outputs/embeddings/FOLDER.npz"] = None
    batch_size: Annotated[int, "images that are decoded and embedded at a time"] = BATCH
    skip_unreadable: Annotated[bool, "leave out files that are no images instead of stopping at them"] = False
    accelerator: Annotated[str, "cpu, cuda, mps, or auto for what there is"] = "auto"
    force: Annotated[bool, "write over a file that exists"] = False


COMMAND = Command(
    "siamese_lab.embed",
    "Embed every image in a folder with a trained network, and write the embeddings with the names of their files.",
    Options,
    examples=(
        "python -m siamese_lab.embed checkpoint=outputs/runs/… images=photographs",
        "python -m siamese_lab.embed checkpoint=outputs/runs/… images=photographs out=faces.parquet",
        "",
        "In Python: stored = numpy.load('faces.npz'); stored['names'], stored['embeddings'], stored['changes']",
    ),
)


def main() -> None:
    """The command."""
    COMMAND.run(job)


def job(options: Options) -> None:
    """Embed and write.

    Raises:
        UserError: for a checkpoint, images or a file to write that are not what they should be.
    """
    console = Console()
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
        f"{count:,} images, {dimensions} dimensions each, by {network!r}.",
        *told_changes(embedded.changes),
        f"Embeddings: {short(place)}",
    )


def told_changes(changes: Sequence[Sequence[str]]) -> list[str]:
    """What was done to how many images, the most frequent first."""
    kinds = (re.sub(r"^\d+×\d+ to", "resized to", each) for of_one in changes for each in of_one)
    counted = Counter(kinds).most_common()
    return [f"Converted: {what}, {count:,} image{'s' * (count > 1)}" for what, count in counted]


if __name__ == "__main__":
    main()
