"""Any loss of pytorch-metric-learning by name, so that published baselines run in the same harness.

The package is imported when such a loss is built: see `siamese_lab.pml`.

Shapes: B images, D embedding dimensions, T (anchor, positive) pairs, M negatives per pair.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from siamese_lab import distances, pml
from siamese_lab.batch import NoTriplets, Selection, Triplets
from siamese_lab.errors import UserError
from siamese_lab.losses.base import Loss, LossOutput, registry
from siamese_lab.losses.class_vectors import check_vector_lr
from siamese_lab.losses.pairs import check_inputs, check_labels

LEFT_OUT: Mapping[str, str] = {
    "CrossBatchMemory": "it wraps another loss",
    "MultipleLosses": "it combines other losses",
    "SelfSupervisedLoss": "it wraps another loss",
    "ManifoldLoss": "it takes no labels",
    "VICRegLoss": "it takes no labels",
}
"""Losses that the lab cannot use, each with the reason."""
OF_LABELS = ("AngularLoss", "InstanceLoss", "NPairsLoss", "P2SGradLoss", "PNPLoss", "ProxyNCALoss", "RankedListLoss")
"""Losses that refuse selected triplets, or that have the same value for the triplets of every strategy of the lab."""
OF_WHOLE_CLASSES = ("FastAPLoss", "InstanceLoss", "NCALoss", "PNPLoss", "RankedListLoss", "SmoothAPLoss")
"""Losses that compare all images of a class; selected triplets only weight the images, if they are accepted."""
NEEDS_VECTORS = ("num_classes", "descriptors_dim")
"""Parameters without a default that show that a loss learns vectors of classes."""


@registry.register_library("pml")
class PMLLoss(Loss):
    """Computes a loss of pytorch-metric-learning from all images of a batch, or from selected triplets.

    With `sampler=none` it takes all pairs or triplets of the batch, with a miner of pairs of `sampler=pml` these pairs,
    and with any other strategy its triplets. Numbers of classes and of dimensions are passed where the class requires
    them. Random numbers of the loss depend on the seed and on the number of the step only.

    Args:
        name: class in `pytorch_metric_learning.losses`.
        vector_lr: learning rate of the loss's own parameters, to which no weight decay applies; None uses the
            learning rate of the network.
        classes, dimensions, seed: see `Loss`.
        **options: options of the class. `distance_name`, `reducer_name` and so on name classes, and
            `distance_options` and so on hold their options.

    Raises:
        UserError: if the package is not installed, or the name or an option is unknown.

    >>> import torch
    >>> from siamese_lab.batch import NoTriplets, Selection
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
    >>> loss = PMLLoss("SupConLoss", temperature=0.1)
    >>> round(float(loss(Selection(NoTriplets(), z_BD), z_BD, torch.tensor([0, 0, 1])).value), 3)
    2.877
    """

    accepted_types: tuple[type, ...] = (Triplets, NoTriplets)
    accepts_memory = False
    steps: Tensor

    def __init__(
        self,
        name: str,
        vector_lr: float | None = None,
        classes: int | None = None,
        dimensions: int | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(classes, dimensions, seed)
        check_vector_lr(name, vector_lr)
        cls = pml.find("losses", name, "loss.name", LEFT_OUT)
        sizes = {"num_classes": classes, "embedding_size": dimensions, "descriptors_dim": dimensions}
        with pml.seeded(seed):
            self.loss = pml.build(cls, "loss", options, sizes)
        self.name = name
        self.learning_rate = vector_lr
        self.learns_vectors = any(each in NEEDS_VECTORS for each in pml.required_of(cls))
        if name in OF_LABELS:
            self.accepted_types = (NoTriplets,)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, selection: Selection, z_BD: Tensor, labels_B: Tensor | None = None) -> LossOutput:
        """Compute the loss of a batch.

        Raises:
            UserError: if the selection has remembered candidates, if the loss cannot leave out a repeated image, or if
                the reducer gives no scalar.
        """
        check_inputs(selection, z_BD)
        labels_B = check_labels(self.name, z_BD, labels_B)
        if len(selection.candidates_CD) != len(z_BD):
            raise UserError(
                f"loss.name={self.name} compares the {len(z_BD)} images of the batch only, but got "
                f"{len(selection.candidates_CD)} candidates. Choose a sampler without a memory."
            )
        indices = self.indices(selection, labels_B)
        z_BD = z_BD.to(torch.promote_types(z_BD.dtype, torch.float32))
        with distances.full_float32(z_BD.device), pml.seeded(self.seed + int(self.steps), z_BD.device):
            value = self.loss(z_BD, labels_B, indices)
        self.steps += 1
        if not isinstance(value, Tensor) or value.ndim:
            raise UserError(f"loss.name={self.name} gives no scalar. Set loss.reducer_name to one that gives a scalar.")
        return LossOutput(value)

    def indices(self, selection: Selection, labels_B: Tensor) -> tuple[Tensor, ...] | None:
        """Return selected pairs or triplets as pytorch-metric-learning lists them; None for all of the batch.

        A repeated image is no positive of itself. If one may occur, all other pairs are listed.
        """
        if selection.pairs is not None:
            return tuple(selection.pairs)
        if isinstance(selection.triplets, Triplets):
            anchor_T, positive_T, negative_TM = selection.triplets
            negatives = negative_TM.shape[1]
            return (
                anchor_T.repeat_interleave(negatives),
                positive_T.repeat_interleave(negatives),
                negative_TM.flatten(),
            )
        ids_B = selection.triplets.image_ids_B if isinstance(selection.triplets, NoTriplets) else None
        if ids_B is None or self.learns_vectors or len(ids_B.unique()) == len(ids_B):
            return None
        if self.name in OF_WHOLE_CLASSES:
            raise UserError(
                f"loss.name={self.name} would take a repeated image as a positive of itself. Set data.repeats=false, "
                "or data.repeats_are_positives=true to allow it."
            )
        one_class_BB = labels_B[:, None] == labels_B
        positive = (one_class_BB & (ids_B[:, None] != ids_B)).nonzero(as_tuple=True)
        return (*positive, *(~one_class_BB).nonzero(as_tuple=True))
