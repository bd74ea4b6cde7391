"""P×K batches are balanced and resume bit for bit; every class occurs once per round, and every epoch is complete."""

import io
import subprocess
import sys
from collections import Counter
from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese_lab.data import pk_batches
from siamese_lab.data.class_index import class_offsets
from siamese_lab.data.pk_batches import PKBatches
from siamese_lab.data.tables.image_table import ImageTable


def table_of(*sizes):
    """Return a table of one-pixel images. The pixel is the image's number, and the images of a class are scattered."""
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
def test_every_class_occurs_once_before_any_occurs_again(case):
    sizes, classes, images, seed = case
    seen = epochs(PKBatches(table_of(*sizes), classes, images, seed), 5)
    stream = [label for batch in seen for _, label in batch[::images]]
    whole_rounds = len(stream) // len(sizes)
    for start in range(0, whole_rounds * len(sizes), len(sizes)):
        assert sorted(stream[start : start + len(sizes)]) == list(range(len(sizes)))


def test_images_of_a_class_are_equally_likely():
    batches = PKBatches(table_of(5, 9), 2, 2)
    counts = Counter(image for batch in epochs(batches, 700) for image, label in batch if label == 0)
    expected = 2 * 700 * len(batches) / 5
    assert len(counts) == 5
    assert all(abs(count - expected) < 5 * (expected * 3 / 5) ** 0.5 for count in counts.values())


def test_repeats_show_each_image_once_before_any_again():
    seen = epochs(PKBatches(table_of(2, 3, 4, 8), 4, 5, repeats=True), 20)
    for batch in seen:
        times = {label: Counter(image for image, of in batch if of == label) for label in range(4)}
        assert [len(times[label]) for label in range(4)] == [2, 3, 4, 5]
        assert all(max(count.values()) - min(count.values()) <= 1 for count in times.values())
    twice = Counter(image for batch in seen for image, count in Counter(batch).items() if count == 3)
    assert len(twice) == 2, "a random draw decides which of two images is shown more often"


def test_a_batch_has_image_ids_if_images_may_repeat():
    for batch in PKBatches(table_of(2, 3, 4, 8), 3, 4, repeats=True):
        assert torch.equal(batch.image_ids_B, batch.images_BCHW.flatten().long()), "a pixel is the image's number"
        for label in batch.labels_B.unique():
            assert len(batch.image_ids_B[batch.labels_B == label].unique()) >= 2, "every anchor has a positive"
    assert all(batch.image_ids_B is None for batch in PKBatches(table_of(4, 5, 6), 2, 4, repeats=True))


def test_repeats_may_be_positives_and_then_one_image_is_enough_for_a_class():
    table = table_of(1, 2, 4)
    batches = PKBatches(table, 3, 4, repeats=True, repeats_are_positives=True)
    for batch in batches:
        assert batch.image_ids_B is None, "an image may be paired with itself"
        shown = {label: set(batch.images_BCHW[batch.labels_B == label].flatten().tolist()) for label in range(3)}
        assert [len(shown[label]) for label in range(3)] == [1, 2, 4]
    with pytest.raises(ValueError, match="need 2 images per class"):
        PKBatches(table, 3, 4, repeats=True)
    with pytest.raises(ValueError, match="need 4 images per class"):
        PKBatches(table, 3, 4, repeats_are_positives=True)


@settings(max_examples=30, deadline=None)
@given(case=cases(), ranks=st.sampled_from([1, 2, 3, 4]), repeats=st.booleans())
def test_processes_together_see_the_batches_of_one(case, ranks, repeats):
    sizes, classes, images, seed = case
    sizes = sizes * ranks
    build = partial(PKBatches, table_of(*sizes), classes * ranks, images + 2 * repeats, seed, repeats=repeats)
    alone = epochs(build(), 2)
    shares = []
    for rank in range(ranks):
        batches = build()
        batches.split_between_processes(rank, ranks)
        shares.append(epochs(batches, 2))
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == alone


def test_classes_that_processes_cannot_share_are_refused():
    with pytest.raises(ValueError, match=r"3 classes.*data\.classes_per_batch.*2 processes"):
        PKBatches(table_of(4, 4, 4), 3, 2).split_between_processes(0, 2)


