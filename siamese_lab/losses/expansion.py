"""Embedding expansion: synthetic points between two images of a class (Ko & Gu 2020, arXiv:2003.02546, §3).

An anchor is compared with a negative, and with points on the lines from the negative to the other images of its class.
The most similar of them counts. The paper also expands the anchor's class; here the anchor is always a real image.

Shapes: B images, D embedding dimensions; [a, n, j] is anchor a against the line from image n to image j.
"""

import torch
from torch import Tensor

from siamese_lab import distances

SHORTEST = 1e-6
"""Smallest squared length of a point before it is normalized: opposite embeddings have no direction between them."""


def expanded_similarities(z_BD: Tensor, labels_B: Tensor, points: int) -> Tensor:
    """Return for each pair of images the largest similarity of the first one to the second one or to a point near it.

    The points divide the line from the second image to each other image of its class into equal parts, and have unit
    length. Gradients go to both ends of the line. Memory grows with B³.

    Args:
        z_BD: embeddings of unit length.
        labels_B: their classes.
        points: number of points on each line; 0 returns the similarities of the images.

    >>> z_BD = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.1]])
    >>> z_BD = torch.nn.functional.normalize(z_BD)
    >>> expanded_similarities(z_BD, torch.tensor([0, 1, 1]), points=1)[0].round(decimals=2)
    tensor([1., 1., 1.])
    """
    with distances.full_float32(z_BD.device):
        z_BD = z_BD.to(torch.promote_types(z_BD.dtype, torch.float32))
        s_BB = z_BD @ z_BD.T
    same_BB = labels_B[:, None] == labels_B[None]
    largest_BB = s_BB
    for point in range(1, points + 1):
        w = 1 - point / (points + 1)
        length_BB = (w**2 + (1 - w) ** 2 + 2 * w * (1 - w) * s_BB).clamp_min(SHORTEST).sqrt()
        s_BBB = (w * s_BB[:, :, None] + (1 - w) * s_BB[:, None]) / length_BB
        largest_BB = torch.maximum(largest_BB, s_BBB.masked_fill(~same_BB, -torch.inf).amax(2))
    return largest_BB
