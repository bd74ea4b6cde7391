"""Are two images of one class? `python -m siamese_lab.verify A.jpg B.jpg checkpoint=PATH [OPTION=VALUE] …`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console

from siamese_lab.errors import UserError
from siamese_lab.inference.cli import Command
from siamese_lab.inference.model import load
from siamese_lab.runs.display import print_plainly


@dataclass
class Options:
    """Of the command."""

    left: Annotated[Path, "an image"]
    right: Annotated[Path, "another"]
    checkpoint: Annotated[Path, "a .ckpt file, or the folder of a run"]
    threshold: Annotated[float | None, "the greatest distance that is accepted; null is that of threshold.json"] = None
    accelerator: Annotated[str, "cpu, cuda, mps, or auto for what there is"] = "auto"


COMMAND = Command(
    "siamese_lab.verify",
    "Say whether two images show one class (one person, one character, …): their distance, the decision, and the\n"
    "threshold it was made by with the error rates that this has on other images.",
    Options,
    words=("A.jpg", "B.jpg"),
    examples=(
        "python -m siamese_lab.verify A.jpg B.jpg checkpoint=outputs/runs/…",
        "python -m siamese_lab.verify A.jpg B.jpg checkpoint=outputs/runs/… threshold=0.9",
        "",
        "The threshold is chosen once for a network, on pairs of validation images, and kept beside the run in",
        "threshold.json. The data of the training is looked for where it was then, or in SIAMESE_LAB_DATA.",
    ),
)


def main() -> None:
    """The command."""
    COMMAND.run(job)


def job(options: Options) -> None:
    """Compare and decide.

    Raises:
        UserError: for a checkpoint or images that are not what they should be, and where no threshold can be chosen.
    """
    if options.threshold is not None and not 0 <= options.threshold <= 2:
        raise UserError(f"threshold is a distance, 0…2, but is {options.threshold}.")
    network = load(options.checkpoint, accelerator=options.accelerator)
    distance = float(network.distance(options.left, options.right))
    given = options.threshold
    threshold = network.threshold.threshold if given is None else given
    print_plainly(
        Console(),
        f"distance   {distance:.3f}",
        f"decision   {'the same' if distance <= threshold else 'different'}",
        f"threshold  {network.threshold.describe() if given is None else f'{given:.3f}, as given'}",
    )


if __name__ == "__main__":
    main()
