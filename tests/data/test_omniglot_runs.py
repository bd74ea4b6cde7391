"""Drawings of Lake's one-shot runs are in their places and converted like the set's images; partial copies fail."""

import random
import shutil
import zipfile

import pytest
import torch
from PIL import Image

from siamese_lab import data
from siamese_lab.data.sets.omniglot_runs import read_runs

RUNS, WAYS = 20, 20


def grey(run, way, asked):
    return run * 12 + way % 10 + (5 if asked else 0)


@pytest.fixture(scope="module")
def answers():
    """Return the character of each drawing to classify, for each run."""
    shuffled = random.Random(0)
    return [shuffled.sample(range(WAYS), WAYS) for _ in range(RUNS)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, answers):
    """Write the runs as a folder. The gray level of each drawing identifies it."""
    place = tmp_path_factory.mktemp("runs") / "all_runs"
    for run, answer in enumerate(answers):
        folder = place / f"run{run + 1:02}"
        for part in ("training", "test"):
            (folder / part).mkdir(parents=True)
        lines = []
        for way in range(WAYS):
            Image.new("L", (105, 105), grey(run, way, False)).save(folder / f"training/class{way + 1:02}.png")
        for item, way in enumerate(answer):
            Image.new("L", (105, 105), grey(run, way, True)).save(folder / f"test/item{item + 1:02}.png")
            lines.append(f"{folder.name}/test/item{item + 1:02}.png {folder.name}/training/class{way + 1:02}.png\n")
        (folder / "class_labels.txt").write_text("".join(lines), encoding="ascii")
    return place


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "all_runs")


@pytest.fixture(params=["folder", "archive", "archive with a folder"])
def packaging(request, whole, tmp_path):
    if request.param == "folder":
        return whole
    top = whole.parent if "with" in request.param else whole
    with zipfile.ZipFile(tmp_path / "all_runs.zip", "w") as archive:
        for file in whole.rglob("*"):
            archive.write(file, file.relative_to(top))
    return tmp_path / "all_runs.zip"


def test_each_drawing_is_in_its_place_in_any_packaging(packaging, answers):
    runs = read_runs(packaging, lambda image: image.resize((4, 4)))
    grey_N = runs.table.images_NCHW[:, 0, 0, 0]
    for run, answer in enumerate(answers):
        assert grey_N[runs.known_EW[run]].tolist() == [grey(run, way, False) for way in range(WAYS)]
        assert grey_N[runs.asked_EQ[run]].tolist() == [grey(run, way, True) for way in answer]
        assert runs.answer_EQ[run].tolist() == answer


def test_the_classes_of_the_table_agree_with_the_answers(whole):
    name, title, how, table, known_EW, asked_EQ, answer_EQ = read_runs(whole, lambda image: image.resize((4, 4)))
    assert (name, title) == ("lake", "Lake's runs")
    assert "20 runs of 20-way classification" in how
    assert table.images_NCHW.shape == (800, 1, 4, 4)
    assert table.labels_N.bincount().tolist() == [2] * 400
    assert torch.equal(table.labels_N[known_EW].gather(1, answer_EQ), table.labels_N[asked_EQ])
    assert table.class_names[int(table.labels_N[known_EW[2, 4]])] == "run03/training/class05.png"


def remove_a_drawing(folder):
    (folder / "run07/test/item03.png").unlink()


def remove_a_run(folder):
    shutil.rmtree(folder / "run20")


def remove_the_answers(folder):
    (folder / "run01/class_labels.txt").unlink()


def answer_twice_the_same(folder):
    file = folder / "run01/class_labels.txt"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], f"{lines[-1].split()[0]} {lines[0].split()[1]}"]))


def answer_gibberish(folder):
    (folder / "run01/class_labels.txt").write_bytes(b"\xff\xfe<html>")


@pytest.mark.parametrize(
    "damage", [remove_a_drawing, remove_a_run, remove_the_answers, answer_twice_the_same, answer_gibberish]
)
def test_an_incomplete_copy_is_refused(folder, damage):
    damage(folder)
    with pytest.raises(ValueError, match=r"should hold 20 runs of 20 known drawings, .* It is incomplete"):
        read_runs(folder, lambda image: image)


def test_an_unreadable_drawing_is_named(folder):
    (folder / "run07/test/item03.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"holds run07/test/item03\.png, which cannot be read as an image"):
        read_runs(folder, lambda image: image)


@pytest.mark.parametrize("image_size", [28, 105])
def test_the_real_drawings_are_converted_like_those_of_the_set(omniglot_root, real_cache, image_size):
    """Each of the 800 drawings also occurs in the evaluation set, pixel by pixel."""
    module = data.build("omniglot", root=omniglot_root, cache=real_cache, image_size=image_size)
    runs = module.one_shot
    assert runs.table.images_NCHW.shape == (800, 1, image_size, image_size)
    assert torch.equal(runs.answer_EQ.sort(1).values, torch.arange(20).expand(20, 20))
    drawings = {image.numpy().tobytes() for image in module.splits.test.images_NCHW}
    assert all(image.numpy().tobytes() in drawings for image in runs.table.images_NCHW)
