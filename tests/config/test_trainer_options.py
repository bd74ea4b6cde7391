"""Every argument of Lightning's Trainer is given to it, has a meaning of the lab, or is refused with a reason."""

from inspect import signature
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import lightning
import pytest
import torch
from conftest import compose, last_weights, quick_run
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from siamese_lab.config.trainer_options import DECIDED, GIVEN, INTERPRETED, KINDS, check_trainer
from siamese_lab.errors import UserError
from siamese_lab.runs.results import Results, read_results
from siamese_lab.study import runs
from siamese_lab.training.placement import find_placement
from siamese_lab.training.trainer import build_trainer

ARGUMENTS = sorted(set(signature(lightning.Trainer.__init__).parameters) - {"self"})
SMALL = ("network.width=4", "trainer.val_check_interval=2", "trainer.max_steps=4")


def test_each_argument_of_lightnings_trainer_is_in_exactly_one_table() -> None:
    """A version of Lightning with a new argument fails here: decide what it means, and add it to a table."""
    assert sorted([*GIVEN, *INTERPRETED, *DECIDED]) == ARGUMENTS


def plain_kinds(annotation: Any) -> set[type]:
    """Return the plain types that an annotation allows; a float may also be an integer."""
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {type(member) for member in members}
    if origin in (Union, UnionType):
        return set().union(*map(plain_kinds, members))
    return {float, int} if annotation is float else {origin or annotation}


def test_each_argument_has_the_types_of_lightnings_annotation() -> None:
    hints = get_type_hints(lightning.Trainer.__init__)
    plain = (bool, int, float, str, dict)
    assert {option: set(kinds) for option, kinds in KINDS.items()} == {
        option: {kind for kind in plain_kinds(hints[option]) if kind in plain} for option in {*GIVEN, *INTERPRETED}
    }


@pytest.mark.parametrize("option", sorted(DECIDED))
@pytest.mark.parametrize(
    "sign", [pytest.param("", marks=pytest.mark.slow), pytest.param("+", marks=pytest.mark.slow), "++"]
)
def test_a_refused_argument_is_refused_in_every_way_with_a_cure(option: str, sign: str) -> None:
    with pytest.raises(UserError, match=rf"trainer\.{option} cannot be set\. \w.*\.$"):
        compose(f"{sign}trainer.{option}=1")


@pytest.mark.parametrize("option", sorted(DECIDED))
@pytest.mark.parametrize("value", [None, False, 0, "x"])
def test_a_refused_argument_is_refused_with_every_value(option: str, value: object) -> None:
    with pytest.raises(UserError, match=rf"trainer\.{option} cannot be set\. \w.*\.$"):
        check_trainer(OmegaConf.create({option: value}))


# --- arguments that are given to Lightning: the Trainer has what was asked for

REACHES: dict[str, tuple[str, object]] = {
    "accelerator": ("cpu", lambda t: t.strategy.root_device.type == "cpu"),
    "benchmark": ("true", lambda t: torch.backends.cudnn.benchmark),
    "detect_anomaly": ("true", lambda t: t._detect_anomaly),
    "deterministic": ("warn", lambda t: torch.is_deterministic_algorithms_warn_only_enabled()),
    "gradient_clip_algorithm": ("value", lambda t: t.gradient_clip_algorithm == "value"),
    "gradient_clip_val": ("0.25", lambda t: t.gradient_clip_val == 0.25),
    "inference_mode": ("false", lambda t: not t.validate_loop.inference_mode),
    "limit_train_batches": ("3", lambda t: t.limit_train_batches == 3),
    "log_every_n_steps": ("7", lambda t: t.log_every_n_steps == 7),
    "max_steps": ("123", lambda t: t.max_steps == 123),
    "min_epochs": ("2", lambda t: t.min_epochs == 2),
    "min_steps": ("5", lambda t: t.min_steps == 5),
    "num_nodes": ("1", lambda t: t.num_nodes == 1),
}
"""For each given argument a value other than the default, and whether a Trainer has it."""


def test_each_given_argument_has_a_check() -> None:
    assert set(REACHES) == set(GIVEN)


