"""Decide whether two images show the same class.

Usage: `python -m siamese_lab.verify A.jpg B.jpg checkpoint=PATH [OPTION=VALUE] …`.
"""

import sys

if __name__ == "__main__":  # before the imports below, which Ctrl-C may interrupt
    from siamese_lab.__main__ import start

    sys.exit(start("verify", sys.argv[1:]))


from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from siamese_lab.errors import UserError, interrupted_at_once
from siamese_lab.inference.cli import Command
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import print_plainly


@dataclass
class Options:
    """Options of the command."""

    left: Annotated[Path, "an image"]
    right: Annotated[Path, "another image"]
    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    threshold: Annotated[float | None, "the largest accepted distance; null uses threshold.json"] = None
    data: Annotated[Path | None, "the folder of the training's images, to choose a threshold"] = None
    accelerator: Annotated[str, "cpu, cuda, mps, or auto for the best available one"] = "auto"


COMMAND = Command(
    "siamese_lab.verify",
    "Decide whether two images show the same class (the same person, the same character, …). Prints their distance, "
    "the decision, and the threshold with its error rates on other images.",
    Options,
    words=("A.jpg", "B.jpg"),
    notes=(
        "The threshold is chosen once per network, on pairs of validation images, and",
        "stored in the run's folder as threshold.json. If the training read its images",
        "from a folder, name it by data=FOLDER or SIAMESE_LAB_DATA the first time.",
    ),
    examples=(
        (
            "Compare two images by the threshold of the network",
            "python -m siamese_lab.verify A.jpg B.jpg checkpoint=RUN",
        ),
        (
            "Compare two images by a threshold of your own",
            "python -m siamese_lab.verify A.jpg B.jpg checkpoint=RUN threshold=0.9",
        ),
        (
            "Choose the threshold on the images of the training",
            "python -m siamese_lab.verify A.jpg B.jpg checkpoint=RUN data=FOLDER",
        ),
        (
            "Compute on the CPU",
            "python -m siamese_lab.verify A.jpg B.jpg checkpoint=RUN accelerator=cpu",
        ),
    ),
)


def main() -> None:
    """Run the command."""
    COMMAND.run(job)


def job(options: Options) -> None:
    """Compare two images and print the decision.

    Raises:
        UserError: if the checkpoint or an image cannot be used, or no threshold can be chosen.
    """
    if options.threshold is not None and not 0 <= options.threshold <= 2:
        raise UserError(f"threshold must be a distance in 0…2, but is {options.threshold}.")
    with interrupted_at_once():  # PyTorch is loaded only here, so that --help and wrong options are answered at once
        from siamese_lab.inference.model import load

    network = load(options.checkpoint, accelerator=options.accelerator, data=options.data)
    distance = float(network.distance(options.left, options.right))
    given = options.threshold
    threshold = network.threshold.threshold if given is None else given
    print_plainly(
        new_console(),
        f"distance   {distance:.3f}",
        f"decision   {'the same' if distance <= threshold else 'different'}",
        f"threshold  {network.threshold.describe() if given is None else f'{given:.3f}, as given'}",
    )
