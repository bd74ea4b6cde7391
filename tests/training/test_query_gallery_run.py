"""A run and an evaluation report queries against a gallery, without images of the query's own class and group."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ended, compose, quick_run
from pages import ROOT, files_of
from PIL import Image

from siamese_lab import data
from siamese_lab.data.sets.image_folder import ImageFolder
from siamese_lab.errors import UserError
from siamese_lab.evaluation import evaluate, load
from siamese_lab.study.data_set import data_set

CLASSES, EACH, TRAINED = 11, 6, 6
OPTIONS = (
    "recipe=none",
    "network=mlp",
    "network.width=16",
    "data.image_size=8",
    "data.color=false",
    "data.augment=null",
    "data.classes_per_batch=3",
    "data.images_per_class=2",
)


def row_of(label: int, rank: int) -> tuple[str, str, str, int]:
    split = "train" if label < TRAINED else "query" if rank < 2 else "gallery"
    return f"{split}/class {label}/{rank}.png", f"class {label}", split, rank % 3


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write noisy images of 11 classes as a table with queries, a gallery and groups, in folders of these names."""
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    rows = [("path", "label", "split", "sequence")]
    for label in range(CLASSES):
        shared = generator.integers(0, 256, (8, 8))
        for rank in range(EACH):
            rows.append(row_of(label, rank))
            place = root / rows[-1][0]
            place.parent.mkdir(parents=True, exist_ok=True)
            mixed = (0.6 * shared + 0.4 * generator.integers(0, 256, (8, 8))).astype(np.uint8)
            Image.fromarray(mixed).save(place)
    with (root / "photos.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def expected(vectors_ND: torch.Tensor, labels_N: torch.Tensor) -> dict[str, float]:
    """Return Recall@K and mAP of the test images in plain loops; images of a class have the ranks of `row_of`."""
    x_ND = torch.nn.functional.normalize(vectors_ND.double(), dim=1)
    hits: dict[int, list[bool]] = {1: [], 5: [], 10: []}
    areas = []
    for i in range(len(labels_N)):
        if i % EACH >= 2:
            continue
        searched = [
            j
            for j in range(len(labels_N))
            if j % EACH >= 2 and not (labels_N[i] == labels_N[j] and i % EACH % 3 == j % EACH % 3)
        ]
        searched.sort(key=lambda j: -float(x_ND[i] @ x_ND[j]))
        relevant = [bool(labels_N[j] == labels_N[i]) for j in searched]
        for k, found in hits.items():
            found.append(any(relevant[:k]))
        places = [place for place, of_class in enumerate(relevant, start=1) if of_class]
        areas.append(sum(number / place for number, place in enumerate(places, start=1)) / len(places))
    return {f"recall@{k}": float(np.mean(found)) for k, found in hits.items()} | {"map": float(np.mean(areas))}


@pytest.mark.slow
def test_a_run_and_an_evaluation_agree_with_the_loops(images: Path, tmp_path: Path) -> None:
    options = ("data=table", f"data.file={images / 'photos.csv'}", f"paths.cache={tmp_path / 'cache'}", *OPTIONS)
    left = quick_run(tmp_path / "run", *options, "trainer.max_steps=2", "trainer.precision=32-true")
    config = compose(*options)
    module = data.build(**config.data, seed=0)
    test = module.splits.test
    network = load(tmp_path / "run").network.eval()
    with torch.no_grad():
        z_ND = network(test.images_NCHW / 255)
    of_network = expected(z_ND, test.labels_N)
    assert {name: left.test[name] for name in of_network} == pytest.approx(of_network, abs=1e-5)

    pixels_ND = test.images_NCHW.flatten(1).double()
    of_pixels = (expected(pixels_ND, test.labels_N), expected(pixels_ND - pixels_ND.mean(0), test.labels_N))
    best = max(of_pixels, key=lambda each: each["recall@1"])
    assert {name: left.floors["pixels"][name] for name in best} == pytest.approx(best, abs=1e-5)
    assert left.floors["untrained"].keys() == left.test.keys() == left.validation.keys()

    described = data_set(left)
    assert described.label == "Images of photos.csv, query and gallery"
    assert "without images of the query's own class and group" in described.notes[0]
    assert left.images["tested"] == "10 queries against a gallery of 20, ignoring the query's own class and group"
    assert left.images["validated"] == "12 queries against a gallery of 12, ignoring the query's own class and group"
    assert {name: each["queries"] for name, each in left.per_class.items()} == {f"class {n}": 2 for n in range(6, 11)}
    recorded = json.loads((tmp_path / "run/results.json").read_text())
    assert recorded["data_set"]["protocol"] == "query and gallery"

    protocol = evaluate(network, module, pairs=0, episodes=0).protocols["retrieval"]
    assert protocol.title == "Retrieval, query and gallery"
    assert {name: protocol.figures[name].value for name in of_network} == pytest.approx(of_network, abs=1e-5)
    assert protocol.facts["queries"] == 10
    assert protocol.facts["gallery"] == 20
    assert "Images of the query's own class and group are not searched" in protocol.how

    groups_ignored = evaluate(network, data.build(**{**config.data, "group_column": None}), pairs=0, episodes=0)
    assert groups_ignored.protocols["retrieval"].figures["map"].value != protocol.figures["map"].value


@pytest.mark.slow
def test_the_example_of_the_readme_runs_and_is_evaluated(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[..., Ended],
    evaluate: Callable[..., Ended],
) -> None:
    page = "siamese_lab/data/README.md"
    line = re.search(
        r"^python make_table\.py && python -m siamese_lab\.train (.*)$", (ROOT / page).read_text(), re.MULTILINE
    )
    assert line
    monkeypatch.chdir(tmp_path)
    exec(files_of(page)["make_table.py"], {})
    quick = ("trainer.max_steps=1", "network=mlp", "network.width=8", "logger=null", "paths.cache=cache")
    ended = command(*line[1].split(), *quick, "hydra.run.dir=run")
    assert ended.status == 0, ended.err
    assert "table (query and gallery)" in ended.out
    header = next(each for each in ended.out.splitlines() if "Recall@10" in each)
    assert "mAP" in header and "…" not in header

    ended = evaluate("checkpoint=run", "paths.cache=cache", "pairs=0", "episodes=0", "map=null")
    assert ended.status == 2
    assert "add data.file=outputs/digits_table/digits.csv" in ended.err
    named = "data.file=outputs/digits_table/digits.csv"
    ended = evaluate("checkpoint=run", named, "paths.cache=cache", "pairs=0", "episodes=0", "map=null", "folder=to")
    assert ended.status == 0, ended.err
    assert "Retrieval, query and gallery" in ended.out
    protocol = json.loads((tmp_path / "to/evaluation.json").read_text())["protocols"]["retrieval"]
    recorded = json.loads((tmp_path / "run/results.json").read_text())["test"]
    assert protocol["figures"]["map"]["value"] == pytest.approx(recorded["map"], abs=2e-3)
    assert (protocol["queries"], protocol["queries_without_a_match"], protocol["groups"]) == (96, 0, True)


def folder(root: Path, tmp_path: Path, **options: object) -> ImageFolder:
    return ImageFolder(root, tmp_path / "cache", image_size=8, color=False, classes_per_batch=3, **options)


def test_folders_of_queries_and_a_gallery_are_the_same_test_as_the_table(images: Path, tmp_path: Path) -> None:
    (images / "photos.csv").rename(tmp_path / "photos.csv")
    try:
        module = folder(images, tmp_path)
        table = data.build(
            "table", file=tmp_path / "photos.csv", root=images, cache=tmp_path / "cache", image_size=8, color=False
        )
        of_table = table.query_gallery.test
        assert module.describe().protocol == "query and gallery"
        assert module.class_parts().test == table.class_parts().test
        assert module.class_parts().validation == table.class_parts().validation
        by_pixels = [
            {
                image.tobytes(): (names[int(label)], bool(query), bool(searched))
                for image, label, query, searched in zip(
                    part.images_NCHW.numpy(), part.labels_N, roles.query_N, roles.gallery_N, strict=True
                )
            }
            for part, names, roles in (
                (each.splits.test, each.splits.test.class_names, each.query_gallery.test) for each in (module, table)
            )
        ]
        assert by_pixels[0] == by_pixels[1]
        assert of_table.query_N.sum() == 10
        assert module.query_gallery.test.group_N is None
        assert module.provenance()["tested"] == "10 queries against a gallery of 20, without groups"
    finally:
        (tmp_path / "photos.csv").rename(images / "photos.csv")


def test_folders_that_leave_the_training_classes_open_are_refused(tmp_path: Path) -> None:
    def add(*places: str) -> None:
        for number, place in enumerate(places):
            (tmp_path / "root" / place).mkdir(parents=True)
            for rank in range(2):
                Image.new("L", (8, 8), 10 * number + rank).save(tmp_path / "root" / place / f"{rank}.png")

    add("query/a", "query/b", "gallery/a", "gallery/b")
    module = folder(tmp_path / "root", tmp_path)
    assert [len(part) for part in module.splits] == [0, 0, 8]
    with pytest.raises(UserError, match=r"no training images in classes.*so nothing can be trained.* in train/"):
        module.setup("fit")
    add("train/a", "train/c", "train/d", "train/e", "train/f")
    with pytest.raises(UserError, match=r"label 'a' is in train \(train/a/0\.png\) and in test \(gallery/a/0\.png\)"):
        _ = folder(tmp_path / "root", tmp_path).splits
    module = folder(tmp_path / "root", tmp_path, closed=True, validation_fraction=0.5, min_images_per_class=1)
    assert module.splits.train.class_names == tuple("acdef")
    assert module.describe().protocol == "closed, query and gallery"
    add("cats")
    with pytest.raises(UserError, match=r"but also cats/\. Move the classes to train on into train/"):
        _ = folder(tmp_path / "root", tmp_path).splits


def test_classes_that_are_called_query_and_gallery_stay_classes(tmp_path: Path) -> None:
    for label in ("query", "gallery", "a", "b", "c", "d"):
        (tmp_path / "root" / label).mkdir(parents=True)
        for rank in range(2):
            Image.new("L", (8, 8), rank).save(tmp_path / "root" / label / f"{rank}.png")
    module = folder(tmp_path / "root", tmp_path)
    assert module.query_gallery is None
    assert module.current_classes() == {"query", "gallery", "a", "b", "c", "d"}
    assert module.describe().protocol is None
    with pytest.raises(UserError, match=r"data\.closed=true tests images of known classes, but .*root does not say"):
        _ = folder(tmp_path / "root", tmp_path, closed=True).splits
