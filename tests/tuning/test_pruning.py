"""The median rule prunes what Optuna's pruner prunes, and only trials without the best score."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest

from siamese_lab.runs.tuned import Trial
from siamese_lab.training.callbacks.prune_trial import PruneTrial
from siamese_lab.training.stage_metrics import StageMetrics
from siamese_lab.tuning.job import tuning_record
from siamese_lab.tuning.pruning import LEAST_FINISHED, medians
from siamese_lab.tuning.search import Pruned, search
from siamese_lab.tuning.space import Range

STEPS = (10, 20, 30, 40)


def curve(seed: int) -> dict[int, float]:
    return dict(zip(STEPS, np.random.default_rng(seed).random(len(STEPS)).tolist(), strict=True))


def pruned_at(values: Mapping[int, float], of_earlier: Mapping[int, float], max_steps: int) -> int | None:
    """Return the step at which the callback ends a trial with these validation values."""
    callback = PruneTrial(of_earlier)
    for step, value in values.items():
        trainer = SimpleNamespace(
            global_step=step, max_steps=max_steps, should_stop=False, state=SimpleNamespace(fn="fit")
        )
        callback.on_metrics(trainer, StageMetrics("validation", {"recall@1": value, "map@r": 0.0}))
        assert trainer.should_stop == (callback.pruned is not None)
        if callback.pruned is not None:
            return step
    return None


@pytest.mark.parametrize("seed", range(6))
def test_trials_are_pruned_as_by_optunas_median_pruner(seed: int) -> None:
    study = optuna.create_study(
        direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=LEAST_FINISHED, n_warmup_steps=0)
    )
    finished: list[dict[int, float]] = []
    ended = []
    for number in range(20):
        values, trial, expected = curve(100 * seed + number), study.ask(), None
        for step, value in values.items():
            trial.report(value, step)
            if trial.should_prune():
                expected = step
                break
        assert pruned_at(values, medians(finished), max_steps=50) == expected
        ended.append(expected)
        if expected is None:
            study.tell(trial, 0.5)
            finished.append(values)
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert ended[:LEAST_FINISHED] == [None] * LEAST_FINISHED
    assert 3 < sum(each is not None for each in ended) < 15


def test_the_last_validation_prunes_nothing() -> None:
    low = dict.fromkeys(STEPS, 0.1)
    assert pruned_at(low, {40: 0.5}, max_steps=41) == 40
    assert pruned_at(low, {40: 0.5}, max_steps=40) is None


def test_the_state_of_an_interrupted_trial_continues() -> None:
    first, second = PruneTrial({20: 0.4}), PruneTrial({20: 0.4})
    trainer = SimpleNamespace(global_step=10, max_steps=50, should_stop=False, state=SimpleNamespace(fn="fit"))
    first.on_metrics(trainer, StageMetrics("validation", {"recall@1": 0.45}))
    second.load_state_dict(first.state_dict())
    trainer.global_step = 20
    second.on_metrics(trainer, StageMetrics("validation", {"recall@1": 0.1}))
    assert not trainer.should_stop, "its best value is above the median"

    third = PruneTrial({20: 0.5})
    third.load_state_dict(first.state_dict())
    third.on_metrics(trainer, StageMetrics("validation", {"recall@1": 0.1}))
    assert third.pruned == {"step": 20, "best": 0.45, "median": 0.5}
    fourth, resumed = PruneTrial({}), SimpleNamespace(should_stop=False)
    fourth.load_state_dict(third.state_dict())
    fourth.on_train_start(resumed, None)
    assert resumed.should_stop


def test_test_images_and_the_final_validation_prune_nothing() -> None:
    callback = PruneTrial({10: 0.9})
    for stage, fn in (("test", "test"), ("validation", "validate")):
        trainer = SimpleNamespace(global_step=10, max_steps=50, should_stop=False, state=SimpleNamespace(fn=fn))
        callback.on_metrics(trainer, StageMetrics(stage, {"recall@1": 0.1}))
        assert (callback.best, callback.pruned, trainer.should_stop) == (None, None, False)


def test_a_pruned_trial_is_never_the_best(tmp_path) -> None:
    from conftest import compose

    config = compose("experiment=tune", "sampler=hard")
    every = [
        Trial(0, {"loss.margin": 0.2}, "finished", 0.3, None, 1.0),
        Trial(1, {"loss.margin": 0.3}, "pruned", None, "pruned after 20 steps", 0.5),
        Trial(2, {"loss.margin": 0.4}, "failed", None, "NonFiniteLossError", None),
    ]
    record = tuning_record(config, tmp_path / "digits/hard", every)
    assert (record.options, record.score, record.trials) == ({"loss.margin": 0.2}, 0.3, 3)
    with pytest.raises(ValueError, match="all 2 trials failed"):
        tuning_record(config, tmp_path / "digits/hard", every[1:])


SPACE = {"loss.margin": Range(0.05, 0.8)}
FIRST = {"loss.margin": 0.2}


def tried(parallel: int, trials: int = 14, score: Any = None) -> list[tuple[int, float]]:
    every: list[tuple[int, float]] = []
    groups: list[list[int]] = []

    def score_of(number: int, options: dict[str, Any]) -> float | Pruned | None:
        every.append((number, options["loss.margin"]))
        return score(number) if score else 0.9 - abs(options["loss.margin"] - 0.5)

    search(SPACE, trials, 0, FIRST, score_of, parallel, lambda group: groups.append(list(group)))
    assert groups == [list(range(start, min(start + parallel, trials))) for start in range(0, trials, parallel)]
    return every


@pytest.mark.parametrize("parallel", [1, 2, 4])
def test_every_number_of_parallel_trials_gives_all_trials_and_repeats_itself(parallel: int) -> None:
    every = tried(parallel)
    assert [number for number, _ in every] == list(range(14))
    assert every[0][1] == FIRST["loss.margin"]
    assert len({value for _, value in every}) == 14, "trials of a group have different options"
    assert tried(parallel) == every
    assert parallel < 4 or every != tried(1), "a group knows only the scores of earlier groups"


def test_the_trials_of_a_group_do_not_depend_on_each_other() -> None:
    """Only the scores of earlier groups count."""

    def other(number: int) -> float:
        return 0.1 * (number % 7) if number < 8 else 0.05 * number

    def swapped(number: int) -> float:
        return other(number) if number < 8 else 0.6 - 0.05 * (number - 8)

    first, second = tried(4, 16, other), tried(4, 16, swapped)
    assert first[:12] == second[:12]
    assert first[12:] != second[12:]


def test_the_search_goes_on_after_pruned_trials_and_avoids_them() -> None:
    every = tried(1, 30, lambda number: Pruned({10: 0.1}) if number % 2 else 0.5)
    assert len(every) == 30
