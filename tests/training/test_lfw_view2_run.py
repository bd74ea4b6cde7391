"""`-m experiment=lfw_view2` on a small LFW trains ten networks, one per fold, and the report joins them."""

import json
import statistics
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from conftest import FEW_STEPS, Ended
from PIL import Image

from siamese_lab import report
from siamese_lab.data.sets import lfw
from siamese_lab.data.sets.lfw_people import FOLDS, Person
from siamese_lab.study import report as study_report

pytestmark = pytest.mark.slow

IMAGES = 3
PEOPLE = tuple(Person(f"P{number:02}", IMAGES, "train" if number % 4 else "test", number // 2) for number in range(20))
SMALL = (
    "network=conv4",
    "data.image_size=28",
    "data.classes_per_batch=4",
    "data.images_per_class=2",
    "data.validation_fraction=0.25",
    "sampler.num_negatives=1",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "network.width=8",
    "metrics.floors=false",
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create two people per fold, with blocks of color and noise as faces, and six pairs of each kind."""
    monkeypatch.setattr(lfw, "people", lambda: PEOPLE)
    draw = np.random.default_rng(0)
    folder = tmp_path / "root/lfw-py"
    for person in PEOPLE:
        face = draw.integers(0, 200, (5, 5, 3))
        for name in person.files():
            pixels = face.repeat(50, 0).repeat(50, 1) + draw.integers(0, 55, (250, 250, 3))
            (folder / "lfw-deepfunneled" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "lfw-deepfunneled" / name)
    lines = [f"{FOLDS}\t6\n"]
    for first, second in zip(PEOPLE[::2], PEOPLE[1::2], strict=True):
        for person in (first, second):
            lines += [f"{person.name}\t{i}\t{j}\n" for i, j in combinations((1, 2, 3), 2)]
        lines += [f"{first.name}\t{i}\t{second.name}\t{j}\n" for i in (1, 2) for j in (1, 2, 3)]
    (folder / "pairs.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "root"


def test_ten_folds_from_the_command_line_to_the_table(
    root: Path, command: Callable[..., Ended], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = command(
        "-m", "experiment=lfw_view2", f"paths.data={root}", f"paths.cache={tmp_path / 'cache'}", *FEW_STEPS, *SMALL
    )
    assert ended.status == 0, ended.err
    (sweep,) = (tmp_path / "outputs/sweeps").glob("*/*")
    left = [json.loads(file.read_text(encoding="utf-8")) for file in sweep.glob("*/results.json")]
    assert sorted(run["choices"]["data"]["fold"] for run in left) == list(range(FOLDS))
    assert all("_fold=" in file.parent.name for file in sweep.glob("*/results.json"))
    for run in left:
        assert (run["status"], run["choices"]["data"]["view"], run["test"]["view_2/negatives"]) == ("finished", 2, 6)

    monkeypatch.setattr(sys, "argv", ["siamese_lab.report", str(sweep)])
    report.main()
    (joined,) = json.loads((sweep / study_report.FILE_NAME).read_text(encoding="utf-8"))
    accuracies = [run["test"]["view_2/accuracy"] for run in left]
    assert joined["missing"] == {}
    assert joined["estimates"]["accuracy"] == pytest.approx(
        {"mean": statistics.mean(accuracies), "standard_error": statistics.stdev(accuracies) / 10**0.5}
    )
    assert 0.5 <= statistics.mean(accuracies) <= 1


def test_a_network_of_view_1_is_not_resumed_on_view_2(
    root: Path, command: Callable[..., Ended], tmp_path: Path
) -> None:
    pairs = (root / "lfw-py/pairs.txt").read_text(encoding="utf-8").splitlines()[1:]
    for name, fold in (("pairsDevTrain.txt", 1), ("pairsDevTest.txt", 0)):
        content = "\n".join(["6", *pairs[12 * fold : 12 * (fold + 1)]])
        (root / "lfw-py" / name).write_text(content, encoding="utf-8")
    where = (f"paths.data={root}", f"paths.cache={tmp_path / 'cache'}")
    assert command("data=lfw", "hydra.run.dir=view_1", *where, *FEW_STEPS, *SMALL).status == 0
    assert "view_1/accuracy" in json.loads((tmp_path / "view_1/results.json").read_text(encoding="utf-8"))["test"]
    before = (tmp_path / "view_1/results.json").read_bytes()
    again = ("resume=view_1/checkpoints/last.ckpt", f"paths.data={root}")
    ended = command(*again, "data.view=2", "data.fold=0", "trainer.max_steps=4")
    assert ended.status == 2
    assert "Error: A network trained on View 1 of LFW has seen 1 of the people that fold 0 of View 2 tests" in ended.err
    assert (tmp_path / "view_1/results.json").read_bytes() == before


def test_view_2_without_a_fold_names_the_experiment(command: Callable[..., Ended]) -> None:
    ended = command("experiment=lfw_view2")
    assert ended.status == 2
    assert "python -m siamese_lab.train -m experiment=lfw_view2." in ended.err
