"""Normalized softmax: cross-entropy over cosine similarities to one learned vector per class (Zhai & Wu 2018).

−log(exp(s_iy/τ) / Σ_c exp(s_ic/τ)) with s_ic = z_i · p_c / ‖p_c‖ (arXiv:1811.12649, §3.1). The loss uses labels
only, so it is the reference "trained as a classifier", to which strategies that select triplets are compared.

Shapes: B images, D embedding dimensions, C training classes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese_lab import distances
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.errors import UserError
from siamese_lab.losses.base import Loss, LossOutput, check_temperature, register
from siamese_lab.losses.pairs import check_inputs


@register("softmax")
class SoftmaxLoss(Loss):
    """Computes the mean cross-entropy over the images of a batch; it needs the labels and no triplets.

    The statistics report `accuracy`, the share of images with the vector of their own class as the most similar one.

    Args:
        temperature: τ, the divisor of the cosine similarities.
        vector_lr: learning rate of the vectors of the classes, to which no weight decay applies; None uses the
            learning rate of the network.
        **base: see `Loss`; `classes` and `dimensions` are required. Initial vectors are random directions.

    >>> import torch
    >>> from siamese_lab.batch import NoTriplets, Selection
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = SoftmaxLoss(temperature=1.0, classes=2, dimensions=2)
    >>> _ = loss.vector_CD.data.copy_(z_BD)
    >>> round(float(loss(Selection(NoTriplets(), z_BD), z_BD, torch.tensor([0, 1])).value.detach()), 3)
    0.313
    """

    accepted_types = (NoTriplets,)

    def __init__(self, temperature: float = 0.05, vector_lr: float | None = None, **base: Any) -> None:
        super().__init__(**base)
        check_temperature("softmax", temperature)
        if vector_lr is not None and not vector_lr >= 0:
            raise UserError(f"The softmax loss needs a vector_lr of 0 or more, or null, but it is {vector_lr}.")
        if self.classes is None or self.dimensions is None:
            raise UserError("The softmax loss learns one vector per class: give classes and dimensions.")
        self.temperature = temperature
        self.learning_rate = vector_lr
        generator = torch.Generator().manual_seed(self.seed)
        random_CD = torch.randn(self.classes, self.dimensions, generator=generator)
        self.vector_CD = nn.Parameter(F.normalize(random_CD, dim=1))

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch from embeddings and labels."""
        check_inputs(selection, z_BD)
        if labels_B is None or labels_B.ndim != 1 or labels_B.is_floating_point():
            raise ValueError("The softmax loss needs the integer labels (B,) of the batch.")
        with distances.full_float32(z_BD.device):
            logits_BC = self.similarities(z_BD) / self.temperature
            hit_B = logits_BC.detach().argmax(1) == labels_B
            return LossOutput(F.cross_entropy(logits_BC, labels_B), {"accuracy": hit_B.float().mean()})

    def similarities(self, z_BD: Tensor) -> Tensor:
        """Return the cosine similarity of each image to the vector of each class (B, C), at least float32."""
        precision = torch.promote_types(z_BD.dtype, torch.float32)
        vector_CD = F.normalize(self.vector_CD.to(precision), dim=1)
        return z_BD.to(precision) @ vector_CD.T
