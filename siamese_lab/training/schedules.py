"""Learning-rate schedules: a linear warm-up, followed by a constant, cosine or stepwise learning rate.

The learning rate depends only on the step and the number of steps, so a resumed run continues correctly, also with
more steps.
"""

import math
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from siamese_lab.errors import UserError


def constant(optimizer: Optimizer, steps: int, warmup_fraction: float = 0.0) -> LambdaLR:
    """Keep the full learning rate after the warm-up.

    Args:
        optimizer: its learning rates are scheduled.
        steps: number of steps of the run.
        warmup_fraction: fraction of the steps during which the learning rate grows linearly, 0 ≤ warmup_fraction < 1.

    Raises:
        UserError: if warmup_fraction is outside of this range, or there is no step.
    """
    return warmed_up(optimizer, steps, warmup_fraction, lambda done, warm: 1.0)


def cosine(optimizer: Optimizer, steps: int, warmup_fraction: float = 0.0) -> LambdaLR:
    """Decrease the learning rate to 0 by half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983); see `constant`."""

    def half_wave(done: int, warm: int) -> float:
        return (1 + math.cos(math.pi * min(1.0, (done - warm) / (steps - warm)))) / 2

    return warmed_up(optimizer, steps, warmup_fraction, half_wave)


def step(
    optimizer: Optimizer,
    steps: int,
    warmup_fraction: float = 0.0,
    milestones: Sequence[float] = (0.5, 0.75),
    factor: float = 0.1,
) -> LambdaLR:
    """Multiply the learning rate by `factor` at each milestone, a fraction of all steps; see `constant`."""
    if not all(0 < share < 1 for share in milestones):
        raise UserError(
            f"schedule.milestones must be fractions of the steps, above 0 and below 1, but is {list(milestones)}."
        )
    return warmed_up(
        optimizer,
        steps,
        warmup_fraction,
        lambda done, warm: float(factor ** sum(done >= share * steps for share in milestones)),
    )


def warmed_up(optimizer: Optimizer, steps: int, warmup_fraction: float, after: Callable[[int, int], float]) -> LambdaLR:
    """Increase the learning rate linearly, then multiply the full rate by `after(steps done, warm-up steps)`."""
    if steps < 0:
        raise UserError(f"schedule.steps must be at least 0, but is {steps}. By default it follows trainer.max_steps.")
    if not 0 <= warmup_fraction < 1:
        raise UserError(
            f"schedule.warmup_fraction must be a fraction of the steps, at least 0 and below 1, but is "
            f"{warmup_fraction}."
        )
    warm = min(round(warmup_fraction * steps), steps - 1)
    return LambdaLR(optimizer, lambda done: (done + 1) / (warm + 1) if done < warm else after(done, warm))
