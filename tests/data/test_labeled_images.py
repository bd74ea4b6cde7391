"""Images and labels of a program become a data set; wrong ones are named with what was expected."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import siamese_lab as sl
from siamese_lab.data.labeled_images import table_of
from siamese_lab.errors import UserError

N, CLASSES = 60, 20
LABELS_N = torch.arange(N) % CLASSES
IMAGES_NCHW = torch.randint(0, 256, (N, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Items(Dataset):
    """A data set of PyTorch with the given items."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> Any:
        return self.items[row]


class Stream(IterableDataset):
    """A data set of PyTorch without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class StreamWithLength(Stream):
    """A data set of PyTorch with a length, but without an index."""

    def __len__(self) -> int:
        return 3


FORMS = {
    "tensors": (IMAGES_NCHW, LABELS_N),
    "arrays": (IMAGES_NCHW.numpy(), LABELS_N.numpy()),
    "a list of labels": (IMAGES_NCHW, LABELS_N.tolist()),
    "a data set of tensors": TensorDataset(IMAGES_NCHW, LABELS_N),
    "a data set of pictures": Items(
        [
            (Image.fromarray(image.movedim(0, -1).numpy()), int(label))
            for image, label in zip(IMAGES_NCHW, LABELS_N, strict=True)
        ]
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_table(form: str) -> None:
    table = table_of("images", FORMS[form])
    assert torch.equal(table.images_NCHW, IMAGES_NCHW) and torch.equal(table.labels_N, LABELS_N)
    assert table.class_names == tuple(map(str, range(CLASSES)))


def test_labels_may_be_texts_or_have_gaps() -> None:
    texts = table_of("images", (IMAGES_NCHW[:4], ["dog", "cat", "dog", "cat"]))
    assert (texts.class_names, texts.labels_N.tolist()) == (("cat", "dog"), [1, 0, 1, 0])
    gaps = table_of("images", (IMAGES_NCHW[:4], [70, -5, 70, -5]))
    assert (gaps.class_names, gaps.labels_N.tolist()) == (("-5", "70"), [1, 0, 1, 0])


def test_gray_pictures_get_one_channel() -> None:
    table = table_of("images", Items([(Image.new("L", (8, 8), 9), 0), (Image.new("L", (8, 8), 7), 1)]))
    assert table.images_NCHW.shape == (2, 1, 8, 8)


def test_pictures_with_a_palette_get_their_colors() -> None:
    red, blue = (Image.new("RGB", (8, 8), color).quantize(2) for color in ((200, 0, 0), (0, 0, 100)))
    assert (red.mode, np.unique(red).tolist()) == ("P", [0]), "the index of the color in the palette"
    table = table_of("images", Items([(red, 0), (blue, 1)]))
    assert table.images_NCHW[:, :, 0, 0].tolist() == [[200, 0, 0], [0, 0, 100]]
    black_and_white = table_of("images", Items([(Image.new("1", (8, 8), white), white) for white in (0, 1)]))
    assert black_and_white.images_NCHW[:, :, 0, 0].tolist() == [[0], [255]]


def test_texts_of_pandas_are_labels() -> None:
    texts = pd.Series(["dog", "cat"] * 2)
    for labels in (texts, texts.to_numpy(dtype=object), texts.astype("category")):
        table = table_of("images", (IMAGES_NCHW[:4], labels))
        assert (table.class_names, table.labels_N.tolist()) == (("cat", "dog"), [1, 0, 1, 0])


@pytest.mark.filterwarnings("error")
def test_views_and_arrays_that_are_only_read_are_images() -> None:
    pixels = IMAGES_NCHW.numpy()[:, ::-1]  # from BGR to RGB
    assert torch.equal(table_of("images", (pixels, LABELS_N)).images_NCHW, IMAGES_NCHW.flip(1))
    pixels = IMAGES_NCHW.numpy().copy()
    pixels.flags.writeable = False
    assert torch.equal(table_of("images", (pixels, LABELS_N)).images_NCHW, IMAGES_NCHW)


def of_classes(*labels: int) -> tuple[Tensor, Tensor]:
    chosen_N = torch.isin(LABELS_N, torch.tensor(labels))
    return IMAGES_NCHW[chosen_N], LABELS_N[chosen_N]


def test_parts_that_are_not_passed_are_held_out_by_class(capsys: pytest.CaptureFixture[str]) -> None:
    images = sl.LabeledImages((IMAGES_NCHW, LABELS_N))
    assert capsys.readouterr().err.startswith("Held out of the 20 classes: 4 for test, 3 for validation.")
    names = [set(table.class_names) for table in images.splits]
    assert [len(each) for each in names] == [13, 3, 4]
    assert len(set.union(*names)) == CLASSES
    assert images.classes_per_batch == 13, "fewer classes than 16"
    label_of = {image.numpy().tobytes(): str(int(label)) for image, label in zip(IMAGES_NCHW, LABELS_N, strict=True)}
    for table in images.splits:
        names = [table.class_names[label] for label in table.labels_N]
        assert names == [label_of[image.numpy().tobytes()] for image in table.images_NCHW]


def test_parts_that_are_passed_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    train, validation, test = of_classes(*range(10)), of_classes(10, 11), of_classes(12, 13, 14)
    images = sl.LabeledImages(train, test, validation, classes_per_batch=4, images_per_class=2)
    assert [len(table.class_names) for table in images.splits] == [10, 2, 3]
    assert not capsys.readouterr().err
    images.setup("fit")
    assert (images.channels, images.image_size) == (3, 8)
    assert next(iter(images.batches)).images_BCHW.shape == (8, 3, 8, 8)


WRONG: list[tuple[Any, str]] = [
    (IMAGES_NCHW, r"images must be \(images_NCHW, labels_N\) or .*Dataset.*, but is a Tensor\."),
    ((IMAGES_NCHW, LABELS_N, 3), r"but is a tuple of 3\."),
    ("folder", r"but is a str\."),
    ((IMAGES_NCHW.tolist(), LABELS_N), r"a tensor or an array of images \(N, C, H, W\), but is a list"),
    ((IMAGES_NCHW / 255, LABELS_N), r"uint8 images .* but are torch\.float32 \(60, 3, 8, 8\)\. Multiply floats"),
    ((IMAGES_NCHW[:, 0], LABELS_N), r"but are torch\.uint8 \(60, 8, 8\)\. .*images\[:, None\]"),
    ((IMAGES_NCHW[..., :4], LABELS_N), r"square .* \(60, 3, 8, 4\)"),
    ((IMAGES_NCHW.movedim(1, -1), LABELS_N), r"square .* \(60, 8, 8, 3\).*permute\(0, 3, 1, 2\)"),
    ((IMAGES_NCHW[:0], LABELS_N[:0]), r"\(0, 3, 8, 8\)"),
    ((IMAGES_NCHW, LABELS_N[:5]), r"labels of images must be 60 integers .* but are int64 of shape \(5,\)"),
    ((IMAGES_NCHW, LABELS_N.float()), r"but are float32 of shape \(60,\)"),
    ((IMAGES_NCHW, LABELS_N[:, None]), r"shape \(60, 1\)"),
    ((IMAGES_NCHW, LABELS_N.bfloat16()), r"60 integers or texts.* NumPy cannot convert them"),
    ((IMAGES_NCHW, [[0], [1, 2]] * 30), r"60 integers or texts.* NumPy cannot convert them"),
    ((IMAGES_NCHW, ["cat"] * 59 + [float("nan")]), r"60 integers or texts.* 1 of them are no texts, such as nan"),
    ((IMAGES_NCHW, ["cat"] * 58 + [3, 4]), r"2 of them are no texts, such as 3"),
    ((IMAGES_NCHW, np.array(["cat"] * 59 + [None], dtype=object)), r"1 of them are no texts, such as None"),
    (Items([(IMAGES_NCHW[0], nn.functional.one_hot(LABELS_N[0], 5))] * 2), r"2 integers .* int64 of shape \(2, 5\)"),
    (Items([("cat.png", 0)]), r"the image of item 0 is a str"),
    (Items([(None, 0)]), r"the image of item 0 is a NoneType"),
    (Items([]), r"images has 0 items"),
    (Items([(IMAGES_NCHW[0], 0), IMAGES_NCHW[1]]), r"\(image, label\) items, but item 1 is a Tensor"),
    (
        Items([(IMAGES_NCHW[0], 0), (IMAGES_NCHW[1, :1], 1)]),
        r"one shape, but image 0 is \(torch\.uint8, \(3, 8, 8\)\) and 1 is \(torch\.uint8, \(1, 8, 8\)\)",
    ),
    (Stream(), r"with a length and an index, but Stream has none"),
    (StreamWithLength(), r"with a length and an index, but StreamWithLength has none"),
]


@pytest.mark.parametrize(("part", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_part_is_named(part: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        table_of("images", part)


def test_a_wrong_test_part_is_named_as_such() -> None:
    with pytest.raises(UserError, match=r"^test must be square uint8"):
        sl.LabeledImages((IMAGES_NCHW, LABELS_N), test=(IMAGES_NCHW.float(), LABELS_N))
    with pytest.raises(UserError, match=re.escape("images has (3, 8, 8), test has (1, 8, 8)")):
        sl.LabeledImages((IMAGES_NCHW, LABELS_N), test=(IMAGES_NCHW[:, :1], LABELS_N))


def test_too_few_classes_to_hold_out_ask_for_the_part() -> None:
    with pytest.raises(UserError, match=r"validation was not passed, and a fifth of the 5 classes .* Pass validation="):
        sl.LabeledImages(of_classes(*range(5)), test=of_classes(6, 7))


def test_arrays_of_a_program_stay_as_they_are() -> None:
    pixels = np.zeros((N, 3, 8, 8), np.uint8)
    images = sl.LabeledImages((pixels, LABELS_N))
    images.setup("fit")
    assert not pixels.any() and all(not table.images_NCHW.any() for table in images.splits)
