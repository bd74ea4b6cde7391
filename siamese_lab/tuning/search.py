"""The search for good options: Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), by trials in a row.

What trial n tries depends on the seed, on n and on the scores of the trials before it, and on nothing else. So a search
that was broken off is gone through again, each trial that was done telling its score at once, and goes on from there as
if nothing had happened.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from siamese_lab.errors import ResourceError
from siamese_lab.tuning.space import Range, Space, Values

AT_RANDOM = 6
"""Trials before the search goes by what it has seen; not a share of all, so that more trials can be added later."""
WORST = 0.0
"""What a failed trial is taken for, so that the search keeps away from there. All metrics lie in 0…1."""


def search(
    space: Space,
    trials: int,
    seed: int,
    first: Mapping[str, Any],
    score_of: Callable[[int, dict[str, Any]], float | None],
) -> None:
    """Try options of a space.

    Args:
        space: what to vary.
        trials: how many to make.
        seed: of the search.
        first: what the first trial tries.
        score_of: makes the trial of a number and options, and gives its score, the higher the better; None: it failed.

    Raises:
        UserError: if Optuna is not installed.
    """
    optuna = import_optuna()
    distributions = {name: distribution(optuna, what) for name, what in space.items()}
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(dict(first))
    for number in range(trials):
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=AT_RANDOM, seed=seed_of(seed, number))
        trial = study.ask(distributions)
        score = score_of(number, {name: trial.params[name] for name in space})
        study.tell(trial, WORST if score is None else score)


def import_optuna() -> Any:
    """Optuna, which is an extra."""
    try:
        import optuna
    except ImportError as error:
        raise ResourceError('experiment=tune needs Optuna: pip install "siamese_lab[tune]".') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def distribution(optuna: Any, what: Range | Values) -> Any:
    """As Optuna calls it."""
    if isinstance(what, Range):
        return optuna.distributions.FloatDistribution(what.low, what.high, log=what.log)
    return optuna.distributions.CategoricalDistribution(what.values)


def seed_of(seed: int, number: int) -> int:
    """Of one trial."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