@pytest.mark.slow
@pytest.mark.parametrize("option", sorted(REACHES))
def test_a_given_argument_reaches_the_trainer(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value, has = REACHES[option]
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    try:
        trainer = build_trainer(compose(f"trainer.{option}={value}", "trainer.accelerator=cpu").trainer, logger=False)
        assert has(trainer)
    finally:
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
        torch.autograd.set_detect_anomaly(False)


@pytest.mark.slow
def test_a_limit_of_the_gradient_limits_the_weights(tmp_path: Path) -> None:
    step = (*SMALL, "trainer.max_steps=1", "trainer.val_check_interval=1", "optimizer=sgd", "optimizer.lr=0.1")
    step = (*step, "schedule=constant", "optimizer.momentum=0", "optimizer.nesterov=false", "optimizer.weight_decay=0")
    norms = {}
    for name, limit in (("start", "optimizer.lr=0"), ("clipped", "trainer.gradient_clip_val=0.01")):
        quick_run(tmp_path / name, *step, limit, "metrics.floors=false")
        norms[name] = last_weights(tmp_path / name)
    trained = [name for name in norms["start"] if "running" not in name and "num_batches" not in name]
    moved = sum(float((norms["clipped"][name] - norms["start"][name]).square().sum()) for name in trained)
    assert moved**0.5 == pytest.approx(0.001, rel=1e-3)


# --- values that no run can honor


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.max_steps=-1", "max_steps must be at least 0, but is -1"),
        ("trainer.max_epochs=-1", "max_epochs must be at least 1, but is -1"),
        ("trainer.accumulate_grad_batches=0", "accumulate_grad_batches must be at least 1"),
        ("trainer.accumulate_grad_batches=null", "accumulate_grad_batches must be a whole number, but is null"),
        ("trainer.max_steps=true", "max_steps must be a whole number, but is True"),
        ("trainer.max_epochs=true", "max_epochs must be a whole number, but is True"),
        ("trainer.max_steps=null", "max_steps must be a whole number, but is null"),
        ("trainer.val_check_interval=null", "val_check_interval must be a whole number, but is null"),
        ("trainer.val_check_interval=0", "val_check_interval must be at least 1, but is 0"),
        ("trainer.val_check_interval=0.5", r"whole number of steps, or auto, but is 0\.5"),
        ("trainer.val_check_interval='00:00:10:00'", "whole number of steps, or auto, but is '00:00:10:00'"),
        ("trainer.log_every_n_steps=-1", "log_every_n_steps must be at least 0, but is -1"),
        ("trainer.gradient_clip_val=-0.5", r"gradient_clip_val must be at least 0, but is -0\.5"),
        ("trainer.limit_train_batches=0", "limit_train_batches must be above 0"),
        ("trainer.limit_test_batches=0.0", "limit_test_batches must be above 0"),
        ("trainer.min_steps=5000", r"min_steps=5000 is more than trainer\.max_steps="),
        ("trainer.profiler=fast", "one of simple, advanced, pytorch, or null, but is 'fast'"),
    ],
)
def test_a_value_that_no_run_can_honor_is_refused(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose(override)


# --- arguments with a meaning of the lab


class Watch(Callback):
    """Counts what training does."""

    seen: ClassVar[dict[str, list[object]]] = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, *_) -> None:
        self.seen.setdefault("steps", []).append(trainer.global_step)

    def on_train_start(self, trainer, pl_module) -> None:
        self.seen.clear()
        self.seen["dtype"] = [next(pl_module.network.parameters()).dtype]


def watched(folder: Path, *overrides: str) -> tuple[Results, dict[str, list[object]]]:
    watch = ("callbacks=device_stats", "callbacks.device_stats._target_=test_trainer_options.Watch")
    run = quick_run(folder, *SMALL, "metrics.floors=false", *watch, "~callbacks.device_stats.cpu_stats", *overrides)
    return run, dict(Watch.seen)


def of_run(run: Results, folder: Path) -> list[runs.Run]:
    """Return the runs that a report compares."""
    assert read_results(folder).status == run.status
    return runs.read_study(folder.parent).finished


