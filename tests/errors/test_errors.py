"""A bug keeps its traceback and marks the run failed; a user's error is one message with exit status 2."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import QUICK, Ended
from filelock import FileLock
from PIL import Image

from siamese_lab import data, embed, export, losses, report, samplers, search, verify
from siamese_lab.data import __main__ as prepare
from siamese_lab.data.io.decode import pixels
from siamese_lab.data.sets.digits import Digits
from siamese_lab.errors import NonFiniteLossError, ResourceError, UserError, fault_of
from siamese_lab.losses.triplet import TripletLoss
from siamese_lab.runs import results, tuned
from siamese_lab.runs.disk import disk_errors
from siamese_lab.samplers.random import RandomSampler
from siamese_lab.samplers.validation import check_embeddings, check_shapes
from siamese_lab.sweep.lock import lock_sweep

BUG = "invalid literal for int"


class BrokenSampler(RandomSampler):
    def mine(self, *_, **__):
        int("x")

    forward = mine


class BrokenLoss(TripletLoss):
    def forward(self, *_, **__):
        int("x")


class BrokenData(Digits):
    def load(self):
        int("x")


class Part(NamedTuple):
    registry: object
    broken: type
    options: tuple[str, ...]


BROKEN = {
    "strategy": Part(samplers.registry, BrokenSampler, ("sampler=random", "sampler.name=broken")),
    "loss": Part(losses.registry, BrokenLoss, ("loss.name=broken",)),
    "data set": Part(data.registry, BrokenData, ("data.name=broken",)),
}


def only_run(folder: Path) -> results.Results:
    (left,) = folder.rglob("results.json")
    return results.read_results(left.parent)


# --- bugs


@pytest.mark.slow
@pytest.mark.parametrize("kind", BROKEN)
def test_a_bug_of_an_extension_keeps_its_traceback_and_fails_the_run(
    kind: str, command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = BROKEN[kind]
    monkeypatch.setitem(part.registry.classes, "broken", part.broken)
    with pytest.raises(ValueError, match=BUG) as bug:
        command(*QUICK, *part.options)
    assert not isinstance(bug.value, UserError)
    assert bug.traceback[-1].name in ("mine", "forward", "load"), "the traceback ends at the bug"
    left = only_run(tmp_path)
    assert (left.status, left.fault) == ("failed", "bug")
    assert left.error.startswith(f"ValueError: {BUG}")


@pytest.mark.slow
def test_a_bug_ends_the_process_with_its_traceback_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "extension.py").write_text(
        "from siamese_lab.samplers.random import RandomSampler\n"
        "from siamese_lab.samplers.base import register\n"
        "@register('broken')\n"
        "class Broken(RandomSampler):\n"
        "    def forward(self, *_, **__):\n"
        "        int('x')\n"
        "    mine = forward\n"
    )
    code = "import extension; from siamese_lab.train import main; main()"
    ended = run(tmp_path, "-c", code, *QUICK, *BROKEN["strategy"].options)
    assert ended.status == 1
    assert "Traceback (most recent call last)" in ended.err
    assert 'extension.py", line 6' in ended.err
    assert f"ValueError: {BUG}" in ended.err
    assert only_run(tmp_path).status == "failed"


def test_a_bug_before_a_resumed_run_trains_marks_it_failed_and_keeps_its_record(
    command, own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results.read_results(own_run)
    before.status = "interrupted"
    before.write(own_run)
    monkeypatch.setattr("siamese_lab.training.run.build_module", lambda *_: int("x"))
    with pytest.raises(ValueError, match=BUG):
        command(f"resume={own_run / 'checkpoints/last.ckpt'}", f"hydra.run.dir={own_run}", "trainer.max_steps=9")
    left = results.read_results(own_run)
    assert (left.status, left.fault, left.history) == ("failed", "bug", before.history)


def test_code_that_misreads_the_configuration_is_a_bug(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese_lab.training.run.build_datamodule", lambda config: config.no_such_option)
    with pytest.raises(RuntimeError, match="no_such_option"):
        command(*QUICK)


def test_a_bug_of_a_conversion_is_not_reported_as_a_damaged_image(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    noise_HW = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    Image.fromarray(noise_HW).save(path)
    with pytest.raises(ValueError, match=BUG) as bug:
        pixels(tmp_path, path.name, path.read_bytes(), lambda image: int("x"))
    assert not isinstance(bug.value, UserError)
    with pytest.raises(UserError, match=r"grey\.png.*cannot be read as an image"):
        pixels(tmp_path, path.name, path.read_bytes()[:300], lambda image: image.convert("L"))


def test_a_broken_contract_between_parts_is_a_bug() -> None:
    z_BD, labels_B = torch.eye(4), torch.tensor([0, 0, 1, 1])
    for wrong in ((z_BD, labels_B[:3]), (z_BD.long(), labels_B), (z_BD, labels_B.float())):
        with pytest.raises(ValueError) as error:
            check_shapes(*wrong, None)
        assert fault_of(error.value) == "bug"
    with pytest.raises(ValueError, match="norm 2") as error:
        check_embeddings(z_BD * 2, finite_only=True)
    assert fault_of(error.value) == "bug"
    for diverged in (z_BD * 0, z_BD * torch.nan):
        with pytest.raises(NonFiniteLossError):
            check_embeddings(diverged, finite_only=True)


# --- sweeps and tunings


SHORT = (
    *("data=digits", "recipe.steps=4", "trainer.val_check_interval=4", "network.width=8"),
    *("metrics.floors=false", "logger=csv"),
)
STUDY = ("-m", "experiment=study", "study_name=study", "seed=0", *SHORT)
TUNE = ("-m", "experiment=tune", "trainer.accelerator=cpu", *SHORT)


@pytest.mark.slow
def test_a_bug_in_one_run_of_a_sweep_is_named_and_the_others_continue(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The measurements of every run compare its picks with those of the four studied strategies, so another one breaks.
    monkeypatch.setitem(samplers.registry.classes, "easy_positive", BrokenSampler)
    ended = command(*STUDY, "sampler=easy_positive,random", "trainer.accelerator=cpu")
    assert ended.status == 1
    assert f"Not finished: digits/easy_positive/seed=0: ValueError: {BUG}" in ended.out
    assert "This is a bug. Its traceback is in outputs/study/digits/easy_positive/seed=0/run.log" in ended.out
    folder = tmp_path / "outputs/study/digits"
    assert results.read_results(folder / "random/seed=0").status == "finished"
    assert results.read_results(folder / "easy_positive/seed=0").fault == "bug"
    log = (folder / "easy_positive/seed=0/run.log").read_text()
    assert "Traceback (most recent call last)" in log
    assert 'int("x")' in log


def test_a_bug_before_the_first_run_of_a_sweep_ends_it(command, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("siamese_lab.sweep.callback.plan", lambda config: int("x"))
    ended = command(*STUDY, "sampler=random")
    assert ended.status == 1
    assert "Traceback (most recent call last)" in ended.err
    assert BUG in ended.err
    assert not list(tmp_path.rglob("results.json"))


@pytest.mark.slow
def test_a_bug_stops_a_tuning_and_is_no_trial(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "outputs/tune/digits/random"

    class BrokenFromTheSecondTrialOn(RandomSampler):
        def __init__(self, **options) -> None:
            if (folder / "trial=1").exists():
                int("x")
            super().__init__(**options)

    locks: list[FileLock] = []
    with monkeypatch.context() as patch:
        claim = "siamese_lab.tuning.callback.lock_sweep"
        patch.setattr(claim, lambda place: locks.append(lock_sweep(place)) or locks[-1])
        patch.setitem(samplers.registry.classes, "random", BrokenFromTheSecondTrialOn)
        with pytest.raises(ValueError, match=BUG) as bug:
            command(*TUNE, "sampler=random", "tuning.trials=3")
    assert bug.traceback[-1].name == "__init__"
    assert results.read_results(folder / "trial=0").status == "finished"
    assert results.read_results(folder / "trial=1").fault == "bug"
    assert not (folder / "trial=2").exists()
    assert not (folder / "tuned.json").exists()

    locks.pop().release()  # like the end of the process
    assert command(*TUNE, "sampler=random", "tuning.trials=3").status == 0, "the failed trial is repeated"
    assert [trial.status for trial in tuned.read_tuned(folder).every_trial] == ["finished"] * 3


@pytest.mark.slow
def test_invalid_tuned_options_are_failed_trials_but_mistakes_of_the_user_are_not(command, tmp_path: Path) -> None:
    space = "tuning.space.loss.triplet.margin"
    ended = command(*TUNE, "sampler=random", "tuning.trials=3", f"{space}.low=-90", f"{space}.log=false")
    assert ended.status == 0, ended.err
    shipped, *others = tuned.read_tuned(tmp_path / "outputs/tune/digits/random").every_trial
    assert shipped.status == "finished"
    for trial in others:
        assert trial.status == "failed"
        assert "margin above 0" in trial.error

    ended = command(*TUNE, "sampler=random", "study_name=other", "data.classes_per_batch=99")
    assert ended.status == 1
    assert "P×K batches of 99 classes" in ended.err
    assert not (tmp_path / "outputs/other/digits/random/trial=1").exists()


# --- errors of users


@pytest.fixture
def folder_of_one_class(tmp_path: Path) -> Path:
    place = tmp_path / "images/one"
    place.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((8, 8, 3), 60 * number, np.uint8)).save(place / f"{number}.png")
    return place.parent


MISTAKES = {
    "sampler.marign=1": "no option 'sampler.marign'",
    "sampler.margin=abc": "sampler.margin must be a number",
    "schedule.steps=abc": "schedule.steps must be a whole number",
    "schedule.steps=-5": "schedule.steps must be at least 0, but is -5",
    "seed=${nothing}": "nothing",
    "sampler=7": "A group cannot be 7",
    "data.classes_per_batch=99": "P×K batches of 99 classes",
    "loss.margin=0": "margin above 0",
    "sampler=all loss=contrastive": "loss=contrastive .*sampler=all",
    "network.normalize=false": "network.normalize=true",
    "data=omniglot paths.data=nowhere": "no such folder",
    "data=image_folder": "data.root=FOLDER",
    "data=image_folder data.root=images": "at least 6 are needed",
    "trainer.precision=12-true": "trainer: .*12-true",
    "trainer._target_=builtins.dict": "trainer._target_",
    "optimizer.lr=-1.0": "optimizer: .*-1",
    "optimizer._target_=torch.optim.Nothing": "torch.optim.Nothing",
    "schedule.warmup_fraction=2.0": "schedule.warmup_fraction",
    "logger.tensorboard._target_=nowhere.Logger": "nowhere",
    "ema=2": "ema",
    "resume=damaged.ckpt": "damaged.ckpt",
    "experiment=study": "takes -m",
}
"""tests/config/test_hydra_app.py has further ones."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_error_of_the_user_is_one_message(mistake: str, command, tmp_path: Path, folder_of_one_class: Path) -> None:
    (tmp_path / "damaged.ckpt").write_bytes(b"PK\x03\x04 and no more")
    check_one_message(command("data=digits", *mistake.split()), MISTAKES[mistake])


