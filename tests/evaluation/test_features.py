"""Frozen features: a set embedded once keeps parts, classes and roles, and is named as another protocol everywhere."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import FEW_STEPS, Ended, compose, last_weights
from PIL import Image
from rich.console import Console
from untrained import checkpoint

import siamese_lab
from siamese_lab import data
from siamese_lab import export as export_command
from siamese_lab import search as search_command
from siamese_lab.config import schema
from siamese_lab.data import ImageTable
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.io.features_file import AboutFeatures, StoredFeatures, read_features, write_features
from siamese_lab.data.official_protocols import RowPairs
from siamese_lab.data.sets.features import Features
from siamese_lab.data.tables.feature_table import FeatureTable
from siamese_lab.errors import UserError
from siamese_lab.evaluation import features, load
from siamese_lab.query_gallery import QueryGallery
from siamese_lab.runs.results import read_results
from siamese_lab.study.analysis import analyze
from siamese_lab.study.answer import raw_floor
from siamese_lab.study.data_set import data_set
from siamese_lab.study.runs import read_study
from siamese_lab.training.build import build_module
from siamese_lab.training.run import train

SMALL = ("network=conv4", "network.width=4", "data=digits")
HEAD = ("data=features", "network.embedding_dim=8", "data.classes_per_batch=6", *FEW_STEPS)


def features_of(place: Path, cache: Path, *overrides: str) -> Features:
    """Return the features of a run or checkpoint, which are computed here if they are not kept."""
    config = compose(f"data.from={place}", f"paths.cache={cache}", *HEAD, *overrides)
    features.prepare_features(config)
    built = data.build(**schema.to_plain(config)["data"], seed=0)
    assert isinstance(built, Features)
    return built


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a checkpoint of an untrained network on the digits."""
    return checkpoint(tmp_path, *SMALL)


def about(**changes: Any) -> AboutFeatures:
    return replace(
        AboutFeatures(3, "ab" * 32, "conv4", "8×8 pixels in grayscale", {"name": "digits"}, "Digits", None, {}),
        **changes,
    )


def table(rows: list[int], labels: list[int], stored_SF: torch.Tensor) -> FeatureTable:
    return FeatureTable(stored_SF, torch.tensor(labels), ("a", "b"), torch.tensor(rows))


def stored(**changes: Any) -> StoredFeatures:
    """Return features of six images, with official pairs, a gallery and roles."""
    stored_SF = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    first, second = torch.tensor([0, 1]), torch.tensor([1, 0])
    tables = {
        "train": table([0, 1, 2, 3], [0, 1, 0, 1], stored_SF),
        "validation": table([3, 2, 1, 0], [1, 0, 1, 0], stored_SF),
        "test": table([4, 5, 0, 1], [0, 1, 0, 1], stored_SF),
        "pairs": table([5, 4], [1, 0], stored_SF),
        "gallery": table([2], [1], stored_SF),
    }
    roles = QueryGallery(torch.tensor([True, False] * 2), torch.tensor([True] * 4), torch.tensor([-1, 0, 1, 1]))
    pairs = RowPairs(first, second, torch.tensor([True, False]))
    whole = StoredFeatures(about(), tables, "view_1", pairs, pairs, {"validation": roles, "test": roles})
    return whole._replace(**changes)


def test_features_are_the_outputs_of_the_backbone_for_the_parts_of_the_source_set(source: Path, tmp_path: Path) -> None:
    embedded, trained = features_of(source, tmp_path / "cache"), load(source)
    theirs, backbone = trained.build_datamodule().splits, trained.network.backbone.eval()
    assert (embedded.channels, embedded.image_size) == (backbone.features, 1)
    for ours, images in zip(embedded.splits, theirs, strict=True):
        assert ours.class_names == images.class_names and torch.equal(ours.labels_N, images.labels_N)
        ((_, fetched_BCHW),) = ours.fetch([(None, torch.arange(len(ours)))])
        with torch.no_grad():
            expected_NF = backbone(to_float(images.images_NCHW))
        torch.testing.assert_close(fetched_BCHW[:, :, 0, 0], expected_NF, rtol=1e-4, atol=1e-5)
        assert torch.equal(to_float(fetched_BCHW), fetched_BCHW)


def test_the_same_network_gives_the_same_features_bit_by_bit_in_any_cache(source: Path, tmp_path: Path) -> None:
    one, other = (features_of(source, tmp_path / name) for name in ("one", "other"))
    assert one.place() != other.place() and one.place().name == other.place().name
    assert one.stored.checksum() == other.stored.checksum()
    assert torch.equal(one.stored.features_SF, other.stored.features_SF)


