"""The first minute: the list of commands, versions, and one sentence for an old Python or a package that is missing."""

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from hydra.errors import HydraException
from project import ROOT, pyproject

from siamese_lab import __main__ as lab
from siamese_lab import pml
from siamese_lab.config.errors import explain
from siamese_lab.data.io.table_file import _pyarrow_parquet
from siamese_lab.errors import UserError
from siamese_lab.errors.packages import REQUIRED
from siamese_lab.evaluation.projection import check_method
from siamese_lab.inference.embeddings_file import check_kind
from siamese_lab.inference.export import check_able
from siamese_lab.metrics import approximate, ranking
from siamese_lab.networks.timm import import_timm
from siamese_lab.runs import environment
from siamese_lab.training.trackers.building import check_extra
from siamese_lab.tuning.search import import_optuna

SOURCE = Path(lab.__file__).parent
PROJECT = pyproject()["project"]
STARTED = [SOURCE / "__init__.py", SOURCE / "__main__.py", SOURCE / "data/__main__.py", SOURCE / "data/__init__.py"]
STARTED += [SOURCE / f"{name}.py" for name in lab.COMMANDS if name != "data"]
"""Files that Python compiles before it runs the first line of a command."""


def python(*arguments: str, at: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(
        [sys.executable, *arguments], cwd=at, env=environment, text=True, capture_output=True, timeout=100
    )


# --- the list of commands, and versions


def test_every_command_is_listed_with_one_line() -> None:
    modules = {path.stem for path in SOURCE.glob("*.py") if re.search(r"^def main\(", path.read_text("utf-8"), re.M)}
    assert {*lab.COMMANDS} == {*modules - {"__main__"}, "data"}
    lines = list(lab.help_lines())
    for name, command in lab.COMMANDS.items():
        assert lines.count(f"  {name:<11}{command.text}") == 1
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("name", lab.COMMANDS)
@pytest.mark.parametrize("arguments", [["--version"], ["--vers"], ["seed=1", "--version", "data=nothing"]])
def test_every_command_prints_versions(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "commit", lambda: "0123abc-dirty")
    monkeypatch.setattr(sys, "argv", ["siamese-lab"])
    assert lab.start(name, arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"siamese_lab {version('siamese_lab')}, commit 0123abc-dirty",
        f"Python {'.'.join(map(str, sys.version_info[:3]))}",
        f"torch {version('torch')}",
    ]


def test_an_installed_package_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "commit", lambda: None)
    assert next(lab.version_lines()) == f"siamese_lab {version('siamese_lab')}"


def test_versions_name_a_package_that_is_not_installed() -> None:
    assert lab.version_of("no_such_package") == "no_such_package is not installed"


@pytest.mark.slow
def test_versions_import_neither_pytorch_nor_hydra(tmp_path: Path) -> None:
    code = (
        "import sys; from siamese_lab.__main__ import start; start('train', ['--version']); "
        "print([name for name in ('torch', 'hydra') if name in sys.modules])"
    )
    ended = python("-c", code, at=tmp_path)
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr
    assert ended.stdout.startswith("siamese_lab ")


# --- Python


def test_an_old_python_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    with pytest.raises(SystemExit, match=r"^Error: siamese_lab needs Python 3\.10 or later, but "):
        runpy.run_path(str(SOURCE / "__main__.py"))
    assert PROJECT["requires-python"] == ">=3.10"


