"""`python -m siamese_lab.embed` embeds every image, names unreadable files, and overwrites nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ended
from PIL import Image

import siamese_lab as sl
from siamese_lab import embed
from siamese_lab.inference import embeddings_file, folder

Call = Callable[..., Ended]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder of five images in several formats, sizes and modes, in subfolders."""
    generator = np.random.default_rng(0)
    place = tmp_path / "pictures"
    for number, name in enumerate(("b/1.png", "a/2.jpg", "a/1.webp", "3.tif", "4.gif")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shape = (20 + number, 30, 3) if number % 2 else (20, 20)
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(place / name)
    (place / ".hidden").write_text("a folder's own")
    return place


NAMES = ["3.tif", "4.gif", "a/1.webp", "a/2.jpg", "b/1.png"]


@pytest.mark.parametrize("kind", ["npz", "parquet"])
@pytest.mark.parametrize("batch_size", [2, 256])
def test_every_image_is_embedded_as_by_the_network(
    kind: str, batch_size: int, call: Call, digits_run: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"e.{kind}"
    ended = call(embed, f"checkpoint={digits_run}", f"images={pictures}", f"out={out}", f"batch_size={batch_size}")
    assert ended.status == 0, ended.err
    stored = embeddings_file.read_embeddings(out)
    assert list(stored.names) == NAMES
    expected_ND = sl.load(digits_run).embed([pictures / name for name in NAMES])
    assert torch.allclose(stored.z_ND, expected_ND, atol=1e-6)
    assert stored.z_ND.dtype == torch.float32
    assert (stored.about["step"], stored.about["data"], stored.about["folder"]) == (6, "digits", str(pictures))
    assert "5 images, 16 dimensions each, by <conv4 trained on digits with semi_hard" in ended.out
    for change in ("resized to 8×8 pixels, 5 images", "RGB to L, 3 images", "P to L, 1 image"):
        assert f"\nConverted: {change}\n" in ended.out
    assert not list(tmp_path.glob("*draft*"))


def test_the_files_have_the_form_that_their_readers_expect(
    call: Call, digits_run: Path, pictures: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet

    for kind in ("npz", "parquet"):
        call(embed, f"checkpoint={digits_run}", f"images={pictures}", f"out=e.{kind}")
    stored = np.load(tmp_path / "e.npz")
    assert list(stored["names"]) == NAMES
    assert stored["embeddings"].shape == (5, 16)
    assert json.loads(str(stored["about"]))["images"] == {"channels": 1, "height": 16, "width": 16}
    table = pyarrow.parquet.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["name", "embedding", "changes"]
    assert table["name"].to_pylist() == NAMES
    assert table["changes"].to_pylist() == list(stored["changes"])
    assert "RGB to L" in table["changes"][3].as_py()
    assert np.allclose(np.stack(table["embedding"].to_numpy()), stored["embeddings"])


def test_the_default_file_lies_below_outputs_and_is_not_overwritten(
    call: Call, digits_run: Path, pictures: Path, tmp_path: Path
) -> None:
    arguments = (f"checkpoint={digits_run}", f"images={pictures}")
    assert "Embeddings: outputs/embeddings/pictures.npz" in call(embed, *arguments).out
    place = tmp_path / "outputs/embeddings/pictures.npz"
    place.write_bytes(b"precious")
    again = call(embed, *arguments)
    assert (again.status, place.read_bytes()) == (2, b"precious")
    assert (
        "The file outputs/embeddings/pictures.npz exists already. Set out=… to another file, or force=true" in again.err
    )
    assert call(embed, *arguments, "force=true").status == 0
    assert len(embeddings_file.read_embeddings(place).names) == 5


def test_files_that_are_no_images_are_named_and_skipped_on_request(
    call: Call, digits_run: Path, pictures: Path, tmp_path: Path
) -> None:
    (pictures / "text.png").write_text("no image")
    whole = (pictures / "b/1.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    arguments = (f"checkpoint={digits_run}", f"images={pictures}", "out=e.npz")
    refused = call(embed, *arguments)
    assert refused.status == 2
    assert f"2 of the first 7 files in {pictures} cannot be read as images:" in refused.err
    assert "text.png cannot be read as an image: its format is unknown." in refused.err
    assert "cut.png cannot be read as an image: " in refused.err
    assert "Set skip_unreadable=true to skip such files." in refused.err
    assert not (tmp_path / "e.npz").exists()
    skipped = call(embed, *arguments, "skip_unreadable=true", "batch_size=1")
    assert skipped.status == 0
    assert skipped.err.count("Skipped: ") == 2
    assert list(embeddings_file.read_embeddings(tmp_path / "e.npz").names) == NAMES


def test_invalid_arguments_are_explained(call: Call, digits_run: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.png").write_text("a")
    (tmp_path / "texts/a.txt").write_text("a")
    (tmp_path / "mine.ckpt").write_bytes(b"something else")
    (tmp_path / "file").write_text("")
    run, images = f"checkpoint={digits_run}", f"images={pictures}"
    wrong = {
        (run, "images=nowhere"): "nowhere is not a folder of images: there is no such folder. Name a folder",
        (run, "images=file"): "file is not a folder of images: it is a file, not a folder.",
        (run, "images=empty"): "The folder empty holds no image files. Name a folder that holds images.",
        (run, "images=texts", "skip_unreadable=true"): "The folder texts holds no image files. Name a folder that "
        "holds images. Left out of texts: 1 file of another type (.txt: 1).",
        (run, "images=broken", "skip_unreadable=true"): "broken holds 1 image files, but none of them is readable.",
        (run, images, "out=e.csv"): "Embeddings are written to a .npz or a .parquet file, but out is e.csv.",
        (run, images, "out=file/e.npz"): "file/e.npz cannot be written (",
        (run, images, "batch_size=0"): "batch_size must be at least 1, but is 0.",
        (run, images, "accelerator=tpu"): "accelerator=tpu is not available on this machine, which has: cpu",
        (images, "checkpoint=mine.ckpt"): "mine.ckpt is not a readable checkpoint",
        (images, "checkpoint=none.ckpt"): "There is no checkpoint none.ckpt.",
        (images, "checkpoint=texts"): "texts holds no checkpoints/*.ckpt, so it is not the folder of a run",
    }
    for arguments, message in wrong.items():
        ended = call(embed, *arguments)
        assert ended.status == 2
        assert f"Error: {message}" in ended.err
        assert "Traceback" not in ended.err
    assert not list(tmp_path.rglob("*.npz"))


def test_a_parquet_without_pyarrow_is_refused_first(
    call: Call, digits_run: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    ended = call(embed, f"checkpoint={digits_run}", f"images={pictures}", "out=e.parquet")
    for fact in ("A .parquet file needs pyarrow", "pip install 'siamese_lab[parquet]'", "a .npz file"):
        assert fact in ended.err


def test_files_that_hold_no_embeddings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no file of embeddings at .*e\.npz"):
        embeddings_file.read_embeddings(tmp_path / "e.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    for name in ("text.npz", "text.parquet"):
        (tmp_path / name).write_text("something else")
    np.savez(tmp_path / "strange.npz", names=["a"], embeddings=np.zeros((1, 2)), about="{}")
    for name in ("other.npz", "strange.npz", "text.npz", "text.parquet"):
        with pytest.raises(ValueError, match=rf"{name} is not a readable file of embeddings"):
            embeddings_file.read_embeddings(tmp_path / name)


def test_a_partially_written_file_is_removed(
    own_run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = sl.load(own_run)
    embedded = folder.embed_folder(network, pictures)

    def fail(stream: object, **_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="No space left"):
        embeddings_file.write_embeddings(embedded, network, tmp_path / "e.npz")
    assert not list(tmp_path.glob("*.npz"))
