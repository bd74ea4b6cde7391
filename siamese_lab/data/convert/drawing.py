"""Convert a drawing to light ink on dark paper, the form of the digits, clothes and characters in this package.

The outermost pixels decide which gray is the paper, because most of them are paper. This holds for every image of
MNIST, Fashion-MNIST, Omniglot and the digits.
"""

import numpy as np
from PIL import Image, ImageChops, ImageOps

from siamese_lab.data.convert.common import Converted, changes_of_form, eight_bits, is_transparent, turn_upright
from siamese_lab.data.io.open_image import check_pixels

MIDDLE = 128
"""Paper with this gray level or more is light."""


def convert_drawing(image: Image.Image, side: int) -> Converted:
    """Convert a drawing to a gray square.

    A drawing that is not square is padded with paper. It is resized with anti-aliasing, and inverted if the paper is
    light.

    Args:
        image: the image as read from its file. Transparent paper is assumed to contrast with the ink.
        side: height and width, in pixels.

    Raises:
        UserError: if the square would be too large, or the values have an unknown range, see `eight_bits`.
    """
    check_pixels(*(max(image.size),) * 2)  # of the padded square
    changes = changes_of_form(image, "L", side)
    upright = turn_upright(image)
    behind = _paper_behind(upright) if is_transparent(upright) else 0
    gray = eight_bits(upright, behind).convert("L")
    paper = _paper(gray)
    square = ImageOps.pad(gray, (max(gray.size),) * 2, color=paper) if gray.width != gray.height else gray
    resized = square.resize((side, side), Image.Resampling.BILINEAR)
    if paper < MIDDLE:
        return Converted(resized, changes)
    return Converted(ImageChops.invert(resized), (*changes, "inverted"))


def _paper(gray: Image.Image) -> int:
    """Return the gray level of the paper: the median of the outermost pixels."""
    pixels_HW = np.asarray(gray)
    frame = np.concatenate([pixels_HW[0], pixels_HW[-1], pixels_HW[:, 0], pixels_HW[:, -1]])
    return int(np.median(frame))


def _paper_behind(image: Image.Image) -> int:
    """Return the gray level to put behind a transparent drawing: white behind dark ink, black behind light ink."""
    gray_HW, alpha_HW = (np.asarray(layer, dtype=np.float64) for layer in image.convert("RGBA").convert("LA").split())
    ink = (gray_HW * alpha_HW).sum() / max(1.0, alpha_HW.sum())
    return 0 if ink >= MIDDLE else 255
