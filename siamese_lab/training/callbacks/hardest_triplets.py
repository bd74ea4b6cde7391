"""Draw the hardest triplets since the previous validation for every logger that shows pictures.

Shapes: B images of a batch, C channels, H × W pixels, T (anchor, positive) pairs, K triplets to show, 3 images of a
triplet (anchor, positive, negative).
"""

from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from siamese_lab.batch import Batch
from siamese_lab.devices.processes import gather
from siamese_lab.training.callbacks.selected import SelectedTriplets, hardest_negatives, selects_triplets
from siamese_lab.training.callbacks.triplet_sheet import draw_triplets
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.trackers import picture_loggers

SHOWN = 6
"""Number of triplets in a picture."""


class ShownTriplets(NamedTuple):
    """The hardest triplets since the previous validation, on the device, hardest first."""

    d_ap_K: Tensor
    d_an_K: Tensor
    images_K3CHW: Tensor
    """Augmented images as the network received them: float32 0…1."""


class HardestTriplets(Callback):
    """Keeps the triplets with the greatest d_ap − d_an of the logged steps, at most one per anchor and batch.

    A resumed run starts with an empty collection.
    """

    def __init__(self) -> None:
        self._kept: ShownTriplets | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Collect the hardest triplets of this step, if the step is logged."""
        assert isinstance(pl_module, SiameseModule)
        if not selects_triplets(outputs["step"]) or not trainer.datamodule.holds_pixels:  # type: ignore[attr-defined]
            return
        if pl_module.is_logged(trainer.global_step) and picture_loggers(trainer):
            images_BCHW = gather(pl_module, batch.images_BCHW)  # a collective call: every process takes part
            found = of_batch(hardest_negatives(outputs["step"]), images_BCHW)
            self._kept = found if self._kept is None else hardest_of(self._kept, found)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the collected triplets, and start a new collection."""
        if not trainer.is_global_zero or trainer.state.fn != "fit" or self._kept is None:
            return
        there_K = (self._kept.d_ap_K - self._kept.d_an_K).isfinite()
        kept = ShownTriplets(*(each_K[there_K].cpu() for each_K in self._kept))
        self._kept = None
        if len(kept.d_ap_K):
            pixels = draw_triplets(*kept)
            for logger in picture_loggers(trainer):
                logger.log_picture("hardest triplets", pixels, trainer.global_step)


def of_batch(hardest: SelectedTriplets, images_BCHW: Tensor) -> ShownTriplets:
    """Return the hardest triplets of a batch, at most one for each anchor."""
    excess_T = hardest.d_ap_T - hardest.d_an_T
    excess_B = excess_T.new_full((len(images_BCHW),), -torch.inf).scatter_reduce(0, hardest.anchor_T, excess_T, "amax")
    excess_K, anchor_K = excess_B.topk(min(SHOWN, len(excess_B)))
    row_K = excess_T.masked_fill(hardest.anchor_T != anchor_K[:, None], -torch.inf).argmax(1)
    places_K3 = torch.stack([each_T[row_K] for each_T in hardest[:3]], 1)
    d_ap_K = hardest.d_ap_T[row_K].masked_fill(excess_K == -torch.inf, -torch.inf)
    return ShownTriplets(d_ap_K, hardest.d_an_T[row_K], images_BCHW[places_K3])


def hardest_of(kept: ShownTriplets, found: ShownTriplets) -> ShownTriplets:
    """Return the hardest triplets of both collections."""
    both = ShownTriplets(*(torch.cat(each) for each in zip(kept, found, strict=True)))
    first_K = (both.d_ap_K - both.d_an_K).topk(min(SHOWN, len(both.d_ap_K))).indices
    return ShownTriplets(*(each[first_K] for each in both))
