"""`python -m siamese_lab.export` writes a network that equals the original, and a model card that describes it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Ended, quick_run
from torch import Tensor, nn
from torch.torch_version import TorchVersion

import siamese_lab as sl
from siamese_lab import export
from siamese_lab.data.sets.lfw import Lfw
from siamese_lab.errors import UserError
from siamese_lab.errors.controls import escape_controls
from siamese_lab.inference import export as exporting
from siamese_lab.inference.export import check_able, greatest_difference, load_onnx, load_torch
from siamese_lab.inference.model_card import limitations_section, model_card
from siamese_lab.inference.threshold import Threshold, stored_threshold

Call = Callable[..., Ended]
READERS = {"onnx": load_onnx, "torch": load_torch}
SUFFIXES = {"onnx": "onnx", "torch": "pt2"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_the_exported_network_gives_the_same_embeddings_for_any_batch_size(
    kind: str, call: Call, own_run: Path
) -> None:
    ended = call(export, f"checkpoint={own_run}", f"format={kind}")
    assert ended.status == 0, ended.err
    place = own_run / f"exported/digits_semi_hard_conv4.{SUFFIXES[kind]}"
    assert {path.name for path in place.parent.iterdir()} == {place.name, f"{place.name}.md"}
    network = sl.load(own_run)
    embed = READERS[kind](place)
    test = network.datamodule.splits.test.images_NCHW.float() / 255
    for count in (1, 3, 100):
        assert torch.allclose(embed(test[:count]), network.embed(test[:count]), atol=1e-5)


@pytest.mark.slow
def test_an_onnx_file_describes_its_network(call: Call, own_run: Path, tmp_path: Path) -> None:
    import onnx

    threshold = sl.load(own_run).threshold
    call(export, f"checkpoint={own_run}", "out=net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model)
    (entry,) = [each for each in model.metadata_props if each.key == "siamese_lab"]
    about = json.loads(entry.value)
    assert (about["data"], about["images"]["height"]) == ("digits", 16)
    assert about["threshold"]["threshold"] == threshold.threshold
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("images", "embeddings")
    assert shape[0].dim_param
    assert [each.dim_value for each in shape[1:]] == [1, 16, 16]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["resnet10", "conv4, not normalised", "conv4 with views"])
def test_every_kind_of_network_can_be_exported(network: str, call: Call, tmp_path: Path) -> None:
    if "normalised" in network:
        overrides = ["network=conv4", "network.normalize=false", "loss=n_pair", "loss.l2_penalty=0.02"]
    elif "views" in network:
        overrides = ["network=conv4", "network.tta=[mirrored,larger,smaller]"]
    else:
        overrides = [f"network={network}", "data.image_size=32"]
    quick_run(tmp_path / "run", *overrides, "trainer.max_steps=1", "trainer.log_every_n_steps=1")
    assert call(export, "checkpoint=run", "out=net.onnx").status == 0
    original = sl.load(tmp_path / "run")
    images_NCHW = torch.rand(3, 1, *[original.datamodule.image_size] * 2)
    z_ND = load_onnx(tmp_path / "net.onnx")(images_NCHW)
    assert torch.allclose(z_ND, original.embed(images_NCHW), atol=1e-4)
    assert torch.allclose(z_ND.norm(dim=1), torch.ones(3), atol=1e-5)


class Shifted(nn.Module):
    """A network with wrong embeddings, as from a faulty export."""

    def __init__(self, inner: nn.Module, by: float) -> None:
        super().__init__()
        self.inner, self.by = inner, by

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images) + self.by


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "by"), [("onnx", 2e-4), ("torch", float("nan"))])
def test_an_export_with_other_embeddings_is_not_kept(
    kind: str, by: float, call: Call, own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = READERS[kind]
    monkeypatch.setattr(exporting, f"load_{kind}", lambda place: lambda images: reader(place)(images) + by)
    ended = call(export, f"checkpoint={own_run}", f"format={kind}")
    assert ended.status == 2
    assert "The embeddings of the exported network differ from the original's by up to" in ended.err
    assert not list((own_run / "exported").iterdir())


def test_the_greatest_difference_counts_nan_as_infinite() -> None:
    original = nn.Flatten()
    assert greatest_difference(original, original, (1, 4, 4)) == 0
    assert greatest_difference(original, Shifted(original, 0.25), (1, 4, 4)) == pytest.approx(0.25, abs=1e-6)
    assert greatest_difference(original, Shifted(original, torch.nan), (1, 4, 4)) == torch.inf


@pytest.mark.slow
def test_nothing_is_overwritten_unless_requested(call: Call, own_run: Path, tmp_path: Path) -> None:
    (tmp_path / "net.pt2.md").write_text("precious")
    arguments = (f"checkpoint={own_run}", "format=torch", "out=net.pt2")
    ended = call(export, *arguments)
    assert ended.status == 2
    assert "The file net.pt2.md exists already." in ended.err
    assert not (tmp_path / "net.pt2").exists()
    assert call(export, *arguments, "force=true").status == 0
    assert "# conv4 trained on Digits with semi_hard" in (tmp_path / "net.pt2.md").read_text()


@pytest.mark.slow
def test_mistakes_are_explained(call: Call, own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = f"checkpoint={own_run}"
    wrong = {
        (): "The option checkpoint=… is required",
        (run, "format=onxx"): "format must be one of onnx, torch, but is 'onxx'. Did you mean 'onnx'?",
        (run, "out=net.pt2"): "With format=onnx, out must end in .onnx, but is net.pt2.",
        ("checkpoint=none",): "There is no checkpoint none.",
    }
    for arguments, message in wrong.items():
        ended = call(export, *arguments)
        assert ended.status == 2
        assert f"Error: {message}" in ended.err
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    ended = call(export, run)
    for fact in ("format=onnx needs onnxruntime", "pip install 'siamese_lab[onnx]'", "format=torch"):
        assert fact in ended.err


def card(run: Path) -> str:
    network = sl.load(run)
    return model_card(network, "net.onnx", 1e-7, stored_threshold(network.trained))


@pytest.mark.parametrize(("version", "accepted"), [("2.6.0+cu124", False), ("2.7.0", True), ("2.14.1", True)])
def test_onnx_needs_a_pytorch_that_can_write_it(version: str, accepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    if accepted:
        check_able("onnx")
    else:
        with pytest.raises(UserError, match=r"PyTorch 2\.7 or later, but 2\.6\.0.*format=torch"):
            check_able("onnx")


def test_the_card_shows_the_results_of_the_run_without_intervals(own_run: Path) -> None:
    text = card(own_run)
    recall = json.loads((own_run / "results.json").read_text())["test"]["recall@1"]
    for line in (
        "| strategy | **semi_hard**, num_negatives=1, margin=0.2,",
        "| steps | 6 |",
        "There are no intervals, because the run folder has no evaluation of these weights",
        f"| Recall@1 | {recall:.4f} |",
        "No threshold has been chosen for these weights",
        "float32 in 0…1, N × 1 × 16 × 16 (grayscale), any N",
        "float32, N × 16. Each embedding has unit norm",
    ):
        assert line in text
    assert "identify" not in text


def test_the_card_shows_the_newest_evaluation_with_its_intervals_and_the_threshold(own_run: Path) -> None:
    threshold = sl.load(own_run).threshold
    for folder, value in (("old", 0.1), ("new", 0.5), ("of_other_weights", 0.9)):
        place = own_run / "evaluations" / folder / "evaluation.json"
        place.parent.mkdir(parents=True)
        figure = {"value": value, "low": value - 0.05, "high": value + 0.05}
        retrieval = {"how": "Each queries all others.", "intervals_over": "classes", "figures": {"recall@1": figure}}
        name = "best.ckpt" if folder == "of_other_weights" else "last.ckpt"
        content = {
            "schema_version": 1,
            "network": {"checkpoint": f"elsewhere/{name}", "step": 6},
            "data": {"name": "digits", "images": 714, "classes": 4, "classes_trained_on": 0},
            "protocols": {"retrieval": retrieval},
        }
        place.write_text(json.dumps(content))
    text = card(own_run)
    assert "| Recall@1 | 0.5000 [0.4500, 0.5500] |" in text
    assert "714 test images of 4 classes of `digits`" in text
    assert "The intervals are over classes." in text
    assert "no intervals" not in text
    assert f"up to a distance of **{threshold.threshold:.4f}**" in text
    assert f"accepts {threshold.far:.1%} of {threshold.negatives:,} pairs of two classes (FAR)" in text


def test_the_card_escapes_texts_of_the_files_that_it_reads(own_run: Path) -> None:
    harm = "\x1b[31m\x07\u202e`</code>\n\n# x\x9b"
    place = own_run / "evaluations/new/evaluation.json"
    place.parent.mkdir(parents=True)
    content = {
        "schema_version": 1,
        "network": {"checkpoint": "last.ckpt", "step": 6},
        "data": {"name": harm, "images": 1, "classes": 1, "classes_trained_on": 0},
        "protocols": {"retrieval": {"how": harm, "intervals_over": harm, "figures": {"recall@1": {"value": 0.5}}}},
    }
    place.write_text(json.dumps(content))
    network = sl.load(own_run)
    threshold = Threshold(1.0, 0.5, 0.5, 0.5, harm, 2, harm, 1, 1, 6, "x")
    text = model_card(network, f"{harm}.onnx", 1e-7, threshold)
    assert escape_controls(text) == text
    assert r"`\x1b[31m\x07\u202e'</code> # x\x9b`" in text
    assert "\n# x" not in text


@pytest.mark.slow
def test_the_card_reads_the_files_of_evaluate(own_run: Path, evaluate: Callable[..., Ended]) -> None:
    ended = evaluate(f"checkpoint='{own_run}'", "map=null", "episodes=0", "pairs=100")
    assert ended.status == 0, ended.err
    (left,) = own_run.glob("evaluations/*/evaluation.json")
    figure = json.loads(left.read_text())["protocols"]["retrieval"]["figures"]["recall@1"]
    assert set(figure) == {"value"}, "four classes are too few for an interval"
    assert f"| Recall@1 | {figure['value']:.4f} |" in card(own_run)


def test_the_card_of_a_face_network_names_forbidden_uses(digits_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = sl.load(digits_run)
    monkeypatch.setattr(type(network.datamodule), "limitations", Lfw.limitations)
    text = "\n".join(limitations_section(network))
    assert "**It must not be used** to identify or to authenticate people" in text


@pytest.mark.slow
def test_a_torch_program_describes_its_network(call: Call, own_run: Path, tmp_path: Path) -> None:
    call(export, f"checkpoint={own_run}", "format=torch", "out=net.pt2")
    files = {"about.json": ""}
    torch.export.load(tmp_path / "net.pt2", extra_files=files)
    assert json.loads(files["about.json"])["data"] == "digits"


def test_the_card_repeats_the_limitations_that_a_data_set_declares(
    digits_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = sl.load(digits_run)
    before = list(limitations_section(network))
    monkeypatch.setattr(type(network.datamodule), "limitations", ("Not for cheques.",))
    assert list(limitations_section(network)) == [*before, "Not for cheques."]
