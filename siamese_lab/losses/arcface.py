"""ArcFace: a softmax over classes, with a margin in the angle between an image and its own class (Deng et al. 2019).

−log(exp(s cos(θ_y + m)) / (exp(s cos(θ_y + m)) + Σ_c≠y exp(s cos θ_c))), where θ_c is the angle between an image and
the learned vector of class c, and y is the class of the image (arXiv:1801.07698, eq. 3).

Where θ_y + m exceeds π, the equation would reward larger angles. Like the code of the paper's authors, the loss takes
cos θ_y − m sin m there, which falls as the angle grows.

Shapes: B images, D embedding dimensions, C training classes.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.losses.base import Loss, LossOutput, check_between, check_scale, register
from siamese_lab.losses.class_vectors import accuracy, check_vector_lr, initial_vectors, of_own_class, similarities
from siamese_lab.losses.pairs import check_inputs, check_labels

WIDEST = math.pi / 2
"""The largest margin. From about 2.3 on, the loss would fall where θ_y + m passes π."""


@register("arcface")
class ArcFaceLoss(Loss):
    """Computes the mean cross-entropy over the images of a batch; it needs the labels and no triplets.

    The statistics report `accuracy`, the share of images with the vector of their own class as the most similar one.

    Args:
        margin: m, an angle in radians (0…π/2). The paper uses 0.5.
        scale: s, the factor of the cosines. The paper uses 64.
        vector_lr: learning rate of the vectors of the classes, to which no weight decay applies; None uses the
            learning rate of the network, as the paper does.
        **base: see `Loss`; `classes` and `dimensions` are required. Initial vectors are random directions.

    >>> import torch
    >>> from siamese_lab.batch import NoTriplets, Selection
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> loss = ArcFaceLoss(scale=4, classes=2, dimensions=2)
    >>> _ = loss.vector_CD.data.copy_(torch.eye(2))
    >>> round(float(loss(Selection(NoTriplets(), z_BD), z_BD, torch.tensor([0, 1])).value.detach()), 3)
    0.581
    """

    accepted_types = (NoTriplets,)

    def __init__(self, margin: float = 0.5, scale: float = 64.0, vector_lr: float | None = None, **base: Any) -> None:
        super().__init__(**base)
        check_between("ArcFace", "margin", margin, 0, WIDEST)
        check_scale("ArcFace", "scale", scale)
        check_vector_lr("ArcFace", vector_lr)
        self.margin = margin
        self.scale = scale
        self.learning_rate = vector_lr
        self.vector_CD = initial_vectors("ArcFace", self.classes, self.dimensions, self.seed)

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch from embeddings and labels."""
        check_inputs(selection, z_BD)
        labels_B = check_labels("ArcFace", z_BD, labels_B)
        with distances.full_float32(z_BD.device):
            cos_BC = similarities(z_BD, self.vector_CD)
            logits_BC = torch.where(of_own_class(labels_B, cos_BC), with_margin(cos_BC, self.margin), cos_BC)
            value = F.cross_entropy(self.scale * logits_BC, labels_B)
            return LossOutput(value, {"accuracy": accuracy(cos_BC, labels_B)})


def with_margin(cos: Tensor, margin: float) -> Tensor:
    """Return cos(θ + m) up to θ + m = π and cos θ − m sin m beyond, given cos θ.

    The smallest sine is that of the rounding of a cosine, so that gradients at an angle of 0 are finite.
    """
    cos = cos.clamp(-1, 1)
    sin = (1 - cos.square()).clamp_min(torch.finfo(cos.dtype).eps).sqrt()
    turned = cos * math.cos(margin) - sin * math.sin(margin)
    return torch.where(cos >= -math.cos(margin), turned, cos - margin * math.sin(margin))
