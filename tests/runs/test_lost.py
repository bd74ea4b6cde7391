"""A killed process of a sweep is named, and the record of its run no longer says that it runs."""

from pathlib import Path

from filelock import FileLock

from siamese_lab.runs import lost
from siamese_lab.runs.files import LOCK
from siamese_lab.runs.results import Results, Status, read_results


def write_record(folder: Path, status: Status) -> None:
    folder.mkdir(parents=True)
    choices = {"data": {"name": "digits"}}
    Results("digits", "hard", "triplet", "conv4", 0, choices, {}, {}, None, {}, status=status).write(folder)


def test_only_runs_of_this_sweep_that_have_no_process_are_lost(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lost, "PATIENCE", 0.1)
    for name, status in (("a", "running"), ("b", "finished"), ("c", "running")):
        write_record(tmp_path / name, status)
    with FileLock(tmp_path / "c" / LOCK):  # still trains
        assert "were lost: a. " in str(lost.lost_process(tmp_path, 0.0))
    assert [read_results(tmp_path / name).status for name in "abc"] == ["failed", "finished", "running"]
    assert read_results(tmp_path / "a").fault == "resource"
    later = (tmp_path / "c/results.json").stat().st_mtime + 1
    assert "were lost" not in str(lost.lost_process(tmp_path, later)), "an earlier sweep's run"
