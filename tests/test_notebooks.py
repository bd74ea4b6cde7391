"""The notebooks run with real data and without, and are stored with the outputs of a run without real data.

Each begins with the cells that open it in Colab and install the lab there.
"""

import ast
import re
from importlib.metadata import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from notebooks import colab
from notebooks.execute import environment, execute, main

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
STUDY = "05_results_analysis"
"""The notebook of the shipped study. It reads no images."""
OF_DRAWN_DATA = [name for name in NAMES if name != STUDY]
PICTURES = {
    "01_data_exploration": 3,
    "02_random_sampling_experiment": 3,
    "03_hard_mining_experiment": 6,
    "04_semi_hard_vs_distance_weighted": 8,
    "05_results_analysis": 7,
    "06_your_images_and_backbone": 2,
    "07_plain_python": 0,
}
"""Number of stored pictures of each notebook."""
FEWER_STEPS = {
    "02_random_sampling_experiment": {'{"omniglot": 150, "glyphs": 300}': '{"omniglot": 150, "glyphs": 60}'},
    "03_hard_mining_experiment": {'"glyphs": ["trainer.max_steps=100"]': '"glyphs": ["trainer.max_steps=10"]'},
    "04_semi_hard_vs_distance_weighted": {
        "trainer.max_steps=80": "trainer.max_steps=4",
        "trainer.max_steps=100": "trainer.max_steps=10",
    },
    "05_results_analysis": {"trainer.max_steps=60": "trainer.max_steps=10"},
    "06_your_images_and_backbone": {
        "CLASSES = 60": "CLASSES = 30",
        "SIZE = 64": "SIZE = 32",
        '("random", "hard", "semi_hard", "distance_weighted")': '("random",)',
        "STEPS = 150": "STEPS = 1",
        "TUNED_STEPS = 20": "TUNED_STEPS = 1",
        "episodes=200": "episodes=20",
        '"onnx", file': '"torch", file',  # faster; tests/inference exports to ONNX
    },
    "07_plain_python": {"width=32": "width=4", "steps=300": "steps=1", "steps=60": "steps=1", "(0, 200)": "(0, 1)"},
}
"""Changes of source code for each notebook. The stored outputs, which are checked as well, are those of all steps.

On Omniglot, the second and third notebook make all of their steps, as their stored outputs are those of glyphs.
"""
MEGABYTES = 3
"""Maximum size of all notebooks together."""
PATH_OF_A_MACHINE = re.compile(r"(?<![\w.<])/(?:home|root|tmp|var|usr|opt|mnt|work|Users|private)/|\b[A-Z]:\\\\?Users")


def path_of(name: str) -> Path:
    return ROOT / "notebooks" / f"{name}.ipynb"


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


