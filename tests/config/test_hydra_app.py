"""A user's mistake gives one clear message and exit status 2 before any training starts."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import QUICK
from PIL import Image

from siamese_lab import samplers
from siamese_lab.runs import results

MISTAKES = {
    "data={root:x}": "data={root:x} sets several options. Set each option by itself, as in data.OPTION=VALUE.",
    "sampler=[hard]": "The group sampler takes one name, but sampler=[hard] lists names. A sweep is -m sampler=A,B.",
    "sampler=semihard": "There is no sampler 'semihard'. Did you mean 'semi_hard'? Available: all, batch_hard,",
    "data=omniglott": "There is no data 'omniglott'. Did you mean 'omniglot'? Available: cars196,",
    "network=conv5": "There is no network 'conv5'. Did you mean 'conv4'? Available: conv4",
    "hydra/launcher=joblibb": "Hydra has no launcher 'joblibb' here. Install the launchers: pip install",
    "samplr=hard": "There is no option 'samplr'. Did you mean 'sampler'?",
    "data.classes_per_bach=3": "There is no option 'data.classes_per_bach'. Did you mean 'data.classes_per_batch'?",
    "optimizer.lrr=1": "There is no option 'optimizer.lrr'. Did you mean 'optimizer.lr'?",
    "+foo=1": "There is no option 'foo'.",
    "+paths.date=x": "There is no option 'date'. Did you mean 'data'?",
    "+sampler.marign=1": "The sampler 'semi_hard' has no option 'marign'. Did you mean 'margin'?",
    "+data.augment.rotate=1": "Augmentation has no option 'rotate'. Did you mean 'rotation'?",
    "+trainer.foo=1": "There is no option 'trainer.foo'.",
    "trainer.max_steps=many": "trainer.max_steps must be a whole number, but is 'many'",
    "trainer.max_steps=2.5": "trainer.max_steps must be a whole number, but is 2.5",
    "optimizer.lr=fast": "optimizer.lr must be a number, like 0.003, but is 'fast'",
    "optimizer.lr=null": "optimizer.lr must be a number, like 0.003, but is null",
    "data.augment.mirror=1": "data.augment.mirror must be true or false, like False, but is 1",
    "seed=abc": "Value 'abc' of type 'str' could not be converted to Integer",
    "data.classes_per_batch=9": "P×K batches of 9 classes need at least as many training classes, but there are 6.",
    "data.images_per_class=1": "P×K batches need at least 2 images per class",
    "data.repeats=false data.images_per_class=500": "P×K batches need 500 images per class, but 6 of 6 classes",
    "data.image_size=8": "Conv-4 halves its images four times and so needs at least 16×16 pixels",
    "trainer.accelerator=tpu": "trainer.accelerator=tpu is not available",
    "trainer.max_steps=-1": "trainer.max_steps must be at least 0, but is -1",
    "trainer.val_check_interval=301": "trainer.val_check_interval=301 is more than trainer.max_steps=300",
    "loss.margin=-1": "The triplet loss needs a margin above 0, but it is -1",
    "loss.distance=cosine": "distance must be one of plain, squared, but is 'cosine'",
    "sampler.choice=hardest": "sampler.choice must be 'uniform' or 'nearest', but got 'hardest'",
    "loss=null": "A group cannot be null, as in loss=null. Set it to a name. Names: arcface, circle,",
    "logger=7": "A group cannot be 7, as in logger=7. Set it to a name, or write logger=null to leave the group out.",
    "resume=nothing.ckpt": "There is no checkpoint nothing.ckpt to resume",
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained_before_training_starts(mistake: str, command, tmp_path: Path) -> None:
    ended = command("data=digits", *mistake.split())
    assert ended.status == 2
    assert MISTAKES[mistake] in ended.err
    assert ended.err.count("Error: ") == 1
    assert "Error executing job" not in ended.err, "Hydra adds nothing to the message"
    assert "Traceback" not in ended.err + ended.out
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("results.json"))


def test_a_missing_data_folder_is_named(command, tmp_path: Path) -> None:
    assert "there is no such folder" in command("data=omniglot", f"paths.data={tmp_path / 'nowhere'}").err


def test_the_traceback_can_be_requested(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="at least 2 images per class"):
        command("data=digits", "data.images_per_class=1")


def test_internal_errors_are_not_reported_as_mistakes_of_the_user(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese_lab.training.run.build_datamodule", lambda config: int("not a number"))
    with pytest.raises(ValueError, match="invalid literal for int"):
        command(*QUICK)


@pytest.mark.slow
def test_a_run_prints_its_choices_its_metrics_and_the_path_of_the_results(command, tmp_path: Path) -> None:
    ended = command(*QUICK, "sampler=hard")
    assert ended.status == 0
    for shown in ("digits", "hard", "margin=0.2", "6 steps of 6 classes × 8 images", "Recall@1", "validation", "test"):
        assert shown in ended.out
    (left,) = tmp_path.rglob("results.json")
    assert f"Results: {left.relative_to(tmp_path)}" in ended.out
    assert "tensorboard" not in ended.out, "logger=csv writes nothing for TensorBoard"
    assert f"Curves:  {left.parent.relative_to(tmp_path) / 'csv/metrics.csv'}" in ended.out
    assert left.relative_to(tmp_path).parts[:2] == ("outputs", "runs")
    assert {path.name for path in left.parent.iterdir()} >= {".hydra", "checkpoints", "results.json", "csv"}
    assert {path.name for path in (left.parent / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.slow
def test_a_sweep_names_its_folders_by_data_strategy_and_seed(command, tmp_path: Path) -> None:
    short = ("trainer.max_steps=2", "network.width=8", "metrics.floors=false", "logger=null")
    ended = command("-m", "sampler=random,hard", "seed=0,1", *QUICK, *short)
    assert ended.status == 0
    folders = {path.parent.name for path in tmp_path.glob("outputs/sweeps/*/*/*/results.json")}
    wanted = [f"digits_{strategy}_seed={seed}" for strategy in ("random", "hard") for seed in (0, 1)]
    assert folders == {f"{number}_{name}" for number, name in enumerate(wanted)}
    assert {results.read_results(path.parent).status for path in tmp_path.rglob("results.json")} == {"finished"}


@pytest.mark.slow
def test_configs_of_the_user_are_added(command, tmp_path: Path) -> None:
    (tmp_path / "mine/sampler").mkdir(parents=True)
    (tmp_path / "mine/sampler/narrow.yaml").write_text("name: semi_hard\nmargin: 0.05\n")
    ended = command("--config-dir", str(tmp_path / "mine"), "sampler=narrow", *QUICK)
    assert ended.status == 0
    (left,) = tmp_path.rglob("results.json")
    assert results.read_results(left.parent).choices["sampler"] == {
        "name": "semi_hard",
        "margin": 0.05,
        "num_negatives": 1,
    }

    mine = ("--config-dir", str(tmp_path / "mine"))
    assert "Did you mean 'narrow'? Available: all, " in command(*mine, "sampler=narow").err
    assert "Did you mean 'sampler.margin'?" in command(*mine, "sampler=narrow", "sampler.marign=1").err


def test_help_shows_options_and_examples(command) -> None:
    shown = command("--help").out
    for expected in (
        "Train a Siamese network",
        f"Names: {', '.join(sorted({*samplers.available(), 'pml'}))}",
        "classes_per_batch",
    ):
        assert expected in " ".join(shown.split())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_an_interrupted_run_that_resumes(number: signal.Signals, command, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [
        *(sys.executable, "-m", "siamese_lab.train"),
        *("data=image_folder", "data.root=my photos", "data.image_size=16", "data.classes_per_batch=4", "network=mlp"),
        "trainer.accelerator=cpu",
        "trainer.max_steps=100000",
        "trainer.val_check_interval=5",
    ]
    for number_of_class in range(20):
        (tmp_path / f"my photos/{number_of_class}").mkdir(parents=True)
        for gray in range(4):
            Image.new("L", (16, 16), 60 * gray).save(tmp_path / f"my photos/{number_of_class}/{gray}.png")
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        wait_for(lambda: list(tmp_path.rglob("best.ckpt")))
        process.send_signal(number)
        shown, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, shown
    (left,) = tmp_path.rglob("results.json")
    stopped = results.read_results(left.parent)
    assert stopped.status == "interrupted"
    (printed,) = re.findall(r"To resume: python -m siamese_lab\.train (.*)", shown)

    again = command(*shlex.split(printed), f"trainer.max_steps={stopped.steps + 3}")
    assert again.status == 0, again.err
    resumed = results.read_results(left.parent)
    assert (resumed.status, resumed.steps) == ("finished", stopped.steps + 3)


def wait_for(condition, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the condition did not become true in time"
        time.sleep(0.1)
