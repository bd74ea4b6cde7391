"""Draw a histogram, for trackers that show pictures but no histograms."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from siamese_lab.training.trackers.pictures import Histogram

BAR, HEIGHT, LINE = 10, 160, 18
"""Width of a bar, height of the highest bar, and height of the line of text below, in pixels."""


def draw_histogram(histogram: Histogram) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) of the bars, with the least and the greatest value and the highest count."""
    sheet = Image.new("RGB", (BAR * len(histogram.counts), HEIGHT + 2 * LINE), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LINE - 5)
    most = max(1, int(histogram.counts.max()))
    base = LINE + HEIGHT
    for place, count in enumerate(histogram.counts.tolist()):
        pen.rectangle((place * BAR, base - round(HEIGHT * count / most), (place + 1) * BAR - 2, base), "steelblue")
    pen.text((2, LINE / 2), f"{most:,}", "black", font, anchor="lm")
    pen.text((2, base + LINE / 2), f"{histogram.edges[0]:.3g}", "black", font, anchor="lm")
    pen.text((sheet.width - 2, base + LINE / 2), f"{histogram.edges[-1]:.3g}", "black", font, anchor="rm")
    return np.asarray(sheet)
