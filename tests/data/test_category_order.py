"""Batches balanced by category have exact shares, show every class, and resume bit for bit."""

import io
from collections import Counter
from functools import partial
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese_lab import data
from siamese_lab.data import pk_batches
from siamese_lab.data.category_order import CategoryOrder
from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.pk_batches import PKBatches
from siamese_lab.data.rounds import take_in_rounds
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError


def table_of(classes, images=3):
    labels_N = torch.arange(classes * images) % classes
    pixels = torch.arange(classes * images, dtype=torch.uint8).view(-1, 1, 1, 1)
    return ImageTable(pixels, labels_N, tuple(f"class{label}" for label in range(classes)))


def batches_of(sizes, share, categories, seed=0, **options):
    """Return batches of categories with the given numbers of classes; classes of a category are scattered."""
    category_C = torch.tensor([category for category, size in enumerate(sizes) for _ in range(size)])
    category_C = category_C[torch.randperm(len(category_C), generator=torch.Generator().manual_seed(seed))]
    table, classes = table_of(len(category_C)), share * categories
    order = CategoryOrder(10 * category_C - 7, classes, categories, table.class_names)
    return PKBatches(table, classes, 2, seed, order=order, **options), category_C.tolist()


def drawn(batch):
    return list(zip(batch.images_BCHW.flatten().tolist(), batch.labels_B.tolist(), strict=True))


def classes_of(batches, epochs=1):
    return [batch.labels_B[::2].tolist() for _ in range(epochs) for batch in batches]


@st.composite
def cases(draw):
    share = draw(st.integers(1, 3))
    sizes = draw(st.lists(st.integers(share, 9), min_size=2, max_size=6))
    categories = draw(st.integers(2 if share == 1 else 1, len(sizes)))
    return sizes, share, categories, draw(st.integers(0, 999))


def in_rounds(stream, numbers):
    """Return whether every number occurs once before any occurs again."""
    rounds = [stream[start : start + numbers] for start in range(0, len(stream), numbers)]
    return all(len(set(each)) == len(each) for each in rounds)


@settings(max_examples=50, deadline=None)
@given(case=cases(), at_once=st.sampled_from([1, 60, 1 << 15]))
def test_shares_are_exact_and_categories_and_classes_come_in_rounds(case, at_once):
    sizes, share, categories, seed = case
    pk_batches.AT_ONCE, before = at_once, pk_batches.AT_ONCE
    try:
        batches, category_of = batches_of(sizes, share, categories, seed, batches_per_epoch=25)
        seen = classes_of(batches, 2)
    finally:
        pk_batches.AT_ONCE = before
    stream, streams = [], {category: [] for category in range(len(sizes))}
    for classes in seen:
        assert len(set(classes)) == len(classes) == share * categories
        assert set(Counter(category_of[each] for each in classes).values()) == {share}
        assert len({category_of[each] for each in classes}) == categories
        stream += [category_of[each] for each in classes[::share]]
        for each in classes:
            streams[category_of[each]].append(each)
    assert in_rounds(stream, len(sizes)), "every category once before any again"
    assert max(Counter(stream).values()) - min(Counter(stream)[each] for each in range(len(sizes))) <= 1
    for category, size in enumerate(sizes):
        assert in_rounds(streams[category], size), "every class of a category once before any again"


def test_every_class_is_seen_in_an_epoch_of_enough_batches():
    """Twelve batches of two of four categories: each category comes six times, with 12 classes."""
    for sizes, epochs in (([12, 12, 6, 4], 3), ([12, 11, 7, 5], 1)):
        batches, category_of = batches_of(sizes, 2, 2, batches_per_epoch=12)
        for _ in range(epochs):
            assert set(chain(*classes_of(batches))) == set(range(len(category_of)))


def test_one_category_gives_all_classes_of_a_batch():
    batches, category_of = batches_of([5, 6, 7], 3, 1, batches_per_epoch=6)
    of_batches = [{category_of[each] for each in classes} for classes in classes_of(batches)]
    assert all(len(each) == 1 for each in of_batches)
    assert Counter(next(iter(each)) for each in of_batches) == {0: 2, 1: 2, 2: 2}


