"""The contract of a strategy: valid triplets from any batch, its own random numbers, one graph, a step that learns.

Shapes: B images, D embedding dimensions, C candidates (the batch, then remembered images), T (anchor, positive) pairs,
M negatives per pair.
"""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab import losses, samplers
from siamese_lab.batch import AllTriplets, NoTriplets, Selection, Triplets
from siamese_lab.contracts import check_config, composed
from siamese_lab.registry import options_of
from siamese_lab.samplers.base import registry

NAMES = samplers.available()
LISTING = [name for name in NAMES if registry.classes[name].triplet_type is Triplets]
BY_TRAINING = {"seed", "images_per_class", "finite_only"}
"""Options that a run sets itself."""
every_strategy = pytest.mark.parametrize("name", NAMES)
every_listing_strategy = pytest.mark.parametrize("name", LISTING)


def build(name: str, **options: Any) -> samplers.Sampler:
    """Build a strategy with the options of its YAML."""
    return samplers.build(**composed("sampler", name) | options)


def a_batch(sizes: tuple[int, ...] = (4, 4, 4, 4, 4, 4), dimensions: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return unit-norm embeddings in loose clusters and their labels, in random order."""
    generator = torch.Generator().manual_seed(seed)
    labels_B = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels_B = labels_B[torch.randperm(len(labels_B), generator=generator)]
    center_CD = torch.randn(len(sizes), dimensions, generator=generator)
    noise_BD = torch.randn(len(labels_B), dimensions, generator=generator)
    return F.normalize(center_CD[labels_B] + 1.5 * noise_BD, dim=1), labels_B


def mined(sampler: samplers.Sampler, z_BD: Tensor, labels_B: Tensor) -> Selection:
    """Mine a batch of a training that is half done."""
    return sampler.mine(z_BD, labels_B, progress=0.5)


def rows(selection: Selection) -> list[tuple[Any, ...]]:
    """Return the listed triplets as tuples (anchor, positive, (negatives …))."""
    triplets = selection.listed()
    columns = zip(*(index.tolist() for index in triplets), strict=True)
    return [(anchor, positive, tuple(negatives)) for anchor, positive, negatives in columns]


def check_valid(selection: Selection, labels_B: Tensor, negatives: int) -> None:
    """Check that every triplet is one, and that no anchor with a positive is left out."""
    labels, candidates = labels_B.tolist(), len(selection.candidates_CD)
    for anchor, positive, chosen in rows(selection):
        assert anchor != positive, f"image {anchor} is its own positive"
        assert labels[anchor] == labels[positive], f"anchor {anchor} and positive {positive} are of two classes"
        assert len(set(chosen)) == len(chosen) == negatives, f"expected {negatives} different negatives, got {chosen}"
        assert all(0 <= each < candidates for each in chosen), f"negatives {chosen} of {candidates} candidates"
        same = [each for each in chosen if each < len(labels) and labels[each] == labels[anchor]]
        assert not same, f"negatives {same} are of the class of anchor {anchor}"
    anchors = {anchor for anchor, label in enumerate(labels) if labels.count(label) > 1}
    assert {anchor for anchor, *_ in rows(selection)} == anchors, "every image of a class of several is an anchor"


@every_strategy
def test_its_config_chooses_it_by_name(name: str) -> None:
    check_config("sampler", name, set(options_of(registry.classes[name])) - BY_TRAINING)


@every_strategy
def test_it_takes_the_options_that_a_run_sets(name: str) -> None:
    build(name, seed=1, images_per_class=4, num_negatives=2, finite_only=False)


@every_listing_strategy
@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("sizes", [(2, 2, 2, 2, 2), (4, 4, 4, 4), (5, 3, 1, 2, 4)])
def test_triplets_are_valid(name: str, sizes: tuple[int, ...], negatives: int) -> None:
    sampler, (z_BD, labels_B) = build(name, num_negatives=negatives), a_batch(sizes)
    for _ in range(2):
        selection = mined(sampler, z_BD, labels_B)
        check_valid(selection, labels_B, negatives)
        assert torch.equal(selection.candidates_CD[: len(z_BD)], z_BD)
        assert not selection.candidates_CD.requires_grad
        assert selection.fallback_TM is not None
        assert selection.fallback_TM.dtype == torch.bool
        assert selection.fallback_TM.shape == selection.listed().negative_TM.shape
        assert all(value.ndim == 0 and value.isfinite() for value in selection.statistics.values())


@every_listing_strategy
def test_a_p_by_k_batch_gives_the_same_triplets_whether_k_is_passed_or_counted(name: str) -> None:
    batch = a_batch()
    assert rows(mined(build(name, images_per_class=4), *batch)) == rows(mined(build(name), *batch))


@every_listing_strategy
def test_degenerate_batches_give_valid_triplets(name: str) -> None:
    spread_BD, labels_B = a_batch((3, 3, 3))
    equal_BD, opposite_BD = spread_BD[:1].expand(9, -1), torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(5, 1)[:9]
    for z_BD in (equal_BD, opposite_BD, F.one_hot(labels_B, 16).float()):
        check_valid(mined(build(name), z_BD, labels_B), labels_B, 1)


@every_listing_strategy
def test_embeddings_that_are_not_finite_still_give_indices(name: str) -> None:
    z_BD, labels_B = a_batch()
    z_BD[3] = math.nan
    selection = mined(build(name, finite_only=False), z_BD, labels_B)
    for index in selection.listed():
        assert ((index >= 0) & (index < len(selection.candidates_CD))).all()


@every_strategy
def test_a_batch_of_one_class_is_refused(name: str) -> None:
    z_BD, _ = a_batch()
    with pytest.raises(ValueError, match="of one class, so there are no negatives"):
        mined(build(name), z_BD, torch.zeros(len(z_BD), dtype=torch.int64))


@every_listing_strategy
def test_a_repeated_image_is_never_its_own_positive(name: str) -> None:
    z_BD, labels_B = a_batch((4, 4, 4))
    ids_B = torch.arange(12)
    first, second = (labels_B == 0).nonzero().squeeze(1)[:2].tolist()
    ids_B[second] = ids_B[first]
    triplets = build(name).mine(z_BD, labels_B, ids_B).listed()
    assert (ids_B[triplets.anchor_T] != ids_B[triplets.positive_T]).all()


@every_listing_strategy
def test_the_seed_alone_decides_and_a_checkpoint_goes_on(name: str) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    sampler = build(name, seed=3)
    first = rows(mined(sampler, *a_batch()))
    assert torch.equal(torch.get_rng_state(), state), "draw from self.uniform_noise, not from torch's own generator"
    stored = {key: value.clone() for key, value in sampler.state_dict().items() if isinstance(value, Tensor)}
    stored = sampler.state_dict() | stored
    second = rows(mined(sampler, *a_batch(seed=1)))
    torch.manual_seed(2)
    again = build(name, seed=3)
    assert rows(mined(again, *a_batch())) == first
    resumed = build(name, seed=99)
    resumed.load_state_dict(stored)
    assert rows(mined(resumed, *a_batch(seed=1))) == second


@pytest.mark.slow
@every_listing_strategy
def test_it_compiles_as_one_graph(name: str) -> None:
    torch.compiler.reset()
    compiled = torch.compile(build(name, images_per_class=4), fullgraph=True, backend="eager")
    assert compiled(*a_batch()).negative_TM.shape[1] == 1


@every_strategy
def test_a_loss_learns_from_what_it_selects(name: str) -> None:
    z_BD, labels_B = a_batch()
    z_BD.requires_grad_()
    selection = mined(build(name), z_BD.detach(), labels_B)
    assert isinstance(selection.triplets, (Triplets, AllTriplets, NoTriplets))
    of_labels = losses.build("softmax", classes=len(labels_B.unique()), dimensions=z_BD.shape[1])
    loss = of_labels if isinstance(selection.triplets, NoTriplets) else losses.build("triplet", soft=True)
    output = loss(selection, z_BD, labels_B)
    output.value.backward()
    assert z_BD.grad is not None and z_BD.grad.isfinite().all() and z_BD.grad.any()
