"""The notebooks run from top to bottom, with real data and without any, and are kept without what they showed."""

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
SECONDS = 600
"""A cell may take where many tests run side by side."""
PICTURES = {
    "01_data_exploration": 3,
    "02_random_sampling_experiment": 3,
    "03_hard_mining_experiment": 6,
    "04_semi_hard_vs_distance_weighted": 8,
    "05_results_analysis": 6,
}
"""At least, of each."""


def code_cells(path: Path) -> list[Any]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(cells: list[Any], kind: str) -> list[Any]:
    return [output for cell in cells for output in cell.outputs if output.output_type == kind]


def printed(cells: list[Any], stream: str = "stdout") -> str:
    return "".join(output.text for output in outputs(cells, "stream") if output.name == stream)


def pictures(cells: list[Any]) -> int:
    shown = outputs(cells, "display_data") + outputs(cells, "execute_result")
    return sum("image/png" in output.data for output in shown)


def executed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[Any]:
    """The code cells with what they showed, run in a folder of their own, from where nothing can be downloaded."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.delenv("SIAMESE_LAB_DATA", raising=False)
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    work = folder / "notebooks"
    work.mkdir()
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(work)}}).execute()
    assert not any(work.iterdir()), "it leaves nothing beside itself"
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def check(name: str, cells: list[Any]) -> None:
    """What every execution is held to, and what the prose of some claims."""
    assert pictures(cells) >= PICTURES[name]
    assert "Warning" not in printed(cells, "stderr")
    if name.startswith("03"):
        match = re.search(r"hard, around step \d+: loss ([\d.]+), d_ap ([\d.]+), d_an ([\d.]+)", printed(cells))
        assert match, "the collapse is reported"
        loss, d_ap, d_an = map(float, match.groups())
        assert loss == pytest.approx(0.2, abs=0.02), "it stands at the margin"
        assert max(d_ap, d_an) < 0.1


def test_there_are_five() -> None:
    assert list(PICTURES) == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_they_are_kept_as_never_run(path: Path) -> None:
    for cell in code_cells(path):
        assert (cell.outputs, cell.execution_count) == ([], None), "jupyter nbconvert --clear-output --inplace PATH"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_they_run_without_data(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = executed(name, tmp_path, monkeypatch, XDG_CACHE_HOME=str(tmp_path / "cache"))
    check(name, cells)
    assert "Omniglot" not in printed(cells)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[:4])
def test_they_run_with_the_real_data(
    name: str, omniglot_root: Path, real_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the last one, which reads no data."""
    cells = executed(name, tmp_path, monkeypatch, SIAMESE_LAB_DATA=str(omniglot_root), XDG_CACHE_HOME=str(real_cache))
    check(name, cells)
    if name.startswith("01"):
        assert re.search(r"Omniglot +test +13,180 images of +659 classes", printed(cells))


@pytest.mark.slow
def test_the_last_one_reads_the_study_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ROOT / "outputs" / "study"
    if not any(kept.rglob("results.json")):
        pytest.skip("outputs/study holds no study")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "study").symlink_to(kept)
    cells = executed(NAMES[-1], tmp_path, monkeypatch)
    check(NAMES[-1], cells)
    assert "There is no study" not in printed(cells)
