"""Draw triplets with their distances: one column per triplet, with anchor, positive and negative in three rows.

Pillow draws the picture, because matplotlib would take longer than the steps between two validations of a small run.

Shapes: K triplets, 3 images of each, C channels, H × W pixels.
"""

from functools import cache

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from siamese_lab.data.preview import rgb

SIDE = 64
"""Side of an image in pixels; small, because TensorBoard shrinks pictures to the width of its cards."""
GAP = 6
LINE = 18
"""Height of the line of text below an image."""
LABELS = 80
"""Width of the column of row names."""
FONT = 16
ROWS = ("anchor", "positive", "negative")


def draw_triplets(d_ap_K: Tensor, d_an_K: Tensor, images_K3CHW: Tensor) -> NDArray[np.uint8]:
    """Return the picture as an array (height, width, 3).

    Args:
        d_ap_K: plain distances between anchor and positive, written below the positives.
        d_an_K: plain distances between anchor and negative, written below the negatives.
        images_K3CHW: float32 0…1, on the CPU.
    """
    across, down = SIDE + GAP, SIDE + LINE + GAP
    sheet = Image.new("RGB", (LABELS + len(images_K3CHW) * across, 3 * down), "white")
    for column, images_3CHW in enumerate(images_K3CHW):
        for row, image_CHW in enumerate(_resized(images_3CHW)):
            place = (LABELS + column * across, GAP + row * down)
            sheet.paste(Image.fromarray((rgb(image_CHW) * 255).round().astype(np.uint8)), place)

    pen, font = ImageDraw.Draw(sheet), _font()
    for row, name in enumerate(ROWS):
        pen.text((GAP, GAP + row * down + SIDE / 2), name, "black", font, anchor="lm")
    for row, name, distance_K in ((1, "d_ap", d_ap_K), (2, "d_an", d_an_K)):
        middle = GAP + row * down + SIDE + LINE / 2
        pen.text((GAP, middle), name, "black", font, anchor="lm")
        for column, distance in enumerate(distance_K.tolist()):
            pen.text((LABELS + column * across + SIDE / 2, middle), f"{distance:.2f}", "black", font, anchor="mm")
    return np.asarray(sheet)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT)


def _resized(images_3CHW: Tensor) -> Tensor:
    """Resize images to SIDE × SIDE pixels: repeat pixels of smaller images, average areas of larger ones."""
    mode = "nearest" if images_3CHW.shape[-1] < SIDE else "area"
    return F.interpolate(images_3CHW.float(), (SIDE, SIDE), mode=mode)
