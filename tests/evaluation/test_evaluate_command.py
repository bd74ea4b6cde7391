"""`python -m siamese_lab.evaluate` prints and writes figures, and gives a clear message for each mistake."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Ended, quick_run
from PIL import Image

pytestmark = pytest.mark.slow

QUICK = ("accelerator=cpu", "pairs=400", "map=null")
PICTURES = ("nearest_neighbours.png", "hardest_errors.png", "roc.png", "embedding_map.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a short run on the digits."""
    folder = tmp_path_factory.mktemp("run")
    quick_run(folder, "seed=1")
    return folder


def test_figures_classes_and_pictures_are_written_into_the_run_folder(
    evaluate: Callable[..., Ended], run: Path
) -> None:
    ended = evaluate(f"checkpoint={run}", "accelerator=cpu", "pairs=400")
    assert (ended.status, ended.err) == (0, "")
    (folder,) = (run / "evaluations").iterdir()
    assert folder.name.endswith("_digits")
    left = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert set(left["protocols"]) == {"retrieval", "verification_sampled", "clustering", "embedding"}
    assert left["network"]["checkpoint"] == str(run / "checkpoints/last.ckpt")
    assert (left["network"]["step"], left["network"]["choices"]["seed"]) == (6, 1)
    assert left["data"] == {
        "name": "digits",
        "part": "test",
        "images": 714,
        "classes": 4,
        "classes_trained_on": 0,
        "notes": left["data"]["notes"],
        "files": {"from": "scikit-learn"},
    }
    assert left["hardware"]["precision"] == "32-true"
    assert left["left_out"]["episodes_5way_1shot"] == (
        "It needs 5 classes with at least 16 images, but only 4 have as many."
    )
    assert "4 classes of two images or more, and fewer than 5" in left["left_out"]["intervals over classes"]
    figures = left["protocols"]["verification_sampled"]["figures"]
    assert figures["tar@far=0.001"] == {"value": None}  # there are 200 negative pairs
    assert 0 < figures["tar@far=0.1"]["value"] <= 1

    recall = left["protocols"]["retrieval"]["figures"]["recall@1"]
    for shown in ("conv4 of step 6", "714 test images of 4 classes", "Recall@1", "MAP@R", "EER", "NMI", "Uniformity"):
        assert shown in ended.out
    assert f"{recall['value']:.2%}" in ended.out

    with (folder / "per_class.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["name"] for row in rows) == ["6", "7", "8", "9"]
    assert sum(int(row["images"]) for row in rows) == 714
    mean = sum(int(row["images"]) * float(row["recall_at_1"]) for row in rows) / 714
    assert mean == pytest.approx(recall["value"], abs=1e-5)

    for name in PICTURES:
        assert (folder / name).stat().st_size < 1_000_000
        with Image.open(folder / name) as picture:
            assert picture.info["dpi"] == pytest.approx((120, 120), abs=1)


def test_a_run_is_named_like_its_folder(evaluate: Callable[..., Ended], run: Path, tmp_path: Path) -> None:
    named = tmp_path / "digits_semi_hard_seed=0"
    shutil.copytree(run / "checkpoints", named / "checkpoints")
    ended = evaluate(f"checkpoint={named}", "episodes=0", f"folder={tmp_path / 'to'}", *QUICK)
    assert (ended.status, ended.err) == (0, "")


def test_the_figures_equal_those_of_the_run(evaluate: Callable[..., Ended], tmp_path: Path) -> None:
    results = quick_run(tmp_path / "run", "trainer.precision=32-true")
    assert evaluate(f"checkpoint={tmp_path / 'run'}", f"folder={tmp_path / 'to'}", *QUICK).status == 0
    figures = json.loads((tmp_path / "to/evaluation.json").read_text())["protocols"]["retrieval"]["figures"]
    for name in ("recall@1", "recall@8"):
        assert figures[name]["value"] == pytest.approx(results.test[name], abs=1e-6)


def test_the_same_seed_gives_the_same_figures(evaluate: Callable[..., Ended], run: Path, tmp_path: Path) -> None:
    left = []
    for name in ("one", "two"):
        assert evaluate(f"checkpoint={run}", f"folder={tmp_path / name}", *QUICK).status == 0
        left.append(json.loads((tmp_path / name / "evaluation.json").read_text())["protocols"])
    assert left[0] == left[1]


def test_no_evaluation_is_overwritten(evaluate: Callable[..., Ended], run: Path, tmp_path: Path) -> None:
    assert evaluate(f"checkpoint={run}", "folder=here", *QUICK).status == 0
    before = (tmp_path / "here/evaluation.json").read_bytes()
    again = evaluate(f"checkpoint={run}", "folder=here", *QUICK)
    assert again.status == 2
    assert "Error: There is an evaluation in here already. Set folder to another one, or folder=null" in again.err
    assert (tmp_path / "here/evaluation.json").read_bytes() == before


def test_a_checkpoint_outside_of_a_run_is_evaluated_under_outputs(
    evaluate: Callable[..., Ended], run: Path, tmp_path: Path
) -> None:
    (tmp_path / "moved.ckpt").write_bytes((run / "checkpoints/last.ckpt").read_bytes())
    assert evaluate("checkpoint=moved.ckpt", *QUICK).status == 0
    assert len(list(tmp_path.glob("outputs/evaluations/*_digits/evaluation.json"))) == 1


def make_images(root: Path, classes: int, each: int) -> None:
    generator = torch.Generator().manual_seed(0)
    for label in range(classes):
        (root / f"class{label}").mkdir(parents=True)
        for number in range(each):
            pixels = torch.randint(0, 256, (16, 16), generator=generator, dtype=torch.uint8)
            pixels[label % 16] = 255
            Image.fromarray(pixels.numpy()).save(root / f"class{label}/{number}.png")


FOLDER = ("data=image_folder", "data.root=images", "paths.cache=cache")


def test_another_set_than_the_training_set_is_evaluated(
    evaluate: Callable[..., Ended], run: Path, tmp_path: Path
) -> None:
    make_images(tmp_path / "images", 24, 5)
    fitting = ("data.image_size=16", "data.color=false", "data.test_fraction=0.5")
    ended = evaluate(f"checkpoint={run}", *FOLDER, *fitting, "folder=to", *QUICK)
    assert ended.status == 0, ended.err
    left = json.loads((tmp_path / "to/evaluation.json").read_text())
    assert (left["data"]["name"], left["data"]["images"], left["data"]["classes"]) == ("image_folder", 60, 12)
    for protocol in ("retrieval", "verification_sampled"):
        for name, figure in left["protocols"][protocol]["figures"].items():
            if figure["low"] is not None:
                assert figure["low"] <= figure["value"] <= figure["high"], name
    recall = left["protocols"]["retrieval"]["figures"]["recall@1"]
    assert f"{recall['low']:.2%} – {recall['high']:.2%}" in ended.out
    assert left["network"]["choices"]["data"]["name"] == "digits"


def test_images_of_another_form_are_refused_with_a_suggestion(
    evaluate: Callable[..., Ended], run: Path, tmp_path: Path
) -> None:
    make_images(tmp_path / "images", 24, 2)
    ended = evaluate(f"checkpoint={run}", *FOLDER, *QUICK)
    assert ended.status == 2
    for fact in (
        "Error: This network takes images of 16×16 pixels in grayscale (Digits)",
        "Image folder has images of 64×64 pixels in color. Add data.image_size=16 data.color=false.",
    ):
        assert fact in ended.err
    ended = evaluate(f"checkpoint={run}", "data=mnist", *QUICK)
    assert "MNIST has images of 28×28 pixels in grayscale. Train a network for images of that form." in ended.err


def test_a_set_with_another_split_is_refused(evaluate: Callable[..., Ended], tmp_path: Path) -> None:
    make_images(tmp_path / "images", 24, 6)
    images = ("data=image_folder", f"data.root={tmp_path / 'images'}", f"paths.cache={tmp_path / 'cache'}")
    small = ("data.image_size=16", "data.classes_per_batch=4", "network=mlp")
    quick_run(tmp_path / "run", *images, *small)
    ended = evaluate("checkpoint=run", *QUICK)
    assert ended.status == 2
    assert f"Error: The training read its images from {tmp_path / 'images'}"[:60] in ended.err
    assert f"add {images[1]}. If the images are elsewhere, add data.root=FOLDER." in ended.err
    assert evaluate("checkpoint=run", images[1], *QUICK).status == 0
    ended = evaluate("checkpoint=run", images[1], "data.split_seed=5", *QUICK)
    assert ended.status == 2
    assert "test classes that data.split_seed=5 selects, such as class" in ended.err
    assert "Train a network with data.split_seed=5, or evaluate this network without data.split_seed=5." in ended.err


def test_another_folder_of_images_is_another_set(evaluate: Callable[..., Ended], tmp_path: Path) -> None:
    for name in ("one", "other"):
        make_images(tmp_path / name, 24, 6)
    small = ("data.image_size=16", "data.classes_per_batch=4", "network=mlp", f"paths.cache={tmp_path / 'cache'}")
    quick_run(tmp_path / "run", "data=image_folder", f"data.root={tmp_path / 'one'}", *small)
    other = ("data.root=other", "data.split_seed=5")
    ended = evaluate("checkpoint=run", *other, *QUICK)
    assert ended.status == 0, ended.err


def test_a_set_of_single_images_is_refused(evaluate: Callable[..., Ended], run: Path, tmp_path: Path) -> None:
    make_images(tmp_path / "images", 24, 1)
    fitting = ("data.image_size=16", "data.color=false", "data.min_images_per_class=1")
    ended = evaluate(f"checkpoint={run}", *FOLDER, *fitting, *QUICK)
    assert ended.status == 2
    assert "A query needs another image of its class" in ended.err


MISTAKES = {
    "": "Set checkpoint=PATH to a .ckpt file or to the folder of a run.",
    "checkpoint=": "Set checkpoint=PATH",
    "checkpoint=nothing.ckpt": "There is no checkpoint nothing.ckpt. A run writes checkpoints/last.ckpt",
    "data={root:x}": "Set each option by itself, as in data.OPTION=VALUE.",
    "checkpoint=RUN data={root:x}": "Set each option by itself, as in data.OPTION=VALUE.",
    "checkpoint=RUN data=digitz": "There is no data 'digitz'. Did you mean 'digits'? Available: cars196,",
    "checkpoint=RUN data.image_sise=3": "There is no option 'data.image_sise'. Did you mean 'data.image_size'?",
    "checkpoint=RUN data.image_size=large": "data.image_size must be a whole number, like 16, but is 'large'.",
    "checkpoint=RUN chekpoint=x": "There is no option 'chekpoint'. Did you mean 'checkpoint'?",
    "checkpoint=RUN +foo=1": "There is no option 'foo'.",
    "checkpoint=RUN sampler=hard": "There is no option 'sampler'.",
    "checkpoint=RUN pairs=many": "Value 'many' of type 'str' could not be converted to Integer",
    "checkpoint=RUN pairs=3": "pairs must be an even number of at least 0, but is 3.",
    "checkpoint=RUN episodes=1": "episodes must be 0 (no episodes) or at least 2, but is 1.",
    "checkpoint=RUN k=[0]": "at least 1",
    "checkpoint=RUN k=[5000]": "5000",
    "checkpoint=RUN distance=manhattan": "manhattan",
    "checkpoint=RUN index=approximate": "approximate",
    "checkpoint=RUN map=pca": "map must be tsne or umap, or null for no map, but is 'pca'.",
    "checkpoint=RUN accelerator=tpu": "accelerator=tpu is not available on this machine, which has: ",
    "checkpoint=RUN precision=8": "precision must be auto or one of 32-true, bf16-mixed, 16-mixed, but is '8'.",
    "checkpoint=RUN folder=/dev/null/x": "The evaluation cannot be written to /dev/null/x",
}


def test_a_checkpoint_without_choices_is_explained(evaluate: Callable[..., Ended], run: Path, tmp_path: Path) -> None:
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    content["callbacks"]["StoredChoices"]["choices"] = {}
    torch.save(content, tmp_path / "bare.ckpt")
    ended = evaluate("checkpoint=bare.ckpt")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("Error: bare.ckpt is incomplete: its configuration lacks data")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_explained(mistake: str, evaluate: Callable[..., Ended], run: Path, tmp_path: Path) -> None:
    ended = evaluate(*QUICK, *mistake.replace("RUN", str(run)).split())
    assert ended.status == 2
    assert "Error: " in ended.err and MISTAKES[mistake] in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


def test_a_mistake_is_explained_by_python_m(run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "siamese_lab.evaluate", f"checkpoint={run}", "precision=8"]
    ended = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert ended.returncode == 2
    assert ended.stderr.endswith("Error: precision must be auto or one of 32-true, bf16-mixed, 16-mixed, but is '8'.\n")
    assert "Traceback" not in ended.stderr


def test_help_shows_options_and_examples(evaluate: Callable[..., Ended], run: Path) -> None:
    shown = evaluate("--help").out
    for expected in ("Evaluate a trained network", "checkpoint=RUN", "data=mnist", "episodes=1000"):
        assert expected in shown
    ended = evaluate(f"checkpoint={run}", "--help")
    assert (ended.status, ended.err) == (0, "")
    assert "data.image_size=16" in ended.out


def test_the_ks_are_those_of_the_training_unless_others_are_given(
    evaluate: Callable[..., Ended], tmp_path: Path
) -> None:
    quick_run(tmp_path / "run", "metrics.k=[1,3,1000]", "metrics.floors=false")
    for folder, given, ks in (("own", (), [1, 3]), ("given", ("k=[2,6]",), [2, 6])):
        ended = evaluate("checkpoint=run", *QUICK, *given, f"folder={folder}")
        assert (ended.status, ended.err) == (0, "")
        left = json.loads((tmp_path / folder / "evaluation.json").read_text(encoding="utf-8"))
        names = [name for name in left["protocols"]["retrieval"]["figures"] if name.startswith("recall@")]
        assert [name for name in names if not name.endswith("macro")] == [f"recall@{k}" for k in ks]
        assert ("Recall@1000" in left["left_out"]) == (folder == "own")
