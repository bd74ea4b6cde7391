"""Views of an image for test-time augmentation: the mean of their embeddings is better than one embedding.

Krizhevsky et al. 2012 (doi:10.1145/3065386), §4.1, average over crops and mirror images. Every view has the size of the
image; a margin of 1/32 of a side is cut off or repeated. Shapes: B images of C × H × W.
"""

from collections.abc import Callable, Iterable

import torch.nn.functional as F
from torch import Tensor

from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean

MARGIN = 1 / 32
"""Width of the margin at each end, as a share of the side; at least one pixel."""


def mirrored(images_BCHW: Tensor) -> Tensor:
    """Exchange left and right, for objects that keep their class in a mirror, such as faces."""
    return images_BCHW.flip(3)


def larger(images_BCHW: Tensor) -> Tensor:
    """Enlarge by a sixteenth, which cuts off the margins."""
    high, wide = _margins(images_BCHW)
    return _resized(images_BCHW, 2 * high, 2 * wide)[..., high:-high, wide:-wide]


def smaller(images_BCHW: Tensor) -> Tensor:
    """Shrink by a sixteenth, and repeat the outermost pixels around the image."""
    high, wide = _margins(images_BCHW)
    return F.pad(_resized(images_BCHW, -2 * high, -2 * wide), (wide, wide, high, high), mode="replicate")


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {view.__name__: view for view in (mirrored, larger, smaller)}


def check_tta(names: Iterable[str]) -> list[str]:
    """Return the names as a list. Raise UserError if a name is unknown or occurs twice."""
    names = list(names)
    for name in names:
        if name not in VIEWS:
            raise UserError(
                f"network.tta has no view {name!r}.{did_you_mean(name, VIEWS)} Available: {', '.join(VIEWS)}."
            )
    if len(set(names)) < len(names):
        raise UserError(f"network.tta may name each view once, but has {len(names):,} names: {', '.join(names[:5])}…")
    return names


def _margins(images_BCHW: Tensor) -> tuple[int, int]:
    """Return the margin above and below, and the margin left and right, in pixels."""
    high, wide = (max(1, round(side * MARGIN)) for side in images_BCHW.shape[2:])
    return high, wide


def _resized(images_BCHW: Tensor, more_high: int, more_wide: int) -> Tensor:
    high, wide = images_BCHW.shape[2:]
    size = (high + more_high, wide + more_wide)
    return F.interpolate(images_BCHW, size=size, mode="bilinear", align_corners=False)
