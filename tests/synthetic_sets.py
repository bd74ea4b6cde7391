"""Write small copies of the published image sets: the same folders, lists and names, with tiny images.

A test states the counts of its copy with `publish`, because the real counts are constants of the data sets.
"""

import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from siamese_lab.data import registry
from siamese_lab.data.sets.published_images import Count

CATEGORIES = ("bicycle", "chair", "kettle")
SIDE = 24
"""Height of the images in pixels."""


class Written(NamedTuple):
    """A small copy of a set."""

    root: Path
    """The folder that `paths.data` names."""
    name: str
    """The name of the data set."""
    counts: Mapping[str, Count]

    def publish(self, patch: pytest.MonkeyPatch) -> None:
        """Make the counts of the copy the published ones, and publish no checksums."""
        cls = registry.classes[self.name]
        patch.setattr(cls, "counts", self.counts)
        patch.setattr(cls, "digests", {})


def draw(path: Path, label: int, rank: int, width: int = SIDE, seed: int = 0) -> None:
    """Write a JPEG with colors and stripes of its class, and noise of its own."""
    generator = np.random.default_rng((seed, label))
    color_3, phase = generator.uniform(60, 200, 3), generator.uniform(0, 6)
    x_W = np.arange(width)
    stripes_W = 40 * np.sin(phase + x_W * (1 + label % 5) / 4)
    noise_HW3 = np.random.default_rng((seed, label, rank)).normal(0, 15, (SIDE, width, 3))
    pixels_HW3 = (color_3 + stripes_W[None, :, None] + noise_HW3).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_HW3).save(path, quality=90)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_cub200(root: Path, classes: int = 10, images: int = 4) -> Written:
    """Write CUB-200. The first half of the classes is for training."""
    folder, names, labels = root / "CUB_200_2011", [], []
    for label in range(1, classes + 1):
        bird = f"{label:03}.Bird_{label}"
        for rank in range(images):
            names.append(f"{bird}/Bird_{label}_{rank:04}_{100 * label + rank}.jpg")
            labels.append(label)
            draw(folder / "images" / names[-1], label, rank, width=SIDE + rank)
    numbers = range(1, len(names) + 1)
    write_lines(folder / "images.txt", (f"{number} {name}" for number, name in zip(numbers, names, strict=True)))
    write_lines(
        folder / "image_class_labels.txt", (f"{number} {label}" for number, label in zip(numbers, labels, strict=True))
    )
    write_lines(folder / "classes.txt", (f"{label} {label:03}.Bird_{label}" for label in range(1, classes + 1)))
    write_lines(folder / "train_test_split.txt", (f"{number} {number % 2}" for number in numbers))
    half = classes // 2
    counts = {"train": Count(half * images, half), "test": Count((classes - half) * images, classes - half)}
    return Written(root, "cub200", counts)


def write_cars196(root: Path, classes: int = 10, images: int = 4) -> Written:
    """Write Cars-196 with all images in `car_ims/`. The first half of the classes is for training."""
    folder = root / "stanford_cars"
    rows = []
    for number, (label, rank) in enumerate(cars(classes, images), start=1):
        rows.append((f"car_ims/{number:06}.jpg", label, rank % 2))
        draw(folder / rows[-1][0], label, rank, seed=1)
    annotate(folder / "cars_annos.mat", ("relative_im_path", "class", "test"), rows, class_names=car_names(classes))
    return Written(root, "cars196", counts_of_cars(classes, images))


def write_cars196_apart(root: Path, classes: int = 10, images: int = 4) -> Written:
    """Write the same images as `write_cars196` in `cars_train/` and `cars_test/`, with `devkit/`."""
    folder = root / "stanford_cars"
    for part, test, file in (
        ("cars_train", 0, "devkit/cars_train_annos.mat"),
        ("cars_test", 1, "cars_test_annos_withlabels.mat"),
    ):
        rows = []
        chosen = [each for each in reversed(list(cars(classes, images))) if each[1] % 2 == test]
        for number, (label, rank) in enumerate(chosen, start=1):
            rows.append((label, f"{number:05}.jpg"))
            draw(folder / part / rows[-1][1], label, rank, seed=1)
        annotate(folder / file, ("class", "fname"), rows)
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array(car_names(classes), dtype=object)[None]})
    return Written(root, "cars196", counts_of_cars(classes, images))


def cars(classes: int, images: int) -> Iterable[tuple[int, int]]:
    """Yield class and rank of each car."""
    return ((label, rank) for label in range(1, classes + 1) for rank in range(images))


def car_names(classes: int) -> list[str]:
    return [f"Maker Model {label}/S 2012" for label in range(1, classes + 1)]


def counts_of_cars(classes: int, images: int) -> dict[str, Count]:
    half = classes // 2
    return {"train": Count(half * images, half), "test": Count((classes - half) * images, classes - half)}


