"""Digits: scikit-learn's 1,797 handwritten digits of 8×8 pixels (Alpaydin & Kaynak 1998), which need no download.

The digits 0–5 are for training; every fifth image of each is held out for validation. The unseen digits 6–9 are for
testing.
"""

from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.drawing import convert_drawing
from siamese_lab.data.datamodule import DataModule, Splits, register
from siamese_lab.data.splits import hold_out_images
from siamese_lab.data.tables.image_table import ImageTable

SEEN, UNSEEN = range(6), range(6, 10)
VALIDATION_FRACTION = 0.2
FILE = "sklearn/datasets/data/digits.csv.gz"
"""The digits within the installed scikit-learn: 64 pixels and the label in each row."""
SIDE = 8
BRIGHTEST = 16
"""Largest pixel value. A value counts the inked dots of a finer drawing."""


@register("digits")
class Digits(DataModule):
    """Digits of scikit-learn: class-disjoint, and small enough to train on in seconds.

    Args:
        image_size: height and width in pixels; the 8×8 pixels are interpolated.
        **common: see `DataModule`.
    """

    title = "Digits"
    order = 10
    notes = ("Digits are only a smoke test: an untrained network already finds 99% of the unseen digits.",)
    channels = 1

    def __init__(self, image_size: int = 16, **common: Any) -> None:
        super().__init__(**common)
        self.image_size = image_size

    def load(self) -> Splits:
        """Interpolate the images and split them by class."""
        values_NHW, labels_N = read_digits()
        names = tuple(str(name) for name in range(10))
        table = ImageTable(self._enlarged(values_NHW), labels_N, names)
        train, validation = hold_out_images(table.classes(SEEN), VALIDATION_FRACTION)
        return Splits(train, validation, table.classes(UNSEEN))

    def converted(self, image: Image.Image) -> Converted:
        """Convert to light ink on dark paper, 8×8 pixels and 17 gray levels. Interpolate like the set's own images."""
        small, changes = convert_drawing(image, SIDE)
        values_1HW = torch.from_numpy(np.asarray(small) * (BRIGHTEST / 255)).round()[None]
        enlarged_HW = self._enlarged(values_1HW)[0, 0].numpy()
        return Converted(Image.fromarray(enlarged_HW), changes)

    def _enlarged(self, values_NHW: Tensor) -> Tensor:
        """Interpolate values in 0…16 to uint8 images (N, 1, H, W)."""
        images_N1HW = values_NHW.float()[:, None] * (255 / BRIGHTEST)
        side = (self.image_size, self.image_size)
        return F.interpolate(images_N1HW, side, mode="bilinear", align_corners=False).round().to(torch.uint8)

    def provenance(self) -> dict[str, str]:
        """Return the origin: the images come with scikit-learn."""
        return {"from": "scikit-learn"}


def read_digits() -> tuple[Tensor, Tensor]:
    """Return the pixels (N, 8, 8), float64 0…16, and the labels (N,) of all digits.

    The file of the installed scikit-learn is read directly. `load_digits`, which is called only if the file has moved,
    imports all of scikit-learn and pandas, which takes two seconds.
    """
    table = Path(str(distribution("scikit-learn").locate_file(FILE)))
    if not table.exists():
        from sklearn.datasets import load_digits

        bunch = load_digits()
        return torch.from_numpy(bunch.images), torch.from_numpy(bunch.target).long()
    rows_NV = torch.from_numpy(np.loadtxt(table, delimiter=","))
    return rows_NV[:, :-1].unflatten(1, (SIDE, SIDE)), rows_NV[:, -1].long()