def test_images_that_tables_share_are_embedded_once() -> None:
    images = torch.randint(0, 256, (9, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    whole = ImageTable(images, torch.arange(9) % 3, ("a", "b", "c"))
    parts = [whole.classes([0, 2]), whole.rows(torch.tensor([8, 0, 4, 0])), whole.classes([1])]
    needed, rows = features.without_repeats(parts[:2])
    assert len(needed) == 7
    for part, row_N in zip(parts, rows, strict=False):
        assert torch.equal(needed.images_NCHW[row_N], part.images_NCHW)


def test_a_file_keeps_pairs_gallery_and_roles(tmp_path: Path) -> None:
    write_features(stored(), tmp_path / "features.npz")
    read = read_features(tmp_path / "features.npz")
    assert read.about == stored().about and read.checksum() == stored().checksum()
    assert {part: each.class_names for part, each in read.tables.items()} == {
        part: each.class_names for part, each in stored().tables.items()
    }
    built = data.build("features", **{"from": str(tmp_path / "features.npz")})
    assert built.official_pairs is not None and built.official_pairs.name == "view_1"
    assert torch.equal(built.official_pairs.decide.second_M, torch.tensor([1, 0]))
    assert built.gallery is not None and len(built.gallery) == 1
    assert built.query_gallery is not None and built.query_gallery.test.group_N is not None
    assert list(built.test_tables()) == ["images", "pairs", "gallery"]


def damaged(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Write a file of features with changed arrays."""
    write_features(stored(), path)
    with np.load(path) as arrays:
        content = dict(arrays)
    change(content)
    np.savez(path, **content)
    return path


def test_wrong_files_are_refused_with_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "features.npz"
    wrong: dict[str, Callable[[dict[str, Any]], Any]] = {
        r"features of 1 of 6 images are not finite": lambda each: each["features"].__setitem__((2, 1), np.nan),
        r"lacks train.labels": lambda each: each.pop("train.labels"),
        r"test.labels has numbers from 0 to 7, not below 2": lambda each: each["test.labels"].__setitem__(0, 7),
        r"test.rows has numbers from 0 to 99, not below 6": lambda each: each["test.rows"].__setitem__(0, 99),
        r"4 images but 3 labels": lambda each: each.update({"test.labels": each["test.labels"][:3]}),
        r"features are torch.float64": lambda each: each.update({"features": each["features"].astype(float)}),
        r"pairs.choose.same_M is no list of 2 booleans": lambda each: each.pop("pairs.choose.same_M"),
        r"lacks their images": lambda each: each.pop("pairs.rows"),
        r"test.group is no list of 4 groups": lambda each: each["test.group"].__setitem__(0, -2),
        r"another version .* format 1": lambda each: each.update({"about": np.array('{"format": 0}')}),
        r"about.network is .*name": lambda each: each.update(
            {"about": np.array(json.dumps({"format": 1, "pairs": None, **asdict(about(network="a\n")), "features": 3}))}
        ),
    }
    for message, change in wrong.items():
        with pytest.raises(UserError, match=message):
            read_features(damaged(place, change))
    np.savez(place, names=["a"], embeddings=np.zeros((1, 2), np.float32), about="{}")
    with pytest.raises(UserError, match=r"without classes and parts.*siamese_lab.embed"):
        read_features(place)
    np.savez(place, features=np.array([{}], dtype=object))
    with pytest.raises(UserError, match=r"features.npz cannot be read"):
        read_features(place)


def test_a_truncated_file_is_refused_and_a_truncated_cache_is_computed_again(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_features(stored(), tmp_path / "features.npz")
    for place, number in ((tmp_path / "features.npz", 0), (features_of(source, tmp_path / "cache").place(), 1)):
        before = place.read_bytes()
        place.write_bytes(before[: len(before) // 2])
        with pytest.raises(UserError, match=f"{place.name} cannot be read"):
            read_features(place)
        if number:
            features_of(source, tmp_path / "cache")
            assert "is damaged: embedding again" in capsys.readouterr().err
            assert place.read_bytes() == before


def test_bad_options_say_what_to_do(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.from=RUN_OR_FILE"):
        data.build("features").setup("fit")
    with pytest.raises(UserError, match=r"nowhere does not exist"):
        data.build("features", **{"from": "nowhere"}).setup("fit")
    with pytest.raises(UserError, match=r"not been computed yet.*siamese_lab.data features"):
        data.build("features", **{"from": str(source), "cache": str(tmp_path)}).setup("fit")
    with pytest.raises(UserError, match=r"no pixels to augment.*augment=null"):
        data.build("features", augment={"mirror": True})
    with pytest.raises(UserError, match=r"There is no file of features .*missing.npz"):
        read_features(tmp_path / "missing.npz")
    embedded = features_of(source, tmp_path / "cache")
    for override, message in {"network=conv4": "network=mlp", "network.tta=[mirrored]": r"network.tta=\[\]"}.items():
        with pytest.raises(UserError, match=message):
            build_module(compose(f"data.from={source}", *HEAD, override), embedded)


def test_features_of_another_backbone_or_split_do_not_go_together(tmp_path: Path) -> None:
    write_features(stored(), tmp_path / "features.npz")
    here = data.build("features", **{"from": str(tmp_path / "features.npz")})
    here.check_unseen({"name": "features", "about": asdict(about())})
    with pytest.raises(UserError, match=r"features of conv4 \(weights cdcd.*holds features of conv4 \(weights abab"):
        here.check_unseen({"name": "features", "about": asdict(about(encoder="cd" * 32))})
    with pytest.raises(UserError, match=r"data=lfw data.view=2, but .* data=digits"):
        here.check_unseen({"name": "features", "about": asdict(about(data={"name": "lfw", "view": 2}))})
    with pytest.raises(UserError, match=r"damaged: .*features"):
        here.check_unseen({"name": "features", "about": asdict(about()) | {"features": "many"}})


def test_the_images_of_a_run_are_read_only_if_the_user_names_their_folder(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, "data=image_folder", "data.root=photos", "network.width=4")
    with pytest.raises(UserError, match=r"photos.*add data.root=photos"):
        features_of(place, tmp_path)
    with pytest.raises(UserError, match=r"elsewhere"):
        features_of(place, tmp_path, "data.root=elsewhere")


@pytest.fixture(scope="module")
def head_run(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a linear layer on features of the short run on digits; return the folder. Tests must not write into it."""
    folder = tmp_path_factory.mktemp("features") / "run"
    folder.mkdir()
    every = [f"data.from={digits_run}", f"paths.cache={folder.parent / 'cache'}", *HEAD, "logger=tensorboard"]
    config = compose(*every)
    features.prepare_features(config)
    train(config, folder, every, Console(quiet=True))
    return folder


def test_a_run_says_that_it_saw_features(head_run: Path, digits_run: Path) -> None:
    results = read_results(head_run)
    assert data_set(results).label == "Digits, frozen features of conv4"
    assert set(results.floors) == {"features", "untrained"}
    assert {"features", "backbone"} <= set(results.images) and results.images["from"] == "scikit-learn"
    assert any("frozen conv4" in note for note in data_set(results).notes)
    assert not list(head_run.rglob("thumbnails.png")) and list(head_run.rglob("embeddings.tsv"))
    config = (head_run / "projector_config.pbtxt").read_text()
    assert "sprite" not in config


def test_raw_features_are_a_floor_of_their_own(head_run: Path) -> None:
    results = read_results(head_run)
    test = data.build(**results.choices["data"], seed=0).splits.test
    x_NF = torch.nn.functional.normalize(test.features_NF.double(), dim=1)
    centered_NF = torch.nn.functional.normalize((test.features_NF - test.features_NF.mean(0)).double(), dim=1)
    shares = []
    for each_NF in (x_NF, centered_NF):
        nearest_N = (each_NF @ each_NF.T).fill_diagonal_(-2).argmax(1)
        shares.append(float((test.labels_N[nearest_N] == test.labels_N).double().mean()))
    assert results.floors["features"]["recall@1"] == pytest.approx(max(shares), abs=2 / len(test))


def test_its_checkpoint_knows_its_input_without_the_features(head_run: Path, tmp_path: Path) -> None:
    place = tmp_path / "head.ckpt"
    place.write_bytes((head_run / "checkpoints/last.ckpt").read_bytes())
    trained = load(place)
    datamodule = trained.build_datamodule()
    assert (datamodule.channels, datamodule.title) == (trained.network.backbone.features, "Digits")
    assert trained.network(torch.zeros(2, datamodule.channels, 1, 1)).shape == (2, 8)
    network = siamese_lab.load(place)
    with pytest.raises(UserError, match=r"takes features of conv4, not images"):
        network.embed(np.zeros((8, 8), np.uint8))
    assert network.embed(torch.full((2, datamodule.channels, 1, 1), 7.0)).shape == (2, 8)
    with pytest.raises(UserError, match=r"finite"):
        network.embed(torch.full((datamodule.channels, 1, 1), torch.nan))
    with pytest.raises(UserError, match=r"read its features from .*add data="):
        _ = network.datamodule.splits


@pytest.mark.slow
def test_evaluate_export_and_search_with_a_network_on_features(
    head_run: Path, digits_run: Path, tmp_path: Path, evaluate: Callable[..., Ended], call: Callable[..., Ended]
) -> None:
    few = ("episodes=10", "pairs=100", "map=null", f"paths.cache={head_run.parent / 'cache'}", "accelerator=cpu")
    ended = evaluate(f"checkpoint={head_run}", *few, f"folder={tmp_path / 'a'}")
    assert ended.status == 2 and f"add data.from={digits_run}" in ended.err
    ended = evaluate(f"checkpoint={head_run}", f"data.from={digits_run}", *few, f"folder={tmp_path / 'b'}")
    assert ended.status == 0, ended.err
    written = json.loads((tmp_path / "b/evaluation.json").read_text())
    results = read_results(head_run)
    found = written["protocols"]["retrieval"]["figures"]["recall@1"]["value"]
    assert found == pytest.approx(results.test["recall@1"], abs=0.01)
    assert {each.name for each in (tmp_path / "b").glob("*.png")} == {"roc.png"}
    ended = evaluate(f"checkpoint={head_run}", "data=digits", *few, f"folder={tmp_path / 'c'}")
    assert ended.status == 2 and re.search(r"takes \d+ features \(Digits\), but Digits has images of", ended.err)
    ended = call(export_command, f"checkpoint={head_run}", f"out={tmp_path / 'head.pt2'}", "format=torch")
    assert ended.status == 0, ended.err
    card = next(tmp_path.glob("head*.md")).read_text()
    assert "frozen features, not of images" in card and "only the layers on top of conv4" in card
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images/a.png")
    ended = call(search_command, "images/a.png", "in=images", f"checkpoint={head_run}")
    assert ended.status == 2 and "takes features of conv4, not images" in ended.err


@pytest.mark.slow
def test_a_run_resumes_with_the_same_features_only(
    head_run: Path, digits_run: Path, source: Path, tmp_path: Path, command: Callable[..., Ended]
) -> None:
    last = head_run / "checkpoints/last.ckpt"
    cache = f"paths.cache={head_run.parent / 'cache'}"
    more = (f"resume={last}", cache, "trainer.max_steps=8", f"hydra.run.dir={tmp_path / 'more'}", "logger=null")
    ended = command(*more)
    assert ended.status == 2 and f"add data.from={digits_run}" in ended.err
    ended = command(*more, f"data.from={checkpoint(tmp_path, 'data=digits')}")
    assert ended.status == 2 and "features of the same backbone" in ended.err
    ended = command(*more, f"data.from={digits_run}")
    assert ended.status == 0, ended.err
    assert last_weights(tmp_path / "more").keys() == last_weights(head_run).keys()


@pytest.mark.slow
def test_a_study_on_features_trains_every_strategy_alike(
    digits_run: Path, tmp_path: Path, command: Callable[..., Ended]
) -> None:
    cache = f"paths.cache={tmp_path / 'cache'}"
    chosen = ("-m", "experiment=study", "data=features", f"data.from={digits_run}", "data.classes_per_batch=6", cache)
    few = ("recipe.steps=6", "seed=0", "sampler=random,hard", "logger=null", "trainer.accelerator=cpu")
    ended = command(*chosen, *few)
    assert ended.status == 0, ended.err
    assert ended.err.count("Embedding") == 1
    for strategy in ("random", "hard"):
        results = read_results(tmp_path / f"outputs/my_study/features/{strategy}/seed=0")
        assert (results.network, results.choices["network"]["depth"], results.steps) == ("mlp", 0, 6)
    analysis = analyze(read_study(tmp_path / "outputs/my_study"), [0.5])
    assert raw_floor(analysis, "Digits, frozen features of conv4") == "raw features"
    ended = command(*chosen, *few)
    assert ended.status == 0 and "Embedding" not in ended.err


@pytest.mark.slow
def test_features_of_features_are_refused(head_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"itself trained on features.*the run that they come from"):
        features_of(head_run, tmp_path)


def test_the_network_of_a_study_is_conv4_except_on_features() -> None:
    assert compose("experiment=study", "data=lfw").network.name == "conv4"
    assert compose("experiment=study", "data=digits").network.width == 16
    assert compose("experiment=study", "data=features").network.name == "mlp"
