"""What holds for every strategy: valid triplets, degenerate batches, its own random stream, honest statistics."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_oracles import Oracle, chosen, clustered_embeddings, pk_labels, random_embeddings

from siamese_lab import samplers

VARIANTS = [(name, {}) for name in samplers.available()] + [
    ("semi_hard", {"choice": "nearest"}),
    ("semi_hard", {"distance": "squared"}),
    ("distance_weighted", {"weight_limit": 10.0}),
]
DRAWING = [("random", {}), ("semi_hard", {"margin": 2.0}), ("distance_weighted", {})]
every_strategy = pytest.mark.parametrize(("name", "options"), VARIANTS)
every_drawing_strategy = pytest.mark.parametrize(("name", "options"), DRAWING)


def assert_valid(triplets, labels_B):
    """Every ordered (anchor, positive) pair once, each with an image of another class."""
    labels = labels_B.tolist()
    choice = chosen(triplets)
    images = range(len(labels))
    assert set(choice) == {(a, p) for a in images for p in images if a != p and labels[a] == labels[p]}
    assert all(0 <= negative < len(labels) for negative in choice.values())
    assert all(labels[pair.anchor] != labels[negative] for pair, negative in choice.items())
    assert {index.dtype for index in triplets} == {torch.int64}
    assert triplets.negative_TM.shape == (len(choice), 1)


@st.composite
def batches(draw):
    """Classes of any sizes, in any order, some images alike, of any floating type."""
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
    assert_valid(samplers.build(name, **options)(z_BD, labels_B), labels_B)


@every_strategy
@pytest.mark.parametrize(("classes", "images_per_class"), [(2, 2), (2, 5), (7, 2), (5, 4)])
def test_a_p_by_k_batch_gives_the_same_triplets_whether_k_is_told_or_counted(name, options, classes, images_per_class):
    labels_B = pk_labels(classes, images_per_class, seed=1)
    z_BD = clustered_embeddings(labels_B, 8, 1.0, seed=1)
    told = samplers.build(name, images_per_class=images_per_class, **options)(z_BD, labels_B)
    counted = samplers.build(name, **options)(z_BD, labels_B)
    assert_valid(told, labels_B)
    assert len(told.anchor_T) == classes * images_per_class * (images_per_class - 1)
    assert all(torch.equal(*columns) for columns in zip(told, counted, strict=True))


@every_strategy
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_distances_are_float32_whatever_comes_in(name, options, dtype):
    labels_B = pk_labels(6, 3, seed=2)
    z_BD = clustered_embeddings(labels_B, 64, 1.0, seed=2).to(dtype)
    as_given = samplers.build(name, **options)(z_BD, labels_B)
    in_float32 = samplers.build(name, **options)(z_BD.float(), labels_B)
    assert chosen(as_given) == chosen(in_float32)


@every_strategy
def test_all_embeddings_equal(name, options):
    labels_B = pk_labels(4, 3, seed=3)
    sampler = samplers.build(name, **options)
    assert_valid(sampler(random_embeddings(1, 16, 0).expand(12, 16), labels_B), labels_B)
    assert all(torch.isfinite(value) for value in sampler.statistics().values())


@every_strategy
def test_antipodes(name, options):
    """Distances of 0 and of 2, where 1/q is infinite."""
    labels_B = torch.tensor([0, 0, 1, 1])
    z_BD = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert_valid(samplers.build(name, **options)(z_BD, labels_B), labels_B)


@every_strategy
def test_a_class_of_one_image_is_a_negative_and_never_an_anchor(name, options):
    labels_B = torch.tensor([3, 8, 3])
    triplets = samplers.build(name, **options)(random_embeddings(3, 8, 0), labels_B)
    assert chosen(triplets) == {(0, 2): 1, (2, 0): 1}


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
def test_k_that_is_not_the_batch_s_is_refused(name, options):
    sampler = samplers.build(name, images_per_class=3, **options)
    with pytest.raises(ValueError, match=r"every class of a batch has 3 images, but there are classes with \[2, 4\]"):
        sampler(random_embeddings(6, 8, 0), torch.tensor([0, 0, 1, 1, 1, 1]))


def test_shapes_that_do_not_match_are_refused():
    sampler = samplers.build("random")
    with pytest.raises(ValueError, match=r"shape \(B, D\) and labels of shape \(B,\), but got \(4, 8\) and \(5,\)"):
        sampler(torch.zeros(4, 8), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"but got \(4,\) and \(4,\)"):
        sampler(torch.zeros(4), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("random", {"images_per_class": 1}, r"A positive needs images_per_class of at least 2, but it is 1\."),
        ("semi_hard", {"margin": 0.0}, r"The semi-hard window needs a margin above 0, but it is 0\.0\."),
        ("semi_hard", {"margin": math.nan}, r"needs a margin above 0, but it is nan\."),
        ("semi_hard", {"choice": "hardest"}, r"choice must be 'uniform' or 'nearest', but is 'hardest'\."),
        ("semi_hard", {"distance": "cosine"}, r"distance must be one of plain, squared, but is 'cosine'\."),
        ("distance_weighted", {"cutoff": 0.5}, r"needs 0 < nearest < cutoff ≤ 2, but nearest=0\.5 and cutoff=0\.5\."),
        ("distance_weighted", {"cutoff": 2.1}, r"needs 0 < nearest < cutoff ≤ 2, but nearest=0\.5 and cutoff=2\.1\."),
        ("distance_weighted", {"nearest": 0.0}, r"needs 0 < nearest < cutoff ≤ 2, but nearest=0\.0 and cutoff=1\.4\."),
        ("distance_weighted", {"weight_limit": 0.0}, r"weight_limit \(λ\) must be above 0, but is 0\.0\."),
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
    draws = [chosen(samplers.build(name, seed=seed, **options)(*a_batch())) for seed in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


@every_drawing_strategy
def test_each_call_draws_anew(name, options):
    sampler = samplers.build(name, **options)
    assert chosen(sampler(*a_batch())) != chosen(sampler(*a_batch()))


@every_drawing_strategy
def test_a_checkpoint_goes_on_with_the_same_random_stream(name, options):
    sampler = samplers.build(name, **options)
    sampler(*a_batch())
    stored = sampler.state_dict()
    expected = [chosen(sampler(*a_batch(seed))) for seed in range(3)]

    resumed = samplers.build(name, seed=99, **options)
    resumed.load_state_dict(stored)
    assert [chosen(resumed(*a_batch(seed))) for seed in range(3)] == expected


@every_drawing_strategy
def test_the_checkpoint_of_an_unused_sampler_starts_from_the_seed(name, options):
    stored = samplers.build(name, **options).state_dict()
    used = samplers.build(name, **options)
    first = chosen(used(*a_batch()))
    used.load_state_dict(stored)
    assert chosen(used(*a_batch())) == first


@every_strategy
def test_the_global_random_numbers_are_neither_used_nor_disturbed(name, options):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = chosen(samplers.build(name, **options)(*a_batch()))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert chosen(samplers.build(name, **options)(*a_batch())) == first


def quantile(values, share):
    """With linear interpolation between the two nearest of the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@every_strategy