def test_batches_without_categories_are_those_of_plain_loops():
    """`take_in_rounds` without an order: permutations of the noise, with classes of an open batch moved to the end."""
    generator, again = (torch.Generator().manual_seed(3) for _ in range(2))
    queue, expected = torch.empty(0, dtype=torch.int64), []
    taken = []
    for _ in range(5):
        some, queue = take_in_rounds(queue, 6, 4, 3, generator)
        taken += some.tolist()
    while len(expected) < len(taken):
        fresh = torch.rand(4, generator=again, dtype=torch.float64).argsort().tolist()
        group = expected[len(expected) // 3 * 3 :]
        expected += [each for each in fresh if each not in group] + [each for each in fresh if each in group]
    assert taken == expected[: len(taken)]


@settings(max_examples=20, deadline=None)
@given(case=cases(), ranks=st.sampled_from([2, 3]))
def test_processes_together_see_the_batches_of_one(case, ranks):
    sizes, share, categories, seed = case
    build = partial(batches_of, [size * ranks for size in sizes], share * ranks, categories, seed)
    alone = [drawn(batch) for batch in build()[0]]
    shares = []
    for rank in range(ranks):
        batches, _ = build()
        batches.split_between_processes(rank, ranks)
        shares.append([drawn(batch) for batch in batches])
    assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == alone


def test_the_seed_decides():
    first, again = (classes_of(batches_of([5, 6, 7], 2, 2)[0], 3) for _ in range(2))
    order = CategoryOrder(torch.arange(18) % 3, 4, 2, table_of(18).class_names)
    one, other = (classes_of(PKBatches(table_of(18), 4, 2, seed, order=order)) for seed in (0, 1))
    assert first == again
    assert one != other


@pytest.mark.parametrize("taken", range(12))
def test_a_stored_stream_continues_with_equal_batches(taken, monkeypatch):
    monkeypatch.setattr(pk_batches, "AT_ONCE", 24)  # three batches at once
    build = partial(batches_of, [5, 6, 7], 2, 2, batches_per_epoch=20)
    uninterrupted = [drawn(batch) for batch in build()[0]]
    batches, _ = build()
    stream = iter(batches)
    before = [drawn(next(stream)) for _ in range(taken)]
    file = io.BytesIO()
    torch.save(batches.state_dict(), file)
    next(stream)
    file.seek(0)
    resumed, _ = build()
    resumed.generator.manual_seed(77)
    resumed.load_state_dict(torch.load(file))
    assert before + [drawn(batch) for batch in resumed] == uninterrupted


@pytest.mark.parametrize(
    ("sizes", "share", "categories", "message"),
    [
        ([4, 4], 2, 3, r"categories_per_batch=3 categories need as many.*there are 2"),
        ([4, 1, 4, 2], 3, 2, r"gives 3 classes, but the category of class 'class\d+' has 1\. 2 of 4 categories"),
    ],
)
def test_categories_that_do_not_suffice_are_refused(sizes, share, categories, message):
    with pytest.raises(UserError, match=message):
        batches_of(sizes, share, categories)


class Furniture(DataModule):
    channels = image_size = 1

    def load(self):
        return Splits(table_of(8), table_of(2), table_of(2))

    @property
    def categories(self):
        return torch.tensor([int(name[-1]) % 2 for name in self.splits.train.class_names])


def test_a_data_set_balances_its_batches_by_its_categories():
    module = Furniture(classes_per_batch=4, images_per_class=2, categories_per_batch=2)
    module.setup("fit")
    for batch in module.train_dataloader():
        assert sorted(batch.labels_B[::2] % 2) == [0, 0, 1, 1]
    assert Furniture(classes_per_batch=4, images_per_class=2).batches.order is None


def test_a_set_without_categories_refuses_the_option():
    module = data.build("digits", classes_per_batch=4, categories_per_batch=2)
    with pytest.raises(UserError, match=r"categories_per_batch=2 needs the category of each class.*Digits have none"):
        module.setup("fit")


@pytest.mark.parametrize("number", [0, -2, 3, 2.0, "two", True])
def test_a_number_that_does_not_divide_the_classes_is_refused(number):
    with pytest.raises(UserError, match=rf"categories_per_batch.*divides data\.classes_per_batch=8.*is {number}"):
        data.build("digits", classes_per_batch=8, categories_per_batch=number)
