"""Digits: scikit-learn's 1,797 handwritten digits of 8×8 pixels (Alpaydin & Kaynak 1998), which need no download.

The digits 0–5 are trained on, every fifth image of each held out for validation; 6–9 are tested, unseen.
"""

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.hold_out import hold_out_images
from siamese_lab.data.image_table import ImageTable
from siamese_lab.data.registry import register

SEEN, UNSEEN = range(6), range(6, 10)
HOLD_OUT = 5
BRIGHTEST = 16


@register("digits")
class Digits(DataModule):
    """The embedded data set: class-disjoint, small enough to train on in seconds.

    Args:
        image_size: height and width; the 8×8 pixels are interpolated.
        **common: see `DataModule`.
    """

    title = "Digits"
    channels = 1

    def __init__(self, image_size: int = 16, **common: Any) -> None:
        super().__init__(**common)
        self.image_size = image_size

    def load(self) -> Splits:
        """Interpolate the images and part them by class."""
        bunch = load_digits()
        images_N1HW = torch.from_numpy(bunch.images).float()[:, None] * (255 / BRIGHTEST)
        side = (self.image_size, self.image_size)
        enlarged = F.interpolate(images_N1HW, side, mode="bilinear", align_corners=False)
        names = tuple(str(name) for name in bunch.target_names)
        table = ImageTable(enlarged.round().to(torch.uint8), torch.from_numpy(bunch.target).long(), names)
        train, validation = hold_out_images(table.classes(SEEN), HOLD_OUT)
        return Splits(train, validation, table.classes(UNSEEN))

    def provenance(self) -> dict[str, str]:
        """They come with scikit-learn."""
        return {"from": "scikit-learn"}
