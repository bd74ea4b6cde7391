"""The sheets show images of the classes, class sizes, and the next batch as the network sees it."""

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from siamese_lab.data import preview
from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.tables.image_table import ImageTable


def table(sizes, channels):
    generator = torch.Generator().manual_seed(0)
    labels_N = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    images = torch.randint(0, 256, (len(labels_N), channels, 6, 6), dtype=torch.uint8, generator=generator)
    return ImageTable(images, labels_N, tuple(f"$class_{label}$ with a long name" for label in range(len(sizes))))


class Own(DataModule):
    image_size = 6

    def __init__(self, sizes, channels=1, **common):
        super().__init__(**common)
        self.channels = channels
        self.sizes = sizes

    def load(self):
        return Splits(*(table(self.sizes, self.channels) for _ in range(3)))


@pytest.fixture
def drawn(monkeypatch):
    """Return the sheets as arrays, before they are written as PNGs."""
    shown = []
    draw = Axes.imshow

    def imshow(axes, sheet, **options):
        shown.append(sheet)
        return draw(axes, sheet, **options)

    monkeypatch.setattr(Axes, "imshow", imshow)
    return shown


@pytest.mark.parametrize(
    ("sizes", "channels", "options"),
    [
        ([2, 3], 1, {"classes_per_batch": 2}),
        ([4] * 40, 3, {"augment": {"rotation": 20.0, "erasing": 1.0}}),
        ([1, 2, 530] + [2] * 5749, 3, {}),
        ([1] * 300 + [2, 2], 1, {"classes_per_batch": 2}),
    ],
    ids=["few", "equal", "many", "alone"],
)
def test_every_kind_of_set_has_three_readable_pictures(tmp_path, sizes, channels, options):
    written = preview.write_sheets(Own(sizes, channels, **options), tmp_path / "new" / "folder")
    assert [path.name for path in written] == ["classes.png", "class_sizes.png", "batch.png"]
    for path in written:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("L"))
        assert 200 < min(pixels.shape) <= max(pixels.shape) < 2600, "neither tiny nor huge"
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (border == 255).all(), "no content touches the border"


def test_rows_are_classes_from_the_largest_to_the_smallest(tmp_path, drawn):
    module = Own([3, 12, 5], classes_per_batch=2)
    preview.write_sheets(module, tmp_path)
    classes = drawn[0]
    assert classes.shape == (3 * 8, 10 * 8, 3)
    train = module.splits.train
    for row, label in enumerate((1, 2, 0)):
        rows = (train.labels_N == label).nonzero().squeeze(1)[:10]
        for place, index in enumerate(rows):
            shown = classes[row * 8 + 1 : row * 8 + 7, place * 8 + 1 : place * 8 + 7, 0]
            np.testing.assert_allclose(shown, train.images_NCHW[index, 0].numpy() / 255, atol=1e-6)
    assert (classes[16:, 3 * 8 :] == 1).all(), "white where there are no more images"


def test_the_batch_is_the_next_augmented_one_and_is_not_consumed(tmp_path, drawn):
    options = {"classes_per_batch": 4, "images_per_class": 3, "augment": {"rotation": 30.0}}
    module, other = (Own([5, 6, 7, 8, 9], **options) for _ in range(2))
    stream = iter(module.batches)
    for _ in range(2):
        module.augment(next(stream).images_BCHW)
        other.augment(next(iter(other.batches)).images_BCHW)
    preview.write_sheets(module, tmp_path)
    expected = next(iter(other.batches))
    images = other.augment(expected.images_BCHW)
    for place, image in enumerate(images):
        row, column = 8 * (place // 3), 8 * (place % 3)
        shown = drawn[1][row + 1 : row + 7, column + 1 : column + 7, 0]
        np.testing.assert_allclose(shown, image[0].numpy(), atol=1e-6)
    again = next(iter(module.batches))
    assert torch.equal(again.images_BCHW, expected.images_BCHW)
    torch.testing.assert_close(module.augment(again.images_BCHW), images)


@pytest.mark.parametrize(("sizes", "expected"), [([4] * 9, {4: 9}), ([2, 2, 3, 6], {2: 2, 3: 1, 6: 1})])
def test_the_histogram_counts_classes(sizes, expected):
    axes = Figure().subplots()
    preview._draw_sizes(axes, np.array(sizes))
    found = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in axes.patches if bar.get_height()}
    assert found == expected
