"""The sdist and the wheel contain what an installed package needs, and the wheel works without the source."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from project import ROOT, pyproject

from siamese_lab import __main__ as lab

if not (ROOT / "siamese_lab/__init__.py").is_file():
    pytest.skip("these tests build the source, which this folder does not have", allow_module_level=True)

pytestmark = pytest.mark.slow

PROJECT = pyproject()["project"]
NAME = f"siamese_lab-{PROJECT['version']}"
SOURCE_FILES = {
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "siamese_lab").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
}
CONFIGS = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sdist of the source and the wheel that is built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> dict[str, bytes]:
    """Return the files of the wheel by name."""
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(dist: Path) -> dict[str, bytes]:
    """Return the files of the sdist by name, without the folder that contains all of them."""
    files = {}
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        for member in archive.getmembers():
            assert member.isfile(), "an sdist needs neither links nor folders"
            content = archive.extractfile(member)
            assert content is not None
            files[str(PurePosixPath(member.name).relative_to(NAME))] = content.read()
    return files


@pytest.fixture(scope="module")
def metadata(wheel: dict[str, bytes]) -> Message:
    return Parser().parsestr(wheel[f"{NAME}.dist-info/METADATA"].decode())


def test_the_wheel_has_every_file_of_the_package_and_every_config(wheel: dict[str, bytes]) -> None:
    assert {name for name in wheel if ".dist-info/" not in name} == SOURCE_FILES | {
        f"siamese_lab/{config}" for config in CONFIGS
    }
    for config in CONFIGS:
        assert wheel[f"siamese_lab/{config}"] == (ROOT / config).read_bytes()


def test_the_wheel_has_the_files_that_are_no_modules(wheel: dict[str, bytes]) -> None:
    named = {
        "py.typed",
        "study/page.html.jinja",
        "study/hypotheses.yaml",
        "data/sets/lfw_people.tsv",
        "configs/train.yaml",
    }
    assert {f"siamese_lab/{name}" for name in named} <= wheel.keys()
    assert wheel[f"{NAME}.dist-info/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_the_wheel_installs_only_the_package(wheel: dict[str, bytes]) -> None:
    """Files next to the package, such as `tests`, would overwrite those of other packages."""
    assert {PurePosixPath(name).parts[0] for name in wheel} == {"siamese_lab", f"{NAME}.dist-info"}


def test_the_sdist_has_what_the_wheel_and_the_tests_need(sdist: dict[str, bytes]) -> None:
    documents = {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "pyproject.toml"}
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert SOURCE_FILES | CONFIGS | documents | tests <= sdist.keys()
    assert not [name for name in sdist if name.startswith("outputs/")]


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_no_file_leaves_the_folder_or_names_the_machine_that_built_it(
    kind: str, request: pytest.FixtureRequest
) -> None:
    files: dict[str, bytes] = request.getfixturevalue(kind)
    for name, content in files.items():
        path = PurePosixPath(name)
        assert not path.is_absolute() and ".." not in path.parts
        assert path.suffix != ".pyc"
        assert path.suffix != ".ckpt" or "old_versions" in path.parts, "only the small checkpoint of an old version"
        assert os.fsencode(ROOT) not in content, name


def test_the_metadata_agree_with_pyproject(metadata: Message) -> None:
    assert metadata["Name"] == PROJECT["name"]
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata["License-Expression"] == PROJECT["license"]
    assert {*metadata.get_all("Provides-Extra", [])} == PROJECT["optional-dependencies"].keys()
    plain = {text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text}
    assert {str(Requirement(text)) for text in plain} == {str(Requirement(text)) for text in PROJECT["dependencies"]}


def test_the_classifiers_name_the_tested_versions_of_python(metadata: Message) -> None:
    named = [text.split(" :: ")[-1] for text in metadata.get_all("Classifier", []) if "Python :: 3." in text]
    assert named == ["3.10", "3.11", "3.12", "3.13"]


def test_the_package_index_would_accept_both(dist: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(dist.iterdir()))]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.count("PASSED") == 2


def test_the_unpacked_wheel_finds_its_configs_from_an_empty_folder(dist: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(dist / f"{NAME}-py3-none-any.whl") as archive:
        archive.extractall(tmp_path / "unpacked")
    script = "import siamese_lab.__main__ as lab; print(lab.__file__); lab.start('train', ['--help'])"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "empty",
        env=os.environ | {"PYTHONPATH": str(tmp_path / "unpacked")},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0] == str(tmp_path / "unpacked/siamese_lab/__main__.py")
    for config in CONFIGS:
        group, name = PurePosixPath(config).parent.name, PurePosixPath(config).stem
        if group in ("sampler", "loss", "data"):
            assert name in ended.stdout, f"{group}={name}"
    assert not list((tmp_path / "empty").iterdir())


def test_every_command_of_the_wheel_exists(wheel: dict[str, bytes]) -> None:
    scripts = wheel[f"{NAME}.dist-info/entry_points.txt"].decode()
    assert scripts.count("siamese_lab.__main__:") == len(lab.COMMANDS) + 1
    for command in lab.COMMANDS.values():
        path = f"{command.module.replace('.', '/')}.py"
        assert path in wheel, path