@pytest.mark.slow
def test_accumulated_batches_make_one_step_and_validations_count_steps(tmp_path: Path) -> None:
    run, seen = watched(
        tmp_path / "run", "trainer.accumulate_grad_batches=3", "trainer.max_steps=10", "trainer.val_check_interval=auto"
    )
    assert len(seen["steps"]) == 30
    assert [point.step for point in run.history] == [2, 4, 6, 8, 10]


@pytest.mark.slow
def test_epochs_set_the_steps_and_a_limit_shortens_the_epochs(tmp_path: Path) -> None:
    run, _ = watched(
        tmp_path / "run", "trainer.max_epochs=2", "trainer.limit_train_batches=3", "trainer.accumulate_grad_batches=2"
    )
    assert (run.status, run.steps, run.choices["trainer"]["max_steps"], run.choices["schedule"]["steps"]) == (
        "finished",
        4,
        4,
        4,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("64-true", torch.float64),
        ("bf16-true", torch.bfloat16),
        ("bf16-mixed", torch.float32),
        ("32-true", torch.float32),
    ],
)
def test_each_precision_trains_weights_of_its_type(precision: str, dtype: torch.dtype, tmp_path: Path) -> None:
    run, seen = watched(tmp_path / "run", f"trainer.precision={precision}")
    assert (run.status, run.steps, run.hardware["precision"]) == ("finished", 4, precision)
    assert seen["dtype"] == [dtype]


@pytest.mark.slow
def test_without_logging_a_run_validates_and_logs_no_training_values(tmp_path: Path) -> None:
    run, _ = watched(tmp_path / "run", "trainer.log_every_n_steps=0")
    assert run.status == "finished"
    assert [point.train for point in run.history] == [{}, {}]
    assert run.history[-1].validation["recall@1"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("value", ["'00:00:00:01'", "{seconds: 1}"])
def test_max_time_ends_training_early_and_no_report_compares_the_run(value: str, tmp_path: Path) -> None:
    run, _ = watched(tmp_path / "run", f"trainer.max_time={value}", "trainer.max_steps=100000")
    assert run.status == "shortened"
    assert 0 < run.steps < 100_000
    assert f"ended training after {run.steps:,} of 100,000 steps" in (run.error or "")
    assert run.test["recall@1"] is not None
    assert not of_run(run, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("trainer.fast_dev_run=2", "report_checkpoint=best"), "fast_dev_run=2"),
        (("trainer.limit_val_batches=1", "data.eval_batch_size=100"), "limit_val_batches=1"),
        (("trainer.limit_test_batches=0.5", "data.eval_batch_size=100"), r"limit_test_batches=0\.5"),
    ],
)
def test_a_run_on_a_part_of_the_images_is_shortened(options: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    run, _ = watched(tmp_path / "run", *options)
    assert run.status == "shortened"
    assert run.error is not None and reason.replace("\\", "") in run.error
    assert not of_run(run, tmp_path / "run")


@pytest.mark.slow
def test_options_that_take_nothing_away_leave_a_finished_run(tmp_path: Path) -> None:
    everything = ("trainer.limit_val_batches=1.0", "trainer.limit_test_batches=10000", "trainer.fast_dev_run=false")
    run, _ = watched(tmp_path / "run", *everything, "trainer.max_time='00:01:00:00'")
    assert (run.status, run.error) == ("finished", None)
    assert of_run(run, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("profiler", ["simple", "advanced"])
def test_a_profile_is_written_into_the_folder_of_the_run(profiler: str, tmp_path: Path) -> None:
    watched(tmp_path / "run", f"trainer.profiler={profiler}")
    (profile,) = (tmp_path / "run").glob("fit-profile*.txt")
    assert "run_training_batch" in profile.read_text(encoding="utf-8")


def test_devices_strategy_and_batch_norms_are_those_of_the_lab() -> None:
    """Their processes are tested in `tests/training/test_launch.py` and `test_distributed.py`."""
    with pytest.raises(UserError, match=r"strategy=fsdp is not supported"):
        find_placement(compose("trainer.strategy=fsdp").trainer)
