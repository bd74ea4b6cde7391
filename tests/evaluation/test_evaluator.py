"""The evaluator works without Hydra: it chooses the protocols of a data set and computes their values."""

import json
from functools import cached_property
from pathlib import Path

import pytest
import torch
from rich.console import Console
from test_evaluate_command import make_images
from untrained import checkpoint

from siamese_lab import data, networks
from siamese_lab.data import DataModule
from siamese_lab.data.official_protocols import OfficialPairs, OneShot, RowPairs, official_pairs
from siamese_lab.data.sets.digits import Digits
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError
from siamese_lab.evaluation import Evaluation, evaluate, load, record
from siamese_lab.evaluation.embed import embed
from siamese_lab.evaluation.protocols import draw_pairs
from siamese_lab.evaluation.stages import Stages
from siamese_lab.evaluation.table import print_figures

DIGITS = data.build("digits")


def untrained(images: DataModule, seed: int = 0, **options: object) -> networks.SiameseNetwork:
    torch.manual_seed(seed)
    return networks.build("conv4", channels=images.channels, image_size=images.image_size, **options)


def by_hand(network: networks.SiameseNetwork, images: DataModule) -> torch.Tensor:
    network.eval()
    with torch.no_grad():
        z_ND = network(images.splits.test.images_NCHW.float() / 255)
    return z_ND / z_ND.norm(dim=1, keepdim=True)


@pytest.fixture(scope="module")
def result() -> Evaluation:
    return evaluate(untrained(DIGITS), DIGITS, pairs=1000)


def test_recall_equals_plain_loops(result: Evaluation) -> None:
    z_ND, labels_N = by_hand(untrained(DIGITS), DIGITS), DIGITS.splits.test.labels_N
    d_NN = torch.cdist(z_ND.double(), z_ND.double()).fill_diagonal_(torch.inf)
    hits = sum(int(labels_N[row.argmin()] == label) for row, label in zip(d_NN, labels_N, strict=True))
    assert result.protocols["retrieval"].figures["recall@1"].value == pytest.approx(hits / len(labels_N), abs=2e-3)
    assert torch.allclose(result.z_ND, z_ND, atol=1e-5)


def test_the_threshold_comes_from_validation_images(result: Evaluation) -> None:
    validation = DIGITS.splits.validation
    network = untrained(DIGITS).eval()
    with torch.no_grad():
        z_MD = network(validation.images_NCHW.float() / 255)
    chosen = draw_pairs(z_MD, validation.labels_N, 1000, seed=0)
    assert chosen is not None
    d_N = (z_MD[chosen.pairs.left_N] - z_MD[chosen.pairs.right_N]).norm(dim=1)
    right = max(int(((d_N <= each) == chosen.pairs.same_N).sum()) for each in d_N)
    facts = result.protocols["verification_sampled"].facts
    assert int(((d_N <= facts["threshold"]) == chosen.pairs.same_N).sum()) == right
    assert (facts["positives"], facts["negatives"]) == (500, 500)


def test_all_pairs_are_used_if_there_are_too_few() -> None:
    z_MD = torch.eye(4)
    few = draw_pairs(z_MD, torch.tensor([0, 0, 1, 2]), 1000, seed=0)
    assert few is not None and int(few.pairs.same_N.sum()) == 1 and len(few.pairs.same_N) == 2
    assert draw_pairs(z_MD, torch.tensor([0, 1, 2, 3]), 1000, seed=0) is None
    assert draw_pairs(z_MD, torch.tensor([0, 0, 0, 0]), 1000, seed=0) is None


def test_the_network_keeps_its_mode_and_weights() -> None:
    network = untrained(DIGITS).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, DIGITS, pairs=0, episodes=0)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_batches_do_not_change_embeddings() -> None:
    from lightning import Fabric

    fabric, table, counted = Fabric(accelerator="cpu", devices=1), DIGITS.splits.validation, []
    at_once, by_sevens = (embed(untrained(DIGITS), table, fabric, size, counted.append) for size in (512, 7))
    assert torch.allclose(at_once, by_sevens, atol=1e-5)
    assert at_once.dtype == torch.float32 and not at_once.requires_grad
    assert sum(counted) == 2 * len(table) and set(counted) == {len(table), 7, len(table) % 7}


