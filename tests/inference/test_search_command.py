"""`python -m siamese_lab.search QUERY in=FOLDER` finds the nearest images in order, and draws a picture of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ended
from PIL import Image

import siamese_lab as sl
from siamese_lab import embed, search
from siamese_lab.inference.search_sheet import _label

Call = Callable[..., Ended]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures/more").mkdir(parents=True)
    for number in range(7):  # coarse patterns, because shrunk noise is gray, and then rounding decides the order
        coarse = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        pixels = coarse.repeat(10, axis=0).repeat(10, axis=1)
        Image.fromarray(pixels).save(tmp_path / "pictures" / ("more" if number > 4 else ".") / f"image_{number}.png")
    return tmp_path / "pictures"


def expected(run: Path, query: Path, pictures: Path) -> list[tuple[float, str]]:
    """Return the distance and the name of all other images, the nearest first."""
    network = sl.load(run)
    others = [path for path in pictures.rglob("*.png") if path.resolve() != query.resolve()]
    d_N = (network.embed(query) - network.embed(others)).norm(dim=1)
    return sorted((float(d), path.relative_to(pictures).as_posix()) for d, path in zip(d_N, others, strict=True))


def found(ended: Ended) -> list[tuple[float, str]]:
    assert ended.status == 0, ended.err
    lines = [line.split() for line in ended.out.splitlines() if line[:3].strip().isdigit()]
    assert [int(line[0]) for line in lines] == list(range(1, len(lines) + 1))
    return [(float(line[1]), line[-1]) for line in lines]


def test_the_nearest_come_first_and_the_query_is_excluded(
    call: Call, digits_run: Path, pictures: Path, tmp_path: Path
) -> None:
    query = pictures / "image_3.png"
    ended = call(search, query, f"in={pictures}", f"checkpoint={digits_run}")
    wanted = expected(digits_run, query, pictures)
    assert len(wanted) == 6
    assert [name for _, name in found(ended)] == [name for _, name in wanted]
    assert [d for d, _ in found(ended)] == pytest.approx([d for d, _ in wanted], abs=2e-3)
    assert "Searched 7 images. Picture: outputs/search/image_3.png" in ended.out
    with Image.open(tmp_path / "outputs/search/image_3.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 100


def test_another_image_finds_the_requested_number(call: Call, digits_run: Path, pictures: Path, tmp_path: Path) -> None:
    query = tmp_path / "query.png"
    Image.open(pictures / "more/image_6.png").save(query)
    ended = call(search, query, f"in={pictures}", f"checkpoint={digits_run}", "k=2", "out=found.png")
    assert found(ended)[0] == (pytest.approx(0, abs=2e-3), "more/image_6.png")
    assert len(found(ended)) == 2
    assert (tmp_path / "found.png").is_file()


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_stored_embeddings_find_the_same(
    kind: str, call: Call, digits_run: Path, pictures: Path, tmp_path: Path
) -> None:
    query, run = pictures / "image_1.png", f"checkpoint={digits_run}"
    call(embed, run, f"images={pictures}", f"out=stored.{kind}")
    stored = call(search, query, f"in=stored.{kind}", run, "out=a.png")
    assert found(stored) == found(call(search, query, f"in={pictures}", run, "out=b.png"))


def test_embeddings_of_another_network_are_refused(call: Call, own_run: Path, pictures: Path) -> None:
    call(embed, f"checkpoint={own_run}", f"images={pictures}", "out=stored.npz")
    content = torch.load(own_run / "checkpoints/last.ckpt", weights_only=True)
    content["state_dict"]["network.embed.bias"] += 1
    torch.save(content, own_run / "checkpoints/last.ckpt")
    ended = call(search, pictures / "image_1.png", "in=stored.npz", f"checkpoint={own_run}")
    assert ended.status == 2
    assert "The embeddings in stored.npz were computed by another network (" in ended.err


def test_images_within_the_threshold_are_marked(call: Call, own_run: Path, pictures: Path) -> None:
    query = pictures / "image_2.png"
    arguments = (query, f"in={pictures}", f"checkpoint={own_run}", "force=true")
    assert "✓" not in call(search, *arguments).out
    threshold = sl.load(own_run).threshold.threshold
    marked = call(search, *arguments)
    assert f"✓ marks distances up to {threshold:.3f}" in marked.out
    for line in marked.out.splitlines():
        if line[:3].strip().isdigit():
            assert ("✓" in line) == (float(line.split()[1]) <= threshold)


def test_mistakes_are_explained(call: Call, digits_run: Path, pictures: Path, tmp_path: Path) -> None:
    query, run, folder = pictures / "image_1.png", f"checkpoint={digits_run}", f"in={pictures}"
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/one.png").write_bytes(query.read_bytes())
    (tmp_path / "there.png").write_text("precious")
    wrong = {
        (query, run): "The option in=… is required (a folder of images, or a file of embeddings",
        (query, run, "in=nowhere"): "nowhere is not a folder of images: there is no such folder.",
        (query, run, "in=nowhere.npz"): "There is no file of embeddings at nowhere.npz.",
        ("alone/one.png", run, "in=alone"): "alone holds only the query, but a search needs at least 1 other image.",
        ("none.png", run, folder): "There is no image none.png.",
        (query, run, folder, "k=0"): "k must be at least 1, but is 0.",
        (query, run, folder, "out=found.jpg"): "out must end in .png, but is found.jpg.",
        (query, run, folder, "out=there.png"): "The file there.png exists already.",
    }
    for arguments, message in wrong.items():
        ended = call(search, *arguments)
        assert ended.status == 2
        assert f"Error: {message}" in ended.err
    assert (tmp_path / "there.png").read_text() == "precious"


def test_labels_of_the_results_keep_folder_and_name() -> None:
    names = ("Adrian_Brody/0003.jpg", "Ada/0003.jpg", "0003.jpg", "a/b/a_very_long_name_01.png")
    labels = [_label(name) for name in names]
    assert labels == ["Adrian_Brody/\n0003", "Ada/\n0003", "0003", "a/b/\n…ong_name_01"]