@pytest.mark.parametrize("length", [1, 3, 100])
def test_the_length_of_an_epoch_can_be_chosen_and_the_stream_stays_the_same(length):
    table = table_of(5, 5, 5, 5, 5)
    chosen = PKBatches(table, 3, 2, batches_per_epoch=length)
    assert len(chosen) == length
    seen = epochs(chosen, 3)
    assert len(seen) == 3 * length
    assert seen == epochs(PKBatches(table, 3, 2), 3 * length // 4 + 1)[: 3 * length]


def test_looking_ahead_does_not_advance_the_stream(monkeypatch):
    """The table requests many batches before it yields one, across several draws."""
    monkeypatch.setattr(pk_batches, "AT_ONCE", 18)
    table = table_of(5, 5, 5, 5, 5)
    expected = epochs(PKBatches(table, 3, 2, batches_per_epoch=20), 2)

    class Ahead(ImageTable):
        def fetch(self, indices):
            return super().fetch(list(indices))

    ahead = Ahead(table.images_NCHW, table.labels_N, table.class_names)
    batches = PKBatches(ahead, 3, 2, batches_per_epoch=20)
    stream = iter(batches)
    seen = [drawn(next(stream)) for _ in range(7)]
    resumed = PKBatches(ahead, 3, 2, seed=5, batches_per_epoch=20)
    resumed.load_state_dict(batches.state_dict())
    assert seen + epochs(resumed, 1) + epochs(resumed, 1) == expected
    assert seen + epochs(batches, 1) == expected[:27], "an interrupted epoch continues at the same batch"


def test_sets_and_orders_of_k_images_are_equally_likely():
    """Floyd's method with a shuffle draws all 60 ordered triples of 5 images equally often (χ², 59 df)."""
    batches = PKBatches(table_of(5, 5), 2, 3, batches_per_epoch=6000)
    counts = Counter(tuple(image for image, of in batch if of == 0) for batch in epochs(batches, 1))
    assert len(counts) == 60
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 115  # exceeded by chance once in 60,000


def floyd(size, noise):
    """Draw numbers below n by Bentley & Floyd's method as published: one per noise value, or all of them."""
    chosen = []
    for j, share in enumerate(noise, max(0, size - len(noise))):
        t = int(share * (j + 1))
        chosen.append(j if t in chosen else t)
    return chosen[:size]


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(2, 9), min_size=1, max_size=9), images=st.integers(2, 6), seed=st.integers(0, 99))
def test_images_of_a_class_are_chosen_and_ordered_as_by_plain_loops(sizes, images, seed):
    choice, order = np.random.default_rng(seed).random((2, len(sizes), images))
    chosen_KR = pk_batches._some_of(np.array(sizes), choice)
    assert np.array_equal(chosen_KR, pk_batches._some_of(np.array(sizes, np.int32), choice))
    order_RK = pk_batches._random_order(np.array(sizes), order.astype(np.float32))
    for row, size in enumerate(sizes):
        assert chosen_KR[:size, row].tolist() == floyd(size, choice[row])
        once = sorted(range(min(size, images)), key=lambda number: order[row, number])
        assert order_RK[row].tolist() == (once * images)[:images]


def test_offsets_of_classes_are_those_of_a_stable_sort():
    generator = torch.Generator().manual_seed(0)
    for classes in (3, 70_000, 200_000):
        for labels_N in (torch.randint(0, classes, (50_000,), generator=generator), torch.arange(classes)):
            order_N, start_C, size_C = class_offsets(labels_N, classes)
            assert torch.equal(order_N.long(), labels_N.argsort(stable=True))
            assert torch.equal(size_C.long(), labels_N.bincount(minlength=classes))
            assert torch.equal(start_C.long(), size_C.cumsum(0) - size_C)


START = """
import resource, sys, time, torch
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.data.pk_batches import PKBatches

torch.set_num_threads(1)
images, classes = int(sys.argv[1]), int(sys.argv[2])
labels_N = torch.arange(images) % classes
pixels = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(images, 1, 1, 1)
table = ImageTable(pixels, labels_N, tuple(map(str, range(classes))))
next(iter(PKBatches(ImageTable(pixels[:100], labels_N[:100] % 10, tuple("0123456789")), 5, 2)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
next(iter(PKBatches(table, 32, 4)))
print(time.process_time() - started, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_ten_million_images_of_a_million_classes_start_in_two_seconds_and_300_mb():
    """Until the first batch, seconds of one core and MiB beyond the table are measured. The classes are scattered."""
    ended = subprocess.run(
        [sys.executable, "-c", START, "10000000", "1000000"], capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, ended.stdout.split())
    assert seconds < 2
    assert megabytes < 300


def test_the_seed_decides_and_0_is_a_seed():
    first, again, other = (epochs(PKBatches(table_of(4, 4, 4, 4), 2, 2, seed), 2) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_global_random_numbers_are_neither_used_nor_changed():
    before = torch.get_rng_state()
    epochs(PKBatches(table_of(4, 4, 4), 2, 2), 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_next_epoch_continues_the_stream():
    batches = PKBatches(table_of(6, 6, 6, 6, 6), 2, 3)
    assert epochs(batches, 1) != epochs(batches, 1)


@pytest.mark.parametrize("taken", range(9))
def test_a_stored_stream_continues_with_equal_batches(taken):
    """Each epoch has four batches. The state is stored in a file before, inside, between and at the end of epochs."""
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
    next(stream, None)  # later draws must not change the stored state

    file.seek(0)
    resumed = PKBatches(table, 3, 2, seed=77)
    resumed.load_state_dict(torch.load(file))
    rest = epochs(resumed, 1)
    assert len(rest) == (4 - taken % 4), "the rest of the epoch, or a whole epoch after its end"
    assert before + rest + epochs(resumed, 2) == uninterrupted[: taken + len(rest) + 8]


def test_an_epoch_is_over_after_its_last_batch():
    """A trainer stops after `len` batches and never reaches the end of the iterator."""
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
            r"P×K batches of 4 classes .* there are 3\. Set data\.classes_per_batch=3 or less, with the same number",
        ),
        (
            (4, 1, 4, 2),
            (2, 3),
            r"P×K batches need 3 images per class, but 2 of 4 classes have fewer, such as class 1 \('class1'\) with 1\."
            r" Set data\.min_images_per_class=3 to skip such classes, data\.repeats=true",
        ),
    ],
)
def test_inconsistent_classes_and_options_are_refused(sizes, options, message):
    with pytest.raises(ValueError, match=message):
        PKBatches(table_of(*sizes), *options)


def test_a_class_without_a_pair_is_refused_even_with_repeats():
    with pytest.raises(ValueError, match=r"need 2 images per class, .* class 1 \('class1'\) with 1\. Set data\.min"):
        PKBatches(table_of(3, 1, 3), 2, 2, repeats=True)


def test_an_epoch_of_no_batches_is_refused():
    with pytest.raises(ValueError, match=r"data\.batches_per_epoch must be at least 1, but is 0\."):
        PKBatches(table_of(3, 3), 2, 2, batches_per_epoch=0)
