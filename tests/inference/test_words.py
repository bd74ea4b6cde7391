"""The command line of words and NAME=VALUE: what it reads, what it refuses and how it says so."""

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


COMMAND = Command("siamese_lab.example", "An example.", Options, words=("A.jpg",), examples=("python -m example",))
NEEDED = ("a.png", "checkpoint=run", "in=here")


def test_words_and_options_come_in_any_order_and_the_last_one_holds() -> None:
    read = COMMAND.parse_options(
        ["k=3", "checkpoint=outputs/seed=0", "force=True", "a.png", "in='a b'", "k=4", "threshold=0.5"]
    )
    assert read == Options(Path("a.png"), Path("outputs/seed=0"), Path("a b"), 4, 0.5, "onnx", True)
    assert COMMAND.parse_options(NEEDED) == Options(Path("a.png"), Path("run"), Path("here"))
    assert COMMAND.parse_options([*NEEDED, "threshold=null"]).threshold is None
    assert COMMAND.parse_options(["./k=3.png", *NEEDED[1:]]).left == Path("k=3.png")


WRONG = {
    "": "siamese_lab.example takes A.jpg, but was given no words. See --help. A file whose name has a = is written ./",
    "a b": "takes A.jpg, but was given a b",
    "a checkpoint=c": "Say in=…, where to look. See --help.",
    "a in=c": "Say checkpoint=…, a checkpoint.",
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
def test_what_is_wrong_is_said(line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(WRONG[line])):
        COMMAND.parse_options(line.split())


def test_help_tells_every_option_with_its_default() -> None:
    told = COMMAND.parser().format_help()
    usage = " ".join(told.split("\n\n")[0].split())
    assert usage == (
        "usage: python -m siamese_lab.example A.jpg checkpoint=… in=… [k=10] [threshold=null] [kind=onnx] [force=false]"
    )
    for line in ("checkpoint  a checkpoint", "in          where to look", "k           how many (10)", "python -m"):
        assert f"\n  {line}" in told