@pytest.mark.parametrize("path", STARTED, ids=lambda path: str(path.relative_to(SOURCE)))
def test_an_old_python_can_compile_what_it_reads_before_the_sentence(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.slow
@pytest.mark.parametrize("minor", [8, 9])
def test_a_real_old_python_says_so(minor: int, tmp_path: Path) -> None:
    program = shutil.which(f"python3.{minor}")
    if program is None or subprocess.run([program, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"there is no python3.{minor} that starts")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for module in ("siamese_lab", "siamese_lab.train", "siamese_lab.report"):
        ended = subprocess.run([program, "-m", module], env=environment, cwd=tmp_path, text=True, capture_output=True)
        assert ended.returncode == 1
        assert re.fullmatch(r"Error: siamese_lab needs Python 3\.10 or later, but .*\.\n", ended.stderr)


# --- required packages


def test_the_lab_knows_the_packages_that_it_requires() -> None:
    required = {re.match(r"[\w-]+", each)[0] for each in PROJECT["dependencies"]}  # type: ignore[index]
    assert {package for packages in REQUIRED.values() for package in packages.split()} == required


@pytest.mark.parametrize("module", REQUIRED)
def test_a_missing_package_is_one_sentence(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_nothing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named '{module}.inner'", name=f"{module}.inner")

    monkeypatch.setattr(lab, "import_module", import_nothing)
    monkeypatch.setattr(sys, "argv", ["siamese-lab"])
    assert lab.start("report", ["FOLDER"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"Error: siamese_lab needs {module}, which is not installed for {sys.executable}.")
    assert told.endswith(f"Install it: python -m pip install {REQUIRED[module]}\n")


def test_another_missing_module_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_nothing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'my_package'", name="my_package")

    monkeypatch.setattr(lab, "import_module", import_nothing)
    monkeypatch.setattr(sys, "argv", ["siamese-lab"])
    with pytest.raises(ModuleNotFoundError, match="my_package"):
        lab.start("report", ["FOLDER"])


@pytest.mark.slow
def test_a_missing_and_a_broken_pytorch_are_one_sentence(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from siamese_lab.__main__ import start; sys.exit(start({!r}, {!r}))"
    )
    for name, arguments in (("train", ["data=digits"]), ("export", ["checkpoint=x"]), ("data", ["digits"])):
        ended = python("-c", code.format(name, arguments), at=tmp_path)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
        assert ended.stderr.startswith("Error: siamese_lab needs torch, which is not installed for ")
    (tmp_path / "broken/torch").mkdir(parents=True)
    (tmp_path / "broken/torch/__init__.py").write_text("raise OSError('libtorch_cpu.so: cannot open shared object')\n")
    for name, arguments in (("train", ["data=digits"]), ("search", ["a.png", "checkpoint=x", "in=y"])):
        ended = python("-m", f"siamese_lab.{name}", *arguments, at=tmp_path, PYTHONPATH=f"{tmp_path / 'broken'}:{ROOT}")
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
        assert "torch is installed" in ended.stderr and "libtorch_cpu.so" in ended.stderr
        assert ended.stderr.endswith("python -m pip install --force-reinstall torch torchvision\n")


# --- optional packages


def find_launcher() -> None:
    raise UserError(explain(HydraException("Could not find 'hydra/launcher/joblib'\n\nAvailable options: basic")))


POINTS = ranking.Points(torch.eye(4), None, torch.ones(4, dtype=torch.bool))
EXTRAS: dict[str, tuple[tuple[str, ...], Callable[[], object], str]] = {
    "faiss": (("faiss",), lambda: approximate._built(POINTS), 'index="faiss" needs .*pip install faiss-cpu'),
    "launchers": ((), find_launcher, r"no launcher 'joblib'.*pip install \"siamese_lab\[launchers\]\""),
    "mlflow": (("mlflow",), lambda: check_extra("mlflow", "mlflow"), r"logger=mlflow needs .*siamese_lab\[mlflow\]"),
    "onnx": (("onnx",), lambda: check_able("onnx"), r"format=onnx needs .*siamese_lab\[onnx\].*format=torch"),
    "parquet": (("pyarrow",), lambda: check_kind(Path("x.parquet")), r"needs pyarrow.*siamese_lab\[parquet\].*\.npz"),
    "pml": (("pytorch_metric_learning.losses",), lambda: pml.module("losses"), r"siamese_lab\[pml\]"),
    "timm": (("timm",), import_timm, r"network=timm needs timm.*siamese_lab\[timm\]"),
    "tune": (("optuna",), import_optuna, r"experiment=tune needs Optuna.*siamese_lab\[tune\]"),
    "umap": (("umap",), lambda: check_method("umap"), r"map=umap needs .*pip install umap-learn.*map=tsne"),
    "wandb": (("wandb",), lambda: check_extra("wandb", "wandb"), r"logger=wandb needs .*siamese_lab\[wandb\]"),
}
"""Modules that are blocked, a call that needs them, and the message, by extra."""


def test_every_extra_of_the_lab_has_a_sentence() -> None:
    assert EXTRAS.keys() == PROJECT["optional-dependencies"].keys() - {"dev", "docs", "notebooks"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_missing_extra_is_one_sentence_that_installs_it(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modules, needs, message = EXTRAS[extra]
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=message):
        needs()


def test_a_table_in_parquet_names_the_extra_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(UserError, match=r"needs pyarrow.*siamese_lab\[parquet\].*\.csv"):
        _pyarrow_parquet(tmp_path / "x.parquet")


# --- a report of nothing


@pytest.mark.slow
def test_a_report_of_nothing_imports_no_pandas(tmp_path: Path) -> None:
    code = (
        "import sys; from siamese_lab.__main__ import start\n"
        "try: start('report', ['.'])\n"
        "finally: print([name for name in ('pandas', 'scipy', 'matplotlib', 'torch') if name in sys.modules])"
    )
    ended = python("-c", code, at=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "[]\n"), ended.stderr
    assert ended.stderr == (
        "Error: . holds no results.json of a run. Start runs first: python -m siamese_lab.train -m experiment=study.\n"
    )
