"""The learned vector of each training class, for losses that compare images with classes instead of images.

Shapes: B images, D embedding dimensions, C training classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese_lab.errors import UserError


def initial_vectors(loss: str, classes: int | None, dimensions: int | None, seed: int) -> nn.Parameter:
    """Draw a random direction (C, D) for each class.

    Raises:
        UserError: if the number of classes or of dimensions is not passed.
    """
    if classes is None or dimensions is None:
        raise UserError(f"The {loss} loss learns one vector per class: give classes and dimensions.")
    random_CD = torch.randn(classes, dimensions, generator=torch.Generator().manual_seed(seed))
    return nn.Parameter(F.normalize(random_CD, dim=1))


def check_vector_lr(loss: str, vector_lr: float | None) -> None:
    """Raise UserError unless the learning rate of the vectors is None or a finite number of at least 0."""
    if vector_lr is not None and not 0 <= vector_lr < math.inf:
        raise UserError(f"The {loss} loss needs a finite vector_lr of 0 or more, or null, but it is {vector_lr}.")


def similarities(z_BD: Tensor, vector_CD: Tensor) -> Tensor:
    """Return the cosine similarity of each unit-norm embedding to the vector of each class (B, C), at least float32."""
    precision = torch.promote_types(z_BD.dtype, torch.float32)
    return z_BD.to(precision) @ F.normalize(vector_CD.to(precision), dim=1).T


def of_own_class(labels_B: Tensor, s_BC: Tensor) -> Tensor:
    """Return a mask (B, C) that is True at the class of each image. A label without a class is an error."""
    return torch.zeros_like(s_BC, dtype=torch.bool).scatter_(1, labels_B.long()[:, None], True)


def accuracy(s_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Return the share of images with the vector of their own class as the most similar one."""
    return (s_BC.detach().argmax(1) == labels_B).float().mean()
