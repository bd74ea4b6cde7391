"""The command line of positional arguments and NAME=VALUE is parsed, and mistakes are explained."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest

from siamese_lab.inference.cli import Command


@dataclass
class Options:
    left: Annotated[Path, "one image"]
    checkpoint: Annotated[Path, "a checkpoint"]
    folder: Annotated[Path, "where to look", "in"]
    k: Annotated[int, "how many"] = 10
    threshold: Annotated[float | None, "a distance"] = None
    kind: Annotated[Literal["onnx", "torch"], "a format"] = "onnx"
    force: Annotated[bool, "whether to"] = False


COMMAND = Command(
    "siamese_lab.example", "An example.", Options, words=("A.jpg",), examples=(("Run it", "python -m example"),)
)
NEEDED = ("a.png", "checkpoint=run", "in=here")


def test_arguments_and_options_come_in_any_order_and_the_last_one_counts() -> None:
    read = COMMAND.parse_options(
        ["k=3", "checkpoint=outputs/seed=0", "force=True", "a.png", "in='a b'", "k=4", "threshold=0.5"]
    )
    assert read == Options(Path("a.png"), Path("outputs/seed=0"), Path("a b"), 4, 0.5, "onnx", True)
    assert COMMAND.parse_options(NEEDED) == Options(Path("a.png"), Path("run"), Path("here"))
    assert COMMAND.parse_options([*NEEDED, "threshold=null"]).threshold is None
    assert COMMAND.parse_options(["./k=3.png", *NEEDED[1:]]).left == Path("k=3.png")


WRONG = {
    "": "siamese_lab.example expects A.jpg, but got no file. Write a file name that contains = as ./NAME. See --help.",
    "a b": "expects A.jpg, but got a b. Did you mean checkpoint=b?",
    "a b checkpoint=c": "Did you mean in=b?",
    "a b checkpoint=c in=d": "Options are written NAME=VALUE.",
    "a checkpoint=c": "The option in=… is required (where to look). See --help.",
    "a in=c": "The option checkpoint=… is required (a checkpoint).",
    "a in=c chekpoint=c": "There is no option 'chekpoint'. Did you mean 'checkpoint'? Options: checkpoint, in, k",
    "a folder=c": "There is no option 'folder'.",
    "a k=many": "k must be a whole number, but is 'many'",
    "a k=2.5": "k must be a whole number, but is '2.5'",
    "a threshold=far": "threshold must be a number, but is 'far'",
    "a force=1": "force must be true or false, but is '1'",
    "a kind=onxx": "kind must be one of onnx, torch, but is 'onxx'. Did you mean 'onnx'?",
    "a checkpoint=": "checkpoint is empty",
}


@pytest.mark.parametrize("line", WRONG)
def test_mistakes_are_explained(line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(WRONG[line])):
        COMMAND.parse_options(line.split())


def test_help_lists_every_option_with_its_default() -> None:
    lines = COMMAND.parser().format_help().splitlines()
    usage = " ".join(" ".join(lines[2:4]).split())
    assert usage.startswith("python -m siamese_lab.example A.jpg checkpoint=… in=… [k=…] [threshold=…] [kind=…]")
    rows = [" ".join(line.split()) for line in lines]
    for row in (
        "A.jpg one image",
        "in=… where to look",
        "k=10 how many",
        "threshold=null a distance",
        "force=false whether to",
    ):
        assert row in rows
    assert rows[-2:] == ["# Run it", "python -m example"]
