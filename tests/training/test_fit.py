"""`siamese_lab.fit` trains as the command does, bit by bit, on objects that it leaves as they are."""

import ast
import json
import re
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pytest
import torch
from conftest import FEW_STEPS, compose, last_weights
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import siamese_lab as sl
from siamese_lab.errors import NonFiniteLossError, UserError
from siamese_lab.training import fit as fit_module
from siamese_lab.training.run import train

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "07_plain_python.ipynb"
MOST_LINES = 15
STEPS = 4
N, CLASSES = 200, 20
LABELS_N = torch.arange(N) % CLASSES


def drawn() -> Tensor:
    """Draw a row and a column, whose places are the class, in noise."""
    images_NCHW = torch.randint(0, 100, (N, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images_NCHW[torch.arange(N), 0, LABELS_N % 8] += 100
    images_NCHW[torch.arange(N), 0, :, LABELS_N // 8] += 50
    return images_NCHW


IMAGES_NCHW = drawn()


def mlp(**options: Any) -> sl.networks.SiameseNetwork:
    return sl.networks.build("mlp", **{"channels": 1, "image_size": 8, "seed": 0, "width": 16, **options})


def fitted(
    images: Any = (IMAGES_NCHW, LABELS_N), network: Any = None, sampler: Any = None, **options: Any
) -> sl.Fitted:
    """Train for a few steps on a CPU."""
    return sl.fit(
        images,
        mlp() if network is None else network,
        sl.samplers.build("distance_weighted") if sampler is None else sampler,
        options.pop("loss", sl.losses.build("triplet", margin=0.2)),
        **{"steps": STEPS, "accelerator": "cpu", "progress": False, **options},
    )


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: each.clone() for name, each in network.state_dict().items() if isinstance(each, Tensor)}


def are_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def result() -> sl.Fitted:
    """Return one short training for all tests."""
    return fitted()


# --- equal to the command


class Case(NamedTuple):
    options: list[str]
    images: Callable[[], sl.data.DataModule]
    network: Callable[[], sl.networks.SiameseNetwork]
    sampler: Callable[[], sl.samplers.Sampler]
    further: dict[str, Any]


CASES = {
    "glyphs": Case(
        ["data=glyphs", "sampler=distance_weighted", "network.width=4"],
        lambda: sl.data.build("glyphs", classes_per_batch=16),
        lambda: sl.networks.build("conv4", width=4, double_width=True, channels=1, image_size=28, seed=0),
        lambda: sl.samplers.build("distance_weighted"),
        {"lr": 1e-3},
    ),
    "another seed than that of the parts, with label noise, augmentation, dropout and a memory": Case(
        [
            *("data=digits", "seed=3", "data.label_noise=0.1", "sampler=memory", "sampler.size=64"),
            *("network=mlp", "network.width=16", "network.dropout=0.2"),
        ],
        lambda: sl.data.build(
            "digits",
            classes_per_batch=6,
            images_per_class=8,
            label_noise=0.1,
            augment={"rotation": 10, "scale": 0.1, "shear": 5, "translation": 0.05},
        ),
        lambda: mlp(image_size=16, seed=3, dropout=0.2),
        lambda: sl.samplers.build("memory", size=64),
        {"seed": 3},
    ),
    "no step": Case(
        ["data=digits", "network=mlp", "network.width=16", "trainer.max_steps=0", "sampler=hard"],
        lambda: sl.data.build("digits", classes_per_batch=6),
        lambda: mlp(image_size=16),
        lambda: sl.samplers.build("hard"),
        {"steps": 0},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_equals_the_command(case: str, tmp_path: Path) -> None:
    options, images, network, sampler, further = CASES[case]
    every = [*FEW_STEPS, f"trainer.max_steps={STEPS}", "logger=null", "metrics.floors=false", *options]
    run = train(compose(*every), tmp_path, every, Console(quiet=True))
    ours = fitted(images(), network(), sampler(), **further)
    stored = last_weights(tmp_path).items()
    saved = {name.removeprefix("network."): each for name, each in stored if isinstance(each, Tensor)}
    assert are_equal(saved, weights(ours.network))
    assert (ours.validation, ours.test) == (run.validation, run.test)
    assert [point.validation for point in ours.history] == [point.validation for point in run.history]
    assert ours.collapse_reasons == run.collapse_reasons


# --- the example


@pytest.mark.slow
def test_the_example_of_15_lines_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The seventh notebook shows it. Here it makes fewer steps of a narrower network."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    example = next(source for source in cells if "sl.fit(" in source)
    lines = example.splitlines()
    assert len(lines) <= MOST_LINES
    imported = {
        alias.name for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Import) for alias in node.names
    }
    assert imported == {"siamese_lab"}
    assert "from " not in example
    shorter = re.sub(r"steps=\d+", "steps=10", example.replace("width=32", "width=4"))
    assert shorter.count("steps=10") == 1 and "width=4" in shorter
    names: dict[str, Any] = {}
    exec(compile(shorter, "example", "exec"), names)
    ours = names["fitted"]
    figures = re.findall(r"[\d.]+(?=%)", capsys.readouterr().out)
    assert f"{100 * ours.test['recall@1']:.1f}" in figures
    assert ours.history[-1].step == 10


# --- reproducible, without traces


@pytest.mark.slow
def test_equal_arguments_give_equal_weights_and_stay_as_they_are(result: sl.Fitted) -> None:
    network, sampler = mlp(), sl.samplers.build("distance_weighted")
    images = sl.LabeledImages((IMAGES_NCHW, LABELS_N), augment={"rotation": 10})
    before, drawn_before = weights(network), weights(sampler)
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second = fitted(images, network, sampler), fitted(images, network, sampler)
    assert are_equal(weights(first.network), weights(second.network))
    assert first.history == second.history and first.test == second.test
    assert are_equal(before, weights(network)) and are_equal(drawn_before, weights(sampler))
    assert not are_equal(before, weights(first.network))
    assert torch.equal(state, torch.get_rng_state()) and threads == torch.get_num_threads()
    assert "batches" not in vars(images), "the streams of the data set were not used"
    assert not are_equal(weights(first.network), weights(result.network)), "augmented"


@pytest.mark.slow
def test_the_seed_decides_the_batches_and_is_by_default_that_of_the_data(result: sl.Fitted) -> None:
    images = sl.LabeledImages((IMAGES_NCHW, LABELS_N), seed=4)
    built, passed = fitted(images), fitted((IMAGES_NCHW, LABELS_N), seed=4)
    assert are_equal(weights(built.network), weights(passed.network))
    assert not are_equal(weights(built.network), weights(result.network))
    assert images.seed == 4


@pytest.mark.slow
def test_a_network_that_evaluated_before_trains_as_a_new_one(result: sl.Fitted) -> None:
    assert are_equal(
        weights(fitted(network=mlp(dropout=0.5)).network), weights(fitted(network=mlp(dropout=0.5).eval()).network)
    )
    assert not result.network.training


@pytest.mark.slow
def test_it_learns_and_embeds() -> None:
    ours = fitted(TensorDataset(IMAGES_NCHW, LABELS_N), steps=60)
    losses = [point.train["loss"] for point in ours.history if "loss" in point.train]
    assert losses[-1] < losses[0] / 2
    assert ours.history[-1].validation == ours.validation
    test = ours.data.splits.test
    z_ND = ours.embed(test.images_NCHW)
    assert z_ND.shape == (len(test), 128)
    torch.testing.assert_close(z_ND.norm(dim=1), torch.ones(len(test)))
    distances_NN = torch.cdist(z_ND, z_ND).fill_diagonal_(torch.inf)
    found = test.labels_N[distances_NN.argmin(1)] == test.labels_N
    assert float(found.float().mean()) == pytest.approx(ours.test["recall@1"], abs=0.02)
    assert repr(ours) == f"<MLP trained on LabeledImages: test Recall@1 {ours.test['recall@1']:.1%}>"
    with pytest.raises(UserError, match=r"images_NCHW must be square uint8"):
        ours.embed(torch.zeros(2, 8, 8))


@pytest.mark.slow
def test_files_are_written_only_into_a_folder_that_is_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: sl.Fitted
) -> None:
    monkeypatch.chdir(tmp_path)
    fitted()
    assert not list(tmp_path.iterdir())
    ours = fitted(folder="run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["metrics.json", "network.pt"]
    network = mlp(seed=1)
    network.load_state_dict(torch.load("run/network.pt", weights_only=True))
    assert are_equal(weights(network), weights(result.network))
    written = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (written["test"], written["validation"]) == (ours.test, ours.validation)
    assert written["history"] == [asdict(point) for point in ours.history]


class Flat(sl.networks.Backbone):
    """A user's backbone."""

    features = 64

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flatten(1)


@pytest.mark.slow
def test_a_backbone_gets_a_linear_layer() -> None:
    first, second = fitted(network=Flat()), fitted(network=Flat())
    assert first.network.embed.weight.shape == (128, 64)
    assert are_equal(weights(first.network), weights(second.network))


# --- what a user sees


@pytest.mark.slow
def test_progress_is_shown_after_two_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = rf"step {STEPS}/{STEPS}  loss [\d.]+  active \d+%  Recall@1 [\d.]+%"
    assert fit_module.SECONDS_WITHOUT_BAR == 2
    for seconds, progress in ((torch.inf, True), (-1.0, True), (-1.0, False)):
        monkeypatch.setattr(fit_module, "SECONDS_WITHOUT_BAR", seconds)
        fitted(progress=progress)
        captured = capsys.readouterr()
        assert bool(re.search(shown, captured.err)) is (progress and seconds < 0)
        assert not captured.out


class Pressed(sl.losses.Loss):
    """A loss during which the user presses Ctrl-C."""

    def forward(self, selection: Any, z_BD: Tensor, labels_B: Tensor | None = None) -> Any:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_ctrl_c_raises_and_leaves_the_program_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fitted(loss=Pressed())
    assert signal.getsignal(signal.SIGINT) is before


class Infinite(sl.losses.Loss):
    """A loss that overflows."""

    def forward(self, selection: Any, z_BD: Tensor, labels_B: Tensor | None = None) -> Any:
        return sl.losses.LossOutput(z_BD.sum() * torch.inf)


@pytest.mark.slow
def test_an_infinite_loss_stops_the_training() -> None:
    with pytest.raises(NonFiniteLossError, match="loss of step 1"):
        fitted(loss=Infinite())


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"network": "conv4"},
        r"network must be a SiameseNetwork or Backbone, .*networks\.build\(NAME, …\), but is 'conv4'",
    ),
    ({"network": nn.Linear(2, 2)}, r"network must be .* but is a Linear"),
    ({"network": sl.networks.SiameseNetwork}, r"network must be .* but is <class "),
    ({"sampler": "hard"}, r"sampler must be a Sampler, such as siamese_lab\.samplers\.build\(NAME\), but is 'hard'"),
    ({"loss": nn.TripletMarginLoss()}, r"loss must be a Loss, .* but is a TripletMarginLoss"),
    ({"steps": 1.5}, r"steps must be a whole number of at least 0, but is 1\.5"),
    ({"steps": -1}, r"but is -1"),
    ({"steps": True}, r"steps must be a whole number of at least 0, but is True"),
    ({"lr": True}, r"lr must be a finite number above 0, but is True"),
    ({"seed": True}, r"seed must be None or a whole number .* but is True"),
    ({"accelerator": torch.device("cpu")}, r"accelerator must be a text"),
    ({"precision": None}, r"precision must be a text"),
    ({"folder": 5}, r"folder must be None or a path, but is 5"),
    ({"lr": 0}, r"lr must be a finite number above 0, but is 0"),
    ({"lr": "fast"}, r"but is 'fast'"),
    ({"seed": -1}, r"seed must be None or a whole number from 0 to [\d,]+, but is -1"),
    ({"images": IMAGES_NCHW}, r"images must be \(images_NCHW, labels_N\) or .* but is a Tensor"),
    ({"images": None}, r"images must be .* but is a NoneType"),
    ({"test": (IMAGES_NCHW.float(), LABELS_N)}, r"test must be square uint8 images .* torch\.float32 \(200, 1, 8, 8\)"),
    ({"network": mlp(image_size=16)}, r"network does not accept .* \(2, 1, 8, 8\) .* channels=1, image_size=8"),
    ({"sampler": sl.samplers.build("none")}, r"TripletLoss learns from Triplets.*NoSampler selects NoTriplets"),
    (
        {"loss": sl.losses.build("softmax", classes=9, dimensions=128), "sampler": sl.samplers.build("none")},
        r"built for 9 classes, but there are 13 ",
    ),
    (
        {"loss": sl.losses.build("softmax", classes=99, dimensions=64), "sampler": sl.samplers.build("none")},
        r"built for 64 dimensions, but network\.embedding_dim is 128",
    ),
    ({"network": mlp(normalize=False)}, r"needs unit vectors"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_argument_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fitted(**wrong)


def test_a_data_set_has_its_own_parts() -> None:
    images = sl.LabeledImages((IMAGES_NCHW, LABELS_N))
    with pytest.raises(UserError, match=r"validation is for pairs .* but LabeledImages has its own"):
        fitted(images, validation=(IMAGES_NCHW, LABELS_N))


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_found_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    trained: list[Any] = []
    monkeypatch.setattr(fit_module, "train_and_test", lambda *parts: trained.append(parts))
    with pytest.raises(UserError, match="file cannot be written"):
        fitted(folder=tmp_path / "file")
    assert not trained


@pytest.mark.slow
def test_numbers_of_numpy_and_inference_mode_change_nothing(result: sl.Fitted) -> None:
    with torch.inference_mode():
        same = fitted(steps=np.int64(STEPS), lr=np.float64(3e-3), seed=np.int64(0))
    assert are_equal(weights(same.network), weights(result.network))


@pytest.mark.slow
def test_images_of_another_shape_are_not_embedded(result: sl.Fitted) -> None:
    for shape in ((2, 1, 16, 16), (2, 3, 8, 8)):
        with pytest.raises(UserError, match=r"shape \(1, 8, 8\) \(C, H, W\) of the training, but have"):
            result.embed(torch.zeros(shape, dtype=torch.uint8))
