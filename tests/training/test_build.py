"""`available_locally` finds the data sets that training would find, and downloads nothing."""

from pathlib import Path

import pytest

from siamese_lab import data
from siamese_lab.data.io import sources
from siamese_lab.training.build import available_locally

ALL = ("omniglot", "lfw", "mnist", "fashion_mnist", "image_folder", "digits")
FILES = {
    "omniglot": ["omniglot-py/images_background.zip", "omniglot-py/images_evaluation"],
    "lfw": [f"lfw-py/{name}" for name in ("lfw-funneled.tgz", "pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt")],
    "mnist": [f"MNIST/raw/{name}" for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz")]
    + [f"MNIST/raw/t10k-{name}" for name in ("images-idx3-ubyte", "labels-idx1-ubyte")],
}


@pytest.fixture(autouse=True)
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SIAMESE_LAB_DATA", raising=False)

    def fetched(*_: object) -> None:
        raise AssertionError("something was downloaded")

    monkeypatch.setattr(sources, "download", fetched)


def laid(folder: Path, files: list[str]) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def test_the_digits_are_always_available() -> None:
    assert available_locally(*ALL) == ("digits",)


@pytest.mark.parametrize("name", FILES)
def test_a_set_is_available_if_all_its_files_are(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIAMESE_LAB_DATA", str(laid(tmp_path / "whole", FILES[name])))
    assert available_locally("digits", name, "fashion_mnist") == ("digits", name)
    for missing in FILES[name]:
        rest = [file for file in FILES[name] if file != missing]
        monkeypatch.setenv("SIAMESE_LAB_DATA", str(laid(tmp_path / missing.replace("/", "_"), rest)))
        assert available_locally(name) == ()
        [sentence] = data.build(name, root=tmp_path / missing.replace("/", "_")).absent()
        assert "is neither in paths.data" in sentence


def test_downloaded_files_count(tmp_path: Path) -> None:
    laid(tmp_path / "cache/siamese_lab/downloads", FILES["omniglot"])
    assert available_locally("omniglot") == ("omniglot",)


def test_an_image_folder_is_available_if_its_root_exists(tmp_path: Path) -> None:
    assert data.build("image_folder", root=tmp_path).absent() == []
    gone = tmp_path / "gone"
    assert data.build("image_folder", root=gone).absent() == [f"There is no folder data.root={gone}."]


def test_a_missing_data_folder_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIAMESE_LAB_DATA", str(tmp_path / "gone"))
    with pytest.raises(ValueError, match="there is no such folder"):
        available_locally("omniglot")
