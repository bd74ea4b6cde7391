"""A face network decides pairs, searches many photographs, and runs in another runtime.

The environment variable SIAMESE_LAB_FACES names the folder of a run on LFW. Without it, the tests use an untrained
small network and fewer photographs, and check only that every step works:

    SIAMESE_LAB_DATA=FOLDER SIAMESE_LAB_FACES=outputs/runs/… pytest -n0 -s tests/inference/test_faces.py
"""

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ended

import siamese_lab as sl
from siamese_lab import export, search, verify
from siamese_lab.data.io.image_files import ImageFiles
from siamese_lab.data.sets.lfw import SUFFIX, Lfw
from siamese_lab.inference.export import load_onnx
from siamese_lab.metrics.retrieval import recall_at_k

Call = Callable[..., Ended]
GIVEN = os.environ.get("SIAMESE_LAB_FACES")
FACES = 1000 if GIVEN else 200
PAIRS = 10 if GIVEN else 4


@pytest.fixture(scope="module")
def run(real_root: Path, real_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of a run folder, or the checkpoint of an untrained network."""
    folder = tmp_path_factory.mktemp("faces")
    if GIVEN is not None:
        return Path(shutil.copytree(GIVEN, folder / "run"))
    sys.path.append(str(Path(__file__).parents[1] / "evaluation"))
    from untrained import checkpoint

    small = ("network.width=8", "network.tta=[]")
    return checkpoint(folder, "data=lfw", *small, f"paths.data={real_root}", f"paths.cache={real_cache}")


@pytest.fixture(scope="module")
def images(run: Path) -> Lfw:
    images = sl.load(run).datamodule
    assert isinstance(images, Lfw)
    return images


@pytest.fixture(scope="module")
def pairs(images: Lfw) -> list[tuple[str, str, bool]]:
    """Return as many positive as negative test pairs of View 1, as file names."""
    found = images.pairs("view_1_test")
    names = names_of(images)
    chosen = range(0, 1000, 1000 // PAIRS)  # the first 500 are positive
    return [(names[found.first_M[row]], names[found.second_M[row]], bool(found.same_M[row])) for row in chosen]


@pytest.fixture(scope="module")
def folder(images: Lfw, pairs: list[tuple[str, str, bool]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write photographs of the test people of View 1, including the photographs of the pairs."""
    place = tmp_path_factory.mktemp("photographs")
    _, files = images._files()
    tested = set(images.splits.test.class_names)
    whole = {"/".join(name.split("/")[-2:]): name for name in files.names if name.split("/")[-2] in tested}
    wanted = {name for pair in pairs for name in pair[:2]}
    others = sorted(set(whole) - wanted)
    wanted |= set(random.Random(0).sample(others, FACES - len(wanted)))
    kept = ImageFiles(files.path, SUFFIX, frozenset(files.names) - {whole[name] for name in wanted})
    for name, content in zip(kept.names, kept.contents(), strict=True):
        written = place.joinpath(*name.split("/")[-2:])
        written.parent.mkdir(exist_ok=True)
        written.write_bytes(content)
    return place


def names_of(images: Lfw) -> list[str]:
    """Return PERSON/PERSON_NUMBER.jpg for each row of the table of all people."""
    _, files = images._files()
    return ["/".join(name.split("/")[-2:]) for name in files.names]


def test_pairs_are_decided(call: Call, run: Path, folder: Path, pairs: list[tuple[str, str, bool]]) -> None:
    network, right = sl.load(run), 0
    lefts, rights = ([folder / pair[side] for pair in pairs] for side in (0, 1))
    accepted = network.same(lefts, rights).tolist()
    for (left, other, same), decided in zip(pairs, accepted, strict=True):
        ended = call(verify, folder / left, folder / other, f"checkpoint={run}")
        assert ended.status == 0, ended.err
        assert ("decision   the same" in ended.out) == decided
        right += decided == same
        print(f"{left} – {other}: {'one person' if same else 'two people'}; {' '.join(ended.out.split()[:4])}")
    print(f"{right} of {PAIRS} right; threshold {network.threshold.describe()}")
    if GIVEN is not None:
        assert right >= 7
        assert network.threshold.accuracy > 0.7


def test_a_face_is_searched_among_many(call: Call, run: Path, folder: Path, tmp_path: Path) -> None:
    people = sorted(folder.iterdir(), key=lambda person: len(list(person.iterdir())))
    query = min(people[-1].iterdir())
    ended = call(search, query, f"in={folder}", f"checkpoint={run}")
    assert ended.status == 0, ended.err
    print(f"{query.name}:\n{ended.out}")
    assert f"Searched {FACES:,} images" in ended.out
    names = [line.split()[-1] for line in ended.out.splitlines() if line[:3].strip().isdigit()]
    assert len(names) == 10
    assert f"{query.parent.name}/{query.name}" not in names
    assert (tmp_path / f"outputs/search/{query.stem}.png").is_file()
    if GIVEN is not None:
        assert sum(name.startswith(f"{query.parent.name}/") for name in names) >= 3


def test_onnxruntime_has_the_same_recall(call: Call, run: Path, tmp_path: Path) -> None:
    ended = call(export, f"checkpoint={run}", "out=faces.onnx")
    assert ended.status == 0, ended.err
    network = sl.load(run)
    part = network.datamodule.splits.test if GIVEN is not None else network.datamodule.splits.validation
    embed = load_onnx(tmp_path / "faces.onnx")
    batches = part.images_NCHW.split(256)
    z_ND = torch.cat([embed(torch.from_numpy(batch.numpy().astype(np.float32) / 255)) for batch in batches])
    here, there = (recall_at_k(each, part.labels_N, k=(1,))[1] for each in (network.embed(part.images_NCHW), z_ND))
    print(f"Recall@1 of {len(part):,} images: {float(here):.6f} here, {float(there):.6f} in onnxruntime")
    assert round(float(here), 3) == round(float(there), 3)
    assert "It must not be used" in (tmp_path / "faces.onnx.md").read_text(encoding="utf-8")
