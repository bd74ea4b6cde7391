"""Trials depend only on the seed and on the scores so far."""

import math
import sys
from typing import Any

import pytest
import yaml
from conftest import compose

from siamese_lab import losses, samplers
from siamese_lab.config.schema import config_folder
from siamese_lab.tuning.search import NUM_RANDOM_TRIALS, search
from siamese_lab.tuning.space import Range, Values, shipped_options, space_of

SPACE = {"optimizer.lr": Range(1e-4, 1e-1, log=True), "sampler.choice": Values(("uniform", "nearest"))}
FIRST = {"optimizer.lr": 0.05, "sampler.choice": "uniform"}
TRIALS = 24
Tried = list[tuple[int, dict[str, Any], float | None]]


def height(options: dict[str, Any]) -> float:
    """Return a score that is highest at a learning rate of 0.002 with the nearest negative."""
    away = abs(math.log10(options["optimizer.lr"]) - math.log10(2e-3))
    return max(0.0, 0.9 - 0.3 * away - 0.2 * (options["sampler.choice"] == "uniform"))


def diverging(options: dict[str, Any]) -> float | None:
    return None if options["optimizer.lr"] > 0.03 else height(options)


def tried(score=height, seed: int = 0, trials: int = TRIALS, space=SPACE, first=FIRST) -> Tried:
    every: Tried = []

    def score_of(number: int, options: dict[str, Any]) -> float | None:
        every.append((number, options, score(options)))
        return every[-1][2]

    search(space, trials, seed, first, score_of)
    return every


def test_the_first_trial_is_the_recipe_and_all_trials_lie_in_the_space() -> None:
    every = tried()
    assert [number for number, _, _ in every] == list(range(TRIALS))
    assert every[0][1] == FIRST
    assert all(value in SPACE[name] for _, options, _ in every for name, value in options.items())
    assert len({options["optimizer.lr"] for _, options, _ in every}) == TRIALS


def test_the_search_learns_from_its_trials() -> None:
    """After the random trials, the search stays where scores are high; a random search would in one of ten cases."""
    for seed in range(5):
        _, options, score = max(tried(seed=seed), key=lambda trial: trial[2])
        assert score > 0.85
        assert options["sampler.choice"] == "nearest"
        later = [score for number, _, score in tried(seed=seed) if number >= NUM_RANDOM_TRIALS]
        early = [score for number, _, score in tried(seed=seed) if 0 < number < NUM_RANDOM_TRIALS]
        assert sum(later) / len(later) > sum(early) / len(early)


@pytest.mark.parametrize("score", [height, diverging])
@pytest.mark.parametrize("broken_off_at", [1, 5, 6, 17])
def test_an_interrupted_search_continues_with_the_same_trials(score, broken_off_at: int) -> None:
    known: dict[int, tuple[dict[str, Any], float | None]] = {}

    def score_of(number: int, options: dict[str, Any]) -> float | None:
        if number == broken_off_at and len(known) == broken_off_at:
            known[number] = options, score(options)
            raise KeyboardInterrupt
        known.setdefault(number, (options, score(options)))
        assert known[number][0] == options
        return known[number][1]

    with pytest.raises(KeyboardInterrupt):
        search(SPACE, TRIALS, 3, FIRST, score_of)
    search(SPACE, TRIALS, 3, FIRST, score_of)
    assert [(number, *known[number]) for number in range(TRIALS)] == tried(score, seed=3)


def test_more_trials_begin_with_the_same_trials() -> None:
    assert tried(trials=30)[:8] == tried(trials=8)


def test_another_seed_gives_other_trials() -> None:
    assert tried(seed=1)[1:] != tried(seed=0)[1:]


def test_the_search_avoids_failing_options() -> None:
    failed = [number for number, _, score in tried(diverging, trials=40) if score is None]
    assert 0 in failed  # the first trial has a rate of 0.05
    assert sum(number >= NUM_RANDOM_TRIALS for number in failed) < 0.15 * (
        40 - NUM_RANDOM_TRIALS
    )  # 17% of the space fails


def test_a_missing_optuna_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r'needs Optuna: pip install "siamese_lab\[tune\]"'):
        tried()


def test_each_strategy_is_tuned_by_the_shared_options_and_its_own() -> None:
    shared = ["optimizer.lr", "loss.margin"]
    for sampler, own in {
        "random": [],
        "hard": [],
        "semi_hard": ["sampler.choice"],
        "distance_weighted": ["sampler.nearest", "sampler.cutoff"],
    }.items():
        config = compose("experiment=tune", f"sampler={sampler}")
        space = space_of(config)
        assert list(space) == [*shared, *own]
        assert shipped_options(config, space) == {
            name: config[name.split(".")[0]][name.split(".")[1]] for name in [*shared, *own]
        }
    assert list(space_of(compose("experiment=tune", "sampler=hard", "loss=n_pair"))) == [
        "optimizer.lr",
        "loss.temperature",
    ]


def shipped_parts() -> list[tuple[str, str, str]]:
    space = yaml.safe_load((config_folder() / "tuning/default.yaml").read_text(encoding="utf-8"))["space"]
    return [(group, part, option) for group in space for part in space[group] for option in space[group][part]]


@pytest.mark.parametrize(("group", "part", "option"), shipped_parts())
def test_shipped_parts_can_be_built_at_both_ends_of_their_space(group: str, part: str, option: str) -> None:
    config = compose("tuning=default", f"{group}={part}")
    what = space_of(config)[f"{group}.{option}"]
    build = {"sampler": samplers.build, "loss": losses.build}.get(group)
    for value in what.values if isinstance(what, Values) else (what.low, what.high):
        if build is not None:
            build(**{**config[group], option: value})


def test_nearest_is_below_cutoff_in_every_trial() -> None:
    space = space_of(compose("experiment=tune", "sampler=distance_weighted"))
    assert space["sampler.nearest"].high < space["sampler.cutoff"].low


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+tuning.space.sampler.hard.cutof=[1]", "sampler=hard has no option 'cutof'"),
        (
            "+tuning.space.sampler.hard.num_negatives=3",
            "tuning.space.sampler.hard.num_negatives must be a list of values, or",
        ),
        ("+tuning.space.sampler.hard.num_negatives={low: 1}", "must be a list of values, or"),
        ("+tuning.space.sampler.hard.num_negatives=[]", "needs at least one"),
        ("+tuning.space.sampler.hard.num_negatives=[2, 3]", "must contain 1, but it is 2, 3"),
        ("+tuning.space.samplers={}", "tuning.space has no option 'samplers'. Did you mean 'sampler'?"),
        ("tuning.space.optimizer.adamw.lr.high=1e-4", "needs a low above 0 that is below its high, but got 0.001 …"),
        ("loss.margin=1.5", "tuning.space.loss.triplet.margin must contain 1.5, but it is 0.05 … 0.8"),
    ],
)
def test_an_invalid_space_is_refused(override: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        space_of(compose("experiment=tune", "sampler=hard", override))
    assert message in str(raised.value)


def test_options_without_a_space_are_refused() -> None:
    config = compose("experiment=tune", "sampler=hard", "tuning.space.optimizer=null", "tuning.space.loss=null")
    with pytest.raises(ValueError, match="no option of optimizer=adamw, loss=triplet, network=conv4, sampler=hard"):
        space_of(config)
