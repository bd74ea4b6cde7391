"""Every strategy gives valid triplets, handles degenerate batches, has a random stream, and reports statistics."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_oracles import Oracle, clustered_embeddings, pk_labels, random_embeddings, rows, statistics_of
from shipped import SAMPLERS

from siamese_lab import samplers
from siamese_lab.batch import Triplets
from siamese_lab.samplers.kernels.class_index import class_index
from siamese_lab.samplers.kernels.tiles import TILE_ENTRIES, MiningInputs

LISTING = [name for name in SAMPLERS if samplers.registry.classes[name].triplet_type is Triplets]
"""All strategies except `all`, which has separate tests."""
VARIANTS = [(name, {}) for name in LISTING] + [
    ("memory", {"strategy": "hard", "size": 7}),
    ("memory", {"strategy": "random", "size": 7}),
    ("memory", {"strategy": "distance_weighted", "size": 7}),
    ("semi_hard", {"choice": "nearest"}),
    ("semi_hard", {"distance": "squared"}),
    ("distance_weighted", {"weight_limit": 10.0}),
]
DRAWING = [
    ("random", {}),
    ("semi_hard", {"margin": 2.0}),
    ("distance_weighted", {}),
    ("curriculum", {}),
    ("memory", {"strategy": "random"}),
    ("random", {"num_negatives": 2}),
    ("semi_hard", {"margin": 2.0, "num_negatives": 2}),
    ("distance_weighted", {"num_negatives": 2}),
]
BATCH_HARD = samplers.registry.classes["batch_hard"]
every_strategy = pytest.mark.parametrize(("name", "options"), VARIANTS)
every_drawing_strategy = pytest.mark.parametrize(("name", "options"), DRAWING)


def assert_valid(triplets, labels_B, sampler, negatives=1):
    """Assert that each anchor has K − 1 pairs (batch-hard: one), and each pair different images of other classes.

    A strategy that does not choose positives takes each of them once.
    """
    labels = labels_B.tolist()
    images = range(len(labels))
    pairs = [(a, p) for a in images for p in images if a != p and labels[a] == labels[p]]
    taken = [(a, p) for a, p, _ in rows(triplets)]
    if type(sampler).positives is samplers.Sampler.positives:
        assert taken == pairs
    anchors = sorted({a for a, _ in pairs}) if type(sampler) is BATCH_HARD else [a for a, _ in pairs]
    assert [a for a, _ in taken] == anchors
    assert set(taken) <= set(pairs)
    assert triplets.negative_TM.shape == (len(taken), negatives)
    assert all(0 <= n < len(labels) for _, _, chosen_M in rows(triplets) for n in chosen_M)
    assert all(labels[n] != labels[a] for a, _, chosen_M in rows(triplets) for n in chosen_M)
    assert all(len(set(chosen_M)) == negatives for _, _, chosen_M in rows(triplets))
    assert {index.dtype for index in triplets} == {torch.int64}


@st.composite
def batches(draw):
    """Return classes of any sizes, in any order and floating type, with some equal images."""
    sizes = [*draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)), draw(st.integers(2, 4))]
    names = draw(st.lists(st.integers(-5, 1000), min_size=len(sizes), max_size=len(sizes), unique=True))
    labels = [name for name, size in zip(names, sizes, strict=True) for _ in range(size)]
    labels_B = torch.tensor(draw(st.permutations(labels)))
    z_BD = random_embeddings(len(labels), draw(st.sampled_from([2, 3, 16, 512])), draw(st.integers(0, 10**6)))
    source_B = draw(st.lists(st.integers(0, len(labels) - 1), min_size=len(labels), max_size=len(labels)))
    alike = draw(st.booleans())
    dtype = draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16]))
    return (z_BD[source_B] if alike else z_BD).to(dtype), labels_B


@every_strategy
@settings(max_examples=40, deadline=None)
@given(batch=batches())
def test_every_pair_gets_one_valid_negative(name, options, batch):
    z_BD, labels_B = batch
    sampler = samplers.build(name, **options)
    assert_valid(sampler(z_BD, labels_B), labels_B, sampler)


@every_strategy
@settings(max_examples=20, deadline=None)
@given(batch=batches(), negatives=st.integers(2, 4))
def test_every_pair_gets_the_requested_number_of_negatives_or_a_clear_message(name, options, batch, negatives):
    z_BD, labels_B = batch
    sampler = samplers.build(name, num_negatives=negatives, **options)
    fewest = len(labels_B) - int(labels_B.unique(return_counts=True)[1].max())
    if fewest >= negatives:
        assert_valid(sampler(z_BD, labels_B), labels_B, sampler, negatives)
    elif "memory" not in name:
        with pytest.raises(ValueError, match=rf"num_negatives={negatives} .* have only {fewest}\."):
            sampler(z_BD, labels_B)


@every_strategy
def test_the_faster_choice_equals_the_choice_by_score(name, options):
    """Only choices without a random draw are compared, index by index. Other tests check probabilities of draws."""
    labels_B = pk_labels(6, 4, seed=4)
    z_BD = clustered_embeddings(labels_B, 16, 1.5, seed=4)
    sampler = samplers.build(name, **options)
    if len({tuple(rows(samplers.build(name, seed=seed, **options)(z_BD, labels_B))) for seed in range(3)}) > 1:
        return
    by_score = samplers.build(name, **options)
    chooser = getattr(by_score, "strategy", by_score)
    chooser.choose_one = chooser.choose_best
    assert rows(by_score(z_BD, labels_B)) == rows(sampler(z_BD, labels_B))


@every_strategy
@pytest.mark.parametrize("entries", [1, 100, 1000])
def test_tiles_of_any_size_give_the_same_triplets(name, options, entries, monkeypatch):
    labels_B = pk_labels(7, 3, seed=5)
    z_BD = clustered_embeddings(labels_B, 8, 1.0, seed=5)
    whole = samplers.build(name, **options)
    drawn = whole(z_BD, labels_B)
    monkeypatch.setitem(TILE_ENTRIES, "cpu", entries)
    tiled = samplers.build(name, **options)
    triplets = tiled(z_BD, labels_B)
    assert_valid(triplets, labels_B, tiled)
    if torch.equal(samplers.build(name, seed=1, **options)(z_BD, labels_B).negative_TM, drawn.negative_TM):
        assert rows(triplets) == rows(drawn)


@every_strategy
@pytest.mark.parametrize(("classes", "images_per_class"), [(2, 2), (2, 5), (7, 2), (5, 4)])
def test_a_p_by_k_batch_gives_the_same_triplets_with_k_passed_or_counted(name, options, classes, images_per_class):
    labels_B = pk_labels(classes, images_per_class, seed=1)
    z_BD = clustered_embeddings(labels_B, 8, 1.0, seed=1)
    sampler = samplers.build(name, images_per_class=images_per_class, **options)
    with_known_size = sampler(z_BD, labels_B)
    counted = samplers.build(name, **options)(z_BD, labels_B)
    assert_valid(with_known_size, labels_B, sampler)
    per_anchor = 1 if name == "batch_hard" else images_per_class - 1
    assert len(with_known_size.anchor_T) == classes * images_per_class * per_anchor
    assert all(torch.equal(*columns) for columns in zip(with_known_size, counted, strict=True))


@every_strategy
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_distances_are_float32_for_every_input_type(name, options, dtype):
    labels_B = pk_labels(6, 3, seed=2)
    z_BD = clustered_embeddings(labels_B, 64, 1.0, seed=2).to(dtype)
    as_given = samplers.build(name, **options)(z_BD, labels_B)
    in_float32 = samplers.build(name, **options)(z_BD.float(), labels_B)
    assert rows(as_given) == rows(in_float32)


@every_strategy
def test_equal_embeddings_give_valid_triplets(name, options):
    labels_B = pk_labels(4, 3, seed=3)
    sampler = samplers.build(name, **options)
    selection = sampler.mine(random_embeddings(1, 16, 0).expand(12, 16), labels_B)
    assert_valid(selection.triplets, labels_B, sampler)
    statistics = statistics_of(selection)
    assert "fallback_share" in statistics
    assert all(torch.isfinite(value) for value in statistics.values())


@every_strategy
def test_antipodes_give_valid_triplets(name, options):
    """The distances are 0 and 2, where 1/q is infinite."""
    labels_B = torch.tensor([0, 0, 1, 1])
    z_BD = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    sampler = samplers.build(name, **options)
    assert_valid(sampler(z_BD, labels_B), labels_B, sampler)


@every_strategy
def test_a_class_of_one_image_is_a_negative_and_never_an_anchor(name, options):
    labels_B = torch.tensor([3, 8, 3])
    triplets = samplers.build(name, **options)(random_embeddings(3, 8, 0), labels_B)
    assert rows(triplets) == [(0, 2, (1,)), (2, 0, (1,))]


@every_strategy
@pytest.mark.parametrize("images_per_class", [None, 4])
def test_one_class_is_refused(name, options, images_per_class):
    sampler = samplers.build(name, images_per_class=images_per_class, **options)
    with pytest.raises(ValueError, match=r"All 4 images of the batch are of one class, so there are no negatives"):
        sampler(random_embeddings(4, 8, 0), torch.zeros(4, dtype=torch.int64))


@every_strategy
def test_classes_of_one_image_each_are_refused(name, options):
    with pytest.raises(ValueError, match=r"Each of the 5 images .* alone in its class, so there are no positives"):
        samplers.build(name, **options)(random_embeddings(5, 8, 0), torch.arange(5))


@every_strategy
def test_a_wrong_k_is_refused(name, options):
    sampler = samplers.build(name, images_per_class=3, **options)
    with pytest.raises(ValueError, match=r"images_per_class=3 .* classes with \[2, 4\]"):
        sampler(random_embeddings(6, 8, 0), torch.tensor([0, 0, 1, 1, 1, 1]))


@pytest.mark.parametrize("images_per_class", [None, 3])
@every_strategy
def test_a_repeated_image_is_never_its_own_positive(name, options, images_per_class):
    labels_B = torch.tensor([0, 1, 0, 1, 0, 1])
    image_ids_B = torch.tensor([5, 9, 5, 8, 4, 7])
    sampler = samplers.build(name, images_per_class=images_per_class, **options)
    triplets = sampler(random_embeddings(6, 8, 0), labels_B, image_ids_B)
    anchor_T, positive_T, _ = triplets
    assert (image_ids_B[anchor_T] != image_ids_B[positive_T]).all()
    assert (labels_B[anchor_T] == labels_B[positive_T]).all()
    assert len(anchor_T) == (6 if name == "batch_hard" else 12)
    with pytest.raises(ValueError, match=r"Class 0 .* one image.*data\.min_images_per_class=2"):
        samplers.build(name, images_per_class=3, **options)(random_embeddings(6, 8, 0), labels_B, labels_B)


@pytest.mark.parametrize(
    "labels",
    [
        [0] * 8,
        [0, 0, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 1, 1, 1],
        [0] * 8 + [1] * 4,
        [0] * 4 + [1] * 4 + [0] * 4,
        [0, 1],
    ],
)
def test_a_batch_without_the_passed_k_is_refused(labels):
    with pytest.raises(ValueError, match=r"images_per_class=4|All 8 images"):
        class_index(torch.tensor(labels), 4)


@pytest.mark.parametrize("together", [False, True])
def test_the_order_of_positives_is_the_same_with_k_passed_or_counted(together):
    mixed_B = pk_labels(9, 5, seed=2)
    labels_B = mixed_B.unique()[torch.randperm(9, generator=torch.Generator().manual_seed(0))].repeat_interleave(5)
    labels_B = labels_B if together else mixed_B
    with_known_size, counted = class_index(labels_B, 5), class_index(labels_B)
    assert torch.equal(with_known_size.positive_BR, counted.positive_BR)
    assert torch.equal(with_known_size.own_BK, counted.own_BK)
    assert torch.equal(with_known_size.valid_BR, counted.valid_BR)
    assert (with_known_size.runs is None) == together
    runs = MiningInputs(torch.zeros(45, 2), labels_B, with_known_size).runs_of_batch()
    assert all(torch.equal(left, right) for left, right in zip(runs, counted.runs, strict=True))


def test_a_repeated_image_is_replaced_by_the_next_different_one():
    labels_B = torch.zeros(6, dtype=torch.int64)
    labels_B[4:] = 1
    classes = class_index(labels_B, image_ids_B=torch.tensor([1, 1, 2, 3, 4, 4]))
    assert classes.positive_BR[:4].tolist() == [[2, 2, 3], [2, 3, 2], [3, 0, 1], [0, 1, 2]]
    assert classes.valid_BR.tolist() == [[True] * 3] * 4 + [[False] * 3] * 2


def test_embeddings_that_are_not_unit_vectors_are_refused():
    labels_B = torch.tensor([0, 0, 1, 1])
    sampler = samplers.build("random")
    z_BD = random_embeddings(4, 8, 0)
    for image, factor, message in (
        (2, 1.5, r"of norm 1, but that of image 2 has norm 1\.5\. .*torch\.nn\.functional\.normalize"),
        (1, 0.0, r"that of image 1 has norm 0\. A zero vector has no direction"),
        (3, math.nan, r"1 of 4 embeddings are not finite.* image 3"),
        (0, math.inf, r"1 of 4 embeddings are not finite.* image 0"),
    ):
        broken_BD = z_BD.clone()
        broken_BD[image] *= factor
        with pytest.raises(ValueError, match=message):
            sampler(broken_BD, labels_B)


@every_strategy
def test_nan_gives_valid_indices_with_finite_only_false(name, options):
    """In training, `StopOnNonFinite` gives a longer message. Every index must still be that of a candidate."""
    labels_B = pk_labels(5, 3, seed=6)
    z_BD = random_embeddings(15, 8, 6)
    z_BD[4] = math.nan
    sampler = samplers.build(name, finite_only=False, **options)
    selection = sampler.mine(z_BD, labels_B)
    candidates = len(selection.candidates_CD)
    assert all(((index >= 0) & (index < candidates)).all() for index in selection.triplets)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels_B": torch.zeros(4)}, r"labels must be integers, but got torch\.float32"),
        ({"image_ids_B": torch.zeros(3, dtype=torch.int64)}, r"image_ids .*\(4,\), but got \(3,\)"),
        ({"z_BD": torch.zeros(4, 8, dtype=torch.int64)}, r"embeddings of a floating type, but got torch\.int64"),
        (
            {"labels_B": torch.zeros(4, dtype=torch.int64, device="meta")},
            r"labels must be on the same device, .* cpu and meta",
        ),
    ],
)
def test_inputs_of_the_wrong_kind_are_refused(change, message):
    given = {"z_BD": random_embeddings(4, 8, 0), "labels_B": torch.tensor([0, 0, 1, 1])} | change
    with pytest.raises(ValueError, match=message):
        samplers.build("random")(**given)


def test_shapes_that_do_not_match_are_refused():
    sampler = samplers.build("random")
    with pytest.raises(ValueError, match=r"shape \(B, D\) and labels of shape \(B,\), but got \(4, 8\) and \(5,\)"):
        sampler(torch.zeros(4, 8), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"but got \(4,\) and \(4,\)"):
        sampler(torch.zeros(4), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("random", {"images_per_class": 1}, r"images_per_class must be at least 2 .* got 1\."),
        ("semi_hard", {"margin": 0.0}, r"margin.* must be above 0, but got 0\.0\."),
        ("semi_hard", {"margin": math.nan}, r"margin.* must be above 0, but got nan\."),
        ("semi_hard", {"choice": "hardest"}, r"choice must be 'uniform' or 'nearest', but got 'hardest'\."),
        ("semi_hard", {"distance": "cosine"}, r"distance must be one of plain, squared, but is 'cosine'\."),
        (
            "distance_weighted",
            {"cutoff": 0.5},
            r"0 < nearest < cutoff ≤ 2, but got nearest=0\.5 and cutoff=0\.5\.",
        ),
        (
            "distance_weighted",
            {"cutoff": 2.1},
            r"0 < nearest < cutoff ≤ 2, but got nearest=0\.5 and cutoff=2\.1\.",
        ),
        (
            "distance_weighted",
            {"nearest": 0.0},
            r"0 < nearest < cutoff ≤ 2, but got nearest=0\.0 and cutoff=1\.4\.",
        ),
        ("distance_weighted", {"weight_limit": 0.0}, r"weight_limit \(λ\) must be above 0, .* got 0\.0\."),
        ("random", {"num_negatives": 0}, r"num_negatives must be at least 1, but got 0\."),
        ("multi_similarity", {"epsilon": -0.1}, r"epsilon must be at least 0 .* got -0\.1\."),
        ("memory", {"size": 0}, r"size.* must be at least 1, but got 0\."),
        ("memory", {"strategy": "al"}, r"There is no sampler 'al'\. Did you mean 'all'\?"),
        ("memory", {"strategy": "all"}, r"memory needs strategies that list their triplets, but got AllSampler"),
        ("curriculum", {"stages": []}, r"`until` .* end at 1, but got \[\]"),
        ("curriculum", {"stages": [{"name": "hard", "until": 0.5}]}, r"`until` .* end at 1, but got \[0\.5\]"),
        ("curriculum", {"stages": [{"name": "all", "until": 1}]}, r"curriculum needs strategies that list"),
        ("semi_hard", {"margn": 0.2}, r"has no option 'margn'\. Did you mean 'margin'\?"),
        ("semihard", {}, r"There is no sampler 'semihard'\. Did you mean 'semi_hard'\?"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        samplers.build(name, **options)


def a_batch(seed=0):
    labels_B = pk_labels(8, 4, seed)
    return clustered_embeddings(labels_B, 8, 2.0, seed), labels_B


@every_drawing_strategy
def test_the_seed_decides_and_0_is_a_seed(name, options):
    draws = [rows(samplers.build(name, seed=seed, **options)(*a_batch())) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


@every_drawing_strategy
def test_each_call_draws_again(name, options):
    sampler = samplers.build(name, **options)
    assert rows(sampler(*a_batch())) != rows(sampler(*a_batch()))


@every_drawing_strategy
def test_a_checkpoint_continues_the_random_stream(name, options):
    sampler = samplers.build(name, **options)
    sampler(*a_batch())
    stored = sampler.state_dict()
    expected = [rows(sampler(*a_batch(seed))) for seed in range(3)]

    resumed = samplers.build(name, seed=99, **options)
    resumed.load_state_dict(stored)
    assert [rows(resumed(*a_batch(seed))) for seed in range(3)] == expected


@every_drawing_strategy
def test_the_checkpoint_of_an_unused_sampler_starts_from_the_seed(name, options):
    stored = samplers.build(name, **options).state_dict()
    used = samplers.build(name, **options)
    first = rows(used(*a_batch()))
    used.load_state_dict(stored)
    assert rows(used(*a_batch())) == first


@every_strategy
def test_global_random_numbers_are_neither_used_nor_changed(name, options):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = rows(samplers.build(name, **options)(*a_batch()))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert rows(samplers.build(name, **options)(*a_batch())) == first


def quantile(values, share):
    """Interpolate linearly between the two nearest of the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@every_strategy
