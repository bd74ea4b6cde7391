"""A resume never changes what a run recorded: other options are refused, or take effect and are named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Ended, compose, last_weights, quick_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.runs.results import read_results
from siamese_lab.training.callbacks import BestCheckpoint
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.run import record_failure

pytestmark = pytest.mark.slow

OPTIONS = ("network=mlp", "threads=1", "logger=tensorboard", "trainer.log_every_n_steps=3", "metrics.floors=false")
STEPS = ("trainer.max_steps=6", "trainer.val_check_interval=3", "schedule=constant")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    quick_run(folder, *OPTIONS, *STEPS)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run, which so has moved."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("[!.]*")
        if path.is_file() and path.suffix != ".log"
    }


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ("", ["has finished at step 6, so there is nothing to resume", "set trainer.max_steps above 6"]),
        ("report_checkpoint=best", ["has finished at step 6"]),
        ("trainer.max_steps=5", ["of step 6, but trainer.max_steps=5 ends before it"]),
        ("optimizer.lr=0.5", ["optimizer.lr was 0.003 and is now 0.5", "start a new run without resume="]),
        ("optimizer.lr=0.5 trainer.max_steps=12", ["optimizer.lr was 0.003 and is now 0.5"]),
        ("sampler=hard seed=3", ["sampler.name was 'semi_hard' and is now 'hard'", "seed was 0 and is now 3"]),
        ("data.classes_per_batch=4", ["data.classes_per_batch was 6 and is now 4"]),
        ("+trainer.gradient_clip_val=1.0", ["trainer.gradient_clip_val was None and is now 1.0"]),
    ],
)
def test_options_that_contradict_a_run_are_refused(
    options: str, facts: list[str], run: Path, command: Callable[..., Ended]
) -> None:
    before = files(run)
    ended = command("resume=run", *options.replace("+trainer", "trainer").split())
    assert ended.status == 2
    for fact in facts:
        assert fact in ended.err
    assert files(run) == before


def test_earlier_weights_are_not_resumed_over_later_ones(run: Path, command: Callable[..., Ended]) -> None:
    before = files(run)
    ended = command("resume=run/checkpoints/best.ckpt", "trainer.max_steps=12")
    assert (ended.status, "does not hold the last weights of the run" in ended.err) == (2, True)
    assert files(run) == before


def test_more_steps_continue_record_and_curves(run: Path, command: Callable[..., Ended], tmp_path: Path) -> None:
    first = read_results(run)
    ended = command("resume=run", "trainer.max_steps=12")
    assert ended.status == 0, ended.err
    assert "Changed from step 6 on: schedule.steps 6 → 12; trainer.max_steps 6 → 12." in ended.out
    left = read_results(run)
    assert (left.status, left.steps, left.tested_step) == ("finished", 12, 12)
    assert left.history[:2] == first.history
    assert [point.step for point in left.history] == [3, 6, 9, 12]
    changed = {"schedule.steps": [6, 12], "trainer.max_steps": [6, 12]}
    assert left.changed_options == [{"step": 6, "options": changed}]
    assert json.loads((run / "results_of_step_6.json").read_text())["test"] == first.test
    events = EventAccumulator(str(run)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [2, 5, 8, 11]
    assert [event.step for event in events.Scalars("validation/recall@1")] == [2, 5, 8, 11]

    whole = tmp_path / "whole"  # a constant rate depends on no number of steps
    quick_run(whole, *OPTIONS, *STEPS, "trainer.max_steps=12")
    weights = last_weights(run)
    assert all(torch.equal(weights[name], tensor) for name, tensor in last_weights(whole).items())
    assert left.test == read_results(whole).test

    assert command("resume=run", "trainer.max_steps=15").status == 0
    assert [entry["step"] for entry in read_results(run).changed_options] == [6, 12]


def test_the_record_is_whole_from_the_first_moment(
    run: Path, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_results(run)
    seen: list[Any] = []

    def fail(self: SiameseModule) -> None:
        seen.append(read_results(run))
        raise RuntimeError("a bug before the first step")

    monkeypatch.setattr(SiameseModule, "on_train_start", fail)
    with pytest.raises(RuntimeError):
        command("resume=run", "trainer.max_steps=12")
    assert (seen[0].status, seen[0].history, seen[0].steps) == ("running", first.history, 6)
    assert read_results(run).history == first.history
    assert read_results(run).status == "failed"
    assert (run / "results_of_step_6.json").is_file()


def test_a_finished_record_does_not_become_a_failed_one(run: Path) -> None:
    before = (run / "results.json").read_bytes()
    record_failure(compose(), run, RuntimeError("a bug before training"))
    assert (run / "results.json").read_bytes() == before


def test_the_best_weights_are_known_after_a_move(finished: Path, run: Path) -> None:
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["callbacks"]
    (name,) = (name for name in state if name.startswith("BestCheckpoint"))
    best = BestCheckpoint(run / "checkpoints", monitor="validation/recall@1")
    best.load_state_dict(state[name])
    assert best.best_model_path == str(run / "checkpoints/best.ckpt")
    assert best.best_model_score == state[name]["best_model_score"]
    assert list(best.best_k_models) == [best.best_model_path]
    elsewhere = BestCheckpoint(run / "other", monitor="validation/recall@1")
    elsewhere.load_state_dict(state[name])
    assert (elsewhere.best_model_path, elsewhere.best_k_models) == ("", {}), "no file outside of the folder is replaced"


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_a_resume_is_exact_in_every_precision(precision: str, tmp_path: Path) -> None:
    options = [*OPTIONS, *STEPS, f"trainer.precision={precision}", "trainer.max_steps=9"]
    quick_run(tmp_path / "whole", *options)
    quick_run(tmp_path / "parts", *options, "trainer.max_steps=6")
    said = with_resumed_overrides([f"resume={tmp_path / 'parts'}", "trainer.max_steps=9"])
    quick_run(tmp_path / "parts", *[each for each in said if not each.startswith("hydra.")])
    weights = last_weights(tmp_path / "parts")
    assert all(torch.equal(weights[name], tensor) for name, tensor in last_weights(tmp_path / "whole").items())
