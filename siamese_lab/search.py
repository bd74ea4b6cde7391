"""Find the images nearest to one: `python -m siamese_lab.search QUERY.jpg in=FOLDER checkpoint=PATH [OPTION=VALUE]`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from siamese_lab.errors import UserError
from siamese_lab.inference.cli import Command
from siamese_lab.inference.model import load
from siamese_lab.inference.new_file import check_new, new_file
from siamese_lab.inference.search import gallery_of, search
from siamese_lab.inference.search_sheet import draw_search_results
from siamese_lab.inference.threshold import stored_threshold
from siamese_lab.runs.display import print_plainly, short

DPI = 150


@dataclass
class Options:
    """Of the command."""

    query: Annotated[Path, "an image"]
    folder: Annotated[Path, "a folder of images, or a file of embeddings that siamese_lab.embed wrote", "in"]
    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    k: Annotated[int, "how many to find"] = 10
    out: Annotated[Path | None, "the picture to write; null is outputs/search/QUERY.png"] = None
    skip_unreadable: Annotated[bool, "leave out files that are no images instead of stopping at them"] = False
    accelerator: Annotated[str, "cpu, cuda, mps, or auto for what there is"] = "auto"
    force: Annotated[bool, "write over a picture that exists"] = False


COMMAND = Command(
    "siamese_lab.search",
    "Find the images of a folder that are nearest to one, as a list and as a picture. They are marked by whether they\n"
    "lie within the threshold of the network, where one has been chosen (siamese_lab.verify chooses it).",
    Options,
    words=("QUERY.jpg",),
    examples=(
        "python -m siamese_lab.search QUERY.jpg in=photographs checkpoint=outputs/runs/…",
        "python -m siamese_lab.search QUERY.jpg in=outputs/embeddings/photographs.npz checkpoint=outputs/runs/… k=20",
    ),
)


def main() -> None:
    """The command."""
    COMMAND.run(job)


def job(options: Options) -> None:
    """Search, print and draw.

    Raises:
        UserError: for a checkpoint, images or a file to write that are not what they should be.
    """
    console = Console()
    place = options.out or Path("outputs/search") / f"{options.query.stem}.png"
    if place.suffix != ".png":
        raise UserError(f"The picture is written to a .png, but out is {place}.")
    check_new(place, options.force)
    network = load(options.checkpoint, accelerator=options.accelerator)
    gallery = gallery_of(network, options.folder, skip_unreadable=options.skip_unreadable, console=console)
    hits = search(network, options.query, gallery, options.k)
    stored = stored_threshold(network.trained)
    threshold = None if stored is None else stored.threshold
    for rank, hit in enumerate(hits, start=1):
        accepted = "" if threshold is None else "  ✓" if hit.distance <= threshold else "  ✗"
        print_plainly(console, f"{rank:>3}  {hit.distance:.3f}{accepted}  {hit.name}")
    with new_file(place) as draft:
        draw_search_results(options.query, hits, threshold).savefig(draft, dpi=DPI, facecolor="white")
    known = "" if stored is None else f", {stored.threshold:.3f} the threshold of ✓"
    print_plainly(console, f"Of {len(gallery.names):,} images{known}. Picture: {short(place)}")


if __name__ == "__main__":
    main()
