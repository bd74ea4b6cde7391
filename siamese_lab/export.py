"""A network for use elsewhere: `python -m siamese_lab.export checkpoint=PATH [format=onnx|torch] [OPTION=VALUE] …`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from siamese_lab.errors import UserError
from siamese_lab.inference.cli import Command
from siamese_lab.inference.embeddings_file import about_network
from siamese_lab.inference.export import SUFFIXES, Format, check_able, export
from siamese_lab.inference.model import TrainedNetwork, load
from siamese_lab.inference.model_card import model_card
from siamese_lab.inference.new_file import check_new, new_file
from siamese_lab.inference.threshold import stored_threshold
from siamese_lab.runs import checkpoints
from siamese_lab.runs.display import print_plainly, short


@dataclass
class Options:
    """Of the command."""

    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    format: Annotated[Format, "onnx, or torch for a program of torch.export"] = "onnx"
    out: Annotated[Path | None, "the .onnx or .pt2 to write; null is a name in exported/ beside the run"] = None
    force: Annotated[bool, "write over files that exist"] = False


COMMAND = Command(
    "siamese_lab.export",
    "Write a trained network so that it runs without this package, and a model card beside it. Before the file is\n"
    "kept, what it computes is compared with the original on random images, to 1e-4. The size of a batch is free.",
    Options,
    examples=(
        "python -m siamese_lab.export checkpoint=outputs/runs/…",
        "python -m siamese_lab.export checkpoint=outputs/runs/… format=torch out=faces.pt2",
        "",
        "onnxruntime.InferenceSession('faces.onnx').run(None, {'images': images})",
        "torch.export.load('faces.pt2').module()(images)",
        "",
        "The card tells the newest evaluation (siamese_lab.evaluate) and the threshold (siamese_lab.verify), where",
        "there are some: make them first.",
    ),
)


def main() -> None:
    """The command."""
    COMMAND.run(job)


def job(options: Options) -> None:
    """Export, compare, and write the card.

    Raises:
        UserError: for a checkpoint or a file to write that is not what it should be, for packages that are missing,
            and where the exported network computes something else.
    """
    console = Console()
    check_able(options.format)
    network = load(options.checkpoint)
    place = options.out or default_place(network, options.format)
    if place.suffix != SUFFIXES[options.format]:
        raise UserError(f"format={options.format} is written to a {SUFFIXES[options.format]}, but out is {place}.")
    card = place.with_name(f"{place.name}.md")
    for each in (place, card):
        check_new(each, options.force)
    images, threshold = network.datamodule, stored_threshold(network.trained)
    about = about_network(network) | {"threshold": None if threshold is None else asdict(threshold)}
    shape_CHW = (images.channels, images.image_size, images.image_size)
    with new_file(place) as draft:
        difference = export(network.network, shape_CHW, options.format, draft, json.dumps(about, ensure_ascii=False))
    with new_file(card) as draft:
        draft.write_text(model_card(network, place.name, difference, threshold), encoding="utf-8")
    print_plainly(
        console,
        f"Differs from the original by at most {difference:.1g} on random images.",
        f"Network:    {short(place)} ({place.stat().st_size / 1e6:.1f} MB)",
        f"Model card: {short(card)}",
    )


def default_place(network: TrainedNetwork, kind: Format) -> Path:
    """Beside the run, or under outputs where the checkpoint lies in none."""
    choices = network.trained.choices
    name = "_".join(choices[part]["name"] for part in ("data", "sampler", "network"))
    run = checkpoints.run_of(network.trained.checkpoint)
    return (Path("outputs") if run is None else run) / "exported" / f"{name}{SUFFIXES[kind]}"


if __name__ == "__main__":
    main()
