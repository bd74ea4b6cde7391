"""`experiment=tune` finds options with equal numbers of trials, and `tuned=PATH` trains with the best options."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import lightning
import pytest
from conftest import train_here

from siamese_lab.runs import results, tuned

pytestmark = pytest.mark.slow

STEPS = (
    "recipe.steps=4",
    "trainer.val_check_interval=2",
    "network.width=8",
    "metrics.floors=false",
    "trainer.accelerator=cpu",
    "logger=csv",
    "data=digits",
)
TUNE = ("-m", "experiment=tune", "tuning.trials=3", *STEPS)
STUDY = ("-m", "experiment=study", "seed=1", "study_name=tuned_study", "tuned=outputs/tune", *STEPS)
STRATEGIES = ("random", "semi_hard")


def without_times(folder: Path) -> dict:
    content = json.loads((folder / "tuned.json").read_text())
    for trial in content["every_trial"]:
        trial.pop("seconds")
    return content


@pytest.fixture(scope="module", autouse=True)
def without_data() -> Iterator[None]:
    """Hide the data sets from all runs, as `command` does, because the tests compare choices."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SIAMESE_LAB_DATA", raising=False)
        yield


@pytest.fixture
def untested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a trial evaluates test images."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a trial looked at the test images")

    monkeypatch.setattr(lightning.Trainer, "test", refused)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of tunings of two strategies, made once for all tests."""
    folder = tmp_path_factory.mktemp("made")
    ended = train_here(*TUNE, f"sampler={','.join(STRATEGIES)}", at=folder)
    assert ended.status == 0, ended.err
    for shown in ("2 tunings of 3 trials each.", "digits/random/trial=0  1/3", "digits/semi_hard/trial=2  3/3"):
        assert shown in ended.out
    assert "Study:  python -m siamese_lab.train -m experiment=study tuned=outputs/tune" in ended.out
    return folder


@pytest.fixture
def tunings(made: Path, tmp_path: Path) -> Path:
    """Return a copy of the tunings in the folder in which commands run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "outputs/tune/digits"


def test_every_strategy_gets_equally_many_trials_and_the_best_wins(tunings: Path) -> None:
    for strategy in STRATEGIES:
        there = tuned.read_tuned(tunings / strategy)
        assert (there.data, there.sampler, there.metric, there.trials) == ("digits", strategy, "map@r", 3)
        assert there.choices["seed"] == 0
        runs = [results.read_results(tunings / strategy / f"trial={number}") for number in range(3)]
        assert [trial.score for trial in there.every_trial] == [run.validation["map@r"] for run in runs]
        assert there.score == max(run.validation["map@r"] for run in runs)
        (winner,) = (trial for trial in there.every_trial if trial.score == there.score)
        assert there.options == winner.options
        for run, trial in zip(runs, there.every_trial, strict=True):
            assert (run.status, run.steps, run.test) == ("finished", 4, {})
            assert run.choices["optimizer"]["lr"] == trial.options["optimizer.lr"]
            assert run.choices["loss"]["margin"] == trial.options["loss.margin"]
            assert run.choices["tuning"] is None
        assert not list((tunings / strategy).rglob("*.ckpt"))
    window = [results.read_results(tunings / f"semi_hard/trial={number}").choices["sampler"] for number in range(3)]
    margins = [trial.options["loss.margin"] for trial in tuned.read_tuned(tunings / "semi_hard").every_trial]
    assert [sampler["margin"] for sampler in window] == margins, "the window follows the loss's margin"


def test_a_repeated_tuning_runs_only_additional_trials(tunings: Path, command) -> None:
    written = {path: path.stat().st_mtime_ns for path in tunings.rglob("trial=*/results.json")}
    before = [without_times(tunings / strategy) for strategy in STRATEGIES]
    ended = command(*TUNE, f"sampler={','.join(STRATEGIES)}")
    assert ended.status == 0
    assert "trial=0" not in ended.out.split("Best")[0]
    assert [without_times(tunings / strategy) for strategy in STRATEGIES] == before

    assert command(*TUNE, "sampler=random", "tuning.trials=4").status == 0
    assert {path: path.stat().st_mtime_ns for path in written} == written
    more = without_times(tunings / "random")
    assert (more["trials"], more["every_trial"][:3]) == (4, before[0]["every_trial"])


