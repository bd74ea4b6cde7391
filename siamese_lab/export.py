"""Export a trained network: `python -m siamese_lab.export checkpoint=PATH [format=onnx|torch] [OPTION=VALUE] …`."""

import sys

if __name__ == "__main__":  # before the imports below, which Ctrl-C may interrupt
    from siamese_lab.__main__ import start

    sys.exit(start("export", sys.argv[1:]))


import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from siamese_lab.errors import UserError, interrupted_at_once
from siamese_lab.inference.cli import Command
from siamese_lab.runs import checkpoints
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import print_plainly, short
from siamese_lab.runs.display_names import file_name
from siamese_lab.runs.links import check_inside

if TYPE_CHECKING:
    from siamese_lab.inference.model import TrainedNetwork


FOLDER = "exported"
"""Folder in the folder of a run."""


@dataclass
class Options:
    """Options of the command."""

    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    format: Annotated[Literal["onnx", "torch"], "onnx, or torch for a torch.export program"] = "onnx"
    out: Annotated[Path | None, "the .onnx or .pt2 file to write; null writes into exported/ in the run's folder"] = (
        None
    )
    force: Annotated[bool, "overwrite existing files"] = False


COMMAND = Command(
    "siamese_lab.export",
    "Export a trained network so that it runs without this package, and write a model card next to it. The exported "
    "network must agree with the original on random images to 1e-4. It accepts batches of any size.",
    Options,
    notes=(
        "The model card includes the newest evaluation (siamese_lab.evaluate) and the",
        "threshold (siamese_lab.verify) if they exist, so run these commands first.",
        "In Python:",
        "  onnxruntime.InferenceSession('faces.onnx').run(None, {'images': images})",
        "  torch.export.load('faces.pt2').module()(images)",
    ),
    examples=(
        (
            "Export to ONNX, into the folder of the run",
            "python -m siamese_lab.export checkpoint=RUN",
        ),
        (
            "Export a torch.export program, and choose the file",
            "python -m siamese_lab.export checkpoint=RUN format=torch out=faces.pt2",
        ),
        (
            "Overwrite an earlier export",
            "python -m siamese_lab.export checkpoint=RUN force=true",
        ),
    ),
)


def main() -> None:
    """Run the command."""
    COMMAND.run(job)


def job(options: Options) -> None:
    """Export the network, compare it with the original, and write the model card.

    Raises:
        UserError: if the checkpoint or the output file cannot be used, packages are missing, or the exported network
            differs from the original.
    """
    with interrupted_at_once():  # PyTorch is loaded only here, so that --help and wrong options are answered at once
        from siamese_lab.inference.embeddings_file import about_network
        from siamese_lab.inference.export import SUFFIXES, check_able, export
        from siamese_lab.inference.model import load
        from siamese_lab.inference.model_card import model_card
        from siamese_lab.inference.new_file import check_new, new_file
        from siamese_lab.inference.threshold import stored_threshold

    console = new_console()
    network = load(options.checkpoint)
    check_able(options.format)
    run = checkpoints.run_of(network.trained.checkpoint)
    if run is not None and options.out is None:
        check_inside(run, (FOLDER,))
    place = options.out or default_place(network, SUFFIXES[options.format])
    if place.suffix != SUFFIXES[options.format]:
        raise UserError(f"With format={options.format}, out must end in {SUFFIXES[options.format]}, but is {place}.")
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


def default_place(network: "TrainedNetwork", suffix: str) -> Path:
    """Return the default output path: in the run's folder, or in outputs if the checkpoint is in no run."""
    choices = network.trained.choices
    name = file_name("_".join(choices[part]["name"] for part in ("data", "sampler", "network")))
    run = checkpoints.run_of(network.trained.checkpoint)
    return (Path("outputs") if run is None else run) / FOLDER / f"{name}{suffix}"