def shows(source: str) -> bool:
    """Return True if a cell calls a function that prints or draws."""
    code = re.sub(r"^( *)%.*", r"\1pass", source, flags=re.MULTILINE)
    called = [node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    names = [each.id if isinstance(each, ast.Name) else getattr(each, "attr", "") for each in called]
    return any(name in ("print", "display", "subplots") or name.startswith("draw_") for name in names)


def executed(names: list[str], folder: Path, variables: dict[str, str]) -> dict[str, list[Any]]:
    """Execute notebooks with few steps, in their own folder, and return the code cells of each.

    They share a kernel, because each kernel loads PyTorch, but no variables.
    """
    work, cells = folder / "notebooks", {}
    work.mkdir()
    together = nbformat.read(path_of(names[0]), as_version=4)
    together.cells = []
    for name in names:
        cells[name] = code_cells(path_of(name))
        for usual, few in FEWER_STEPS.get(name, {}).items():
            assert any(usual in cell.source for cell in cells[name]), usual
            for cell in cells[name]:
                cell.source = cell.source.replace(usual, few)
        together.cells += [nbformat.v4.new_code_cell("%reset -f"), *cells[name]]
    execute(together, work, variables)
    assert not any(work.iterdir()), "a notebook left files in its folder"
    return cells


def check(name: str, cells: list[Any], all_steps: bool = True) -> None:
    """Check what every execution must show, and with all steps what the prose of some notebooks claims."""
    text = printed(cells)
    without_ranks = "too few data sets to rank" in text
    assert pictures(cells) >= PICTURES[name] - without_ranks
    assert "Warning" not in printed(cells, "stderr")
    if name.startswith("02"):
        check_training(text)
    if name.startswith("03") and all_steps:
        check_collapse(text)


def check_training(text: str) -> None:
    """Check that training with random negatives raises Recall@1."""
    match = re.search(r"Recall@1 before training ([\d.]+)%, after \d+ steps ([\d.]+)%", text)
    assert match, "the result is reported"
    before, after = map(float, match.groups())
    assert after > before + 5


def check_collapse(text: str) -> None:
    """Check that hard mining collapses, and that semi-hard mining does not."""
    match = re.search(r"hard, around step \d+: loss ([\d.]+), d_ap ([\d.]+), d_an ([\d.]+)", text)
    assert match, "the collapse is reported"
    loss, d_ap, d_an = map(float, match.groups())
    assert loss == pytest.approx(0.2, abs=0.02), "the loss stays at the margin"
    assert max(d_ap, d_an) < 0.1
    farthest = dict(re.findall(r"^(\w+): all images of this batch are .* to ([\d.]+) apart", text, re.MULTILINE))
    assert float(farthest["hard"]) < 0.5 < 1 < float(farthest["semi_hard"])


def kinds(cells: list[Any]) -> list[list[str]]:
    """Return the kinds of the outputs of each cell: "stdout", "stderr", or the richest MIME type."""
    return [
        [output.get("name") or max(output.data, key="text/plain".__ne__) for output in cell.outputs] for cell in cells
    ]


@pytest.fixture(scope="session")
def drawn_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache without real data, in which glyphs are drawn once for all notebooks."""
    return tmp_path_factory.mktemp("drawn")


def test_there_are_seven() -> None:
    assert list(PICTURES) == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_every_cell_is_stored_with_its_outputs(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "python notebooks/execute.py"
    assert pictures(cells) == PICTURES[path.stem]
    without = [cell.source for cell in cells if shows(cell.source) and not cell.outputs]
    assert not without, "python notebooks/execute.py"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_stored_outputs_have_no_errors_and_no_warnings(path: Path) -> None:
    cells = code_cells(path)
    assert not outputs(cells, "error")
    assert not printed(cells, "stderr")
    assert "Warning" not in printed(cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_notebooks_name_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}
    for cell in notebook.cells:
        assert not cell.metadata
        for output in cell.get("outputs", ()):
            texts = (
                [output.text]
                if output.output_type == "stream"
                else [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]
            )
            assert not any(PATH_OF_A_MACHINE.search(text) for text in texts), texts


@pytest.mark.parametrize("path", [path_of(name) for name in OF_DRAWN_DATA], ids=OF_DRAWN_DATA)
def test_stored_outputs_are_those_of_a_run_without_real_data(path: Path) -> None:
    check(path.stem, code_cells(path))
    text = printed(code_cells(path))
    assert not re.search("Omniglot|LFW", text), "images of real data must not be stored"


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("saved to /tmp/x", True),
        ("/home/me/lab", True),
        ("C:\\Users\\me", True),
        ("outputs/tmp/x", False),
        ("</tmp/>", False),
    ],
)
def test_paths_of_machines_are_recognized(text: str, is_path: bool) -> None:
    assert bool(PATH_OF_A_MACHINE.search(text)) is is_path


def test_all_notebooks_together_are_small() -> None:
    assert sum(path.stat().st_size for path in NOTEBOOKS) < MEGABYTES * 1e6


# --- Colab


def test_every_notebook_begins_with_the_same_cells_for_colab() -> None:
    """`python notebooks/colab.py` writes them. The address of the repository is in that file only."""
    for path in NOTEBOOKS:
        badge, install = nbformat.read(path, as_version=4).cells[:2]
        assert (badge.cell_type, badge.source) == ("markdown", colab.badge(path.stem))
        assert (install.cell_type, install.source, install.outputs) == ("code", colab.INSTALL, [])
        assert path.read_text(encoding="utf-8").count(colab.REPOSITORY) == 2, "the badge and the cell"
    for page in (ROOT / "notebooks").glob("*.md"):
        assert colab.REPOSITORY not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_first_code_cell_installs_the_lab_only_where_it_is_missing(
    is_installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[tuple[str, str]] = []
    shell = SimpleNamespace(run_line_magic=lambda *call: installed.append(call))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: is_installed or None)
    exec(TransformerManager().transform_cell(colab.INSTALL), {"get_ipython": lambda: shell})
    source = f"siamese_lab[timm,onnx] @ git+https://github.com/{colab.REPOSITORY}@{colab.BRANCH}"
    assert installed == ([] if is_installed else [("pip", f'install --quiet "{source}"')])
    assert {"timm", "onnx"} <= set(metadata("siamese_lab").get_all("Provides-Extra") or ())


def test_the_cells_for_colab_move_the_numbers_of_stored_outputs_on() -> None:
    result = nbformat.v4.new_output("execute_result", {"text/plain": "4"}, execution_count=1)
    cell = nbformat.v4.new_code_cell("2 + 2", execution_count=1, outputs=[result])
    notebook = nbformat.v4.new_notebook(cells=[cell])
    for _ in range(2):
        colab.write_cells(notebook, "01_short")
    nbformat.validate(notebook)
    assert len(notebook.cells) == 3
    assert [each.execution_count for each in notebook.cells[1:]] == [1, 2]
    assert notebook.cells[2].outputs[0].execution_count == 2


@pytest.mark.slow
def test_the_command_stores_outputs_of_the_chosen_notebooks_and_hides_real_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIAMESE_LAB_DATA", "some folder")
    for number in (1, 2):
        cell = nbformat.v4.new_code_cell("import os\nprint(os.environ.get('SIAMESE_LAB_DATA'))\nprint(2 + 2)")
        metadata = nbformat.read(NOTEBOOKS[0], as_version=4).metadata
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=metadata), tmp_path / f"0{number}_short.ipynb")
    main(["2"], tmp_path)
    (first,), (second,) = (code_cells(path) for path in sorted(tmp_path.glob("*.ipynb")))
    assert (first.outputs, first.execution_count) == ([], None)
    assert (printed([second]), second.execution_count, second.metadata) == ("None\n4\n", 1, {})
    assert nbformat.read(tmp_path / "02_short.ipynb", as_version=4).metadata == metadata


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        pytest.param(NAMES[:3], id="01 to 03"),
        pytest.param(NAMES[3:5], id="04 and 05", marks=pytest.mark.nightly),
        pytest.param(NAMES[5:], id="06 and 07"),
    ],
)
def test_they_run_without_data(names: list[str], tmp_path: Path, drawn_cache: Path) -> None:
    for name, cells in executed(names, tmp_path, environment(cache=str(drawn_cache))).items():
        check(name, cells, all_steps=False)
        assert "Omniglot" not in printed(cells)
        if name != STUDY:
            assert kinds(cells) == kinds(code_cells(path_of(name))), "python notebooks/execute.py"


@pytest.mark.slow
@pytest.mark.nightly
def test_they_run_with_the_real_data(omniglot_root: Path, real_cache: Path, tmp_path: Path) -> None:
    """The other notebooks read no data that can be real."""
    variables = environment(cache=str(real_cache.parent), real_data=str(omniglot_root))
    for name, cells in executed(NAMES[:4], tmp_path, variables).items():
        check(name, cells)
        if name.startswith("01"):
            assert re.search(r"Omniglot +test +13,180 images of +659 classes", printed(cells))


@pytest.mark.slow
def test_the_fifth_reads_the_shipped_study(tmp_path: Path, drawn_cache: Path) -> None:
    shipped = ROOT / "outputs" / "study"
    if not any(shipped.rglob("runs.jsonl.gz")):
        pytest.skip("outputs/study holds no study")
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "study").symlink_to(shipped)
    cells = executed([STUDY], tmp_path, environment(cache=str(drawn_cache)))[STUDY]
    check(STUDY, cells)
    assert "There is no study" not in printed(cells)
    assert kinds(cells) == kinds(code_cells(path_of(STUDY))), "python notebooks/execute.py"
