"""A drawing of any kind as light ink on dark paper, the form in which the lab has digits, clothes and characters.

Which is the ink and which the paper is told by the frame of outermost pixels: most of these are paper. That holds for
every image of MNIST, Fashion-MNIST, Omniglot and the digits.
"""

import numpy as np
from PIL import Image, ImageChops, ImageOps

from siamese_lab.data.convert.common import Converted, changes_of_form, eight_bits, is_transparent

MIDDLE = 128
"""Paper of this grey or more is light."""


def convert_drawing(image: Image.Image, side: int) -> Converted:
    """A grey square: padded with paper if it was none, resized with anti-aliasing, inverted if the paper was light.

    Args:
        image: as it is in its file; transparent paper is taken to contrast with what is drawn on it.
        side: height and width, in pixels.
    """
    changes = changes_of_form(image, "L", side)
    upright = ImageOps.exif_transpose(image)
    behind = _paper_behind(upright) if is_transparent(upright) else 0
    grey = eight_bits(upright, behind).convert("L")
    paper = _paper(grey)
    square = ImageOps.pad(grey, (max(grey.size),) * 2, color=paper) if grey.width != grey.height else grey
    resized = square.resize((side, side), Image.Resampling.BILINEAR)
    if paper < MIDDLE:
        return Converted(resized, changes)
    return Converted(ImageChops.invert(resized), (*changes, "inverted"))


def _paper(grey: Image.Image) -> int:
    """The median of the outermost pixels."""
    pixels_HW = np.asarray(grey)
    frame = np.concatenate([pixels_HW[0], pixels_HW[-1], pixels_HW[:, 0], pixels_HW[:, -1]])
    return int(np.median(frame))


def _paper_behind(image: Image.Image) -> int:
    """White behind dark ink, black behind light."""
    grey_HW, alpha_HW = (np.asarray(layer, dtype=np.float64) for layer in image.convert("RGBA").convert("LA").split())
    ink = (grey_HW * alpha_HW).sum() / max(1.0, alpha_HW.sum())
    return 0 if ink >= MIDDLE else 255
