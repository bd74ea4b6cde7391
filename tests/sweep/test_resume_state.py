"""The remaining work of a run follows from its folder: damaged files are quarantined, other configurations refused."""

import io
import json
from pathlib import Path

import pytest
import torch
from conftest import QUICK, compose, quick_run
from rich.console import Console

from siamese_lab.config import schema
from siamese_lab.runs.checkpoints import CONFIG_KEY
from siamese_lab.sweep.resume_state import remaining_work

FURTHER = ("trainer.val_check_interval=3",)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    quick_run(folder, *FURTHER)
    return folder


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run."""
    for place in run.rglob("*"):
        if place.is_file():
            copy = tmp_path / place.relative_to(run)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(place.read_bytes())
    return tmp_path


def change_results(folder: Path, **changed: object) -> None:
    place = folder / "results.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changed))


def remaining(folder: Path, *overrides: str) -> tuple[str, Path | None, str]:
    output = io.StringIO()
    wanted = schema.to_plain(compose(*QUICK, *FURTHER, *overrides))
    what, checkpoint = remaining_work(folder, wanted, Console(file=output, width=300))
    return what, checkpoint, output.getvalue()


def test_a_finished_run_has_no_remaining_work_even_if_moved(folder: Path) -> None:
    moved = ("paths.outputs=elsewhere", "paths.data=elsewhere", "logger=tensorboard", "threads=3")
    assert remaining(folder, *moved)[0] == "nothing"


def test_a_killed_run_resumes_from_its_checkpoint(folder: Path) -> None:
    change_results(folder, status="running")
    assert remaining(folder) == ("rest", folder / "checkpoints/last.ckpt", "")
    (folder / "results.json").unlink()
    assert remaining(folder)[0] == "rest"


def test_a_run_that_failed_or_has_no_checkpoint_starts_again(folder: Path, tmp_path: Path) -> None:
    change_results(folder, status="failed", fault="bug")
    assert remaining(folder)[0] == "all"
    change_results(folder, status="failed", fault="resource")
    assert remaining(folder)[0] == "rest", "a full disk costs no weights"
    change_results(folder, status="interrupted")
    (folder / "checkpoints/last.ckpt").unlink()
    assert remaining(folder)[0] == "all"
    assert remaining(tmp_path / "nothing here")[0] == "all"


@pytest.mark.parametrize("content", ["", "{", '{"schema_version": 99}', "[]", '{"schema_version": 2, "unknown": 1}'])
def test_damaged_results_are_quarantined(content: str, folder: Path) -> None:
    (folder / "results.json").write_text(content)
    what, checkpoint, output = remaining(folder)
    assert (what, checkpoint) == ("rest", folder / "checkpoints/last.ckpt")
    aside = folder / "results.json.damaged-1"
    assert aside.read_text() == content
    assert output.startswith(f"Quarantined as {aside}: ")
    assert not (folder / "results.json").exists()


def test_a_damaged_checkpoint_is_quarantined_and_no_other_is_lost(folder: Path) -> None:
    change_results(folder, status="running")
    checkpoint = folder / "checkpoints/last.ckpt"
    whole = checkpoint.read_bytes()
    for number in (1, 2):
        checkpoint.write_bytes(whole[: len(whole) // (1 + number)])
        what, _, output = remaining(folder)
        assert what == "all"
        assert f"last.ckpt.damaged-{number}: " in output
        assert "is not a readable checkpoint: the file is truncated, damaged or of another format." in output
    assert len(list(checkpoint.parent.glob("last.ckpt.damaged-*"))) == 2


@pytest.mark.parametrize("status", ["finished", "running"])
def test_a_run_with_another_configuration_is_refused(status: str, folder: Path) -> None:
    change_results(folder, status=status)
    with pytest.raises(
        ValueError, match=r"holds a run with another configuration: optimizer.lr was 0.003 and is now 0.1"
    ):
        remaining(folder, "optimizer.lr=0.1")
    (folder / "results.json").unlink()
    with pytest.raises(ValueError, match=r"seed was 0 and is now 1"):
        remaining(folder, "seed=1")


def test_results_and_checkpoints_hold_no_path_of_a_class(folder: Path) -> None:
    assert "_target_" not in (folder / "results.json").read_text()
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert "_target_" not in str(checkpoint["callbacks"][CONFIG_KEY])


@pytest.mark.parametrize("status", ["finished", "running"])
def test_a_run_from_before_a_class_moved_is_the_same_run(status: str, folder: Path) -> None:
    """Earlier results and checkpoints hold the path that the class had then."""
    place = folder / "checkpoints/last.ckpt"
    checkpoint = torch.load(place, weights_only=True)
    choices = checkpoint["callbacks"][CONFIG_KEY]["choices"]
    for group, path in (("optimizer", "elsewhere.AdamW"), ("schedule", "siamese_lab.schedules.cosine")):
        choices[group] = {"_target_": path, "_partial_": True, **choices[group]}
        del choices[group]["name"]
    change_results(folder, status=status, choices=choices)
    torch.save(checkpoint, place)
    assert remaining(folder)[0] == ("nothing" if status == "finished" else "rest")
