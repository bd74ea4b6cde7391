"""Digits: scikit-learn's 1,797 handwritten digits of 8×8 pixels (Alpaydin & Kaynak 1998), which need no download.

The digits 0–5 are trained on, every fifth image of each held out for validation; 6–9 are tested, unseen.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from siamese_lab.data.convert.common import Converted
from siamese_lab.data.convert.drawing import convert_drawing
from siamese_lab.data.datamodule import DataModule, Splits, register
from siamese_lab.data.splits import hold_out_images
from siamese_lab.data.tables.image_table import ImageTable

SEEN, UNSEEN = range(6), range(6, 10)
HOLD_OUT = 5
SIDE = 8
BRIGHTEST = 16
"""Of the values that the images have, which count dots of a finer drawing."""


@register("digits")
class Digits(DataModule):
    """The embedded data set: class-disjoint, small enough to train on in seconds.

    Args:
        image_size: height and width; the 8×8 pixels are interpolated.
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
        """Interpolate the images and part them by class."""
        bunch = load_digits()
        images_N1HW = self._enlarged(torch.from_numpy(bunch.images))
        names = tuple(str(name) for name in bunch.target_names)
        table = ImageTable(images_N1HW, torch.from_numpy(bunch.target).long(), names)
        train, validation = hold_out_images(table.classes(SEEN), HOLD_OUT)
        return Splits(train, validation, table.classes(UNSEEN))

    def converted(self, image: Image.Image) -> Converted:
        """Light ink on dark paper, of 8×8 pixels with 17 greys, then interpolated as the set's own images are."""
        small, changes = convert_drawing(image, SIDE)
        values_1HW = torch.from_numpy(np.asarray(small) * (BRIGHTEST / 255)).round()[None]
        enlarged_HW = self._enlarged(values_1HW)[0, 0].numpy()
        return Converted(Image.fromarray(enlarged_HW), changes)

    def _enlarged(self, values_NHW: Tensor) -> Tensor:
        """uint8 (N, 1, H, W) from values 0…16."""
        images_N1HW = values_NHW.float()[:, None] * (255 / BRIGHTEST)
        side = (self.image_size, self.image_size)
        return F.interpolate(images_N1HW, side, mode="bilinear", align_corners=False).round().to(torch.uint8)

    def provenance(self) -> dict[str, str]:
        """They come with scikit-learn."""
        return {"from": "scikit-learn"}
