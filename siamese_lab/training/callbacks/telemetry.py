"""Measure at fixed points of training what explains a strategy: gradients, spread of embeddings, overlap of picks.

Shapes: B images of a batch, D embedding dimensions, W weights of the network.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from siamese_lab import samplers
from siamese_lab.batch import Triplets
from siamese_lab.metrics.health import spread
from siamese_lab.runs.plain_values import check_plain, of_type
from siamese_lab.samplers.statistics import pick_overlap
from siamese_lab.training.module import SiameseModule, StepOutput

POINTS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of training at which a measurement is made."""
BATCHES = 4
"""Number of successive batches of a measurement of gradients."""
COMPARED = ("random", "hard", "semi_hard", "distance_weighted")
"""Strategies that select from the same embeddings, to compare their picks with those of the run."""


class GradientSums(NamedTuple):
    """The gradients of some successive batches: their sum, the sum of their squared norms, and their number."""

    sum_W: Tensor
    squares: Tensor
    batches: int

    def plus(self, gradient_W: Tensor) -> "GradientSums":
        """Return the sums with the gradient of one more batch."""
        return GradientSums(self.sum_W + gradient_W, self.squares + gradient_W.square().sum(), self.batches + 1)

    def norm(self) -> float:
        """Return the root of the mean squared norm of the gradients."""
        return math.sqrt(float(self.squares) / self.batches)

    def signal_to_noise(self) -> float | None:
        """Return the squared norm of the expected gradient over the variance of the gradient of one batch.

        Both are unbiased estimates from the batches, and a negative one counts as 0. None if there are fewer than two
        batches or no variance. The batches are successive, so the weights move a little between them.
        """
        if self.batches < 2:
            return None
        of_mean = float(self.sum_W.square().sum()) / self.batches**2
        variance = (float(self.squares) - self.batches * of_mean) / (self.batches - 1)
        if variance <= 0:
            return None
        return max(0.0, of_mean - variance / self.batches) / variance


def flat_gradient(network: nn.Module) -> Tensor:
    """Return the gradients of all weights of a network as one vector; weights without a gradient count as 0."""
    return torch.cat(
        [
            (torch.zeros_like(each) if each.grad is None else each.grad).detach().flatten().float()
            for each in network.parameters()
        ]
    )


def first_steps(max_steps: int) -> list[int]:
    """Return the numbers of steps that are done when each measurement begins, without repetition, ascending.

    >>> first_steps(300)
    [0, 30, 74, 148, 222, 296]
    """
    return sorted({round(point * max(0, max_steps - BATCHES)) for point in POINTS})


class Telemetry(Callback):
    """Measures the gradients of a few successive batches, and the embeddings and picks of the last of them.

    A measurement is a dictionary: `step`, `gradient_norm`, `gradient_snr`, `mean_distance`, `effective_rank`, and
    `overlap_NAME` for strategies that pick from the same embeddings. They are recorded in the results and logged.
    """

    def __init__(self) -> None:
        self.points: list[dict[str, float | None]] = []
        """One measurement for each point of training so far."""
        self._gradients: GradientSums | None = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Add the gradient of a batch, if a measurement is going on or begins here."""
        assert isinstance(pl_module, SiameseModule)
        if self._gradients is None and trainer.global_step not in first_steps(trainer.max_steps):
            return
        gradient_W = flat_gradient(pl_module.network)
        before = self._gradients or GradientSums(torch.zeros_like(gradient_W), gradient_W.new_zeros(()), 0)
        self._gradients = before.plus(gradient_W)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Finish a measurement after its last batch, and log it."""
        assert isinstance(pl_module, SiameseModule)
        if self._gradients is None:
            return
        if self._gradients.batches < BATCHES and trainer.global_step < trainer.max_steps:
            return
        step: StepOutput = outputs["step"]
        z_BD = step.selection.candidates_CD[: len(step.labels_B)]
        embeddings = spread(z_BD)
        figures: dict[str, float | None] = {
            "gradient_norm": self._gradients.norm(),
            "gradient_snr": self._gradients.signal_to_noise(),
            "mean_distance": embeddings.mean_distance,
            "effective_rank": embeddings.effective_rank,
            **overlaps(pl_module, step, z_BD, trainer.global_step),
        }
        self._gradients = None
        figures = {name: each if each is not None and math.isfinite(each) else None for name, each in figures.items()}
        self.points.append({"step": trainer.global_step, **figures})
        # "trace" sorts after "test", which comes first in the HPARAMS tab
        known = {f"trace/{name}": each for name, each in figures.items() if each is not None}
        for logger in trainer.loggers:
            logger.log_metrics(known, step=trainer.global_step - 1)  # as Lightning counts logged steps

    def state_dict(self) -> dict[str, Any]:
        """Return the measurements so far, and the gradients of one that is going on."""
        sums = self._gradients
        going_on = None if sums is None else [sums.sum_W.cpu(), float(sums.squares), sums.batches]
        return {"points": list(self.points), "gradients": going_on}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from stored measurements.

        Raises:
            ValueError, TypeError: if the state has another form.
        """
        check_plain(state_dict["points"], "points")
        self.points[:] = of_type(state_dict["points"], list[dict[str, float | None]], "points")
        if (sums := state_dict["gradients"]) is not None:
            sum_W, squares, batches = sums
            self._gradients = GradientSums(sum_W, torch.tensor(squares), int(batches))


def overlaps(module: SiameseModule, step: StepOutput, z_BD: Tensor, seed: int) -> dict[str, float | None]:
    """Return by strategy the share of its picks that are picks of the run's strategy, on the same embeddings.

    There is no figure if the run's strategy lists no triplets, or pairs anchors and positives in another way.
    """
    if not isinstance(step.selection.triplets, Triplets):
        return {}
    window: dict[str, Any] = {
        "margin": getattr(module.loss, "margin", 0.2),
        "distance": getattr(module.loss, "distance", "plain"),
    }
    found: dict[str, float | None] = {}
    for name in COMPARED:
        options: dict[str, Any] = window if name == "semi_hard" else {}
        images_per_class = module.sampler.images_per_class
        other = samplers.build(name, seed=seed, images_per_class=images_per_class, finite_only=False, **options)
        share = pick_overlap(step.selection.triplets, other.mine(z_BD, step.labels_B, step.image_ids_B).listed())
        found[f"overlap_{name}"] = None if share is None else float(share)
    return found