def test_the_study_uses_the_best_trials(tunings: Path, command, tmp_path: Path) -> None:
    ended = command(*STUDY, f"sampler={','.join(STRATEGIES)}")
    assert ended.status == 0, ended.err
    for strategy in STRATEGIES:
        winner = tuned.read_tuned(tunings / strategy)
        run = results.read_results(tmp_path / f"outputs/tuned_study/digits/{strategy}/seed=1")
        assert run.status == "finished"
        assert run.choices["tuned"] == {
            "options": winner.options,
            "score": winner.score,
            "metric": "map@r",
            "trials": 3,
            "steps": 4,
        }
        for name, value in winner.options.items():
            group, option = name.split(".")
            assert run.choices[group][option] == value
        assert run.test["recall@1"] > 0

    for further, message in {
        "sampler=hard": "outputs/tune has no tuned options for data=digits sampler=hard. "
        "Tune it, or finish its tuning: python -m siamese_lab.train -m experiment=tune study_name=tune data=digits "
        "sampler=hard.",
        "optimizer.lr=0.1": "optimizer.lr is set on the command line and by the file of tuned=…",
        "loss=margin": "found with loss.name=triplet, but this run has loss.name=margin.",
        "tuned=nowhere": "nowhere has no tuned options for data=digits sampler=random.",
    }.items():
        ended = command(*STUDY, "sampler=random", "study_name=another", further)
        assert ended.status == 2
        assert message in ended.err
        assert not (tmp_path / "outputs/another/digits").exists()


@pytest.mark.nightly  # tests/sweep/test_kill.py kills a sweep
def test_a_tuning_killed_in_a_trial_gives_the_undisturbed_results(tunings: Path, command, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    tuning = (*TUNE, "sampler=semi_hard")
    process = subprocess.Popen(
        [sys.executable, "-m", "siamese_lab.train", *tuning], cwd=folder, stdout=subprocess.DEVNULL
    )
    second = folder / "outputs/tune/digits/semi_hard/trial=1/results.json"
    until = time.monotonic() + 300
    while not second.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not second.parent.with_name("tuned.json").exists()
    assert json.loads(second.read_text())["status"] == "running"
    again = command(*tuning, at=folder)
    assert again.status == 0, again.err
    assert "trial=0" not in again.out.split("Best")[0]
    assert without_times(second.parent.parent) == without_times(tunings / "semi_hard")


def test_a_trial_that_diverges_is_recorded_and_counts(command, tmp_path: Path, untested: None) -> None:
    astray = ("optimizer=sgd", "tuning.trials=5", "tuning.space.optimizer.sgd.lr.high=1e38")
    ended = command(*TUNE, "sampler=random", *astray)
    assert ended.status == 0, ended.err
    there = tuned.read_tuned(tmp_path / "outputs/tune/digits/random")
    failed = [trial for trial in there.every_trial if trial.status == "failed"]
    assert failed
    assert len(there.every_trial) == 5
    for trial in failed:
        assert trial.score is None
        assert trial.error.startswith(("NonFiniteLossError: The loss of step", "NonFiniteLossError: A sampler expects"))
    assert there.score == max(trial.score for trial in there.every_trial if trial.score is not None)
    assert f"failed ({failed[0].error})" in ended.out

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.json")}
    command(*TUNE, "sampler=random", *astray)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_failure_of_the_machine_ends_only_that_tuning_and_is_repeated_later(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamese_lab.training import run as trained

    build_datamodule, built = trained.build_datamodule, []

    def build_but_once(config):
        built.append(config)
        if len(built) == 2:
            raise PermissionError(13, "Permission denied")
        return build_datamodule(config)

    with monkeypatch.context() as patch:
        patch.setattr(trained, "build_datamodule", build_but_once)
        ended = command(*TUNE, "sampler=random,hard", "tuning.trials=2")
    assert ended.status == 1
    assert "digits/random was not tuned: " in ended.err
    assert "trial=1 has failed: ResourceError: " in ended.err
    assert "cannot be written (Permission denied)" in ended.err
    assert "Not tuned: data=digits sampler=random, see outputs/tune/digits/random" in ended.out
    assert tuned.read_tuned(tmp_path / "outputs/tune/digits/hard").trials == 2
    assert command(*TUNE, "sampler=random,hard", "tuning.trials=2").status == 0
    assert tuned.read_tuned(tmp_path / "outputs/tune/digits/random").trials == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            TUNE[1:],
            "experiment=tune consists of many runs, so it takes -m: python -m siamese_lab.train -m experiment=tune.",
        ),
        ((*TUNE, "tuning.trials=0"), "tuning.trials must be at least 1, but is 0."),
        ((*TUNE, "loss.margin=3", "sampler=hard"), "tuning.space.loss.triplet.margin must contain 3, but it is 0.05"),
        ((*TUNE, "sampler=hard", "seed=0,1"), "2 runs of this sweep would write into outputs/tune/digits/hard"),
    ],
)
def test_invalid_arguments_are_refused_before_the_first_trial(
    arguments: tuple[str, ...], message: str, command, tmp_path: Path
) -> None:
    ended = command(*arguments)
    assert ended.status == 2
    assert message in ended.err
    assert not list(tmp_path.rglob("trial=*"))


