"""Several processes run the experiment of one: figures, files, signals, resuming, and studies from the command line."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch
from conftest import Ended, compose
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from siamese_lab import train
from siamese_lab.errors import UserError
from siamese_lab.training.placement import find_placement

TRAIN = (sys.executable, "-m", "siamese_lab.train")
ON_CPU = ("data=digits", "threads=1", "trainer.accelerator=cpu")
# float64, because training magnifies the rounding of float32: within 30 steps the losses of one process with two
# threads and with one thread differ by 1e-3.
EXACT = ("trainer.precision=64-true", "data.classes_per_batch=6", "trainer.log_every_n_steps=1")
EVERYTHING = ("network.batch_norm=true", "network.dropout=0.2", "sampler=memory", "sampler.size=96", "ema=0.9")
SMALL = ("network.width=8", "trainer.val_check_interval=2")
LIMIT = 600
"""Seconds for a run; a test that reaches this limit has found processes that wait for each other."""


@contextmanager
def output_in(folder: Path) -> Iterator[None]:
    """Write the output of this process, and of the processes that it starts, into the files `stdout` and `stderr`."""
    before = [os.dup(number) for number in (1, 2)]
    for name in ("stdout", "stderr"):
        (folder / name).unlink(missing_ok=True)
    with (  # all append, because the first process of a run opens the file again
        (folder / "stdout").open("a") as out,
        (folder / "stderr").open("a") as err,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            yield
        finally:
            for number, copy in zip((1, 2), before, strict=True):
                os.dup2(copy, number)
                os.close(copy)


def run(*arguments: str, cwd: Path, environment: dict[str, str] | None = None) -> Ended:
    """Run the command in this process, which starts the other processes and is none of them."""
    end = threading.Timer(LIMIT, os.kill, (os.getpid(), signal.SIGTERM))
    end.start()
    try:
        with pytest.MonkeyPatch.context() as patch, output_in(cwd):
            for name, value in (environment or {}).items():
                patch.setenv(name, value)
            patch.chdir(cwd)
            patch.setattr(sys, "argv", ["siamese_lab.train", *arguments, *ON_CPU])
            try:
                train.main()
                status = 0
            except SystemExit as ended:
                status = int(ended.code or 0)
    finally:
        end.cancel()
    return Ended(status, (cwd / "stdout").read_text(), (cwd / "stderr").read_text())


def run_elsewhere(*arguments: str, cwd: Path, environment: dict[str, str]) -> Ended:
    """Run the command in its own process, where variables count from the import of Lightning on."""
    command, variables = [*TRAIN, *arguments, *ON_CPU], os.environ | environment
    ended = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=LIMIT)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of the last checkpoint except the counters: the network, the loss, the memory."""
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return {name: each for name, each in state.items() if isinstance(each, torch.Tensor)}


def greatest_difference(one: Path, other: Path) -> float:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    return max(float((ours[name].double() - theirs[name].double()).abs().max()) for name in ours)


def scalars(folder: Path) -> dict[str, list[float]]:
    """Return the logged values of training at every step. The distances of the triplets differ between steps."""
    every = EventAccumulator(str(folder), {"scalars": 0}).Reload()
    names = [name for name in every.Tags()["scalars"] if name.startswith("train/") and name != "train/mining_ms"]
    return {name: [event.value for event in every.Scalars(name)] for name in names}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    ended = run(
        *EXACT, *EVERYTHING, "trainer.max_steps=12", "trainer.val_check_interval=4", "hydra.run.dir=run", cwd=folder
    )
    assert ended.status == 0, ended.err
    return folder / "run"


@pytest.mark.slow
def test_three_processes_run_the_experiment_of_one(alone: Path, tmp_path: Path) -> None:
    options = "trainer.devices=3", "trainer.strategy=ddp_spawn", "data.eval_batch_size=50"
    steps = "trainer.max_steps=12", "trainer.val_check_interval=4", "hydra.run.dir=run"
    ended = run(*EXACT, *EVERYTHING, *steps, *options, cwd=tmp_path)
    assert ended.status == 0, ended.err
    together = tmp_path / "run"
    ours, theirs = scalars(alone), scalars(together)
    assert ours.keys() == theirs.keys() and len(ours["train/loss"]) == 12
    for name, values in ours.items():
        assert theirs[name] == pytest.approx(values, abs=1e-6), name  # event files have this precision
    assert greatest_difference(alone, together) < 1e-6
    one, several = results(alone), results(together)
    assert several["status"] == "finished" and several["hardware"]["processes"] == 3
    assert [point["triplets"] for point in one["history"]] == [point["triplets"] for point in several["history"]]
    for figures in ("validation", "test"):
        assert several[figures] == pytest.approx(one[figures], abs=1e-6)
    assert list(one["floors"]) == list(several["floors"]) == ["pixels", "untrained"]
    for floor, figures in one["floors"].items():
        assert several["floors"][floor] == pytest.approx(figures, abs=1e-6)
    assert ended.out.count("Results:") == 1 and ended.out.count("raw pixels") == 1
    assert len(re.findall(r"^step ", ended.out, re.MULTILINE)) == 3
    assert not re.search(r"[Ww]arn|recommended|deprecated|rank", ended.err), ended.err
    assert len(list(together.glob("events*"))) == len(list(alone.glob("events*")))
    assert sorted(each.name for each in together.iterdir() if not each.name.startswith("events")) == sorted(
        each.name for each in alone.iterdir() if not each.name.startswith("events")
    )


