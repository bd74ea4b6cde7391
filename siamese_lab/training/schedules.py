"""Learning-rate schedules over the steps of a run: a linear warm-up, then constant, cosine or in steps.

Each is a function of the step alone, so a resumed run, also one of more steps, goes on where it should.
"""

import math
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from siamese_lab.errors import UserError


def constant(optimizer: Optimizer, steps: int, warm_up: float = 0.0) -> LambdaLR:
    """The full learning rate, once warm.

    Args:
        optimizer: whose learning rates are scheduled.
        steps: of the run.
        warm_up: share of the steps over which the learning rate grows linearly, 0 ≤ share < 1.

    Raises:
        UserError: for a share that is none.
    """
    return warmed_up(optimizer, steps, warm_up, lambda done, warm: 1.0)


def cosine(optimizer: Optimizer, steps: int, warm_up: float = 0.0) -> LambdaLR:
    """Half a cosine from the full learning rate to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983); see `constant`."""

    def half_wave(done: int, warm: int) -> float:
        return (1 + math.cos(math.pi * min(1.0, (done - warm) / (steps - warm)))) / 2

    return warmed_up(optimizer, steps, warm_up, half_wave)


def step(
    optimizer: Optimizer, steps: int, warm_up: float = 0.0, drops: Sequence[float] = (0.5, 0.75), factor: float = 0.1
) -> LambdaLR:
    """The learning rate times `factor` once more after each of `drops`, shares of all steps; see `constant`."""
    if not all(0 < share < 1 for share in drops):
        raise UserError(f"schedule.drops are shares of the steps, above 0 and below 1, but are {list(drops)}.")
    return warmed_up(
        optimizer, steps, warm_up, lambda done, warm: float(factor ** sum(done >= share * steps for share in drops))
    )


def warmed_up(optimizer: Optimizer, steps: int, warm_up: float, after: Callable[[int, int], float]) -> LambdaLR:
    """Grow linearly to the full learning rate, then take `after`(steps done, steps of the warm-up) of it."""
    if not 0 <= warm_up < 1:
        raise UserError(f"schedule.warm_up is a share of the steps, at least 0 and below 1, but is {warm_up}.")
    warm = min(round(warm_up * steps), steps - 1)
    return LambdaLR(optimizer, lambda done: (done + 1) / (warm + 1) if done < warm else after(done, warm))
