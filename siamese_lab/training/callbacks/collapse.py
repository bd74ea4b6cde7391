"""Detect a collapse: embeddings that have become so similar that images are hardly distinguishable.

A run has collapsed if the mean distance of its test embeddings is below 0.05, or their effective rank below 2, or its
loss over the last tenth of training lies within 2% of the loss of equal distances.

Shapes: B images of a batch, D embedding dimensions.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from torch import Tensor

from siamese_lab.metrics.health import COLLAPSED_BELOW, COLLAPSED_RANK, Spread, spread
from siamese_lab.runs.display import print_plainly
from siamese_lab.runs.plain_values import of_type
from siamese_lab.training.module import SiameseModule, StepOutput

TOLERANCE = 0.02
"""Relative difference from the loss of equal distances."""
LAST_PART = 0.9
"""Share of training after which the loss counts for the verdict: the last tenth."""
EARLIEST = 0.25
"""Share of training before which nothing is said: untrained embeddings have nearly the same direction."""
CURES = (
    "What often helps: network.batch_norm=true, sampler=semi_hard or distance_weighted instead of the hardest "
    "negatives, a smaller optimizer.lr, or more steps."
)


class MeanLoss(NamedTuple):
    """The sum of the losses of some steps and their number; the sum stays on the device."""

    total: Tensor | float = 0.0
    steps: int = 0

    def plus(self, loss: Tensor) -> "MeanLoss":
        """Return the sum with the loss of one more step."""
        return MeanLoss(self.total + loss.double(), self.steps + 1)

    def mean(self) -> float | None:
        """Return the mean, or None without steps."""
        return float(self.total) / self.steps if self.steps else None


def collapse_reasons(embeddings: Spread | None, mean_loss: float | None, equal_loss: float | None) -> list[str]:
    """Return a phrase for each sign of a collapse; an empty list if there is none.

    Args:
        embeddings: the spread of the embeddings; None if it was not measured.
        mean_loss: the mean loss of some steps; None if there were none.
        equal_loss: the loss of equal distances; None if the loss has no such value.

    >>> collapse_reasons(Spread(0.01, 5.0), 0.201, 0.2)
    ['the mean distance of two images is 0.010, below 0.05', 'the loss is 0.2010, that of equal distances 0.2000']
    """
    reasons = []
    if embeddings is not None and embeddings.mean_distance < COLLAPSED_BELOW:
        reasons.append(f"the mean distance of two images is {embeddings.mean_distance:.3f}, below {COLLAPSED_BELOW:g}")
    if embeddings is not None and embeddings.effective_rank < COLLAPSED_RANK:
        reasons.append(f"the effective rank is {embeddings.effective_rank:.2f}, below {COLLAPSED_RANK:g}")
    if mean_loss is not None and equal_loss is not None and abs(mean_loss - equal_loss) <= TOLERANCE * equal_loss:
        reasons.append(f"the loss is {mean_loss:.4f}, that of equal distances {equal_loss:.4f}")
    return reasons


class CollapseWatch(Callback):
    """Warns once during training if the embeddings collapse, and knows the mean loss of the last tenth of training.

    Validations of the last three quarters of training look at the embeddings of the last batch and at the losses since
    the validation before.

    Args:
        console: the console of the warning.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.has_warned = False
        self._latest: Tensor | None = None
        self._recent = MeanLoss()
        self._last = MeanLoss()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Keep the embeddings of the step, and add its loss."""
        step: StepOutput = outputs["step"]
        self._latest = step.selection.candidates_CD[: len(step.labels_B)]
        self._recent = self._recent.plus(step.loss)
        if trainer.global_step > LAST_PART * trainer.max_steps:
            self._last = self._last.plus(step.loss)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if the validation belongs to training and the latest embeddings or losses show a collapse."""
        assert isinstance(pl_module, SiameseModule)
        if trainer.state.fn != "fit" or self._latest is None:
            return
        recent, self._recent = self._recent, MeanLoss()
        if self.has_warned or trainer.global_step < EARLIEST * trainer.max_steps:
            return
        reasons = collapse_reasons(spread(self._latest), recent.mean(), pl_module.loss.equal_distance_value)
        if reasons:
            self.has_warned = True
            if trainer.is_global_zero:
                where = f"At step {trainer.global_step:,} the embeddings have collapsed: {'; '.join(reasons)}."
                print_plainly(self.console, f"{where} {CURES}")

    def verdict(self, module: SiameseModule, test_embeddings: Spread | None) -> list[str]:
        """Return the reasons why the run counts as collapsed after its test; an empty list if it has not collapsed."""
        return collapse_reasons(test_embeddings, self._last.mean(), module.loss.equal_distance_value)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums, and whether the warning was given."""
        sums = {
            name: [float(each.total), each.steps] for name, each in (("recent", self._recent), ("last", self._last))
        }
        return {"has_warned": self.has_warned, **sums}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from stored sums.

        Raises:
            ValueError, TypeError: if the state has another form.
        """
        self.has_warned = of_type(state_dict["has_warned"], bool, "has_warned")
        self._recent, self._last = (_stored_mean(state_dict[name], name) for name in ("recent", "last"))


def _stored_mean(stored: Any, name: str) -> MeanLoss:
    total, steps = of_type(stored, list[float], name)
    return MeanLoss(torch.tensor(total, dtype=torch.float64), int(steps))