@pytest.mark.slow
def test_two_processes_learn_the_vectors_of_the_classes_as_one_process(tmp_path: Path) -> None:
    """Every process computes the loss of the whole batch, so all have the gradient of one process."""
    options = (*EXACT, "loss=softmax", "sampler=none", "trainer.max_steps=6", "metrics.floors=false", *SMALL)
    for devices in (1, 2):
        processes = f"trainer.devices={devices}", f"trainer.strategy={'auto' if devices == 1 else 'ddp'}"
        ended = run(*options, *processes, f"hydra.run.dir=run{devices}", cwd=tmp_path)
        assert ended.status == 0, ended.err
    assert "loss.vector_CD" in weights(tmp_path / "run2")
    assert greatest_difference(tmp_path / "run1", tmp_path / "run2") < 1e-6


def test_classes_that_processes_cannot_share_are_refused_before_they_start(command: Callable[..., Ended]) -> None:
    ended = command("data=digits", "data.classes_per_batch=4", "trainer.devices=3", "trainer.accelerator=cpu")
    assert ended.status == 2
    assert re.search(r"4 classes.*classes_per_batch.*3 processes.*trainer\.devices", ended.err.replace("\n", " "))
    assert "Traceback" not in ended.err


def test_other_strategies_and_unstarted_nodes_are_refused() -> None:
    with pytest.raises(UserError, match=r"trainer\.strategy=fsdp.*auto, ddp, ddp_spawn"):
        find_placement(compose("trainer.devices=2", "trainer.strategy=fsdp").trainer)
    with pytest.raises(UserError, match=r"trainer\.num_nodes=2.*torchrun or srun.*4 processes"):
        find_placement(compose("trainer.devices=2", "trainer.num_nodes=2", "trainer.accelerator=cpu").trainer)


def test_absent_devices_are_refused() -> None:
    with pytest.raises(UserError, match=r"trainer\.devices=-1"):
        find_placement(compose("trainer.devices=-1", "trainer.accelerator=cpu").trainer)


def test_processes_of_a_launcher_are_recognized(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose("trainer.devices=2", "trainer.accelerator=cpu").trainer
    for name, value in {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="ntasks-per-node=2"):
        find_placement(config)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    assert (find_placement(config).is_launched, find_placement(config).rank) == (True, 1)
    assert not find_placement(compose("trainer.devices=3", "trainer.accelerator=cpu").trainer).is_launched
    assert not find_placement(compose().trainer).is_launched
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert (find_placement(config).is_launched, find_placement(config).rank) == (True, 1)
    with pytest.raises(UserError, match=r"torchrun has started 2 processes.*ask for 1"):
        find_placement(compose().trainer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "variables"),
    [
        (run_elsewhere, {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "SLURM_PROCID": "3"}),
        (
            run,
            {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "n1"}
            | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"},
        ),
    ],
    ids=["a rank", "a job of two tasks"],
)
def test_variables_of_a_job_scheduler_do_not_affect_one_process(
    start: Callable[..., Ended], variables: dict[str, str], tmp_path: Path
) -> None:
    ended = start("trainer.max_steps=2", "hydra.run.dir=run", cwd=tmp_path, environment=variables)
    assert ended.status == 0, ended.err
    assert results(tmp_path / "run")["status"] == "finished" and "Results:" in ended.out
    assert list((tmp_path / "run").glob("events.out.*"))


# --- Signals ---------------------------------------------------------------------------------------------------------