def test_statistics_are_what_a_loop_says(name, options):
    z_BD, labels_B = a_batch()
    oracle = Oracle(z_BD, labels_B)
    sampler = samplers.build(name, **options)
    choice = chosen(sampler(z_BD, labels_B))
    d_ap = [oracle.d[pair.anchor][pair.positive] for pair in choice]
    d_an = [oracle.d[pair.anchor][negative] for pair, negative in choice.items()]
    starved = {
        "semi_hard": lambda pair: not oracle.window(pair, 0.2, options.get("distance", "plain")),
        "distance_weighted": lambda pair: not oracle.near(pair.anchor),
    }.get(name, lambda pair: False)
    expected = {
        "fallback_share": sum(map(starved, choice)) / len(choice),
        "violating_share": sum(an < ap for an, ap in zip(d_an, d_ap, strict=True)) / len(choice),
        "distinct_negatives": len(set(choice.values())) / len(labels_B),
    }
    for kind, values in (("d_ap", d_ap), ("d_an", d_an)):
        expected[f"{kind}_mean"] = sum(values) / len(values)
        expected |= {f"{kind}_q{round(100 * share)}": quantile(values, share) for share in (0.1, 0.5, 0.9)}
    reported = {key: value.item() for key, value in sampler.statistics().items()}
    assert reported == pytest.approx(expected, abs=2e-6)


def test_no_gradient_flows_through_the_choice():
    z_BD, labels_B = a_batch()
    sampler = samplers.build("hard")
    sampler(z_BD.requires_grad_(), labels_B)
    assert not any(value.requires_grad for value in sampler.statistics().values())
