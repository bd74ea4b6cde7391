"""Search for good options with Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), trial by trial.

The options of trial n depend only on the seed, on n and on the scores of earlier trials. An interrupted search is
therefore repeated from the start: finished trials return their stored score at once, and the result is the same as
without the interruption.

With several trials at a time, trials are asked for in groups. The options of a trial then depend on the scores of
earlier groups only, and trials of the same group count as average until they are known (a constant liar). So another
number of trials at a time gives other options, and the same number gives the same ones, whichever trial ends first.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from siamese_lab.errors import ResourceError
from siamese_lab.tuning.space import Range, Space, Values

NUM_RANDOM_TRIALS = 6
"""Number of random trials before the estimator is used; a constant, so that more trials can be added later."""
Group = dict[int, dict[str, Any]]
"""The options of the trials that run at the same time, by the number of the trial."""
WORST = 0.0
"""Score of a failed trial, so that the search avoids its options. All metrics lie in 0…1."""


class Pruned(NamedTuple):
    """A trial that ended early."""

    curve: Mapping[int, float]
    """Its values by the number of steps."""


def search(
    space: Space,
    trials: int,
    seed: int,
    first: Mapping[str, Any],
    score_of: Callable[[int, dict[str, Any]], float | Pruned | None],
    parallel: int = 1,
    run_group: Callable[[Group], None] = lambda group: None,
) -> None:
    """Run trials with options from a search space.

    Args:
        space: the search space.
        trials: the number of trials.
        seed: the seed of the search.
        first: the options of the first trial.
        score_of: runs the trial with a number and options, and returns its score; higher is better, None if it failed.
        parallel: the number of trials in a group.
        run_group: called with each group before the scores of its trials are asked for.

    Raises:
        UserError: if Optuna is not installed.
    """
    optuna = import_optuna()
    distributions = {name: distribution(optuna, what) for name, what in space.items()}
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(dict(first))
    liar = {"constant_liar": True} if parallel > 1 else {}
    for start in range(0, trials, parallel):
        asked = {}
        for number in range(start, min(start + parallel, trials)):
            study.sampler = optuna.samplers.TPESampler(
                n_startup_trials=NUM_RANDOM_TRIALS, seed=seed_of(seed, number), **liar
            )
            asked[number] = study.ask(distributions)
        group = {number: {name: trial.params[name] for name in space} for number, trial in asked.items()}
        run_group(group)
        for number, trial in asked.items():
            tell(optuna, study, trial, score_of(number, group[number]))


def tell(optuna: Any, study: Any, trial: Any, score: float | Pruned | None) -> None:
    """Tell Optuna the outcome of a trial. Its estimator ranks a pruned trial below every trial that has a score."""
    if isinstance(score, Pruned):
        for step, value in score.curve.items():
            trial.report(value, step)
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return
    study.tell(trial, WORST if score is None else score)


def import_optuna() -> Any:
    """Import Optuna, which is an optional dependency."""
    try:
        import optuna
    except ImportError as error:
        raise ResourceError('experiment=tune needs Optuna: pip install "siamese_lab[tune]".') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def distribution(optuna: Any, what: Range | Values) -> Any:
    """Return Optuna's distribution for a range or a list of values."""
    if isinstance(what, Range):
        return optuna.distributions.FloatDistribution(what.low, what.high, log=what.log)
    return optuna.distributions.CategoricalDistribution(what.values)


def seed_of(seed: int, number: int) -> int:
    """Return the seed of one trial."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