class Started:
    """A run of two processes, one class each, that has made a few steps."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder / "run"
        self.log = folder / "log"
        command = [
            *TRAIN,
            *ON_CPU,
            *EXACT,
            "data.classes_per_batch=2",
            "trainer.devices=2",
            "trainer.val_check_interval=5",
            "network.width=8",
            "metrics.floors=false",
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *options, f"hydra.run.dir={self.folder}"], stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + LIMIT
        while not (self.folder / "checkpoints/last.ckpt").exists() and self.process.poll() is None:
            if time.monotonic() > until:
                os.killpg(self.process.pid, signal.SIGKILL)
            time.sleep(0.1)
        assert self.process.poll() is None, self.log.read_text()
        listed = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True).stdout
        rows = [line.split(None, 2) for line in listed.splitlines()]
        self.ranks = [
            int(pid) for pid, parent, args in rows if int(parent) == self.process.pid and "spawn_main" in args
        ]
        assert len(self.ranks) == 2

    def ended(self) -> Ended:
        """Return how the run ended, and check that no process is left."""
        try:
            status = self.process.wait(60)
            until = time.monotonic() + 30
            while (left := [pid for pid in self.ranks if is_alive(pid)]) and time.monotonic() < until:
                time.sleep(0.1)
            assert not left
        finally:
            for pid in filter(is_alive, [self.process.pid, *self.ranks]):
                os.kill(pid, signal.SIGKILL)
        return Ended(status, self.log.read_text(), "")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a process that has ended but was not waited for does not run."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(shown) and not shown.startswith("Z")


@pytest.mark.slow
def test_ctrl_c_stops_all_processes_and_one_process_resumes(tmp_path: Path) -> None:
    started = Started(tmp_path, "trainer.max_steps=2000")
    os.killpg(started.process.pid, signal.SIGINT)  # like a terminal: to all processes of the group
    ended = started.ended()
    left = results(started.folder)
    assert (ended.status, left["status"], left["error"]) == (130, "interrupted", None), ended.out
    assert "Traceback" not in ended.out and ended.out.count("Interrupted. To resume:") == 1
    stopped = torch.load(started.folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert stopped == left["steps"] >= 5

    total = f"trainer.max_steps={stopped + 10}"
    resumed = run(f"resume={started.folder}/checkpoints/last.ckpt", "trainer.devices=1", total, cwd=tmp_path)
    assert resumed.status == 0, resumed.err
    assert (results(started.folder)["status"], results(started.folder)["steps"]) == ("finished", stopped + 10)


@pytest.mark.slow
def test_another_number_of_processes_resumes_equally(tmp_path: Path) -> None:
    """One process makes 2 steps, two continue to 4, one again to 6: together they equal 6 steps of one process.

    The precision is float32, because Lightning rounds restored weights to it. So the steps are small, and the strategy
    hardly depends on rounding.
    """
    small = "trainer.precision=32-true", "optimizer=sgd", "optimizer.lr=3e-3", "schedule=constant"
    options = *EXACT[1:], *EVERYTHING, *small, *SMALL, "sampler.strategy=hard", "metrics.floors=false"
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(*options, "trainer.max_steps=6", f"hydra.run.dir={whole}", cwd=tmp_path).status == 0
    assert run(*options, "trainer.max_steps=2", f"hydra.run.dir={parts}", cwd=tmp_path).status == 0
    for devices, steps in ((2, 4), (1, 6)):
        further = f"trainer.devices={devices}", f"trainer.max_steps={steps}"
        ended = run(f"resume={parts}/checkpoints/last.ckpt", *further, cwd=tmp_path)
        assert ended.status == 0, ended.err
    assert greatest_difference(whole, parts) < 1e-4
    ours, theirs = results(whole), results(parts)
    assert [point["step"] for point in theirs["history"]] == [2, 4, 6]
    for one, other in zip(ours["history"], theirs["history"], strict=True):
        assert one["triplets"] == other["triplets"]
        assert one["train"] == pytest.approx(other["train"], abs=5e-5)


@pytest.mark.slow
def test_a_signal_to_the_first_process_reaches_the_others(tmp_path: Path) -> None:
    started = Started(tmp_path, "trainer.max_steps=2000")
    os.kill(started.process.pid, signal.SIGTERM)
    ended = started.ended()
    assert (ended.status, results(started.folder)["status"]) == (143, "interrupted"), ended.out


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_is_named(tmp_path: Path) -> None:
    """tests/sweep/test_kill.py kills the parent of the processes."""
    started = Started(tmp_path, "trainer.max_steps=2000")
    os.kill(started.ranks[1], signal.SIGKILL)
    ended = started.ended()
    left = results(started.folder)
    assert (ended.status, left["status"]) == (1, "failed")
    assert re.search(r"^ProcessDied: .*rank 1 of 2 was killed by SIGKILL", left["error"])


# --- Many runs -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_study_and_a_tuning_run_with_two_processes(tmp_path: Path) -> None:
    short = "~logger", "data=digits", "sampler=random", "trainer.devices=2", "trainer.max_steps=4", "paths.outputs=out"
    short = (*short, "metrics.floors=false", *SMALL)
    study = run("-m", "experiment=study", "study_name=s", "seed=0", *short, cwd=tmp_path)
    assert study.status == 0, study.out + study.err
    folder = tmp_path / "out/s/digits/random/seed=0"
    assert (results(folder)["status"], results(folder)["hardware"]["processes"]) == ("finished", 2)
    assert (folder / "run.log").read_text(encoding="utf-8").count("step 4/4") == 1
    assert "step 4/4" not in study.out

    tuning = run("-m", "experiment=tune", "tuning.trials=1", *short, cwd=tmp_path)
    assert tuning.status == 0, tuning.out + tuning.err
    assert results(tmp_path / "out/tune/digits/random/trial=0")["hardware"]["processes"] == 2
    assert json.loads((tmp_path / "out/tune/digits/random/tuned.json").read_text())["score"] > 0
