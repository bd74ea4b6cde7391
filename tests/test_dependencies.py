"""The lock fits pyproject.toml, every license is stated, extras load only if they are used, and nothing is sent."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import ROOT, pyproject

PROJECT = pyproject()["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCK = ROOT / ".ci/requirements.lock"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def of_extra(name: str) -> Iterator[Requirement]:
    """Yield the packages of an extra, and of the extras of the project that it contains."""
    for requirement in map(Requirement, EXTRAS[name]):
        if requirement.name == "siamese_lab":
            for other in sorted(requirement.extras):
                yield from of_extra(other)
        else:
            yield requirement


REQUIRED = [Requirement(text) for text in PROJECT["dependencies"]]
IN_LOCK = [*REQUIRED, *of_extra("dev")]
DIRECT = sorted({each.name for each in (*REQUIRED, *(each for name in EXTRAS for each in of_extra(name)))})


# --- the lock


def locked(python: str) -> dict[str, str]:
    """Return the version of each package that the lock installs with a version of Python on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    environment |= {"platform_machine": "x86_64", "implementation_name": "cpython"}
    versions: dict[str, str] = {}
    for line in LOCK.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            assert canonicalize_name(requirement.name) not in versions, f"{requirement.name} is locked twice"
            versions[canonicalize_name(requirement.name)] = pin.version
    return versions


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_every_direct_dependency_within_its_bounds(python: str) -> None:
    versions = locked(python)
    for requirement in IN_LOCK:
        if requirement.marker and not requirement.marker.evaluate({"python_version": python}):
            continue
        version = versions.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in the lock"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"the lock has {version}, but needs {requirement}"
        )


def test_the_lock_says_how_it_is_made_and_names_no_index() -> None:
    text = LOCK.read_text(encoding="utf-8")
    (command,) = re.findall(r"^#    (uv pip compile .*)$", text, re.MULTILINE)
    assert command in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text


def test_the_build_of_torch_that_breaks_torchvision_is_excluded_and_no_other() -> None:
    (torch,) = (each for each in REQUIRED if each.name == "torch")
    allowed = {
        version: torch.specifier.contains(version) for version in ("2.5.1", "2.6.0", "2.13.0", "2.13.0+cpu", "2.14.1")
    }
    assert allowed == {"2.5.1": False, "2.6.0": True, "2.13.0": True, "2.13.0+cpu": False, "2.14.1": True}


# --- licenses

ROW = re.compile(r"^\| (?:\*(\w+):\* )?([\w\-, ]+) \| ([\w\-./, ]+) \| .* \|$")
WORDS = {"Apache": "apache", "BSD": "bsd", "MIT": "mit", "MPL": "mozilla", "PSF": "python software foundation"}
"""Texts of a classifier or of the field License, by the first part of the name in the table."""


def stated_licenses() -> dict[str, str]:
    """Return the license of each package in the table of CONTRIBUTING. One license stands for all packages of a row."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## Dependencies\n")[1].split("\n## ")[0]
    stated: dict[str, str] = {}
    for row in filter(None, map(ROW.match, section.splitlines())):
        packages, licenses = row[2].split(", "), row[3].split(", ")
        if packages not in (["package"], ["---"]):
            assert len(licenses) in (1, len(packages)), row[0]
            stated |= dict(zip(packages, licenses * (len(packages) if len(licenses) == 1 else 1), strict=True))
    return stated


def names(metadata: Message, stated: str) -> bool | None:
    """Return whether the metadata of a package name a license; None if they name none."""
    expression = metadata.get("License-Expression")
    if expression:
        return stated in re.split(r" AND | OR |[()]", expression)
    classifiers = [text for text in metadata.get_all("Classifier", []) if text.startswith("License :: ")]
    texts = [*classifiers, (metadata.get("License") or "").strip().split("\n")[0]]
    known = [text.lower() for text in texts if text and text.split(" :: ")[-1] not in ("UNKNOWN", "OSI Approved")]
    return any(WORDS[stated.split("-")[0]] in text for text in known) if known else None


def test_the_table_states_the_license_of_every_direct_dependency_and_of_nothing_else() -> None:
    assert sorted(stated_licenses()) == DIRECT


@pytest.mark.parametrize("package", DIRECT)
def test_the_stated_license_is_that_of_the_installed_package(package: str) -> None:
    """A license that changed between supported versions is stated as `NEW/OLD`."""
    try:
        metadata = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    stated = stated_licenses()[package]
    if stated == "none stated":
        assert names(metadata, "MIT") is None, f"{package} states a license now"
    else:
        assert {names(metadata, each) for each in stated.split("/")} & {True, None}


# --- imports and network

EXTRA_MODULES = (
    *("timm", "wandb", "mlflow", "optuna", "pyarrow", "onnx", "onnxscript", "onnxruntime", "faiss", "umap"),
    *("pytorch_metric_learning", "submitit", "sqlalchemy", "alembic", "ipywidgets", "jupyterlab"),
)

WITHOUT_NETWORK = """
import json, socket, sys

