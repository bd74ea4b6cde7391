"""Files of a study are counted or excluded with a reason, and missing jobs are listed."""

import json
import math

import pytest
from synthetic import run, study, written

from siamese_lab.runs.results import Point
from siamese_lab.study import runs


def folders(study):
    return {each.folder for each in study.runs}


def test_a_grid_is_read_in_the_order_of_the_question(tmp_path):
    found = runs.read_study(study(tmp_path / "grid", data=("omniglot", "lfw", "mnist:closed"), seeds=2))
    assert found.name == "grid"
    assert found.strategies == ["random", "hard", "semi_hard", "distance_weighted"]
    assert found.data == ["MNIST, closed", "Omniglot", "LFW, View 1"]
    assert found.seeds == [0, 1]
    assert len(found.finished) == 24 and found.missing == [] and found.excluded == []


def test_protocols_views_and_folders_of_one_data_set_are_separate(tmp_path):
    written(tmp_path / "1", run("mnist:closed"))
    written(tmp_path / "2", run("mnist:disjoint"))
    for number, root in enumerate(("/photographs/birds", "C:\\photographs\\cars\\")):
        images = run("digits", seed=number)
        images.data, images.choices["data"] = "image_folder", {"name": "image_folder", "root": root}
        written(tmp_path / f"3{number}", images)
    assert runs.read_study(tmp_path).data == ["MNIST, closed", "MNIST, disjoint", "Images of birds", "Images of cars"]


def test_evaluations_and_trials_of_a_tuning_are_no_runs(tmp_path):
    written(tmp_path, run())
    for aside in ("omniglot/random/seed=0/evaluations/x", "omniglot/hard/trial=3", "tuning/omniglot/hard"):
        (tmp_path / aside).mkdir(parents=True)
        run(strategy="hard").write(tmp_path / aside)
    assert folders(runs.read_study(tmp_path)) == {"omniglot/random/seed=0"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"schema_version": 1, "da', "is damaged"),
        ("", "is damaged"),
        ("[]", "is damaged"),
        ("null", "is damaged"),
        ('{"accuracy": 0.9}', "has schema version None"),
        ('{"schema_version": 1}', "written by another version"),
        ('{"schema_version": 2, "data": "mnist"}', "written by another version"),
    ],
)
def test_incomplete_results_are_excluded_with_the_reason(tmp_path, content, reason):
    written(tmp_path, run())
    (tmp_path / "other").mkdir()
    (tmp_path / "other/results.json").write_text(content, encoding="utf-8")
    found = runs.read_study(tmp_path)
    assert folders(found) == {"omniglot/random/seed=0"}
    ((place, why),) = found.excluded
    assert place == "other" and reason in why


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["test"].update({"recall@1": "high"}),
        lambda content: content.update(test=None),
        lambda content: content["history"].pop(),
        lambda content: content["history"][0].update(train=[]),
        lambda content: content["choices"].pop("data"),
        lambda content: content.update(choices=None),
        lambda content: content.update(seed="zero"),
        lambda content: content.update(history=[1, 2]),
        lambda content: content.update(hardware=None),
        lambda content: content.update(versions=[]),
        lambda content: content.update(status="done"),
        lambda content: content["choices"].update(trainer=None),
        lambda content: content["choices"]["trainer"].update(max_steps=[400]),
        lambda content: content["choices"]["loss"].update(margin=[0.2]),
        lambda content: content["choices"]["optimizer"].update(lr="x"),
        lambda content: content["test"].update({"recall@1": 7.0}),
        lambda content: content.update(seed=-1),
    ],
)
def test_a_result_of_another_form_is_excluded(tmp_path, change):
    written(tmp_path, run(), run(seed=1))
    place = tmp_path / "omniglot/random/seed=1/results.json"
    content = json.loads(place.read_text(encoding="utf-8"))
    change(content)
    place.write_text(json.dumps(content), encoding="utf-8")
    found = runs.read_study(tmp_path)
    assert [each.seed for each in found.runs] == [0]
    assert [each.folder for each in found.excluded] == ["omniglot/random/seed=1"]


def test_of_repeated_jobs_only_the_finished_one_counts(tmp_path):
    written(tmp_path / "1", run(status="failed", error="x"))
    written(tmp_path / "2", run())
    written(tmp_path / "3", run())
    found = runs.read_study(tmp_path)
    assert folders(found) == {"2/omniglot/random/seed=0"}
    assert {each.folder[0]: each.reason for each in found.excluded} == {
        "1": "It has not finished, but the same job in 2/omniglot/random/seed=0 has.",
        "3": "It repeats the data, strategy and seed of 2/omniglot/random/seed=0.",
    }


def test_runs_of_another_commit_are_excluded_on_request(tmp_path):
    written(tmp_path, run(), run(seed=1, commit="b" * 40), run(seed=2, commit=None))
    found = runs.read_study(tmp_path, commit="bbb")
    assert [each.seed for each in found.runs] == [1]
    assert len(found.excluded) == 2 and "bbb was requested" in found.excluded[0].reason


def test_missing_jobs_are_those_of_the_grid(tmp_path):
    written(tmp_path, run(), run(strategy="hard", seed=1), run("digits", "hard"))
    missing = {(each.data, each.strategy, each.seed) for each in runs.read_study(tmp_path).missing}
    assert missing == {
        ("Omniglot", "random", 1),
        ("Omniglot", "hard", 0),
        ("Digits", "random", 0),
    }


def test_figures_come_from_finished_runs_and_omit_undefined_values(tmp_path):
    odd = run(seed=1, test={"recall@1": math.nan, "mrr": None, "view_1/threshold": 0.9, "view_1/auc": 0.8})
    written(tmp_path, run(recall=0.5), odd, run(seed=2, status="running"))
    figures = runs.figures(runs.read_study(tmp_path))
    assert set(figures["seed"]) == {0, 1}
    assert set(figures.loc[figures["seed"] == 1, "metric"]) == {"view_1/auc"}
    assert figures.loc[(figures["seed"] == 0) & (figures["metric"] == "recall@1"), "value"].item() == 0.5


def test_curves_have_every_validation_and_nan_for_unlogged_values(tmp_path):
    bare = run(history=[Point(10, 100, {}, {"recall@1": 0.4})], seconds_of_history=[1.5])
    written(tmp_path, bare)
    (row,) = runs.curves(runs.read_study(tmp_path)).to_dict("records")
    assert (row["step"], row["triplets"], row["seconds"], row["recall@1"]) == (10, 100, 1.5, 0.4)
    assert math.isnan(row["loss"]) and math.isnan(row["d_an_q90"])


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="There is no folder"):
        runs.read_study(tmp_path / "nowhere")
