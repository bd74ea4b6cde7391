"""A run on a set with official pairs verifies them, and two processes verify them as one does."""

import io
import json
import math
from functools import cached_property
from pathlib import Path

import lightning
import pytest
import torch
from conftest import compose, last_weights, quick_run
from rich.console import Console

from siamese_lab import data
from siamese_lab.data.official_protocols import OfficialPairs, RowPairs, official_pairs
from siamese_lab.data.sets.digits import Digits
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.metrics.pairs import ImagePairs, sampled_pairs
from siamese_lab.metrics.verification import verify
from siamese_lab.runs import display
from siamese_lab.training.build import build_module

PAIRS = 120
NAMES = [
    "accuracy",
    "threshold",
    "auc",
    "eer",
    "tar@far=0.1",
    "tar@far=0.01",
    "tar@far=0.001",
    "positives",
    "negatives",
]


def pairs_of_digits(images: Digits) -> OfficialPairs:
    """Return some training images to choose the threshold on, and some test images to decide."""
    train, test = images.splits.train, images.splits.test
    both = ImageTable(
        torch.cat([train.images_NCHW, test.images_NCHW]),
        torch.zeros(len(train) + len(test), dtype=torch.int64),
        ("any",),
    )
    choose, decide = (sampled_pairs(table.labels_N, PAIRS) for table in (train, test))
    shifted = decide._replace(left_N=decide.left_N + len(train), right_N=decide.right_N + len(train))
    return official_pairs("digits", both, RowPairs(*choose), RowPairs(*shifted))


@pytest.fixture(autouse=True)
def digits_with_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    prop = cached_property(pairs_of_digits)
    prop.__set_name__(Digits, "official_pairs")
    monkeypatch.setattr(Digits, "official_pairs", prop, raising=False)


@pytest.mark.slow
def test_the_figures_of_a_run_belong_to_its_weights(tmp_path: Path) -> None:
    left = quick_run(tmp_path, "trainer.precision=32-true", "trainer.max_steps=20")
    config = compose()
    images = data.build(**config.data)
    module = build_module(config, images)
    module.load_state_dict(last_weights(tmp_path), strict=False)
    official = images.official_pairs
    with torch.no_grad():
        z_MD = module.eval().network(official.table.images_NCHW.float() / 255)
    expected = verify(z_MD, ImagePairs(*official.choose[:3]), ImagePairs(*official.decide[:3])).figures()
    figures = {name.removeprefix("digits/"): each for name, each in left.test.items() if name.startswith("digits/")}
    assert list(figures) == NAMES
    assert [name for name, each in figures.items() if each is None] == ["tar@far=0.01", "tar@far=0.001"]
    assert 0.5 < figures["accuracy"] <= 1 and figures["negatives"] == PAIRS / 2
    defined = {name: each for name, each in expected.items() if not math.isnan(each)}
    assert {name: figures[name] for name in defined} == pytest.approx(defined, abs=2e-2)
    assert figures["threshold"] == pytest.approx(defined["threshold"], abs=1e-4)
    assert "recall@1" in left.test and "digits/accuracy" not in left.validation
    assert json.loads((tmp_path / "results.json").read_text())["test"]["digits/tar@far=0.001"] is None


@pytest.mark.slow
def test_the_summary_names_the_limitations_of_the_pairs(tmp_path: Path) -> None:
    left = quick_run(tmp_path, "trainer.max_steps=2", "trainer.val_check_interval=2")
    shown = io.StringIO()
    display.print_outcome(Console(width=120, file=shown), left, tmp_path)
    printed = shown.getvalue()
    assert f"digits: {PAIRS} pairs, accepted up to distance {left.test['digits/threshold']:.3f}" in printed
    assert f"{left.test['digits/accuracy']:.2%}" in printed
    assert left.floors["pixels"].keys() == left.floors["untrained"].keys() == left.test.keys()
    assert f"{left.floors['pixels']['digits/accuracy']:.2%}" in printed
    assert f"{left.floors['untrained']['digits/accuracy']:.2%}" in printed
    assert "60 negative pairs are too few for such a low false accept rate" in printed


@pytest.mark.slow
@pytest.mark.parametrize("limited", ["limit_test_batches=1", "limit_test_batches=0.5", "fast_dev_run=1"])
def test_a_part_of_the_images_leaves_out_the_pairs(tmp_path: Path, limited: str) -> None:
    left = quick_run(tmp_path, f"trainer.{limited}", "data.eval_batch_size=100", "trainer.max_steps=2")
    assert left.status == "shortened" and "recall@1" in left.test
    assert not [name for name in left.test if name.startswith("digits/")]
    assert ("official pairs were not evaluated" in left.error) == limited.startswith("limit")
    display.print_outcome(Console(file=io.StringIO()), left, tmp_path)


@pytest.mark.slow
def test_two_processes_decide_like_one(tmp_path: Path) -> None:
    """The number of images is odd, and each process holds some images of the pairs."""
    found = []
    for several in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        config = compose("data.eval_batch_size=50")
        images = data.build(**config.data)
        module = build_module(config, images)
        assert len(images.official_pairs.table) % 2
        trainer = lightning.Trainer(
            accelerator="cpu", default_root_dir=tmp_path, logger=False, enable_progress_bar=False, **several
        )
        found.append(trainer.test(module, datamodule=images, verbose=False)[0])
    alone, together = found
    assert alone == pytest.approx(together, abs=1e-6, nan_ok=True)
    assert 0.5 < alone["test/digits/auc"] < 1
