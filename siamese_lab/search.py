"""Find the images nearest to a query image.

Usage: `python -m siamese_lab.search QUERY.jpg in=FOLDER checkpoint=PATH [OPTION=VALUE] …`.
"""

import sys

if __name__ == "__main__":  # before the imports below, which Ctrl-C may interrupt
    from siamese_lab.__main__ import start

    sys.exit(start("search", sys.argv[1:]))


from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from siamese_lab.errors import UserError, interrupted_at_once
from siamese_lab.inference.cli import Command
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import counted, print_plainly, short
from siamese_lab.runs.drawing import without_font_warnings

DPI = 150


@dataclass
class Options:
    """Options of the command."""

    query: Annotated[Path, "the query image"]
    folder: Annotated[Path, "a folder of images, or a file of embeddings from siamese_lab.embed", "in"]
    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    k: Annotated[int, "number of images to find"] = 10
    out: Annotated[Path | None, "the picture to write; null writes outputs/search/QUERY.png"] = None
    skip_unreadable: Annotated[bool, "skip files that are no images instead of stopping"] = False
    accelerator: Annotated[str, "cpu, cuda, mps, or auto for the best available one"] = "auto"
    force: Annotated[bool, "overwrite an existing picture"] = False


COMMAND = Command(
    "siamese_lab.search",
    "Find the images of a folder that are nearest to a query image. Prints a list and draws a picture. If the network "
    "has a threshold (siamese_lab.verify chooses it), each image is marked as within it (✓) or not (✗).",
    Options,
    words=("QUERY.jpg",),
    examples=(
        (
            "Search a folder of images",
            "python -m siamese_lab.search QUERY.jpg in=photographs checkpoint=RUN",
        ),
        (
            "Search embeddings that siamese_lab.embed has written, which is faster",
            "python -m siamese_lab.search QUERY.jpg in=outputs/embeddings/photographs.npz checkpoint=RUN",
        ),
        (
            "Find 20 images, and choose the picture to write",
            "python -m siamese_lab.search QUERY.jpg in=photographs checkpoint=RUN k=20 out=nearest.png",
        ),
    ),
)


def main() -> None:
    """Run the command."""
    COMMAND.run(job)


def job(options: Options) -> None:
    """Search, print the list and draw the picture.

    Raises:
        UserError: if the checkpoint, an image or the output file cannot be used.
    """
    console = new_console()
    place = options.out or Path("outputs/search") / f"{options.query.stem}.png"
    if place.suffix != ".png":
        raise UserError(f"out must end in .png, but is {place}.")
    with interrupted_at_once():  # PyTorch is loaded only here, so that --help and wrong options are answered at once
        from siamese_lab.data.io.file_names import escape_name
        from siamese_lab.inference.model import load
        from siamese_lab.inference.new_file import check_new, new_file
        from siamese_lab.inference.search import gallery_of, search
        from siamese_lab.inference.search_sheet import draw_search_results
        from siamese_lab.inference.threshold import stored_threshold

    check_new(place, options.force)
    network = load(options.checkpoint, accelerator=options.accelerator)
    gallery = gallery_of(network, options.folder, skip_unreadable=options.skip_unreadable, console=console)
    hits = search(network, options.query, gallery, options.k)
    stored = stored_threshold(network.trained)
    threshold = None if stored is None else stored.threshold
    for rank, hit in enumerate(hits, start=1):
        accepted = "" if threshold is None else "  ✓" if hit.distance <= threshold else "  ✗"
        print_plainly(console, f"{rank:>3}  {hit.distance:.3f}{accepted}  {hit.name}")
    with new_file(place) as draft, without_font_warnings():
        draw_search_results(options.query, hits, threshold).savefig(draft, dpi=DPI, facecolor="white")
    known = "" if stored is None else f" ✓ marks distances up to {stored.threshold:.3f}."
    searched = counted(len(gallery.names), "image")
    print_plainly(console, f"Searched {searched}.{known} Picture: {escape_name(short(place))}")
