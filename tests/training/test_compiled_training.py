"""`trainer.compile=true` trains as a plain run up to rounding, and its checkpoints are those of a plain run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import QUICK, compose, last_weights, quick_run
from rich.console import Console

from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.errors import UserError
from siamese_lab.evaluation import evaluate, load
from siamese_lab.inference.export import export
from siamese_lab.training.run import train
from siamese_lab.training.trainer import build_trainer

SMALL = ("trainer.precision=32-true", "network.width=4", "trainer.max_steps=6", "trainer.val_check_interval=3")
COMPILED = (*SMALL, "trainer.compile=true", "threads=1")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.compiler.reset()
    folder = tmp_path_factory.mktemp("compiled") / "run"
    assert quick_run(folder, *COMPILED).status == "finished"
    return folder


@pytest.mark.slow
def test_a_compiled_run_equals_a_plain_run_up_to_rounding(compiled: Path, tmp_path: Path) -> None:
    from siamese_lab.runs.results import read_results

    plain, ours = quick_run(tmp_path, *SMALL, "threads=1"), read_results(compiled)
    assert plain.floors == ours.floors
    for one, other in zip(plain.history, ours.history, strict=True):
        assert one.train["loss"] == pytest.approx(other.train["loss"], rel=1e-3)
        assert one.validation["recall@1"] == pytest.approx(other.validation["recall@1"], abs=0.02)
    theirs, weights = last_weights(tmp_path), last_weights(compiled)
    assert list(weights) == list(theirs)
    assert max(float((weights[name] - each).abs().max()) for name, each in theirs.items()) < 0.02


@pytest.mark.slow
@pytest.mark.nightly
def test_its_checkpoint_is_evaluated_exported_and_resumed_with_and_without_compilation(
    compiled: Path, tmp_path: Path
) -> None:
    from siamese_lab.runs.results import read_results

    trained = load(compiled)
    images = trained.build_datamodule()
    figures = evaluate(trained.network, images, pairs=0, episodes=0).protocols["retrieval"].figures
    assert figures["recall@1"].value == read_results(compiled).test["recall@1"], "a test is not compiled"
    shape = images.channels, images.image_size, images.image_size
    assert export(trained.network, shape, "onnx", tmp_path / "network.onnx", "{}") < 1e-4
    for name in ("true", "false"):
        said = with_resumed_overrides(
            [f"resume={compiled}", "trainer.max_steps=8", "trainer.val_check_interval=2", f"trainer.compile={name}"]
        )
        overrides = [each for each in said if not each.startswith("hydra.")]
        resumed = train(compose(*overrides), tmp_path / name, overrides, Console(quiet=True))
        assert (resumed.status, resumed.steps) == ("finished", 8)


@pytest.mark.slow
def test_a_missing_compiler_is_one_sentence(tmp_path: Path) -> None:
    variables = os.environ | {"CXX": "/nonexistent/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "siamese_lab.train", *QUICK, *COMPILED, "trainer.accelerator=cpu"]
    ended = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 2
    assert "trainer.compile=true needs a C++ compiler" in ended.stderr and "trainer.compile=false" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_option_is_true_or_false_and_reaches_no_trainer() -> None:
    with pytest.raises(UserError, match=r"trainer\.compile must be true or false, but is 3"):
        compose("trainer.compile=3")
    build_trainer(compose("trainer.compile=true", "trainer.accelerator=cpu").trainer, logger=False)
    with pytest.raises(UserError, match="Did you mean 'compile'"):
        compose("trainer.compil=true")
