"""Stop a run when its loss is NaN or infinite, before a checkpoint stores the broken weights."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from siamese_lab.batch import Triplets
from siamese_lab.errors import NonFiniteLossError
from siamese_lab.training.module import SiameseModule, StepOutput

SHOWN = 3
"""Maximum number of triplets in a message."""


class StopOnNonFinite(Callback):
    """Checks the loss of every step on a CPU. On a GPU it checks logged steps only, as a check makes the host wait."""

    def __init__(self) -> None:
        self._step: StepOutput | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Check the loss on a CPU, or on a GPU if the step is logged."""
        assert isinstance(pl_module, SiameseModule)
        self._step = outputs["step"]
        if pl_module.device.type == "cpu" or pl_module.is_logged(trainer.global_step):
            self._check(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before the weights can be stored as the best ones."""
        if trainer.state.fn == "fit":
            self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if self._step is not None and not self._step.loss.isfinite():
            raise NonFiniteLossError(describe_non_finite_loss(self._step, trainer.global_step))


def describe_non_finite_loss(step: StepOutput, number: int) -> str:
    """Return a message with the step and the triplets that a non-finite loss came from."""
    broken_B = ~step.z_BD.isfinite().all(1)
    cause = (
        f"{int(broken_B.sum())} of {len(broken_B)} embeddings are not finite{_triplets_of(step, broken_B)}"
        if broken_B.any()
        else "all its embeddings are finite, so the loss itself overflowed"
    )
    return (
        f"The loss of step {number} is {float(step.loss)}: {cause}. Checkpoints of earlier steps are kept. "
        "Try a smaller optimizer.lr, trainer.gradient_clip_val=1 or trainer.precision=32-true."
    )


def _triplets_of(step: StepOutput, broken_B: Tensor) -> str:
    """Return the number of listed triplets with a non-finite embedding, and the first few of them, as text."""
    if not isinstance(step.selection.triplets, Triplets):
        return ""
    anchor_T, positive_T, negative_TM = step.selection.triplets
    remembered = int(negative_TM.max()) + 1 - len(broken_B)
    broken_C = torch.cat([broken_B, broken_B.new_zeros(max(0, remembered))])
    broken_T = broken_C[anchor_T] | broken_C[positive_T] | broken_C[negative_TM].any(1)
    first = torch.stack([anchor_T, positive_T, negative_TM[:, 0]], 1)[broken_T][:SHOWN].tolist()
    shown = ", ".join(f"({a}, {p}, {n}) of classes {_classes(step, (a, n))}" for a, p, n in first)
    return (
        f", so {int(broken_T.sum())} of {len(broken_T)} triplets are not, such as "
        f"(anchor, positive, negative) = {shown}"
    )


def _classes(step: StepOutput, images: tuple[int, int]) -> str:
    labels_B = step.labels_B.tolist()
    return " and ".join(str(labels_B[image]) if image < len(labels_B) else "(remembered)" for image in images)
