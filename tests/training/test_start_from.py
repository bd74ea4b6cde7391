"""A run starts with the network of another run: all layers that fit, and nothing else of the other run."""

import hashlib
from pathlib import Path

import pytest
import torch
from conftest import QUICK, compose, quick_run
from rich.console import Console
from torch import Tensor

from siamese_lab import networks
from siamese_lab.errors import UserError
from siamese_lab.runs.checkpoints import LAST
from siamese_lab.runs.results import Results
from siamese_lab.training.run import train
from siamese_lab.training.start_from import start_from

pytestmark = pytest.mark.slow

OPTIONS = {"name": "conv4", "width": 8, "double_width": True, "ceil_mode": True}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a classifier, and return the folder of its run."""
    folder = tmp_path_factory.mktemp("classifier")
    quick_run(folder, "loss=softmax", "sampler=none", "network.width=8", "network.batch_norm=true", "seed=5")
    return folder


def network(seed: int = 0, **options: object) -> networks.SiameseNetwork:
    chosen = {**OPTIONS, "batch_norm": True, "channels": 1, "image_size": 16, **options}
    return networks.build(**chosen, seed=seed)  # type: ignore[arg-type]


def tensors(module: networks.SiameseNetwork) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in module.state_dict().items() if isinstance(each, Tensor)}


def stored(source: Path) -> dict[str, Tensor]:
    content = torch.load(source / LAST, weights_only=True)["state_dict"]
    return {name.removeprefix("network."): each for name, each in content.items() if name.startswith("network.")}


@pytest.mark.parametrize("place", ["", LAST])
def test_all_layers_come_from_the_other_run(source: Path, place: str) -> None:
    own = network(seed=1, dropout=0.5)
    random_state = own.dropout.get_extra_state()
    start = start_from(own, source / place, OPTIONS)
    given = stored(source)
    assert all(torch.equal(each, given[name]) for name, each in tensors(own).items())
    assert str(own.dropout.get_extra_state()) == str(random_state), "the seed of this run decides what is dropped"
    assert start.recorded() == {
        "checkpoint": str(source / LAST),
        "step": 6,
        "sha256": hashlib.sha256((source / LAST).read_bytes()).hexdigest(),
        "layers": "all",
    }


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"embedding_dim": 16}, "batch_norm.bias is 128 instead of 16"),
        ({"image_size": 28}, "embed.weight is 128×64 instead of 128×256"),
        ({"batch_norm": False}, "batch_norm.bias is not in this network"),
    ],
)
def test_the_layers_after_the_backbone_start_anew_if_they_do_not_fit(
    source: Path, other: dict[str, object], reason: str
) -> None:
    own = network(seed=1, **other)
    before, given = tensors(own), stored(source)
    start = start_from(own, source, OPTIONS)
    for name, each in tensors(own).items():
        assert torch.equal(each, (given if name.startswith("backbone.") else before)[name])
    assert start.recorded()["layers"] == "backbone"
    assert f"The embedding layer starts anew, because {reason}." in start.described()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"width": 16}, "another backbone. Set network.width=8, as in its training"),
        ({"name": "mlp"}, "Set network=conv4 network.width=8 network.double_width=True network.ceil_mode=True, as"),
        ({"channels": 3}, "is 8×1×3×3 instead of 8×3×3×3.*differ in their number of channels"),
    ],
)
def test_another_backbone_is_refused_and_nothing_is_changed(
    source: Path, other: dict[str, object], message: str
) -> None:
    options = other if "name" in other else OPTIONS | other
    own = networks.build(**{"channels": 1, "image_size": 16, "seed": 0} | options)  # type: ignore[arg-type]
    before = tensors(own)
    with pytest.raises(UserError, match=message):
        start_from(own, source, options)
    assert all(torch.equal(each, before[name]) for name, each in tensors(own).items())


def test_weights_that_are_not_finite_are_refused(source: Path, tmp_path: Path) -> None:
    content = torch.load(source / LAST, weights_only=True)
    content["state_dict"]["network.embed.weight"][0, 0] = torch.nan
    torch.save(content, tmp_path / "broken.ckpt")
    with pytest.raises(UserError, match=r"not finite, such as embed\.weight"):
        start_from(network(), tmp_path / "broken.ckpt", OPTIONS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": torch.zeros(2)}, "not written by a run of siamese_lab"),
        (None, "There is no checkpoint"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: object, message: str) -> None:
    if content is not None:
        torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match=message):
        start_from(network(), tmp_path / "other.ckpt", OPTIONS)


def started(folder: Path, source: Path, *overrides: str) -> Results:
    named = ("sampler=hard", "network.width=8", "network.batch_norm=true", f"start_from={source}")
    return quick_run(folder, *named, *overrides)


def test_a_run_begins_at_the_test_figures_of_the_other_run(source: Path, tmp_path: Path) -> None:
    other = quick_run(tmp_path / "other", "loss=softmax", "sampler=none", "network.width=8", "network.batch_norm=true")
    run = started(tmp_path / "run", tmp_path / "other")
    assert run.floors["untrained"] == pytest.approx(other.test, abs=1e-6)
    assert run.test != pytest.approx(other.test, abs=1e-6), "training has changed the weights"
    assert run.started_from is not None and run.started_from["layers"] == "all"
    assert run.choices["start_from"] == str(tmp_path / "other")


def test_a_resumed_run_ends_as_one_without_interruption(source: Path, tmp_path: Path) -> None:
    whole = started(tmp_path / "whole", source)
    half = started(tmp_path / "half", source, "trainer.max_steps=3", "schedule.steps=6")
    options = [*QUICK, "sampler=hard", "network.width=8", "network.batch_norm=true", f"start_from={source}"]
    checkpoint = f"resume={tmp_path / 'half' / LAST}"
    (tmp_path / "rest").mkdir()
    rest = train(compose(*options, checkpoint), tmp_path / "rest", options, Console(quiet=True))
    assert rest.test == whole.test
    assert rest.floors == half.floors == whole.floors
    assert rest.started_from == whole.started_from