def test_statistics_agree_with_a_loop(name, options):
    z_BD, labels_B = a_batch()
    oracle = Oracle(z_BD, labels_B)
    sampler = samplers.build(name, **options)
    selection = sampler.mine(z_BD, labels_B)
    triplets = rows(selection.triplets)
    d_ap = [oracle.d[a][p] for a, p, _ in triplets]
    d_an = [oracle.d[a][n] for a, _, (n,) in triplets]
    starved = {
        "semi_hard": lambda a, p: not oracle.window((a, p), 0.2, options.get("distance", "plain")),
        "memory": lambda a, p: options == {} and not oracle.window((a, p), 0.2, "plain"),
        "distance_weighted": lambda a, p: not oracle.near(a),
        "easy_positive": lambda a, p: all(d <= oracle.d[a][p] for d in (oracle.d[a][n] for n in oracle.negatives(a))),
        "multi_similarity": lambda a, p: (
            max(oracle.similarity(a, n) for n in oracle.negatives(a))
            <= min(oracle.similarity(a, p) for p in oracle.positives(a)) - 0.1
        ),
    }.get(name, lambda a, p: False)
    expected = {
        "fallback_share": sum(starved(a, p) for a, p, _ in triplets) / len(triplets),
        "violating_share": sum(an < ap for an, ap in zip(d_an, d_ap, strict=True)) / len(triplets),
        "distinct_negatives": len({n for _, _, (n,) in triplets}) / len(selection.candidates_CD),
    }
    for kind, values in (("d_ap", d_ap), ("d_an", d_an)):
        expected[f"{kind}_mean"] = sum(values) / len(values)
        expected |= {f"{kind}_q{round(100 * share)}": quantile(values, share) for share in (0.1, 0.5, 0.9)}
    reported = {key: value.item() for key, value in statistics_of(selection).items() if key != "stage"}
    assert reported == pytest.approx(expected, abs=2e-6)


