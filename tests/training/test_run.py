"""A run writes its results and learns."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import PIL
import pytest
import torch
from conftest import QUICK, compose, last_weights, quick_run
from rich.console import Console
from shipped import RETRIEVAL_FIGURES, SAMPLERS, choosing

from siamese_lab import samplers
from siamese_lab.data import build
from siamese_lab.metrics.retrieval import retrieve
from siamese_lab.runs import results
from siamese_lab.training.build import build_module
from siamese_lab.training.run import train

pytestmark = pytest.mark.slow

STUDIED = ("random", "hard", "semi_hard", "distance_weighted")
LOGGED = {
    "train/loss",
    "train/active_share",
    "train/fallback_share",
    "train/violating_share",
    "train/d_ap_mean",
    "train/d_an_mean",
    "train/learning_rate",
    "train/mining_ms",
    "validation/recall@1",
    "validation/recall@8",
    "validation/map@r",
    "test/recall@1",
}


def without_times(folder: Path) -> dict[str, object]:
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert set(content.pop("seconds")) == {"total", "processor", "training", "per_step", "mining", "mining_per_step"}
    assert len(content.pop("seconds_of_history")) == len(content["history"])
    return content


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Use two threads, like a user: the order of some sums is not fixed when threads share them."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("strategy", samplers.available())
def test_same_seed_gives_the_same_results_except_for_times(strategy: str, tmp_path: Path, two_threads: None) -> None:
    short = "trainer.max_steps=4", "trainer.val_check_interval=4", "network.width=16"
    floors = f"metrics.floors={strategy == 'semi_hard'}"  # do not depend on the strategy
    for name in ("one", "two"):
        quick_run(tmp_path / name, *choosing(strategy), *short, floors)
    assert without_times(tmp_path / "one") == without_times(tmp_path / "two")
    one, two = last_weights(tmp_path / "one"), last_weights(tmp_path / "two")
    assert one
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_results_hold_choices_machine_and_figures(tmp_path: Path) -> None:
    quick_run(tmp_path, "sampler=hard", "seed=3", "loss.margin=0.3")
    left = results.read_results(tmp_path)
    assert (left.status, left.data, left.sampler, left.loss, left.network) == (
        "finished",
        "digits",
        "hard",
        "triplet",
        "conv4",
    )
    assert (left.seed, left.steps, left.schema_version) == (3, 6, results.SCHEMA_VERSION)
    assert left.choices["loss"]["margin"] == 0.3
    assert left.versions["torch"] == torch.__version__.split("+")[0]
    assert left.versions["pillow"] == PIL.__version__, "images of different versions may differ"
    assert left.hardware["precision"] in ("bf16-mixed", "32-true")
    assert left.hardware["cores"] >= 1
    assert 0 < left.seconds["mining"] < left.seconds["training"] < left.seconds["total"]
    assert left.seconds["per_step"] == pytest.approx(left.seconds["training"] / 6)
    for metrics in (left.validation, left.test):
        assert list(metrics) == RETRIEVAL_FIGURES
        recall = list(metrics.values())[:4]
        assert recall == sorted(recall)
        assert 0 < metrics["map@r"] < metrics["r_precision"] < metrics["recall@1"] < metrics["mrr"] < 1


@pytest.mark.parametrize("report_checkpoint", ["last", "best"])
def test_the_reported_figures_belong_to_the_chosen_checkpoint(report_checkpoint: str, tmp_path: Path) -> None:
    more = "trainer.precision=32-true", "trainer.val_check_interval=2", "metrics.floors=false"
    left = quick_run(tmp_path, *more, f"report_checkpoint={report_checkpoint}")
    config = compose()
    images = build(**config.data)
    module = build_module(config, images)
    stored = torch.load(tmp_path / f"checkpoints/{report_checkpoint}.ckpt", weights_only=True)
    assert left.tested_step == stored["global_step"]
    module.load_state_dict(stored["state_dict"])
    module.eval()
    test = images.splits.test
    with torch.no_grad():
        found = retrieve(module.network(test.images_NCHW.float() / 255), test.labels_N)
    for name, figure in found.figures().items():
        assert left.test[name] == pytest.approx(float(figure), abs=2 / len(test))


def logged_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "csv/metrics.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_logger_gets_every_scalar(tmp_path: Path) -> None:
    quick_run(tmp_path)
    written = {name for row in logged_rows(tmp_path) for name, value in row.items() if value}
    assert written >= LOGGED


def test_tensorboard_gets_the_curves(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    quick_run(tmp_path, "logger=tensorboard")
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) >= LOGGED
    assert [event.step for event in events.Scalars("train/loss")] == [1, 3, 5]


@pytest.mark.parametrize("strategy", SAMPLERS)
def test_every_strategy_learns_digits(strategy: str, tmp_path: Path) -> None:
    steps = 150 if strategy == "batch_hard" else 100  # the hardest triplets of a batch teach more slowly
    few = f"trainer.max_steps={steps}", f"trainer.val_check_interval={steps}", "network.width=16"
    left = quick_run(tmp_path, *choosing(strategy), *few, "metrics.floors=false")
    losses = [float(row["train/loss"]) for row in logged_rows(tmp_path) if row["train/loss"]]
    assert sum(losses[-5:]) < 0.2 * sum(losses[:5])
    assert left.validation["recall@1"] > 0.97
    assert left.test["recall@1"] > 0.75


SMALL_OMNIGLOT = (
    "data=omniglot",
    "data.image_size=28",
    "data.classes_per_batch=32",
    "network.width=16",
    "network.tta=[]",
    "metrics.floors=false",
)


@pytest.fixture(scope="session")
def untrained_recall(tmp_path_factory: pytest.TempPathFactory, omniglot_root: Path, real_cache: Path) -> float:
    real = (*SMALL_OMNIGLOT, f"paths.data={omniglot_root}", f"paths.cache={real_cache}")
    left = quick_run(tmp_path_factory.mktemp("untrained"), *real, "trainer.max_steps=1", "optimizer.lr=0")
    return left.test["recall@1"]


@pytest.mark.parametrize("strategy", STUDIED)
def test_the_studied_strategies_learn_characters_they_have_never_seen(
    strategy: str, tmp_path: Path, omniglot_root: Path, real_cache: Path, untrained_recall: float
) -> None:
    real = (*SMALL_OMNIGLOT, f"paths.data={omniglot_root}", f"paths.cache={real_cache}")
    steps = "trainer.max_steps=50", "trainer.val_check_interval=50"
    trained = quick_run(tmp_path / "trained", *real, f"sampler={strategy}", *steps)
    assert trained.test["recall@1"] > untrained_recall + 0.1


def test_other_schemas_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema_version": 99}', encoding="utf-8")
    with pytest.raises(ValueError, match="has schema version 99, but this version of siamese_lab reads 2"):
        results.read_results(tmp_path)


@pytest.mark.parametrize(
    ("override", "line"),
    [("recipe=digits", "recipe    digits  configs/recipe/digits.yaml"), ("recipe=none", "recipe    none")],
)
def test_the_printed_configuration_names_the_recipe(override: str, line: str, tmp_path: Path) -> None:
    shown = io.StringIO()
    overrides = (*QUICK, override, "trainer.max_steps=2", "trainer.val_check_interval=2")
    train(compose(*overrides), tmp_path, overrides, Console(file=shown, width=120))
    assert line in shown.getvalue()
