"""P×K batches: balanced, every class once a round, every epoch whole, and resumable to the bit."""

import io
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese_lab.data.image_table import ImageTable
from siamese_lab.data.pk_batches import PKBatches


def table_of(*sizes):
    """One pixel per image, its number; classes in turn, so that their images are scattered."""
    labels = [label for turn in range(max(sizes)) for label, size in enumerate(sizes) if turn < size]
    images_NCHW = torch.arange(len(labels), dtype=torch.uint8).reshape(-1, 1, 1, 1)
    return ImageTable(images_NCHW, torch.tensor(labels), tuple(f"class{label}" for label in range(len(sizes))))


def drawn(batch):
    return list(zip(batch.images_BCHW.flatten().tolist(), batch.labels_B.tolist(), strict=True))


def epochs(batches, count):
    return [drawn(batch) for _ in range(count) for batch in batches]


@st.composite
def cases(draw):
    sizes = draw(st.lists(st.integers(2, 7), min_size=2, max_size=9))
    return sizes, draw(st.integers(2, len(sizes))), draw(st.integers(2, min(sizes))), draw(st.integers(0, 1000))


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_every_batch_has_p_classes_of_k_different_images(case):
    sizes, classes, images, seed = case
    table = table_of(*sizes)
    batches = PKBatches(table, classes, images, seed)
    seen = epochs(batches, 3)
    assert len(seen) == 3 * len(batches)
    assert len(batches) == max(1, sum(sizes) // (classes * images))
    for batch in seen:
        assert set(Counter(label for _, label in batch).values()) == {images}
        assert len({label for _, label in batch}) == classes
        assert len(set(batch)) == classes * images
        assert all(table.labels_N[image] == label for image, label in batch)


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_every_class_comes_once_before_any_comes_again(case):
    sizes, classes, images, seed = case
    seen = epochs(PKBatches(table_of(*sizes), classes, images, seed), 5)
    stream = [label for batch in seen for _, label in batch[::images]]
    whole_rounds = len(stream) // len(sizes)
    for start in range(0, whole_rounds * len(sizes), len(sizes)):
        assert sorted(stream[start : start + len(sizes)]) == list(range(len(sizes)))


def test_every_image_of_a_class_is_as_likely():
    batches = PKBatches(table_of(5, 9), 2, 2)
    counts = Counter(image for batch in epochs(batches, 700) for image, label in batch if label == 0)
    expected = 2 * 700 * len(batches) / 5
    assert len(counts) == 5
    assert all(abs(count - expected) < 5 * (expected * 3 / 5) ** 0.5 for count in counts.values())


def test_repeats_show_each_image_once_before_any_again():
    seen = epochs(PKBatches(table_of(1, 2, 3, 8), 4, 5, repeats=True), 20)
    for batch in seen:
        times = {label: Counter(image for image, of in batch if of == label) for label in range(4)}
        assert [len(times[label]) for label in range(4)] == [1, 2, 3, 5]
        assert all(max(count.values()) - min(count.values()) <= 1 for count in times.values())


def test_the_seed_decides_and_0_is_a_seed():
    first, again, other = (epochs(PKBatches(table_of(4, 4, 4, 4), 2, 2, seed), 2) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_global_random_numbers_are_neither_used_nor_disturbed():
    before = torch.get_rng_state()
    epochs(PKBatches(table_of(4, 4, 4), 2, 2), 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_next_epoch_goes_on_and_does_not_begin_again():
    batches = PKBatches(table_of(6, 6, 6, 6, 6), 2, 3)
    assert epochs(batches, 1) != epochs(batches, 1)


@pytest.mark.parametrize("taken", range(9))
def test_a_stored_stream_goes_on_with_equal_batches(taken):
    """Four batches an epoch: stored before, inside, between and at the end of epochs, and through a file."""
    table = table_of(5, 5, 5, 5, 5)
    uninterrupted = epochs(PKBatches(table, 3, 2), 6)

    batches = PKBatches(table, 3, 2)
    assert len(batches) == 4
    before, stream = [], iter(batches)
    for _ in range(taken):
        batch = next(stream, None)
        if batch is None:
            stream = iter(batches)
            batch = next(stream)
        before.append(drawn(batch))
    file = io.BytesIO()
    torch.save(batches.state_dict(), file)
    next(stream, None)  # what is drawn after storing changes nothing

    file.seek(0)
    resumed = PKBatches(table, 3, 2, seed=77)
    resumed.load_state_dict(torch.load(file))
    rest = epochs(resumed, 1)
    assert len(rest) == (4 - taken % 4), "the rest of the epoch, or a whole one after its end"
    assert before + rest + epochs(resumed, 2) == uninterrupted[: taken + len(rest) + 8]


def test_an_epoch_whose_last_batch_was_the_last_asked_for_is_over():
    """A trainer that knows the length stops there, and never sees the iterator end."""
    batches = PKBatches(table_of(4, 4, 4), 2, 2)
    seen = []
    for _ in range(3):
        stream = iter(batches)
        seen += [drawn(next(stream)) for _ in range(len(batches))]
    assert seen == epochs(PKBatches(table_of(4, 4, 4), 2, 2), 3)


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        ((4, 4), (2, 1), r"need at least 2 images per class, .* but data\.images_per_class is 1\."),
        ((4, 4), (1, 2), r"need at least 2 classes, .* but data\.classes_per_batch is 1\."),
        (
            (4, 4, 4),
            (4, 2),
            r"P×K batches of 4 classes .* there are 3\. Set data\.classes_per_batch=3 or less\.",
        ),
        (
            (4, 1, 4, 2),
            (2, 3),
            r"P×K batches need 3 images per class, but 2 of 4 classes have fewer, such as class 1 \('class1'\) with 1\."
            r" Set data\.min_images_per_class=3 to leave such classes out, data\.repeats=true",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(sizes, options, message):
    with pytest.raises(ValueError, match=message):
        PKBatches(table_of(*sizes), *options)


def test_an_empty_class_is_refused_even_with_repeats():
    table = table_of(3, 3, 3)
    with pytest.raises(ValueError, match=r"such as class 1 \('class1'\) with 0\."):
        PKBatches(table.rows((table.labels_N != 1).nonzero().squeeze(1)), 2, 2, repeats=True)
