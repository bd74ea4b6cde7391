"""The benchmark's study runs on a small copy of a published set, and its report compares the strategies."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended
from rich.console import Console
from synthetic_sets import write_cub200

from siamese_lab.study.report import report

SMALL = (
    "network.model_name=test_resnet",
    "network.pretrained=false",
    "data.image_size=32",
    "data.stored_size=40",
    "data.classes_per_batch=3",
    "trainer.max_epochs=2",
    "trainer.precision=32-true",
    "threads=1",
)


@pytest.mark.slow
def test_a_small_copy_runs_the_study_and_reports_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Ended],
) -> None:
    pytest.importorskip("timm", reason="the extra timm is not installed")
    write_cub200(tmp_path / "data", classes=16, images=5).publish(monkeypatch)
    ended = command(
        "-m",
        "experiment=benchmark_study",
        *SMALL,
        "sampler=random,semi_hard",
        "loss=triplet,margin",
        "seed=0",
        f"paths.data={tmp_path / 'data'}",
        f"paths.cache={tmp_path / 'cache'}",
        f"paths.outputs={tmp_path / 'outputs'}",
    )
    assert ended.status == 0, ended.err
    folder = tmp_path / "outputs/benchmark_study"
    files = sorted(folder.glob("cub200/*/loss=*/seed=*/results.json"))
    assert len(files) == 4
    stored = json.loads(files[0].read_text(encoding="utf-8"))
    assert {"recall@1", "recall@2", "recall@4", "recall@8"} <= stored["test"].keys()
    assert stored["choices"]["network"]["freeze_batch_norm"] is True
    assert stored["choices"]["optimizer"]["lr"] == 1e-5
    report(folder, Console(quiet=True))
    shown = (folder / "tables/recall_at_1.csv").read_text(encoding="utf-8")
    assert "semi_hard" in shown and "random" in shown