def test_an_unknown_metric_is_refused_with_the_available_ones(command) -> None:
    ended = command(*TUNE, "sampler=random", "tuning.metric=recall", "recipe.steps=1", "trainer.val_check_interval=1")
    assert ended.status == 1
    assert "tuning.metric=recall is not a metric of the validation images. Available: recall@1, " in ended.err


def test_records_that_are_damaged_or_of_another_version_are_refused(tmp_path: Path) -> None:
    for content, message in {
        "{": "is damaged",
        '{"schema_version": 9}': "was written by another version of siamese_lab. Tune again in another folder.",
        '{"schema_version": 2, "every_trial": []}': "was written by another version of siamese_lab: ",
        "[]": "was written by another version of siamese_lab",
    }.items():
        (tmp_path / "tuned.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            tuned.read_tuned(tmp_path)


def test_parallel_trials_have_equal_budgets_and_the_same_results_when_repeated(command, tmp_path: Path) -> None:
    parallel = (*TUNE, "sampler=random", "tuning.parallel=2")
    ended = command(*parallel)
    assert ended.status == 0, ended.err
    folder = tmp_path / "outputs/tune/digits/random"
    there = tuned.read_tuned(folder)
    assert [trial.number for trial in there.every_trial] == [0, 1, 2]
    assert len({trial.options["optimizer.lr"] for trial in there.every_trial}) == 3
    assert [trial.score for trial in there.every_trial] == [
        results.read_results(folder / f"trial={number}").validation["map@r"] for number in range(3)
    ]
    assert not list(folder.rglob("*.ckpt"))
    before = without_times(folder)
    shutil.rmtree(folder / "trial=1")
    (folder / "tuned.json").unlink()
    assert command(*parallel).status == 0
    assert without_times(folder) == before


@pytest.mark.nightly  # test_pruning.py prunes without training
def test_hopeless_trials_are_pruned_count_as_trials_and_are_never_the_best(command, tmp_path: Path) -> None:
    pruning = (*TUNE, "sampler=random", "tuning.trials=12", "tuning.prune=true", "trainer.val_check_interval=1")
    hopeless = "tuning.space.optimizer.adamw.lr={low: 1e-9, high: 1e-2, log: true}"
    ended = command(*pruning, hopeless)
    assert ended.status == 0, ended.err
    there = tuned.read_tuned(tmp_path / "outputs/tune/digits/random")
    pruned = [trial for trial in there.every_trial if trial.status == "pruned"]
    assert 0 < len(pruned) < 7 and len(there.every_trial) == there.trials == 12
    for trial in pruned:
        run = results.read_results(tmp_path / f"outputs/tune/digits/random/trial={trial.number}")
        assert (run.status, run.steps, trial.score) == ("shortened", run.pruned["step"], None)
        assert run.steps < 4 and run.pruned["best"] < run.pruned["median"] and run.test == {}
        assert max(point.validation["recall@1"] for point in run.history) == run.pruned["best"]
        assert trial.number >= 5
    assert there.score == max(trial.score for trial in there.every_trial if trial.score is not None)
    assert "pruned after" in ended.out and f"{len(pruned)} of 12" in ended.out
    before = without_times(tmp_path / "outputs/tune/digits/random")
    assert command(*pruning, hopeless).status == 0
    assert without_times(tmp_path / "outputs/tune/digits/random") == before


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("tuning.parallel=0", "tuning.parallel must be a whole number of at least 1, but is 0."),
        ("tuning.parallel=many", "tuning.parallel must be a whole number, like 1, but is 'many'."),
        ("tuning.prune=3", "tuning.prune must be true or false, like False, but is 3."),
    ],
)
def test_wrong_options_of_a_tuning_are_refused(option: str, message: str, command, tmp_path: Path) -> None:
    ended = command(*TUNE, "sampler=random", option)
    assert (ended.status, message in ended.err) == (2, True), ended.err
    assert not list(tmp_path.rglob("trial=*"))
