"""Define fixtures that several tests share, and check which tests are marked slow."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tests run in parallel and use small tensors
os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # as in every command: waiting threads sleep soon

import gc
import io
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import redirect_stderr, redirect_stdout
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from omegaconf import DictConfig
from rich.console import Console

from siamese_lab.config import hydra_app, schema
from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.config.schema import EvaluateConfig, TrainConfig
from siamese_lab.data.io import download
from siamese_lab.evaluate import job as evaluate_job
from siamese_lab.evaluate import with_data_options
from siamese_lab.runs.results import Results
from siamese_lab.train import is_plain, job
from siamese_lab.train import main as train_command
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.run import train

if TYPE_CHECKING:
    from loopback import Server

FEW_STEPS = ("trainer.accelerator=cpu", "trainer.max_steps=6", "trainer.log_every_n_steps=2", "logger=csv")
"""Options of a short run. Six steps show what a run does; on the CPU, results are equal bit by bit."""
QUICK = ("data=digits", *FEW_STEPS)
"""The digits load quickly. A later `data=NAME` replaces them."""

LONGEST_ID = 1_000
"""Length of the longest text or bytes that stand in the name of a test."""
ON_REQUEST = frozenset({"benchmark", "nightly"})
"""Marks of tests that run only if -m names the mark."""


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def compose(*overrides: str) -> DictConfig:
    """Return the configuration of a command line. The data set is the digits unless `overrides` choose another."""
    chosen = any(override.startswith(("data=", "experiment=lfw")) for override in overrides)
    every = (*([] if chosen else ["data=digits"]), *overrides)
    if any(override.startswith("tuned=") for override in overrides):  # reads a folder, which tests change
        return schema.compose(*every)
    return deepcopy(compose_once(*every))


compose_once = cache(schema.compose)
"""A cache of configurations, as composing takes a tenth of a second. Nothing may change what it returns."""


def compose_pair(sampler: str, loss: str, *overrides: str) -> DictConfig:
    """Return the configuration of digits with a strategy and a loss. Composes each of them once, not each pair."""
    config = compose(*overrides)
    config.sampler = compose(f"sampler={sampler}", *overrides).sampler
    config.loss = compose(f"loss={loss}", *overrides).loss
    return config


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its length. pytest would name a value of 32 MiB by itself, in every report of the test."""
    return f"{argname} of {len(val):,}" if isinstance(val, (bytes, str)) and len(val) > LONGEST_ID else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests with real data as slow. Leave out the marks of `ON_REQUEST`, unless -m names them.

    Each session decodes the real data sets once, which takes a minute. A busy machine would fail timed comparisons.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "real_root" in fixtures or (item.path.parent.name == "contracts" and "cache" in fixtures):
            item.add_marker(pytest.mark.slow)
    asked = {mark for mark in ON_REQUEST if mark in config.option.markexpr}
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in ON_REQUEST - asked)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        kept = {*items} - {*left_out}
        items[:] = [item for item in items if item in kept]


def pytest_collection_finish() -> None:
    """Exempt everything that is imported from garbage collection, which would visit a million objects each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that trains or starts Python, but is not marked slow. Runs of shared fixtures are exempt."""
    if item.get_closest_marker("slow") or item.get_closest_marker("benchmark"):
        return (yield)
    start = subprocess.Popen.__init__

    def train_nothing(module: SiameseModule) -> None:
        raise AssertionError("This test trains, so it needs pytest.mark.slow.")

    def start_no_python(process: subprocess.Popen, args: Any, *further: Any, **options: Any) -> None:
        assert sys.executable not in args, "This test starts Python, so it needs pytest.mark.slow."
        start(process, args, *further, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SiameseModule, "on_train_start", train_nothing)
        patch.setattr(subprocess.Popen, "__init__", start_no_python)
        return (yield)


def quick_run(folder: Path, *overrides: str) -> Results:
    folder.mkdir(parents=True, exist_ok=True)
    every = [*QUICK, *overrides]
    return train(compose(*every), folder, every, Console(quiet=True))


def train_here(*arguments: str, at: Path) -> Ended:
    """Run `python -m siamese_lab.train ARGUMENTS` within this process in a folder, for fixtures that tests share."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(at)
        patch.delenv("SIAMESE_LAB_DATA", raising=False)
        patch.setattr(sys, "argv", ["siamese_lab.train", *arguments])
        try:
            train_command()
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Ended(status, out.getvalue(), err.getvalue())


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the network's weights at the end of a run."""
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return {name: tensor for name, tensor in state.items() if name.startswith("network.")}


@pytest.fixture
def ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Callable[..., Ended]]:
    """Return a function that builds commands, which run within this process, in the folder of the test or in `at`."""

    def ending(module: str, *how: Any) -> Callable[..., Ended]:
        def run(*arguments: str, at: Path = tmp_path) -> Ended:
            monkeypatch.chdir(at)
            monkeypatch.delenv("SIAMESE_LAB_DATA", raising=False)
            monkeypatch.setattr(sys, "argv", [module, *arguments])
            try:
                hydra_app.run(*how)
                status = 0
            except SystemExit as ended:
                status = int(ended.code or 0)
            return Ended(status, *capsys.readouterr())

        return run

    return ending


@pytest.fixture
def command(ending: Callable[..., Callable[..., Ended]]) -> Callable[..., Ended]:
    """Run `python -m siamese_lab.train ARGUMENTS` within this process."""
    return ending("siamese_lab.train", job, "train", TrainConfig, with_resumed_overrides, is_plain)


@pytest.fixture
def evaluate(ending: Callable[..., Callable[..., Ended]]) -> Callable[..., Ended]:
    """Run `python -m siamese_lab.evaluate ARGUMENTS` within this process."""
    return ending("siamese_lab.evaluate", evaluate_job, "evaluate", EvaluateConfig, with_data_options)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command by its module within this process, in an empty folder: `call(verify, "A.png", "B.png", …)`."""

    def call(module: ModuleType, *arguments: object) -> Ended:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        try:
            module.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Ended(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run on the digits. Tests must not write into it."""
    folder = tmp_path_factory.mktemp("digits") / "run"
    quick_run(folder, "network.embedding_dim=16", "trainer.val_check_interval=2")
    return folder


@pytest.fixture
def own_run(digits_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the short run for one test, called `run`."""
    return Path(shutil.copytree(digits_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def real_root() -> Path:
    """Return the folder of the real data sets, or skip the test."""
    folder = os.environ.get("SIAMESE_LAB_DATA")
    if folder is None:
        pytest.skip("SIAMESE_LAB_DATA does not name a folder of the real data sets")
    return Path(folder).absolute()


@pytest.fixture(scope="session")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache for all tests, including tests in parallel processes, and the notebooks.

    Its last folder is the one that XDG_CACHE_HOME gets. Each decoded table costs up to half a minute.
    """
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real_cache/siamese_lab"


@pytest.fixture(scope="session")
def omniglot_root(real_root: Path) -> Path:
    """Return the folder of the real data sets if it holds Omniglot, or skip the test."""
    if not (real_root / "omniglot-py").is_dir():
        pytest.skip("SIAMESE_LAB_DATA does not name a folder with omniglot-py/")
    return real_root


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> "Iterator[Server]":
    """Yield a server on loopback, for downloads without pauses between attempts."""
    from loopback import Server

    monkeypatch.setattr(download, "PAUSE", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()
