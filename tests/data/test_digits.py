"""Digits 0–5 are for training, other images of 0–5 for validation, and 6–9 for testing."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from siamese_lab import data
from siamese_lab.data.sets import digits
from siamese_lab.data.sets.digits import Digits


@pytest.fixture(scope="module")
def splits():
    return data.build("digits", image_size=8).splits


def test_train_and_test_share_no_class_and_train_and_validation_all(splits):
    assert splits.train.class_names == splits.validation.class_names == tuple("012345")
    assert splits.test.class_names == tuple("6789")


def test_every_image_is_in_one_part_and_every_fifth_seen_one_is_held_out(splits):
    counts = torch.from_numpy(load_digits().target).bincount()
    assert splits.validation.labels_N.bincount().tolist() == [int(count) // 5 for count in counts[:6]]
    assert (splits.train.labels_N.bincount() + splits.validation.labels_N.bincount()).tolist() == counts[:6].tolist()
    assert splits.test.labels_N.bincount().tolist() == counts[6:].tolist()


def test_no_validation_image_is_trained_on(splits):
    images = [set(map(bytes, table.images_NCHW.flatten(1).numpy())) for table in splits]
    assert [len(each) for each in images] == [len(table) for table in splits], "the digits have no duplicate images"
    assert images[0].isdisjoint(images[1])


def test_images_are_the_originals_from_0_to_255(splits):
    bunch = load_digits()
    unseen_N = bunch.target >= 6
    expected = torch.from_numpy(bunch.images[unseen_N]) * 255 / 16
    torch.testing.assert_close(splits.test.images_NCHW[:, 0].double(), expected, atol=0.5, rtol=0)
    assert (splits.test.labels_N + 6).tolist() == bunch.target[unseen_N].tolist()


@pytest.mark.parametrize("image_size", [16, 28])
def test_images_are_enlarged(splits, image_size):
    enlarged = Digits(image_size=image_size).splits.test.images_NCHW
    assert enlarged.shape == (len(splits.test), 1, image_size, image_size)
    assert enlarged.dtype == torch.uint8
    smooth = F.interpolate(splits.test.images_NCHW.float(), (image_size, image_size), mode="bilinear")
    torch.testing.assert_close(enlarged.float(), smooth, atol=1.5, rtol=0)


def test_batches_can_be_drawn_from_it():
    built = data.build("digits", classes_per_batch=6, images_per_class=4)
    built.setup("fit")
    batch = next(iter(built.train_dataloader()))
    assert batch.images_BCHW.shape == (24, built.channels, built.image_size, built.image_size)
    assert batch.labels_B.bincount().tolist() == [4] * 6
    assert sum(len(each.labels_B) for loader in built.test_dataloader() for each in loader) == len(built.splits.test)


@pytest.mark.parametrize("file", ["sklearn/datasets/data/digits.csv.gz", "sklearn/moved.csv.gz"])
def test_the_digits_are_those_of_load_digits_also_if_the_file_has_moved(file, monkeypatch):
    monkeypatch.setattr(digits, "FILE", file)
    bunch = load_digits()
    values_NHW, labels_N = digits.read_digits()
    assert torch.equal(values_NHW, torch.from_numpy(bunch.images))
    assert labels_N.tolist() == bunch.target.tolist()
