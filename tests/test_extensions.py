"""The examples of the pages work as written: in a package, and inside a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from pages import ROOT, entry_points, files_of, install, write

pytestmark = pytest.mark.slow

PAGES = {kind: f"siamese_lab/{kind}/README.md" for kind in ("samplers", "losses", "networks", "data", "metrics")}
NAMES = {"samplers": "beyond", "losses": "logistic", "networks": "one_layer", "data": "stripes", "metrics": "centroid"}
MODULE = "siamese_lab/samplers/farthest.py"
YAML = "configs/sampler/farthest.yaml"
SHORT = ("trainer.max_steps=5", "trainer.accelerator=cpu", "logger=csv", "hydra.run.dir=run")


END = "--- end of a command ---"
COMMANDS = """
import sys
from importlib import import_module

import pytest

for name, *arguments in {commands!r}:
    sys.argv = [name, *arguments]
    try:
        status = pytest.main(arguments) if name == "pytest" else import_module(name).main()
    except SystemExit as ended:
        status = ended.code
    if status:
        sys.exit(int(status))
    print({end!r}, flush=True)
"""
"""A script that runs several commands in one process, because each process loads PyTorch."""


def run(*commands: tuple[str, ...], at: Path, path: tuple[Path, ...]) -> list[str]:
    """Run commands, each a module and its arguments or pytest and its arguments, and return what each prints."""
    script = COMMANDS.format(commands=commands, end=END)
    return python("-c", script, at=at, path=path).split(END)[:-1]


def python(*arguments: str, at: Path, path: tuple[Path, ...]) -> str:
    """Run python and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "SIAMESE_LAB_DATA"}
    environment |= {"PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, *arguments], cwd=at, env=environment, text=True, capture_output=True, timeout=600
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout


def contracts(*names: str) -> tuple[str, ...]:
    """Return the command that runs the contract tests of parts."""
    quiet = ("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=")
    return (*quiet, "--pyargs", "siamese_lab.contracts", "-k", " or ".join(names))


def passed(shown: str) -> int:
    """Return how many tests passed, by the last line of pytest."""
    return int(shown.strip().splitlines()[-1].split(" passed")[0].split()[-1])


def results(folder: Path) -> dict:
    return json.loads((folder / "run/results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", PAGES)
def test_an_example_is_complete_and_short(kind: str) -> None:
    files = files_of(PAGES[kind])
    (module,) = (content for path, content in files.items() if path.endswith(".py") and "@register(" in content)
    assert len(module.splitlines()) <= 30
    assert f'@register("{NAMES[kind]}")' in module
    assert f"-k {NAMES[kind]}" in (ROOT / PAGES[kind]).read_text(encoding="utf-8")
    points = entry_points(files["pyproject.toml"])
    assert points[f"siamese_lab.{kind}"] == {NAMES[kind]: f"my_package.{NAMES[kind]}"}
    assert ("siamese_lab.configs" in points) == (kind != "metrics")


class Shown(NamedTuple):
    """Holds what commands with the parts of a package have printed, and the folder in which they ran."""

    at: Path
    train: str
    help: str
    report: str
    contracts: str


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the examples of all pages in one installed package."""
    folder = tmp_path_factory.mktemp("site")
    files: dict[str, str] = {}
    points: dict[str, dict[str, str]] = {}
    for page in PAGES.values():
        shown = files_of(page)
        for group, named in entry_points(shown.pop("pyproject.toml")).items():
            points.setdefault(group, {}).update(named)
        files |= shown
    install(files, points, folder)
    return folder


HELP = ("siamese_lab.train", "--help")


@pytest.fixture(scope="module")
def shown(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Train, report, evaluate and export with all parts of the package, in one process."""
    at = tmp_path_factory.mktemp("empty")
    chosen = ("data=stripes", "sampler=beyond", "loss=logistic", "network=one_layer", "metrics.extra=[centroid]")
    own = (
        "sampler.radius=0.7",
        "loss.scale=5",
        "network.width=32",
        "network.embedding_dim=16",
        "sampler.num_negatives=2",
    )
    evaluate = ("siamese_lab.evaluate", "checkpoint=run", "map=null", "episodes=0", "pairs=100")
    train, listed, _, _, reported, tested = run(
        ("siamese_lab.train", *chosen, *own, *SHORT),
        HELP,
        evaluate,
        ("siamese_lab.export", "checkpoint=run", "out=stripes.onnx"),
        ("siamese_lab.report", str(at)),
        contracts(*NAMES.values()),
        at=at,
        path=(package, ROOT),
    )
    return Shown(at, train, listed, reported, tested)


def test_the_parts_of_a_package_train_together(shown: Shown) -> None:
    left = results(shown.at)
    assert left["status"] == "finished"
    parts = {"data": "stripes", "sampler": "beyond", "loss": "logistic", "network": "one_layer"}
    assert {part: left[part] for part in parts} == parts
    assert left["choices"]["sampler"] == {"name": "beyond", "radius": 0.7, "num_negatives": 2}
    assert left["data_set"]["title"] == "Stripes" and left["data_set"]["notes"] == ["Stripes are synthetic."]
    assert "active_share" not in left["history"][-1]["train"]
    assert 0 < left["test"]["nearest_centroid"] <= 1
    assert "Nearest centroid" in shown.train
    assert "Stripes" in shown.report and "Note: Stripes: Stripes are synthetic." in shown.report.replace("\n", " ")


def test_help_lists_the_parts_of_a_package(shown: Shown) -> None:
    words = " ".join(shown.help.split())
    for group, name in (("sampler", "beyond"), ("loss", "logistic"), ("network", "one_layer"), ("data", "stripes")):
        listed = re.search(rf" {group}=\w+ .*?Names: ([\w, ]+?)(?= \w+=)", words)
        assert listed and name in listed[1].split(", ")
    assert re.search(r"metrics\.extra=\[\].*?available:[^=]*centroid", words)


def test_the_parts_of_a_package_pass_their_contracts(shown: Shown) -> None:
    assert passed(shown.contracts) >= 40


def test_a_network_of_a_package_is_evaluated_and_exported(shown: Shown) -> None:
    assert list(shown.at.glob("run/evaluations/*/evaluation.json"))
    assert "trained on Stripes" in (shown.at / "stripes.onnx.md").read_text(encoding="utf-8")


FARTHEST = ("siamese_lab.train", "data=digits", "sampler=farthest", *SHORT)


def test_the_strategy_of_the_readme_works_in_a_separate_package(tmp_path: Path) -> None:
    files = files_of("README.md")
    of_package = {
        "pyproject.toml": files_of(PAGES["samplers"])["project/pyproject.toml"],
        "my_package/farthest.py": files[MODULE],
        "my_package/configs/sampler/farthest.yaml": files[YAML],
    }
    write(of_package, tmp_path / "project")
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip = ("-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--no-index", "--target", str(site))
    python(*pip, str(tmp_path / "project"), at=empty, path=(ROOT,))
    _, listed, tested = run(FARTHEST, HELP, contracts("farthest"), at=empty, path=(site, ROOT))
    assert (results(empty)["sampler"], results(empty)["status"]) == ("farthest", "finished")
    assert "farthest" in listed
    assert passed(tested) >= 10


@pytest.mark.nightly
def test_the_strategy_of_the_readme_works_inside_the_repository(tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    for name in ("siamese_lab", "configs", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    files = files_of("README.md")
    write({path: files[path] for path in (MODULE, YAML)}, copy)
    suite = (
        "tests/config/test_configs.py",
        "tests/test_readme.py",
        "tests/samplers",
        "tests/training/test_every_strategy_with_every_loss.py",
    )
    chosen = "farthest or registry_and_folder or without_plus or every_choice_that_ships"
    _, listed, tested, _ = run(
        FARTHEST,
        HELP,
        contracts("farthest"),
        ("pytest", "-q", "-n0", "-p", "no:cacheprovider", *suite, "-k", chosen),
        at=copy,
        path=(copy,),
    )
    assert (results(copy)["sampler"], results(copy)["status"]) == ("farthest", "finished")
    assert "farthest" in listed
    assert passed(tested) >= 10


def test_an_entry_point_that_names_no_folder_of_configs_is_named(tmp_path: Path) -> None:
    install({"my_package/x.py": ""}, {"siamese_lab.configs": {"mine": "my_package.nothing"}}, tmp_path / "site")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), str(ROOT)))}
    command = [sys.executable, "-m", "siamese_lab.train", "--help"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=120)
    assert ended.returncode == 2
    assert "'mine' of the package 'my_package'" in ended.stderr and "my_package.nothing" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("broken", ["siamese_lab.samplers", "siamese_lab.configs"])
def test_a_package_that_cannot_be_imported_is_named(broken: str, tmp_path: Path) -> None:
    install(
        {"my_package/__init__.py": "import no_such_package\n", "my_package/configs/x.py": "", "my_package/x.py": ""},
        {broken: {"mine": "my_package.configs"}},
        tmp_path / "site",
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path / "site"), str(ROOT)))}
    command = [sys.executable, "-m", "siamese_lab.train", *SHORT]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=300)
    assert ended.returncode == (0 if broken == "siamese_lab.samplers" else 2), ended.stderr
    assert "'mine' of the package 'my_package'" in ended.stderr and "no_such_package" in ended.stderr
    assert "Traceback" not in ended.stderr
