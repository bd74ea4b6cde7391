"""A sweep does not run again what is finished in a packed file only, and refuses a packed run of other options."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended

from siamese_lab import report
from siamese_lab.study.runs import read_study

STUDY = (
    "-m",
    "experiment=study",
    "study_name=study",
    "data=digits",
    "recipe.steps=4",
    "trainer.val_check_interval=2",
    "logger=csv",
    "seed=0",
)


@pytest.mark.slow
def test_packed_runs_are_not_repeated(
    command: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "outputs/study"
    assert command(*STUDY, "sampler=random").status == 0
    monkeypatch.setattr(sys, "argv", ["siamese_lab.report", str(study), "--pack"])
    report.main()
    shutil.rmtree(study / "digits")
    ended = command(*STUDY, "sampler=random,hard")
    assert ended.status == 0, ended.out
    assert not (study / "digits/random/seed=0/checkpoints").exists()
    assert (study / "digits/hard/seed=0/checkpoints").is_dir()
    assert [run.strategy for run in read_study(study).finished] == ["hard", "random"]
    refused = command(*STUDY, "sampler=random", "optimizer.lr=0.1")
    assert refused.status == 2 and "holds a run with another configuration: optimizer.lr was" in refused.err
    packed = study / "runs.jsonl.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    refused = command(*STUDY, "sampler=random")
    assert refused.status == 2 and "none of its runs is used, because it is truncated" in refused.err
