"""The floors of a run are the figures of raw pixels and of the untrained network on the test images."""

import io
import json
import math
from pathlib import Path

import pytest
import timm
import torch
from conftest import QUICK, compose, quick_run
from rich.console import Console

from siamese_lab import data
from siamese_lab.metrics import raw_pixels
from siamese_lab.metrics.raw_pixels import PixelRetrieval, is_cheap
from siamese_lab.metrics.retrieval import retrieve
from siamese_lab.runs import display
from siamese_lab.runs.results import read_results
from siamese_lab.training.build import build_module
from siamese_lab.training.callbacks import floors
from siamese_lab.training.run import train

FLOAT32 = "trainer.precision=32-true"
OWN_FLOORS = ("network.width=8", "network.batch_norm=true", "network.dropout=0.2", "ema=0.9")


def brute_force_recall(vectors_ND: torch.Tensor, labels_N: torch.Tensor) -> float:
    """Return Recall@1 by cosine in plain loops and float64; ties count against the model."""
    vectors_ND = vectors_ND.double()
    found = 0
    for query, vector_D in enumerate(vectors_ND):
        best, best_other = -math.inf, -math.inf
        for other, candidate_D in enumerate(vectors_ND):
            similarity = float(vector_D @ candidate_D / (vector_D.norm() * candidate_D.norm()))
            if other != query and labels_N[other] == labels_N[query]:
                best = max(best, similarity)
            elif other != query:
                best_other = max(best_other, similarity)
        found += best > best_other
    return found / len(vectors_ND)


@pytest.mark.parametrize("common", [0.0, 6.0])
def test_recall_of_pixels_equals_brute_force(common: float) -> None:
    """Pixels that are bright in every image hide the classes from the cosine, unless the mean image is subtracted."""
    generator = torch.Generator().manual_seed(15)
    labels_N = torch.arange(5).repeat_interleave(6)
    pixels_ND = (torch.rand(5, 8, generator=generator) > 0.7)[labels_N] + torch.rand(30, 8, generator=generator)
    pixels_ND = torch.cat([pixels_ND, torch.full((30, 4), common)], 1)
    plain = brute_force_recall(pixels_ND, labels_N)
    centered = brute_force_recall(pixels_ND - pixels_ND.mean(0), labels_N)
    metric = PixelRetrieval(k=(1,))
    for part_M in torch.arange(30).split(7):
        metric.update(pixels_ND[part_M], labels_N[part_M], part_M)
    assert plain > centered if common == 0 else centered > plain
    assert float(metric.compute()["recall@1"]) == pytest.approx(max(plain, centered))


def pixels_of_thirty_images(cache: Path | None, **options: object) -> PixelRetrieval:
    generator = torch.Generator().manual_seed(3)
    metric = PixelRetrieval(cache, k=(1,), **options)
    metric.update(torch.rand(30, 5, generator=generator), torch.arange(5).repeat(6), torch.arange(30))
    return metric


def test_figures_of_pixels_are_computed_once_for_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_pixels, "STORED_PRODUCTS", 30**2 * 5)
    computed = {name: float(value) for name, value in pixels_of_thirty_images(None).compute().items()}
    assert pixels_of_thirty_images(tmp_path).compute() == computed
    (place,) = (tmp_path / "raw_pixels").iterdir()

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(PixelRetrieval, "figures", fail)
        assert pixels_of_thirty_images(tmp_path).compute() == computed
        for change in ({"distance": "euclidean"}, {"extra": ("class_recall",)}):
            with pytest.raises(AssertionError, match="computed again"):
                pixels_of_thirty_images(tmp_path, **change).compute()
    for damage in ("", "[]", "{}", '{"recall@1": "1"}', "[" * 10**5, "null"):
        place.write_text(damage, encoding="utf-8")
        assert pixels_of_thirty_images(tmp_path).compute() == computed, damage
        assert json.loads(place.read_text(encoding="utf-8")) == computed


