"""Normalized softmax: cross-entropy over cosine similarities to one learned vector per class (Zhai & Wu 2018).

−log(exp(s_iy/τ) / Σ_c exp(s_ic/τ)) with s_ic = z_i · p_c / ‖p_c‖ (arXiv:1811.12649, §3.1). The loss uses labels
only, so it is the reference "trained as a classifier", to which strategies that select triplets are compared.

Shapes: B images, D embedding dimensions, C training classes.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.losses.base import Loss, LossOutput, check_temperature, register
from siamese_lab.losses.class_vectors import accuracy, check_vector_lr, initial_vectors, similarities
from siamese_lab.losses.pairs import check_inputs, check_labels


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
        check_vector_lr("softmax", vector_lr)
        self.temperature = temperature
        self.learning_rate = vector_lr
        self.vector_CD = initial_vectors("softmax", self.classes, self.dimensions, self.seed)

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch from embeddings and labels."""
        check_inputs(selection, z_BD)
        labels_B = check_labels("softmax", z_BD, labels_B)
        with distances.full_float32(z_BD.device):
            logits_BC = similarities(z_BD, self.vector_CD) / self.temperature
            return LossOutput(F.cross_entropy(logits_BC, labels_B), {"accuracy": accuracy(logits_BC, labels_B)})