def test_no_gradient_flows_through_the_choice():
    z_BD, labels_B = a_batch()
    sampler = samplers.build("hard")
    selection = sampler.mine(z_BD.requires_grad_(), labels_B)
    assert not selection.candidates_CD.requires_grad
    assert not any(value.requires_grad for value in statistics_of(selection).values())


def tensors_of(selection):
    """Return every tensor within a selection, by its name."""
    named = {f"triplets.{name}": each for name, each in selection.triplets._asdict().items()}
    named |= selection._asdict() | selection.statistics
    return {name: each for name, each in named.items() if isinstance(each, torch.Tensor)}


@pytest.mark.parametrize("entries", [None, 100])
@pytest.mark.parametrize("images_per_class", [None, 4])
@pytest.mark.parametrize(("name", "options"), [*VARIANTS, ("all", {}), ("random", {"num_negatives": 2})])
def test_a_selection_does_not_change_when_the_sampler_is_called_again(
    name, options, images_per_class, entries, monkeypatch
):
    """The batch has one tile or many, and the memory is overwritten several times."""
    if entries is not None:
        monkeypatch.setitem(TILE_ENTRIES, "cpu", entries)
    sampler = samplers.build(name, images_per_class=images_per_class, **options)
    sampler.mine(*a_batch(0))
    selection = sampler.mine(*a_batch(1), progress=0.5)
    kept = {key: each.clone() for key, each in tensors_of(selection).items()}
    statistics = {key: each.clone() for key, each in statistics_of(selection).items()}
    for seed in range(2, 5):
        sampler.mine(*a_batch(seed), progress=0.9)
    now = tensors_of(selection)
    assert {"candidates_CD"} < kept.keys() == now.keys()
    assert all(torch.equal(each, now[key]) for key, each in kept.items())
    assert all(torch.equal(each, statistics_of(selection)[key]) for key, each in statistics.items())


@pytest.mark.parametrize(("name", "options"), [*VARIANTS, ("all", {})])
def test_a_call_does_not_change_the_sampler(name, options):
    """Only the memory changes, and a checkpoint holds its state."""
    sampler = samplers.build(name, **options)
    sampler.mine(*a_batch(0))
    parts = [each for each in sampler.modules() if isinstance(each, samplers.Sampler)]
    before = [dict(vars(each)) for each in parts]
    sampler.mine(*a_batch(1), progress=0.9)
    for part, attributes in zip(parts, before, strict=True):
        assert vars(part).keys() == attributes.keys()
        assert all(vars(part)[key] is value for key, value in attributes.items())


@every_strategy
def test_calling_the_sampler_gives_the_triplets_of_the_selection(name, options):
    alone, whole = (samplers.build(name, **options) for _ in range(2))
    assert rows(alone(*a_batch())) == rows(whole.mine(*a_batch()).triplets)
    assert alone.state_dict().keys() == whole.state_dict().keys()
