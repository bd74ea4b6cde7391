"""Views of an image that are embedded beside it, outside training, as their mean tells more than the image alone.

Averaging over crops and mirror images goes back to Krizhevsky et al. 2012 (doi:10.1145/3065386), §4.1. Every view has
the size of the image, whose margin of 1/32 of a side is cut away or repeated. Shapes: B images of C × H × W.
"""

from collections.abc import Callable, Iterable

import torch.nn.functional as F
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean

MARGIN = 1 / 32
"""Of a side, on either end of it; at least one pixel."""


def mirrored(images_BCHW: Tensor) -> Tensor:
    """Left and right exchanged: for what is the same in a mirror, such as faces."""
    return images_BCHW.flip(3)


def larger(images_BCHW: Tensor) -> Tensor:
    """By a sixteenth, which leaves the margins out."""
    high, wide = _margins(images_BCHW)
    return _resized(images_BCHW, 2 * high, 2 * wide)[..., high:-high, wide:-wide]


def smaller(images_BCHW: Tensor) -> Tensor:
    """By a sixteenth, with the outermost pixels repeated around it."""
    high, wide = _margins(images_BCHW)
    return F.pad(_resized(images_BCHW, -2 * high, -2 * wide), (wide, wide, high, high), mode="replicate")


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {view.__name__: view for view in (mirrored, larger, smaller)}


def check_views(names: Iterable[str]) -> list[str]:
    """The names as a list; UserError for one that is no view, or comes twice."""
    names = list(names)
    for name in names:
        if name not in VIEWS:
            raise UserError(f"There is no view {name!r}.{did_you_mean(name, VIEWS)} Available: {', '.join(VIEWS)}.")
    if len(set(names)) < len(names):
        raise UserError(f"Each view counts once, but views are {', '.join(names)}.")
    return names


def _margins(images_BCHW: Tensor) -> tuple[int, int]:
    """Above and below, and left and right."""
    high, wide = (max(1, round(side * MARGIN)) for side in images_BCHW.shape[2:])
    return high, wide


def _resized(images_BCHW: Tensor, more_high: int, more_wide: int) -> Tensor:
    high, wide = images_BCHW.shape[2:]
    size = (high + more_high, wide + more_wide)
    return F.interpolate(images_BCHW, size=size, mode="bilinear", align_corners=False)