def test_norms_matter_only_for_euclidean_distance() -> None:
    network = untrained(DIGITS, normalize=False)
    cosine, euclidean = (
        evaluate(network, DIGITS, distance=distance, pairs=0, episodes=0) for distance in ("cosine", "euclidean")
    )
    one, other = (each.protocols["retrieval"].figures["map@r"].value for each in (cosine, euclidean))
    assert one != other
    assert torch.allclose(cosine.z_ND.norm(dim=1), torch.ones(len(cosine.z_ND)), atol=1e-5)


def test_an_approximate_index_is_reported() -> None:
    pytest.importorskip("faiss")
    found = evaluate(untrained(DIGITS), DIGITS, index="faiss", pairs=0, episodes=0).protocols["retrieval"]
    assert found.title == "Retrieval, approximate"
    assert found.facts["index"].startswith("faiss ") and "approximate index that misses some" in found.how


def test_embeddings_that_are_not_finite_are_refused() -> None:
    network = untrained(DIGITS)
    with torch.no_grad():
        network.embed.bias[0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        evaluate(network, DIGITS)


def test_a_single_class_is_refused() -> None:
    images = data.build("digits")
    images.splits = images.splits._replace(test=images.splits.test.classes([2]))
    with pytest.raises(ValueError, match=r"All [0-9]+ test images .* '8', .* at least 2 classes"):
        evaluate(untrained(images), images)


def test_single_images_are_refused() -> None:
    images = data.build("digits")
    test = images.splits.test
    alone = ImageTable(test.images_NCHW[:20], torch.arange(20), tuple(map(str, range(20))))
    images.splits = images.splits._replace(test=alone)
    with pytest.raises(ValueError, match="needs a class with at least 2 images, but all 20 have one"):
        evaluate(untrained(images), images)


def test_one_class_of_several_images_has_figures_without_intervals() -> None:
    images = data.build("digits")
    test = images.splits.test
    labels_N = torch.tensor([0, 0, 0, *range(1, 30)])
    mixed = ImageTable(test.images_NCHW[: len(labels_N)], labels_N, tuple(map(str, range(30))))
    images.splits = images.splits._replace(test=mixed)
    found = evaluate(untrained(images), images, pairs=100, episodes=0).protocols
    recall = found["retrieval"].figures["recall@1"]
    assert recall.value is not None and recall.low is None and found["retrieval"].over is None
    assert found["retrieval"].facts["distractors"] == 29
    assert found["verification_sampled"].facts["positives"] == 3


def test_a_collapsed_network_is_at_chance_and_flagged() -> None:
    network = untrained(DIGITS)
    with torch.no_grad():
        network.embed.weight.zero_()
        network.embed.bias.fill_(1)
    found = evaluate(network, DIGITS, pairs=1000, episodes=0)
    assert found.protocols["retrieval"].figures["recall@1"].value == 0
    assert found.protocols["verification_sampled"].figures["auc"].value == 0.5
    assert found.protocols["embedding"].facts["collapsed"]
    console = Console(record=True, width=100, quiet=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    print_figures(console, found)
    assert "The embedding has collapsed" in console.export_text()


def test_stages_add_up_and_print_no_progress_into_files(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(Console())
    for _ in range(2):
        with stages.running("Something", 2) as advance:
            advance(1)
    assert list(stages.seconds) == ["Something"] and stages.seconds["Something"] > 0
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_few_shot_episodes_need_enough_classes(tmp_path: Path) -> None:
    make_images(tmp_path / "images", 40, 17)
    images = data.build(
        "image_folder",
        root=tmp_path / "images",
        cache=tmp_path / "cache",
        image_size=16,
        color=False,
        test_fraction=0.6,
    )
    found = evaluate(untrained(images), images, pairs=200, episodes=50)
    assert {name for name in found.protocols if name.startswith("episodes")} == {
        "episodes_5way_1shot",
        "episodes_20way_1shot",
    }
    five, twenty = (found.protocols[f"episodes_{ways}way_1shot"].figures for ways in (5, 20))
    assert five["accuracy"].value + five["error"].value == pytest.approx(1)
    assert five["error"].low == pytest.approx(1 - five["accuracy"].high)
    assert five["error"].value < twenty["error"].value
    assert set(found.left_out) == {"episodes_5way_5shot", "episodes_20way_5shot"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_omniglot_has_lakes_runs_and_random_episodes(tmp_path: Path, omniglot_root: Path, real_cache: Path) -> None:
    small = ("data.image_size=28", "network.width=8", "network.tta=[]")
    place = checkpoint(tmp_path, "data=omniglot", *small, f"paths.data={omniglot_root}", f"paths.cache={real_cache}")
    trained = load(place)
    found = evaluate(trained.network, trained.build_datamodule(), pairs=1000, episodes=100)
    assert found.left_out == {}
    lake, random = (found.protocols[name] for name in ("one_shot_lake", "episodes_20way_1shot"))
    assert (lake.over, random.over) == ("runs", "episodes")
    assert list(lake.figures) == ["error"] and list(random.figures) == ["error", "accuracy"]
    assert 0.3 < lake.figures["error"].value < 0.95  # an untrained network with 20 ways
    assert "Random episodes are easier" in lake.how
    record.write_evaluation(found, {}, tmp_path)
    assert set(json.loads((tmp_path / "evaluation.json").read_text())["protocols"]) == set(found.protocols)
    assert len((tmp_path / "per_class.csv").read_text().splitlines()) == 660


def own_set() -> DataModule:
    """Return digits that declare pairs, one-shot runs and limitations, like a user's data set."""

    class Own(Digits):
        title = "Own digits"
        limitations = ("Not for cheques.",)

        @cached_property
        def official_pairs(self) -> OfficialPairs:
            table = self.splits.test
            first_M = torch.arange(0, 200, 2)
            second_M = torch.cat([first_M[:50] + 1, first_M[50:] + 301])
            pairs = RowPairs(first_M, second_M, table.labels_N[first_M] == table.labels_N[second_M])
            return official_pairs("own_view", table, pairs, pairs)

        @cached_property
        def one_shot(self) -> OneShot:
            table = self.splits.test
            rows = torch.stack([(table.labels_N == label).nonzero()[:2, 0] for label in range(4)])
            known_EW, asked_EQ = rows[:, 0].expand(3, -1), rows[:, 1].expand(3, -1)
            answer_EQ = torch.arange(4).expand(3, -1)
            return OneShot("own", "own runs", "Three equal runs.", table, known_EW, asked_EQ, answer_EQ)

    return Own()


def test_protocols_of_a_set_of_the_user_are_evaluated() -> None:
    images = own_set()
    found = evaluate(untrained(images), images, pairs=0, episodes=0)
    pairs, runs = found.protocols["verification_own_view"], found.protocols["one_shot_own"]
    assert (pairs.title, runs.title) == ("Verification, Own view", "One-shot, own runs")
    assert runs.how == "Three equal runs."
    z_ND = by_hand(untrained(images), images)
    one_shot = images.one_shot
    d_QW = torch.cdist(z_ND[one_shot.asked_EQ[0]], z_ND[one_shot.known_EW[0]])
    expected = (d_QW.argmin(1) != torch.arange(4)).float().mean()
    assert runs.figures["error"].value == pytest.approx(float(expected))


def test_absent_protocols_are_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    images = own_set()

    def absent(self: DataModule) -> None:
        raise UserError("The runs are nowhere.")

    monkeypatch.setattr(type(images), "one_shot", property(absent))
    found = evaluate(untrained(images), images, pairs=0, episodes=0)
    assert found.left_out["one_shot_official"] == "The runs are nowhere."


def test_the_ks_of_the_training_are_the_default_and_those_that_are_too_large_are_named() -> None:
    network = untrained(DIGITS)
    found = evaluate(network, DIGITS, trained_k=(1, 5, 1000), pairs=0, episodes=0)
    figures = found.protocols["retrieval"].figures
    assert [name for name in figures if name.startswith("recall") and "macro" not in name] == ["recall@1", "recall@5"]
    assert found.left_out["Recall@1000"] == "Each query has 713 images to find."
    assert (
        "recall@2"
        in evaluate(network, DIGITS, k=(1, 2), trained_k=(1, 5), pairs=0, episodes=0).protocols["retrieval"].figures
    )
    with pytest.raises(UserError, match="Recall@1000 needs at least 1000 images to find, but each query has 713"):
        evaluate(network, DIGITS, k=(1, 1000), pairs=0, episodes=0)
