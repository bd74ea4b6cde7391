"""Metrics reach results and history as values that equal the values in the log."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quick_run

from siamese_lab.runs.results import Results
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.run import nan_as_none
from siamese_lab.training.stage_metrics import stage_metrics

FURTHER = ("trainer.val_check_interval=3", "trainer.log_every_n_steps=1", "metrics.extra=[class_recall]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    """Return the results of six logged steps with two validations."""
    return quick_run(folder, *FURTHER)


def logged(folder: Path, stage: str) -> list[dict[str, float]]:
    """Return the rows of the log that belong to a stage; names omit the stage."""
    with (folder / "csv/metrics.csv").open(encoding="utf-8") as file:
        rows = [
            {name.removeprefix(f"{stage}/"): float(value) for name, value in row.items() if value and stage in name}
            for row in csv.DictReader(file)
        ]
    return [row for row in rows if row]


def test_the_metrics_of_a_run_are_those_in_its_log(results: Results, folder: Path) -> None:
    (test,) = logged(folder, "test")
    during = logged(folder, "validation")  # the last weights were validated in training, and not again at the end
    assert {"recall@1", "map@r", "class_recall@1"} <= test.keys()
    assert results.test == test
    assert [point.validation for point in results.history] == during
    assert results.history[-1].validation == results.validation


def test_the_history_averages_the_logged_steps_and_omits_durations(results: Results, folder: Path) -> None:
    steps = logged(folder, "train")
    assert len(steps) == 6 and all("mining_ms" in step for step in steps)
    for point, rows in zip(results.history, (steps[:3], steps[3:]), strict=True):
        assert point.train.keys() == rows[0].keys() - {"mining_ms"}
        for name, value in point.train.items():
            assert value == pytest.approx(sum(row[name] for row in rows) / 3, rel=1e-5, abs=1e-7)


@pytest.mark.slow
def test_every_batch_of_a_logged_step_counts_if_gradients_are_accumulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, training_step = [], SiameseModule.training_step

    def recording_step(module: SiameseModule, *batch: Any) -> dict[str, Any]:
        output = training_step(module, *batch)
        losses.append(float(output["loss"].detach()))
        return output

    monkeypatch.setattr(SiameseModule, "training_step", recording_step)
    accumulated = ("trainer.accumulate_grad_batches=2", "trainer.max_steps=2", "trainer.val_check_interval=2")
    (point,) = quick_run(tmp_path, *accumulated).history
    assert len(losses) == 4, "two steps of two batches; only the second step is logged"
    assert point.train["loss"] == pytest.approx((losses[2] + losses[3]) / 2, rel=1e-5)


def test_metrics_are_rounded_to_float32_and_undefined_ones_are_recorded_as_none() -> None:
    metrics = stage_metrics("test", {"a": 0.1, "b": torch.tensor(0.5), "pairs": 3, "tar": math.nan})
    assert metrics.values["a"] == float(torch.tensor(0.1))
    assert nan_as_none(metrics.values) == {"a": float(torch.tensor(0.1)), "b": 0.5, "pairs": 3.0, "tar": None}
