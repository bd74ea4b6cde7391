"""The examples of the pages work as written: in a package, and inside a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, entry_points, files_of, install, write

pytestmark = pytest.mark.slow

PAGES = {kind: f"siamese_lab/{kind}/README.md" for kind in ("samplers", "losses", "networks", "data", "metrics")}
NAMES = {"samplers": "beyond", "losses": "logistic", "networks": "one_layer", "data": "stripes", "metrics": "centroid"}
MODULE = "siamese_lab/samplers/farthest.py"
YAML = "configs/sampler/farthest.yaml"
SHORT = ("trainer.max_steps=5", "trainer.accelerator=cpu", "logger=csv", "hydra.run.dir=run")


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
    """Return the arguments that run the contract tests of parts."""
    quiet = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=")
    return (*quiet, "--pyargs", "siamese_lab.contracts", "-k", " or ".join(names))


def passed(shown: str) -> int:
    """Return how many tests passed, by the last line of pytest."""
    return int(shown.strip().splitlines()[-1].split(" passed")[0].split()[-1])


def results(folder: Path) -> dict:
    return json.loads((folder / "run/results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", PAGES)
def test_an_example_is_complete_and_short(kind: str) -> None:
    files = files_of(PAGES[kind])
    (module,) = (content for path, content in files.items() if path.endswith(".py"))
    assert len(module.splitlines()) <= 30
    assert f'@register("{NAMES[kind]}")' in module
    assert f"-k {NAMES[kind]}" in (ROOT / PAGES[kind]).read_text(encoding="utf-8")
    points = entry_points(files["pyproject.toml"])
    assert points[f"siamese_lab.{kind}"] == {NAMES[kind]: f"my_package.{NAMES[kind]}"}
    assert ("siamese_lab.configs" in points) == (kind != "metrics")


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


def test_the_parts_of_a_package_train_together(package: Path, tmp_path: Path) -> None:
    chosen = ("data=stripes", "sampler=beyond", "loss=logistic", "network=one_layer", "metrics.extra=[centroid]")
    own = (
        "sampler.radius=0.7",
        "loss.scale=5",
        "network.width=32",
        "network.embedding_dim=16",
        "sampler.num_negatives=2",
    )
    shown = python("-m", "siamese_lab.train", *chosen, *own, *SHORT, at=tmp_path, path=(package, ROOT))
    left = results(tmp_path)
    assert left["status"] == "finished"
    assert [left[part] for part in ("data", "sampler", "loss", "network")] == [
        each.split("=")[1] for each in chosen[:4]
    ]
    assert left["choices"]["sampler"] == {"name": "beyond", "radius": 0.7, "num_negatives": 2}
    assert left["data_set"]["title"] == "Stripes" and left["data_set"]["notes"] == ["Stripes are synthetic."]
    assert "active_share" not in left["history"][-1]["train"]
    assert 0 < left["test"]["nearest_centroid"] <= 1
    assert "Nearest centroid" in shown

    reported = python("-m", "siamese_lab.report", str(tmp_path), at=tmp_path, path=(package, ROOT))
    assert "Stripes" in reported and "Note: Stripes: Stripes are synthetic." in reported.replace("\n", " ")


def test_help_lists_the_parts_of_a_package(package: Path, tmp_path: Path) -> None:
    shown = python("-m", "siamese_lab.train", "--help", at=tmp_path, path=(package, ROOT))
    for group, name in (("sampler", "beyond"), ("loss", "logistic"), ("network", "one_layer"), ("data", "stripes")):
        listed = re.search(rf" {group}=\w+ .*?Names: ([\w, ]+?)(?= \w+=)", " ".join(shown.split()))
        assert listed and name in listed[1].split(", ")
    assert re.search(r"metrics\.extra=\[\].*?available:[^=]*centroid", " ".join(shown.split()))


def test_the_parts_of_a_package_pass_their_contracts(package: Path, tmp_path: Path) -> None:
    shown = python(*contracts(*NAMES.values()), at=tmp_path, path=(package, ROOT))
    assert passed(shown) >= 40


def test_a_network_of_a_package_is_evaluated_and_exported(package: Path, tmp_path: Path) -> None:
    train = ("-m", "siamese_lab.train", "data=stripes", "network=one_layer", *SHORT)
    python(*train, at=tmp_path, path=(package, ROOT))
    evaluate = ("-m", "siamese_lab.evaluate", "checkpoint=run", "map=null", "episodes=0", "pairs=100")
    python(*evaluate, at=tmp_path, path=(package, ROOT))
    python("-m", "siamese_lab.export", "checkpoint=run", "out=stripes.onnx", at=tmp_path, path=(package, ROOT))
    assert "trained on Stripes" in (tmp_path / "stripes.onnx.md").read_text(encoding="utf-8")


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
    where = {"at": empty, "path": (site, ROOT)}
    python("-m", "siamese_lab.train", "data=digits", "sampler=farthest", *SHORT, **where)
    assert (results(empty)["sampler"], results(empty)["status"]) == ("farthest", "finished")
    assert "farthest" in python("-m", "siamese_lab.train", "--help", **where)
    assert passed(python(*contracts("farthest"), **where)) >= 10


def test_the_strategy_of_the_readme_works_inside_the_repository(tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    for name in ("siamese_lab", "configs", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    files = files_of("README.md")
    write({path: files[path] for path in (MODULE, YAML)}, copy)
    where = {"at": copy, "path": (copy,)}
    python("-m", "siamese_lab.train", "data=digits", "sampler=farthest", *SHORT, **where)
    assert (results(copy)["sampler"], results(copy)["status"]) == ("farthest", "finished")
    assert "farthest" in python("-m", "siamese_lab.train", "--help", **where)
    assert passed(python(*contracts("farthest"), **where)) >= 10
    suite = (
        "tests/config/test_configs.py",
        "tests/test_readme.py",
        "tests/samplers",
        "tests/training/test_every_strategy_with_every_loss.py",
    )
    chosen = "farthest or registry_and_folder or without_plus or every_choice_that_ships"
    python("-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", *suite, "-k", chosen, **where)


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
