"""The package has its public names, importing it is cheap, and the examples in docstrings are correct."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import quick_run
from PIL import Image

import siamese_lab as sl

SOURCE = Path(sl.__file__).parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]

TRAINING = {"siamese_lab.training.fit"}
"""Modules with an example that trains."""


def test_every_public_name_exists() -> None:
    for name in sl.__all__:
        assert getattr(sl, name) is not None
        assert name in dir(sl)
    with pytest.raises(AttributeError, match="has no attribute 'loda'"):
        _ = sl.loda


PRIVATE = re.compile(r"\b(torch|hydra|omegaconf|lightning|torchmetrics)(\.\w+)*\._(?!_)\w|_check_input_dim")


def test_private_names_of_libraries_are_used_only_without_a_public_one() -> None:
    """Each such line has a comment that gives the reason."""
    lines = [line for path in SOURCE.rglob("*.py") for line in path.read_text(encoding="utf-8").splitlines()]
    private = [line.strip() for line in lines if PRIVATE.search(line)]
    assert [line for line in private if "has no public" not in line] == []
    assert len(private) == 1, "torch._assert_async"


@pytest.mark.slow
def test_importing_the_package_imports_no_pytorch() -> None:
    script = (
        "import sys, siamese_lab; siamese_lab.__version__; print([m for m in ('torch', 'hydra') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the examples, with a run and two images."""
    folder = tmp_path_factory.mktemp("examples")
    quick_run(folder / "outputs/runs/mine")
    for seed, name in enumerate(("a.png", "b.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.mark.parametrize(
    "module", [pytest.param(each, marks=[pytest.mark.slow] * (each in TRAINING)) for each in WITH_EXAMPLES]
)
def test_examples_are_correct(module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    tried = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)
    assert tried.attempted
    assert not tried.failed


def test_examples_exist() -> None:
    assert "siamese_lab.inference.model" in WITH_EXAMPLES
    assert set(WITH_EXAMPLES) >= TRAINING