def annotate(path: Path, columns: tuple[str, ...], rows: Iterable[tuple], class_names: list[str] | None = None) -> None:
    """Write annotations as MATLAB does: a struct array with one field for each column, and boxes."""
    boxes = tuple(f"bbox_{end}" for end in ("x1", "y1", "x2", "y2"))
    table = np.array([(1, 1, 20, 20, *row) for row in rows], dtype=[(column, object) for column in (*boxes, *columns)])[
        None
    ]
    content: dict[str, object] = {"annotations": table}
    if class_names is not None:
        content["class_names"] = np.array(class_names, dtype=object)[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content)


def write_sop(root: Path, classes: int = 10, images: int = 3) -> Written:
    """Write Stanford Online Products in three categories. The first half of the classes is for training."""
    folder, half = root / "Stanford_Online_Products", classes // 2
    lines: dict[str, list[str]] = {"train": [], "test": []}
    number = 0
    for label in range(1, classes + 1):
        category = label % len(CATEGORIES)
        for rank in range(images):
            number += 1
            name = f"{CATEGORIES[category]}_final/{110000 + label}_{rank}.JPG"
            draw(folder / name, label, rank, seed=2)
            lines["train" if label <= half else "test"].append(f"{number} {label} {category + 1} {name}")
    for part, listed in lines.items():
        write_lines(folder / f"Ebay_{part}.txt", ["image_id class_id super_class_id path", *listed])
    counts = {"train": Count(half * images, half), "test": Count((classes - half) * images, classes - half)}
    return Written(root, "sop", counts)


def write_inshop(root: Path, classes: int = 10, images: int = 4) -> Written:
    """Write In-Shop. The first half of the classes is for training; of the others, half of the images are queries."""
    folder, half = root / "inshop", classes // 2
    rows = []
    for label in range(1, classes + 1):
        for rank in range(images):
            name = f"img/{'MEN' if label % 2 else 'WOMEN'}/Denim/id_{label:08}/{rank + 1:02}_1_front.jpg"
            part = "train" if label <= half else "query" if rank < images // 2 else "gallery"
            draw(folder / name, label, rank, seed=3)
            rows.append((name, f"id_{label:08}", part))
    lines = [f"{name:<70} {item} {part}" for name, item, part in rows]
    write_lines(folder / "list_eval_partition.txt", [str(len(rows)), "image_name item_id evaluation_status", *lines])
    tested, queries = classes - half, images // 2
    counts = {
        "train": Count(half * images, half),
        "query": Count(tested * queries, tested),
        "gallery": Count(tested * (images - queries), tested),
    }
    return Written(root, "inshop", counts)


def write_market1501(root: Path, classes: int = 10, images: int = 4, junk: int = 2, distractors: int = 3) -> Written:
    """Write Market-1501. Each person has one image from each camera; the first image of a test person is a query.

    The gallery also has an image from the camera of the query.
    """
    folder, half = root / "Market-1501-v15.09.15", classes // 2
    count = {"train": 0, "query": 0, "gallery": 0}

    def add(part: str, of: str, person: str, label: int, camera: int, frame: int) -> None:
        draw(folder / of / f"{person}_c{camera}s1_{frame:06}_{len(str(frame)):02}.jpg", label, frame, SIDE // 2, seed=4)
        count[part] += person != "-1"

    for label in range(1, classes + 1):
        for rank in range(images):
            if label <= half:
                add("train", "bounding_box_train", f"{label:04}", label, rank + 1, 10 + rank)
            elif rank == 0:
                add("query", "query", f"{label:04}", label, 1, 10)
                add("gallery", "bounding_box_test", f"{label:04}", label, 1, 20)
            else:
                add("gallery", "bounding_box_test", f"{label:04}", label, rank + 1, 10 + rank)
    for number in range(junk):
        add("gallery", "bounding_box_test", "-1", 900 + number, 1, number)
    for number in range(distractors):
        add("gallery", "bounding_box_test", "0000", 950 + number, 2, number)
    (folder / "bounding_box_test/Thumbs.db").write_bytes(b"of Windows")
    counts = {
        "train": Count(count["train"], half),
        "query": Count(count["query"], classes - half),
        "gallery": Count(count["gallery"]),
    }
    return Written(root, "market1501", counts)


WRITERS: dict[str, Callable[..., Written]] = {
    "cub200": write_cub200,
    "cars196": write_cars196,
    "sop": write_sop,
    "inshop": write_inshop,
    "market1501": write_market1501,
}
"""The writer of each data set, with the root as first argument."""


def write_all(root: Path) -> list[Written]:
    """Write a copy of every set into one folder."""
    return [write(root) for write in WRITERS.values()]


def pack(folder: Path, archive: Path) -> None:
    """Write a folder into a .zip or .tgz, under its own name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for file in files:
                packed.write(file, file.relative_to(folder.parent))
        return
    with tarfile.open(archive, "w:gz") as packed:
        for file in files:
            packed.add(file, file.relative_to(folder.parent))
