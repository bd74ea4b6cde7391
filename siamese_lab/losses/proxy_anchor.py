"""Proxy-anchor loss: compares one learned vector per class, as the anchor, with all images (Kim et al. 2020).

1/|P⁺| Σ_c log(1 + Σ_x exp(−α(s_xc − δ))) over the images x of class c, for the classes P⁺ of the batch, plus
1/|P| Σ_c log(1 + Σ_x exp(α(s_xc + δ))) over all other images, for all classes P (arXiv:2003.13911, eq. 4). s are
cosine similarities of images to the vectors, which the paper calls proxies.

Shapes: B images, D embedding dimensions, C training classes.
"""

from typing import Any

from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import NoTriplets, Selection
from siamese_lab.losses.all_pairs import log_one_plus_sum_exp
from siamese_lab.losses.base import Loss, LossOutput, check_between, check_scale, register
from siamese_lab.losses.class_vectors import accuracy, check_vector_lr, initial_vectors, of_own_class, similarities
from siamese_lab.losses.pairs import check_inputs, check_labels


@register("proxy_anchor")
class ProxyAnchorLoss(Loss):
    """Computes the sum of the mean over the classes of the batch and the mean over all classes. It needs the labels.

    The statistics report `accuracy`, the share of images with the vector of their own class as the most similar one.

    Args:
        margin: δ (0…2), a margin in cosine similarity. The paper uses 0.1.
        alpha: α, the scale. The paper uses 32.
        vector_lr: learning rate of the vectors of the classes, to which no weight decay applies; None uses the
            learning rate of the network. The paper uses 0.01, a hundred times the learning rate of its network.
        **base: see `Loss`; `classes` and `dimensions` are required. Initial vectors are random directions.

    >>> import torch
    >>> from siamese_lab.batch import NoTriplets, Selection
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    >>> loss = ProxyAnchorLoss(classes=2, dimensions=2)
    >>> _ = loss.vector_CD.data.copy_(torch.eye(2))
    >>> round(float(loss(Selection(NoTriplets(), z_BD), z_BD, torch.tensor([0, 1])).value.detach()), 3)
    12.82
    """

    accepted_types = (NoTriplets,)

    def __init__(self, margin: float = 0.1, alpha: float = 32.0, vector_lr: float | None = 0.01, **base: Any) -> None:
        super().__init__(**base)
        check_between("proxy-anchor", "margin", margin, 0, 2)
        check_scale("proxy-anchor", "alpha", alpha)
        check_vector_lr("proxy-anchor", vector_lr)
        self.margin = margin
        self.alpha = alpha
        self.learning_rate = vector_lr
        self.vector_CD = initial_vectors("proxy-anchor", self.classes, self.dimensions, self.seed)

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch from embeddings and labels."""
        check_inputs(selection, z_BD)
        labels_B = check_labels("proxy-anchor", z_BD, labels_B)
        with distances.full_float32(z_BD.device):
            s_BC = similarities(z_BD, self.vector_CD)
            own_BC = of_own_class(labels_B, s_BC)
            pull_C = log_one_plus_sum_exp(-self.alpha * (s_BC - self.margin), own_BC, dim=0)
            push_C = log_one_plus_sum_exp(self.alpha * (s_BC + self.margin), ~own_BC, dim=0)
            value = pull_C.sum() / own_BC.any(0).sum().clamp_min(1) + push_C.mean()
            return LossOutput(value, {"accuracy": accuracy(s_BC, labels_B)})
