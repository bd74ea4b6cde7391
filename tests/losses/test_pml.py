"""Losses of pytorch-metric-learning are those of the package, and learn from what the lab's strategies select."""

import sys

import pytest
import torch
import torch.nn.functional as F
from conftest import compose, quick_run
from pytorch_metric_learning import losses as peers
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.reducers import ThresholdReducer

from siamese_lab import losses, pml, samplers
from siamese_lab.batch import NoTriplets, Selection, Triplets
from siamese_lab.errors import UserError
from siamese_lab.losses.pml import LEFT_OUT, OF_LABELS, OF_WHOLE_CLASSES
from siamese_lab.training.build import build_datamodule, build_module

CLASSES, EACH, DIMENSIONS = 4, 3, 6
NAMES = sorted(pml.classes("losses", tuple(LEFT_OUT)))
NEEDED = {"RankedListLoss": {"margin": 0.4, "Tn": 10}}
"""Options without a default."""


def built(name, **options):
    given = {"classes": CLASSES, "dimensions": DIMENSIONS, "library": "pml"}
    return losses.build(name, **given | NEEDED.get(name, {}) | options)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels_B = torch.arange(CLASSES).repeat_interleave(EACH)
    return F.normalize(torch.randn(len(labels_B), DIMENSIONS, generator=generator), dim=1), labels_B


def value_of(loss, triplets, z_BD, labels_B):
    return loss(Selection(triplets, z_BD.detach()), z_BD, labels_B).value


def detached(*arguments):
    return float(value_of(*arguments).detach())


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_of_the_package_gives_its_own_value_and_gradients(name):
    loss, (z_BD, labels_B) = built(name, seed=5), batch()
    z_BD.requires_grad_()
    value = value_of(loss, NoTriplets(), z_BD, labels_B)
    value.backward()
    with pml.seeded(5):
        theirs = pml.build(
            getattr(peers, name),
            "loss",
            NEEDED.get(name, {}),
            {"num_classes": CLASSES, "embedding_size": DIMENSIONS, "descriptors_dim": DIMENSIONS},
        )
    assert torch.equal(value, theirs(z_BD, labels_B))
    assert value.isfinite() and value.shape == ()
    assert z_BD.grad.isfinite().all() and z_BD.grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_learns_from_selected_triplets_or_needs_sampler_none(name):
    """A loss that has one value for all strategies would make them equal."""
    loss, (z_BD, labels_B) = built(name), batch()
    first, other = (samplers.build("random", seed=seed).mine(z_BD, labels_B).triplets for seed in (1, 2))
    assert loss.accepted_types == ((NoTriplets,) if name in OF_LABELS else (Triplets, NoTriplets))
    try:
        values = [detached(loss, each, z_BD, labels_B) for each in (first, other)]
    except ValueError as error:
        assert "not supported" in str(error) and name in OF_LABELS
    else:
        assert (values[0] == values[1]) == (name in OF_LABELS)


@pytest.mark.parametrize("name", NAMES)
def test_a_repeated_image_is_no_positive_of_itself(name):
    """A loss of vectors has no positives. A loss that cannot leave out a pair refuses a repeated image."""
    z_BD, labels_B = batch()
    options = {"gamma": 1} if name == "CircleLoss" else {}  # otherwise one pair decides
    different_B = torch.arange(len(labels_B))
    ids_B = different_B.clone()
    ids_B[1] = ids_B[0]

    def value(ids_B):  # of a new loss, because some adapt to the batches
        return detached(built(name, **options), NoTriplets(ids_B), z_BD, labels_B)

    assert value(different_B) == value(None)
    if name in OF_WHOLE_CLASSES:
        with pytest.raises(UserError, match=rf"{name} .*repeated image.*data\.repeats=false"):
            value(ids_B)
    else:
        assert (value(ids_B) == value(None)) == built(name).learns_vectors


def test_the_pairs_without_a_repeated_image_are_those_of_the_lab():
    z_BD, labels_B = batch()
    ids_B = torch.tensor([0, 0, *range(2, len(labels_B))])
    theirs, ours = built("SupConLoss"), losses.build("supcon")
    assert detached(theirs, NoTriplets(ids_B), z_BD, labels_B) == pytest.approx(
        detached(ours, NoTriplets(ids_B), z_BD, labels_B)
    )


def test_several_negatives_of_a_pair_are_listed_one_by_one():
    loss, (z_BD, labels_B) = built("TripletMarginLoss", margin=0.3), batch()
    triplets = samplers.build("hard", num_negatives=3).mine(z_BD, labels_B).triplets
    ours = losses.build("triplet", margin=0.3, reduction="mean_active")
    torch.testing.assert_close(value_of(loss, triplets, z_BD, labels_B), value_of(ours, triplets, z_BD, labels_B))


def test_options_name_the_distance_and_the_reducer_of_the_package():
    loss = built(
        "ContrastiveLoss", distance_name="LpDistance", distance_options={"p": 1}, reducer_name="ThresholdReducer",
        reducer_options={"low": 0.1}, pos_margin=0.2,
    )  # fmt: skip
    theirs = peers.ContrastiveLoss(pos_margin=0.2, distance=LpDistance(p=1), reducer=ThresholdReducer(low=0.1))
    z_BD, labels_B = batch()
    assert torch.equal(value_of(loss, NoTriplets(), z_BD, labels_B), theirs(z_BD, labels_B))