def test_small_sets_leave_no_file_and_other_images_get_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels_of_thirty_images(tmp_path).compute()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(raw_pixels, "STORED_PRODUCTS", 1)
    for labels_N in (torch.arange(2).repeat(3), torch.arange(3).repeat(2)):
        metric = PixelRetrieval(tmp_path, k=(1,))
        metric.update(torch.eye(6), labels_N, torch.arange(6))
        metric.compute()
    assert len(list((tmp_path / "raw_pixels").iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_only_the_storing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_pixels, "STORED_PRODUCTS", 1)
    (tmp_path / "file").write_text("", encoding="utf-8")
    computed = {name: float(value) for name, value in pixels_of_thirty_images(None).compute().items()}
    assert pixels_of_thirty_images(tmp_path / "file").compute() == computed


@pytest.mark.slow
def test_both_floors_agree_with_a_computation_by_hand(tmp_path: Path) -> None:
    left = quick_run(tmp_path, FLOAT32, *OWN_FLOORS)
    assert list(left.floors) == ["pixels", "untrained"]
    assert left.floors["pixels"].keys() == left.floors["untrained"].keys() == left.test.keys()
    config = compose(*OWN_FLOORS)
    images = data.build(**config.data)
    network = build_module(config, images).network.eval()
    pixels_NCHW, labels_N = images.splits.test.images_NCHW.float() / 255, images.splits.test.labels_N
    with torch.no_grad():
        untrained = retrieve(network(pixels_NCHW), labels_N).figures()
    over_images = {
        floor: {name: value for name, value in figures.items() if not name.endswith("_macro")}
        for floor, figures in left.floors.items()
    }
    assert over_images["untrained"] == pytest.approx({name: float(each) for name, each in untrained.items()}, abs=3e-3)
    pixels_ND = pixels_NCHW.flatten(1)
    by_hand = [retrieve(x_ND, labels_N).figures() for x_ND in (pixels_ND, pixels_ND - pixels_ND.mean(0))]
    better = max(by_hand, key=lambda figures: figures["recall@1"])
    assert over_images["pixels"] == pytest.approx({name: float(each) for name, each in better.items()}, abs=1e-6)
    assert left.floors["untrained"] != pytest.approx(left.test, abs=1e-3)


@pytest.mark.slow
def test_the_results_are_the_same_without_floors(tmp_path: Path) -> None:
    options = "sampler=distance_weighted", "metrics.extra=[class_recall]", *OWN_FLOORS
    measured, left_out = (
        quick_run(tmp_path / floors, *options, f"metrics.floors={floors}") for floors in ("true", "false")
    )
    assert left_out.floors == {}
    assert (measured.test, measured.validation, measured.history) == (
        left_out.test,
        left_out.validation,
        left_out.history,
    )
    weights = [torch.load(tmp_path / each / "checkpoints/last.ckpt", weights_only=True) for each in ("true", "false")]
    one, other = (
        {name: each for name, each in state["state_dict"].items() if isinstance(each, torch.Tensor)}
        for state in weights
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert "class_recall@1" in measured.floors["pixels"]


@pytest.fixture
def pretrained(tmp_path: Path) -> list[str]:
    """Return options of a network that starts from the weights in a file."""
    torch.manual_seed(7)
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.pth")
    weights = f"network.weights='{tmp_path / 'weights.pth'}'"
    return ["network=timm", "network.model_name=test_resnet", "network.freeze=true", weights]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["own", "pretrained"])
def test_a_resumed_run_has_the_floors_of_the_whole_run(tmp_path: Path, kind: str, pretrained: list[str]) -> None:
    chosen = OWN_FLOORS if kind == "own" else pretrained
    options = [*QUICK, *chosen]
    whole = quick_run(tmp_path / "whole", *chosen)
    half = quick_run(tmp_path / "half", *chosen, "trainer.max_steps=3", "schedule.steps=6")
    checkpoint = f"resume={tmp_path / 'half/checkpoints/last.ckpt'}"
    (tmp_path / "rest").mkdir()
    rest = train(compose(*options, checkpoint), tmp_path / "rest", options, Console(quiet=True))
    assert rest.floors == half.floors == whole.floors
    assert rest.test == whole.test


@pytest.mark.slow
def test_runs_without_a_test_have_no_floors(tmp_path: Path) -> None:
    left = train(compose(*QUICK), tmp_path, QUICK, Console(quiet=True), with_test=False)
    assert left.floors == {} and left.validation


@pytest.mark.slow
def test_results_without_floors_are_read(tmp_path: Path) -> None:
    quick_run(tmp_path, "trainer.max_steps=2", "trainer.val_check_interval=2")
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert content["floors"]["untrained"].keys() == content["test"].keys()
    del content["floors"]
    (tmp_path / "results.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_results(tmp_path).floors == {}
    assert read_results(tmp_path).test == content["test"]


@pytest.mark.slow
def test_large_sets_skip_pixels_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_cheap(13_180, 36 * 36) and is_cheap(3708, 3 * 96 * 96)  # Omniglot, LFW
    assert not is_cheap(10**6, 28 * 28)
    assert not is_cheap(1000, 3 * 224 * 224)
    images = data.build(**compose().data)
    size = len(images.splits.test) * images.image_size**2
    for limit, pixels in ((size, True), (size - 1, False)):
        monkeypatch.setattr("siamese_lab.metrics.raw_pixels.MAX_VALUES", limit)
        left = quick_run(tmp_path / str(limit), "trainer.max_steps=1", "network.width=8")
        assert ("pixels" in left.floors, "untrained" in left.floors) == (pixels, True)
        shown = printed(left)
        assert ("Raw pixels were not compared" in shown) == (not pixels)


def printed(left) -> str:
    shown = io.StringIO()
    display.print_outcome(Console(width=80, file=shown), left, Path("run"))
    return shown.getvalue()


@pytest.mark.slow
def test_the_closing_table_has_a_row_for_each_floor_within_80_columns(tmp_path: Path) -> None:
    left = quick_run(tmp_path, "metrics.extra=[class_recall]")
    shown = printed(left)
    assert max(map(len, shown.split("Trained for")[0].splitlines())) <= 80
    assert "…" not in shown
    rows = [line.split() for line in shown.splitlines()]
    for label, figures in (
        ("raw pixels", left.floors["pixels"]),
        ("untrained", left.floors["untrained"]),
        ("trained", left.test),
        ("validation", left.validation),
    ):
        retrieval, extra = (row for row in rows if row[: len(label.split())] == label.split())
        assert [*retrieval, *extra[len(label.split()) :]] == [
            *label.split(),
            *(f"{value:.2%}" for name, value in figures.items() if not name.endswith("_macro")),
        ]


@pytest.fixture
def stored_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, ...]:
    """Store the figures of untrained networks also for the digits, in a cache of the test."""
    monkeypatch.setattr(floors, "LEAST_STORED", 2)
    short = ("network.width=8", "logger=null", "trainer.max_steps=2")
    return FLOAT32, *short, f"paths.cache={tmp_path / 'cache'}"


def embedded_by_untrained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of images of every batch whose embeddings by the untrained network count."""
    counted: list[int] = []
    add = floors.Floors._add

    def counting_add(self: floors.Floors, floor: str, loader: int, vectors_BD: torch.Tensor, batch: object) -> None:
        if floor == floors.UNTRAINED:
            counted.append(len(vectors_BD))
        add(self, floor, loader, vectors_BD, batch)

    monkeypatch.setattr(floors.Floors, "_add", counting_add)
    return counted


@pytest.mark.slow
def test_runs_from_the_same_weights_share_the_figures_of_the_untrained_network(
    stored_digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embedded = embedded_by_untrained(monkeypatch)
    first = quick_run(tmp_path / "first", *stored_digits, "sampler=random")
    assert sum(embedded) == 714
    second = quick_run(tmp_path / "second", *stored_digits, "sampler=hard")
    assert second.floors == first.floors
    assert sum(embedded) == 714 + 512, "only the first batch, which finds the file"
    assert second.test != first.test

    for other in ("seed=1", "network.width=16", "network.tta=[mirrored]", "data.image_size=20"):
        embedded.clear()
        quick_run(tmp_path / other, *stored_digits, other)
        assert sum(embedded) == 714, other


@pytest.mark.slow
def test_a_test_of_a_part_of_the_images_stores_nothing(
    stored_digits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embedded = embedded_by_untrained(monkeypatch)
    quick_run(tmp_path / "part", *stored_digits, "trainer.limit_test_batches=1")
    quick_run(tmp_path / "whole", *stored_digits)
    assert embedded == [512, 512, 202]


@pytest.mark.slow
def test_damaged_figures_of_the_untrained_network_are_measured_again(stored_digits, tmp_path: Path) -> None:
    first = quick_run(tmp_path / "first", *stored_digits)
    (place,) = (tmp_path / "cache/untrained").iterdir()
    whole = place.read_text()
    place.write_text("{")
    assert quick_run(tmp_path / "second", *stored_digits).floors == first.floors
    assert place.read_text() == whole


def test_the_floors_have_the_ks_of_the_run() -> None:
    config = compose("metrics.k=[1,3,500]")
    images = data.build(**config.data)
    module = build_module(config, images)
    of_floors = floors.build_metrics(module, images, Path("cache"))
    assert {metric.k for metric in of_floors.values()} == {(1, 3, 500)}
    assert module.validation_retrieval.k == module.test_retrieval.k == (1, 3, 500)


@pytest.mark.slow
def test_stored_figures_of_other_ks_are_not_taken(stored_digits, tmp_path: Path) -> None:
    first = quick_run(tmp_path / "first", *stored_digits)
    second = quick_run(tmp_path / "second", *stored_digits, "metrics.k=[1,3,1000]")
    assert list(second.floors["untrained"])[:4] == ["recall@1", "recall@3", "recall@1000", "r_precision"]
    assert second.floors["untrained"]["recall@1000"] is None is second.test["recall@1000"]
    assert second.floors["untrained"].keys() == second.test.keys() == second.validation.keys()
    assert second.floors["untrained"]["recall@1"] == first.floors["untrained"]["recall@1"]
    assert len(list((tmp_path / "cache/untrained").iterdir())) == 2
    assert "Recall@3" in printed(second)
