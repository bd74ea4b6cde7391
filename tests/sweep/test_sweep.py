"""A sweep refuses mistakes before it starts, survives failed runs, and names them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended, train_here

from siamese_lab.sweep.lock import lock_sweep

STUDY = (
    "-m",
    "experiment=study",
    "study_name=study",
    "data=digits",
    "sampler=random",
    "recipe.steps=4",
    "trainer.val_check_interval=2",
    "network.width=8",
    "metrics.floors=false",
    "logger=csv",
)
RUN = Path("outputs/study/digits/random/seed=0")


@pytest.fixture
def sweep(command: Callable[..., Ended]) -> Callable[..., Ended]:
    """Return a function that sweeps digits with random sampling, in the folder of the test."""

    def sweep(*arguments: str) -> Ended:
        return command(*STUDY, *arguments)

    return sweep


def results(folder: Path, run: Path = RUN) -> dict:
    return json.loads((folder / run / "results.json").read_text())


@pytest.mark.slow
def test_one_failed_run_does_not_end_the_sweep_and_is_named_with_its_reason(sweep, tmp_path: Path) -> None:
    ended = sweep("seed=0", "data=digits,image_folder")
    assert ended.status == 1
    assert (
        "Not finished: image_folder/random/seed=0: UserError: data=image_folder reads your own images" in ended.out
    ), ended.out
    assert "Repeat the same command to run only these again." in ended.out
    assert results(tmp_path)["status"] == "finished"
    failed = results(tmp_path, Path("outputs/study/image_folder/random/seed=0"))
    assert (failed["status"], failed["data"], failed["seed"]) == ("failed", "image_folder", 0)
    log = (tmp_path / "outputs/study/image_folder/random/seed=0/run.log").read_text()
    assert "Traceback (most recent call last)" in log

    checkpoint = tmp_path / RUN / "checkpoints/last.ckpt"
    before = checkpoint.stat().st_mtime
    assert sweep("seed=0", "data=digits,image_folder").status == 1
    assert checkpoint.stat().st_mtime == before, "a finished run is not repeated"


@pytest.mark.slow
def test_other_configurations_and_other_code_in_the_folder_are_named(sweep, tmp_path: Path) -> None:
    assert sweep("seed=0").status == 0
    ended = sweep("seed=0", "optimizer.lr=0.1")
    assert ended.status == 2
    assert f"{RUN} holds a run with another configuration: optimizer.lr was 0.003 and is now 0.1. " in ended.err
    assert "Choose another folder for this study with study_name=ANOTHER, or delete that run." in ended.err

    place = tmp_path / RUN / "results.json"
    place.write_text(json.dumps(results(tmp_path) | {"commit": "abc"}))
    ended = sweep("seed=0")
    assert ended.status == 0
    assert "1 finished run used other code than this" in ended.out
    assert "such as digits/random/seed=0 (abc). They are kept" in ended.out
    assert results(tmp_path)["commit"] == "abc"


@pytest.mark.slow
def test_damaged_results_are_run_again(sweep, tmp_path: Path) -> None:
    assert sweep("seed=0").status == 0
    whole = results(tmp_path)
    (tmp_path / RUN / "results.json").write_text("{")
    ended = sweep("seed=0")
    assert ended.status == 0, ended.out
    assert results(tmp_path)["test"] == whole["test"]
    assert (tmp_path / RUN / "results.json.damaged-1").read_text() == "{"
    assert "Quarantined as" in (tmp_path / RUN / "run.log").read_text()


def test_mistakes_end_the_sweep_before_it_starts(sweep, tmp_path: Path) -> None:
    for arguments, message in {
        ("seed=0", "optimizer.lr=0.1,0.2"): "2 runs of this sweep would write into outputs/study/digits/random/seed=0",
        ("seed=0", "sampler=semihard"): "There is no sampler 'semihard'. Did you mean 'semi_hard'?",
        (
            "seed=0",
            "budget=huge",
        ): "There is no budget 'huge'. Available: double, half, quadruple, standard",
    }.items():
        ended = sweep(*arguments)
        assert ended.status == 2, ended.out
        assert message in ended.err


def test_two_sweeps_in_one_folder_are_refused(sweep, tmp_path: Path) -> None:
    with lock_sweep(tmp_path / "outputs/study"):
        ended = sweep("seed=0")
    assert ended.status == 2
    assert "Another sweep is using outputs/study. Wait until it has ended" in ended.err


def test_a_study_needs_m(command) -> None:
    ended = command("experiment=study")
    assert ended.status == 2
    assert (
        "experiment=study consists of many runs, so it takes -m: python -m siamese_lab.train -m experiment=study."
        in ended.err
    )


@pytest.mark.skipif(os.getuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_is_named(sweep, tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir(mode=0o555)
    ended = sweep("seed=0")
    assert ended.status == 2
    assert "The sweep cannot write to outputs/study (Permission denied). Choose another folder" in ended.err


def test_a_file_in_place_of_the_folder_is_named(sweep, tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()
    ended = sweep("seed=0")
    assert ended.status == 2
    assert "The sweep cannot write to outputs/study (" in ended.err


@pytest.mark.slow
@pytest.mark.nightly
def test_a_full_disk_ends_the_sweep_with_one_message(sweep, tmp_path: Path) -> None:
    """Files have a limited size: no checkpoint can be written, but results can."""
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from siamese_lab.train import main\n"
        "main()\n"
    )
    limited_run = subprocess.run(
        [sys.executable, "-c", limited, *STUDY, "seed=0,1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert limited_run.returncode == 2, limited_run.stderr
    output = limited_run.stdout + limited_run.stderr
    assert output.count("no space left") == 1
    assert "seed=0 (File too large)" in output and "The same command then continues the sweep." in output
    assert not (tmp_path / "outputs/study/digits/random/seed=1").exists()
    assert sweep("seed=0,1").status == 0
    assert results(tmp_path)["status"] == "finished"


ALIKE = ("threads=1", "trainer.accelerator=cpu")


def outcomes(folder: Path) -> list[tuple]:
    runs = [results(folder, RUN.with_name(f"seed={seed}")) for seed in (0, 1)]
    return [(run["history"], run["test"], run["hardware"]["threads"]) for run in runs]


@pytest.fixture(scope="module")
def sequential(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    folder = tmp_path_factory.mktemp("sequential")
    ended = train_here(*STUDY, "seed=0,1", "launcher=one_by_one", *ALIKE, at=folder)
    assert ended.status == 0, ended.out + ended.err
    return outcomes(folder)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=pytest.mark.nightly)])
def test_parallel_runs_equal_sequential_runs(launcher: str, sequential: list, sweep, tmp_path: Path) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher")
    ended = sweep("seed=0,1", f"launcher={launcher}", *ALIKE)
    assert ended.status == 0, ended.out + ended.err
    assert outcomes(tmp_path) == sequential
    assert sequential[0][2] == 1
