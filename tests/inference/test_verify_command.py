"""`python -m siamese_lab.verify A B` prints the distance, the decision, and the threshold with its errors."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ended
from PIL import Image

import siamese_lab as sl
from siamese_lab import verify

Call = Callable[..., Ended]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    for seed, name in enumerate("ab"):
        pixels = np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return tmp_path / "a.png", tmp_path / "b.png"


def test_the_output_equals_that_of_the_network(call: Call, own_run: Path, pair: tuple[Path, Path]) -> None:
    ended = call(verify, *pair, f"checkpoint={own_run}")
    assert ended.status == 0, ended.err
    network = sl.load(own_run)
    threshold = network.threshold
    same = bool(network.same(*pair))
    assert f"distance   {float(network.distance(*pair)):.3f}\n" in ended.out
    assert f"decision   {'the same' if same else 'different'}\n" in ended.out
    chosen = f"{threshold.chosen_pairs:,} pairs of validation images of Digits (classes seen in training)"
    assert f"threshold  {threshold.threshold:.3f}, chosen on {chosen}; measured on other such pairs: " in ended.out
    assert f"accepts {threshold.far:.1%} of {threshold.negatives:,} pairs of two classes" in ended.out
    assert f"rejects {threshold.frr:.1%} of {threshold.positives:,} pairs of one class" in ended.out
    assert (own_run / "threshold.json").is_file()


def test_a_given_threshold_replaces_the_chosen_one(call: Call, own_run: Path, pair: tuple[Path, Path]) -> None:
    distance = float(sl.load(own_run).distance(*pair))
    for given, decision in ((distance / 2, "different"), (2, "the same")):
        ended = call(verify, *pair, f"checkpoint={own_run}", f"threshold={given}")
        assert f"decision   {decision}\n" in ended.out
        assert f"threshold  {given:.3f}, as given" in ended.out
    assert not (own_run / "threshold.json").exists()


def test_mistakes_are_explained(call: Call, digits_run: Path, pair: tuple[Path, Path]) -> None:
    run = f"checkpoint={digits_run}"
    wrong = {
        (pair[0], "none.png", run): "There is no image none.png.",
        (pair[0], run): f"siamese_lab.verify expects A.jpg B.jpg, but got {pair[0]}.",
        pair: "The option checkpoint=… is required (a .ckpt file",
        (*pair, run, "threshold=3"): "threshold must be a distance in 0…2, but is 3.0.",
        (*pair, run, "treshold=3"): "There is no option 'treshold'. Did you mean 'threshold'?",
    }
    for arguments, message in wrong.items():
        ended = call(verify, *arguments)
        assert (ended.status, ended.out) == (2, "")
        assert message in ended.err


def test_help_shows_the_usage(call: Call) -> None:
    ended = call(verify, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert "  python -m siamese_lab.verify A.jpg B.jpg checkpoint=…" in ended.out
