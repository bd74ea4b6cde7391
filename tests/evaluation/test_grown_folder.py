"""A folder that changes after the training: the classes stay in their parts, and new or missing ones are named."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ended, quick_run
from PIL import Image

import siamese_lab
from siamese_lab.evaluation import load
from siamese_lab.runs.checkpoints import read_checkpoint, stored_classes
from siamese_lab.runs.classes import ClassParts
from siamese_lab.runs.results import read_results

pytestmark = pytest.mark.slow

QUICK = ("accelerator=cpu", "k=[1,2]", "pairs=20", "map=null", "episodes=0", "folder=to")


def add_class(root: Path, name: str, images: int = 4) -> None:
    rng = np.random.default_rng(len(name))
    (root / name).mkdir(parents=True)
    for number in range(images):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / name / f"{number}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run and its images of 14 classes; tests copy it."""
    base = tmp_path_factory.mktemp("trained")
    for number in range(14):
        add_class(base / "photos", f"c{number:02d}", images=1 if number == 13 else 4)
    quick_run(base / "run", *images_of(base), "data.classes_per_batch=2", "network=mlp", "trainer.precision=bf16-mixed")
    return base


def images_of(base: Path) -> tuple[str, ...]:
    return (
        "data=image_folder",
        f"data.root={base / 'photos'}",
        f"paths.cache={base / 'cache'}",
        "data.image_size=16",
        "data.images_per_class=2",
    )


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the run in tmp_path/run. Its images in tmp_path/photos count as moved."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def grown(trained: Path, own: Path) -> Path:
    """Yield the copy, with the images at the place of the training, restored at the end."""
    photos = trained / "photos"
    photos.rename(trained / "kept")
    photos.symlink_to(own / "photos")
    yield own
    photos.unlink()
    (trained / "kept").rename(photos)


@pytest.fixture
def named(trained: Path) -> str:
    """Return the override that names the folder of the training, without which it is not read."""
    return f"data.root={trained / 'photos'}"


def classes_of(run: Path) -> ClassParts:
    classes = stored_classes(read_checkpoint(run / "checkpoints/last.ckpt"))
    assert classes is not None
    return classes


def evaluated_classes(base: Path) -> list[str]:
    with (base / "to/per_class.csv").open(encoding="utf-8") as file:
        return sorted(row["name"] for row in csv.DictReader(file))


def test_checkpoints_hold_every_class_and_results_a_summary(trained: Path) -> None:
    classes = classes_of(trained / "run")
    assert classes.names() == {f"c{number:02d}" for number in range(14)}
    assert sum(len(part.names) for part in classes) == 14
    assert {images for part in classes for images in part.images} == {1, 4}
    assert read_results(trained / "run").classes == classes.summary()


def test_new_classes_are_named_and_trained_ones_never_tested(
    grown: Path, named: str, evaluate: Callable[..., Ended]
) -> None:
    before = classes_of(grown / "run")
    for number in range(20):  # the split of 34 classes tests many that were trained on
        add_class(grown / "photos", f"a{number:02d}")
    ended = evaluate("checkpoint=run", named, *QUICK)
    assert ended.status == 0, ended.err
    assert "Not tested, because new since the training: 20 classes, 'a00', 'a01', 'a02' and 17 more." in ended.out
    assert evaluated_classes(grown) == sorted(before.test.names)
    record = json.loads((grown / "to/evaluation.json").read_text())
    assert record["data"]["classes_trained_on"] == 0
    assert any("20 classes" in note for note in record["data"]["notes"])
    assert load(grown / "run").build_datamodule().splits.validation.class_names == before.validation.names
    network = siamese_lab.load(grown / "run", data=named.partition("=")[2])
    assert network.datamodule.splits.validation.class_names == before.validation.names, "the threshold is chosen on it"


def test_missing_classes_are_named(grown: Path, named: str, evaluate: Callable[..., Ended]) -> None:
    before = classes_of(grown / "run")
    removed = [before.test.names[0], *before.train.names[:2]]
    for name in removed:
        shutil.rmtree(grown / "photos" / name)
    ended = evaluate("checkpoint=run", named, *QUICK)
    assert ended.status == 0, ended.err
    assert f"Missing since the training: 3 classes, {', '.join(map(repr, sorted(removed)))}." in ended.out
    assert evaluated_classes(grown) == sorted(before.test.names[1:])