def test_a_folder_that_cannot_be_written_is_one_message(command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_one_message(command(*QUICK, "paths.outputs=file"), "file.*cannot be written.*paths.outputs")


def test_every_command_has_one_message(call, evaluate, own_run: Path, folder_of_one_class: Path, monkeypatch) -> None:
    missing = ("checkpoint=nothing.ckpt", f"in={folder_of_one_class}")
    image = folder_of_one_class / "one/0.png"
    check_one_message(evaluate("checkpoint=nothing.ckpt"), "no checkpoint nothing.ckpt")
    check_one_message(evaluate(f"checkpoint='{own_run}'", "precision=12"), "precision")
    calls = {
        report: (("nowhere",), "no folder nowhere"),
        embed: (("checkpoint=nothing.ckpt", f"images={folder_of_one_class}"), "no checkpoint nothing.ckpt"),
        verify: ((image, image, "checkpoint=nothing.ckpt"), "no checkpoint nothing.ckpt"),
        search: ((image, *missing), "no checkpoint nothing.ckpt"),
        export: (("checkpoint=nothing.ckpt",), "no checkpoint nothing.ckpt"),
        prepare: (("digits", "data.image_size=big"), "data.image_size must be a whole number"),
    }
    for module, (arguments, message) in calls.items():
        check_one_message(call(module, *arguments), message)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    for module, (arguments, message) in calls.items():
        with pytest.raises(UserError, match=message):
            call(module, *arguments)


def test_one_data_set_that_cannot_be_prepared_does_not_stop_the_others(call) -> None:
    ended = call(prepare, "image_folder", "digits")
    assert ended.status == 2
    assert "data.root=FOLDER" in ended.err
    assert "digits" in ended.out


@pytest.mark.slow
@pytest.mark.nightly
def test_python_without_assertions_still_validates(tmp_path: Path) -> None:
    ended = run(tmp_path, "-O", "-m", "siamese_lab.train", *QUICK, "data.classes_per_batch=99")
    check_one_message(ended, "P×K batches of 99 classes")
    assert not list(tmp_path.rglob("results.json")), "it was refused before training"


def test_full_disks_and_refused_writes_name_folder_and_option(tmp_path: Path) -> None:
    for number, message in {
        28: "no space left to write to .*paths.outputs",
        13: "cannot be written.*paths.outputs",
    }.items():
        with pytest.raises(ResourceError, match=message), disk_errors(tmp_path, "paths.outputs"):
            raise OSError(number, os.strerror(number))
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path, "paths.outputs"):
        (tmp_path / "nothing").read_text()


def check_one_message(ended: Ended, message: str) -> None:
    assert ended.status == 2, ended.err
    assert re.search(message, ended.err), ended.err
    assert ended.err.count("Error: ") == 1, ended.err
    assert "Error executing job" not in ended.err, "Hydra adds nothing to the message"
    assert "Traceback" not in ended.err + ended.out


def run(folder: Path, *arguments: str) -> Ended:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("SIAMESE_LAB_DATA", None)
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, text=True, capture_output=True, timeout=300
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)