asked = []

def refuse(name):
    def call(*arguments, **options):
        asked.append(name)
        raise OSError(f"this test has no network, but {name} was called")
    return call

for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse(name))
for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "create_connection"):
    setattr(socket, name, refuse(name))
"""
"""Refuses and records every connection by Python, also on loopback. urllib3 binds a socket to see if there is IPv6."""

WITHOUT_EXTRAS = f"""
from importlib.machinery import PathFinder

by_the_lab = []

class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.split(".")[0] not in {EXTRA_MODULES}:
            return super().find_spec(name, path, target)
        frame = sys._getframe(1)
        while "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        if frame.f_globals.get("__name__", "").startswith("siamese_lab"):
            by_the_lab.append(name)
        return None

sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutExtras
"""
"""Hides the packages of the extras, and records which of them the lab's own modules look for."""

IMPORT_ALL = """
import importlib, pkgutil, siamese_lab
modules = [each.name for each in pkgutil.walk_packages(siamese_lab.__path__, "siamese_lab.")]
for name in modules:
    importlib.import_module(name)
print(json.dumps({"modules": modules, "asked": asked, "by_the_lab": by_the_lab}))
"""

TRAIN = """
import siamese_lab.__main__ as lab
lab.start("train", sys.argv[1:])
print(json.dumps({"asked": asked}))
"""


def answer_of(script: str, *arguments: str, at: Path) -> dict[str, list[str]]:
    """Run a script in a folder, and return the JSON of the last line that it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "SIAMESE_LAB_DATA"}
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=at, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, list[str]] = json.loads(ended.stdout.splitlines()[-1])
    return answer


@pytest.mark.slow
def test_every_module_can_be_imported_without_the_extras_and_without_a_network(tmp_path: Path) -> None:
    answer = answer_of(WITHOUT_NETWORK + WITHOUT_EXTRAS + IMPORT_ALL, at=tmp_path)
    assert {"siamese_lab.train", "siamese_lab.evaluate", "siamese_lab.report"} <= {*answer["modules"]}
    assert len(answer["modules"]) > 100
    assert answer["by_the_lab"] == []
    assert answer["asked"] == []


@pytest.mark.slow
def test_a_run_opens_no_socket(tmp_path: Path) -> None:
    options = (
        "data=digits",
        "logger=tensorboard",
        "trainer.max_steps=2",
        "trainer.accelerator=cpu",
        "hydra.run.dir=run",
    )
    assert answer_of(WITHOUT_NETWORK + TRAIN, *options, at=tmp_path)["asked"] == []
    assert json.loads((tmp_path / "run/results.json").read_text(encoding="utf-8"))["status"] == "finished"
    assert list((tmp_path / "run").rglob("events.out.tfevents.*"))


@pytest.mark.slow
def test_the_network_is_refused_in_these_tests(tmp_path: Path) -> None:
    use = (
        "import requests\ntry: requests.get('http://127.0.0.1:9')\nexcept OSError: print(json.dumps({'asked': asked}))"
    )
    assert answer_of(WITHOUT_NETWORK + use, at=tmp_path)["asked"]