def test_a_moved_folder_is_recognized_by_its_class_names(own: Path, evaluate: Callable[..., Ended]) -> None:
    before = classes_of(own / "run")
    add_class(own / "photos", "a_new")
    ended = evaluate("checkpoint=run", f"data.root={own / 'photos'}", *QUICK)
    assert ended.status == 0, ended.err
    assert "The folder has moved since the training, and has its class names." in ended.out
    assert "new since the training: 1 class, 'a_new'." in ended.out
    assert evaluated_classes(own) == sorted(before.test.names)


def test_another_folder_with_some_of_the_names_is_another_set(own: Path, evaluate: Callable[..., Ended]) -> None:
    shared = classes_of(own / "run").train.names[:3]
    for name in [*shared, *(f"other{number}" for number in range(12))]:
        add_class(own / "others", name)
    ended = evaluate("checkpoint=run", "data.root=others", *QUICK)
    assert ended.status == 0, ended.err
    assert "Not the folder of the training, but it also has 3 classes" in ended.out
    count = json.loads((own / "to/evaluation.json").read_text())["data"]["classes_trained_on"]
    assert count == len(set(evaluated_classes(own)) & set(shared))


def test_another_split_that_tests_trained_classes_is_refused(
    grown: Path, named: str, evaluate: Callable[..., Ended]
) -> None:
    add_class(grown / "photos", "a_new")
    ended = evaluate("checkpoint=run", named, "data.split_seed=5", *QUICK)
    assert (ended.status, "test classes that data.split_seed=5 selects, such as c" in ended.err) == (2, True)


def test_a_checkpoint_without_classes_is_accepted_with_a_sentence(
    grown: Path, named: str, evaluate: Callable[..., Ended]
) -> None:
    path = grown / "run/checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    del content["callbacks"]["StoredChoices"]["classes"]
    torch.save(content, path)
    ended = evaluate("checkpoint=run", named, *QUICK)
    assert ended.status == 0, ended.err
    assert "written before checkpoints stored class names, so its classes are split again" in ended.out


def test_another_precision_is_said_in_one_line(grown: Path, named: str, evaluate: Callable[..., Ended]) -> None:
    ended = evaluate("checkpoint=run", named, *QUICK)
    assert "precision 32-true; the run's own figures are of bf16-mixed, which differ by up to about 0.2" in ended.out
    ended = evaluate("checkpoint=run", named, *QUICK[:-1], "folder=again", "precision=bf16-mixed")
    assert (ended.status, "own figures" in ended.out) == (0, False)


def test_few_classes_have_no_interval(grown: Path, named: str, evaluate: Callable[..., Ended]) -> None:
    assert len(classes_of(grown / "run").test.names) < 5
    ended = evaluate("checkpoint=run", named, *QUICK)
    assert "Left out: intervals over classes. The test images have 3 classes" in ended.out
    protocols = json.loads((grown / "to/evaluation.json").read_text())["protocols"]
    for name in ("retrieval", "verification_sampled"):
        assert protocols[name]["intervals_over"] is None
        assert all(set(figure) == {"value"} for figure in protocols[name]["figures"].values())


@pytest.mark.parametrize("change", ["add", "remove", "image"])
def test_a_run_is_not_resumed_on_changed_classes(
    change: str, grown: Path, named: str, command: Callable[..., Ended]
) -> None:
    name = classes_of(grown / "run").train.names[0]
    if change == "add":
        add_class(grown / "photos", "a_new")
    elif change == "remove":
        shutil.rmtree(grown / "photos" / name)
    else:
        (grown / "photos" / name / "0.png").unlink()
    facts = {
        "add": "1 new class: 'a_new'",
        "remove": f"1 missing class: '{name}'",
        "image": f"other numbers of train images: '{name}' had 4 and has 3",
    }
    before = (grown / "run/results.json").read_bytes()
    ended = command("resume=run", named, "trainer.max_steps=8")
    assert (ended.status, facts[change] in ended.err) == (2, True), ended.err
    assert "Restore the images, or start a new run without resume=." in ended.err
    assert (grown / "run/results.json").read_bytes() == before