def test_random_numbers_of_a_loss_depend_on_seed_and_step_only():
    z_BD, labels_B = batch()
    values = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        loss = built("TripletMarginLoss", triplets_per_anchor=2)
        values.append([float(value_of(loss, NoTriplets(), z_BD, labels_B)) for _ in range(3)])
        after = torch.rand(1)
        torch.manual_seed(noise)
        assert torch.equal(after, torch.rand(1)), "the global generator goes on as if nothing had been drawn"
    assert values[0] == values[1]
    assert len(set(values[0])) == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("AngularLos", {}, "no loss.name=AngularLos. The nearest names: AngularLoss,"),
        ("tripletmarginloss", {}, "The nearest names: TripletMarginLoss,"),
        ("zzz", {}, "no loss.name=zzz. Names: AngularLoss, ArcFaceLoss, .*TupletMarginLoss"),
        (None, {}, "loss=pml needs the name of a loss .*loss.name=NAME"),
        ("CrossBatchMemory", {}, "CrossBatchMemory .* cannot be used here: it wraps another loss"),
        ("BaseMetricLossFunction", {}, "no loss.name=BaseMetricLossFunction"),
        ("ContrastiveLoss", {"distance": "LpDistance"}, "no option 'distance'. Did you mean 'distance_name'"),
        ("AngularLoss", {"alfa": 3}, "no option 'alfa'. Did you mean 'alpha'"),
        ("ArcFaceLoss", {"num_classes": 3}, "no option 'num_classes'"),
        ("RankedListLoss", {"margin": 0.4}, r"options without a default. Set \+loss.Tn=VALUE"),
        (
            "ContrastiveLoss",
            {"distance_name": "LPDistance"},
            "no loss.distance_name=LPDistance. The nearest names: LpDistance",
        ),
        ("ContrastiveLoss", {"distance_options": {"p": 1}}, "distance_options needs loss.distance_name"),
        ("CircleLoss", {"distance_name": "LpDistance"}, "CircleLoss refuses its options .*CosineSimilarity"),
        ("ContrastiveLoss", {"vector_lr": -1}, "needs a finite vector_lr of 0 or more"),
    ],
)
def test_what_the_package_does_not_have_is_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        losses.build(name, library="pml", classes=CLASSES, dimensions=DIMENSIONS, **options)


def test_an_unknown_library_is_refused():
    with pytest.raises(UserError, match=r"There is no library 'other' with a loss\. Available: pml"):
        losses.build("X", library="other")


@pytest.mark.parametrize("group", ["loss", "sampler"])
def test_without_the_package_one_sentence_says_what_to_install(group, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("pytorch_metric_learning")]:
        monkeypatch.setitem(sys.modules, name, None)
    registry = {"loss": losses.registry, "sampler": samplers.registry}[group]
    with pytest.raises(UserError, match=r"pip install 'siamese_lab\[pml\]'\.$") as caught:
        registry.build("TripletMarginLoss", library="pml")
    assert str(caught.value).count(". ") == 0


def test_the_window_of_a_strategy_has_the_margin_of_the_loss_and_plain_distances():
    config = compose(
        "loss=pml", "loss.name=TripletMarginLoss", "+loss.margin=0.1", "+loss.distance_name=CosineSimilarity"
    )
    sampler = samplers.build(**config.sampler)
    assert (sampler.margin, sampler.distance) == (0.1, "plain")


def test_a_reducer_without_a_scalar_is_refused():
    with pytest.raises(UserError, match=r"ContrastiveLoss gives no scalar\. Set loss.reducer_name"):
        value_of(built("ContrastiveLoss", reducer_name="DoNothingReducer"), NoTriplets(), *batch())


def test_a_memory_is_refused_before_training():
    config = compose("sampler=memory", "loss=pml", "loss.name=TripletMarginLoss")
    with pytest.raises(UserError, match=r"compares the images of a batch only.*without a memory"):
        build_module(config, build_datamodule(config))


@pytest.mark.slow
def test_a_resumed_run_of_a_random_loss_and_miner_equals_a_run_without_interruption(tmp_path):
    loss = ("loss=pml", "loss.name=NormalizedSoftmaxLoss", "loss.vector_lr=0.02")
    miner = ("sampler=pml", "sampler.name=UniformHistogramMiner", "+sampler.num_bins=20")
    options = (*loss, *miner, "network.width=8", "metrics.floors=false")
    left = quick_run(tmp_path / "whole", *options)
    quick_run(tmp_path / "halves", *options, "trainer.max_steps=3", "schedule.steps=6")
    quick_run(tmp_path / "halves", *options, f"resume={tmp_path / 'halves/checkpoints/last.ckpt'}")
    whole, halves = (
        torch.load(tmp_path / each / "checkpoints/last.ckpt", weights_only=True) for each in ("whole", "halves")
    )
    assert whole["state_dict"].keys() >= {"loss.loss.W", "loss.steps", "sampler.noise.calls"}
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(tensor, halves["state_dict"][name]), name
    assert [group["initial_lr"] for group in whole["optimizer_states"][0]["param_groups"]][-1] == 0.02
    pairs = 6 * 8 * 7
    assert left.selected == {"triplets": left.history[-1].triplets, "by_rule": left.history[-1].step * pairs}
    assert left.selected["triplets"] != left.selected["by_rule"]
    assert left.history[-1].train["triplets_per_pair"] == pytest.approx(
        left.selected["triplets"] / left.selected["by_rule"], rel=0.5
    )
    assert (left.loss, left.sampler) == ("NormalizedSoftmaxLoss", "UniformHistogramMiner")
