"""The runs of all folds become one figure with its standard error; missing and repeated folds are named."""

import json
import statistics
import sys

import pytest

from siamese_lab import report
from siamese_lab.runs.results import Results
from siamese_lab.study import folds

ACCURACIES = (0.61, 0.64, 0.59, 0.6, 0.66, 0.62, 0.63, 0.58, 0.65, 0.6)


def run(fold, accuracy=0.6, *, view=2, status="finished", error=None, sampler="hard", seed=0, **changed):
    test = {"recall@1": 0.3, f"view_{view}/accuracy": accuracy, f"view_{view}/threshold": 0.9}
    test |= {f"view_{view}/tar@far=0.001": None, f"view_{view}/negatives": 300.0}
    fields = {
        "data": "lfw",
        "sampler": sampler,
        "loss": "triplet",
        "network": "resnet10",
        "seed": seed,
        "choices": {
            "data": {"name": "lfw", "view": view, "fold": fold, "root": f"/somewhere/{fold}"},
            "sampler": {"name": sampler},
            "paths": {"outputs": f"outputs{fold}"},
            "seed": seed,
        },
        "images": {"alignment": "funneled"},
        "versions": {},
        "commit": "abc",
        "hardware": {},
        "status": status,
        "error": error,
        "test": test if status == "finished" else {},
    }
    return Results(**fields | changed)


def written(folder, runs):
    for number, each in enumerate(runs):
        place = folder / f"sweep/{number}"
        place.mkdir(parents=True)
        each.write(place)
    return folder


def ten(**options):
    return [run(fold, accuracy, **options) for fold, accuracy in enumerate(ACCURACIES)]


def test_ten_folds_are_joined(tmp_path):
    (joined,) = folds.read_folds(written(tmp_path, ten()))
    assert joined.missing == {}
    assert [joined.figures_of_fold[fold]["accuracy"] for fold in range(10)] == list(ACCURACIES)
    assert joined.estimates["accuracy"].mean == pytest.approx(0.618)
    assert joined.estimates["accuracy"].standard_error == pytest.approx(statistics.stdev(ACCURACIES) / 10**0.5)
    assert set(joined.estimates) == {"accuracy"}, "undefined figures, thresholds and counts have no mean"


def test_the_order_of_the_runs_does_not_matter_and_other_runs_are_ignored(tmp_path):
    others = [
        run(None, view=1),
        Results(**vars(run(0)) | {"data": "omniglot", "choices": {"data": {"name": "omniglot"}}}),
    ]
    (joined,) = folds.read_folds(written(tmp_path, [*others, *reversed(ten())]))
    assert joined.estimates["accuracy"].mean == pytest.approx(0.618)


def test_fewer_folds_have_no_figure_and_missing_folds_are_named(tmp_path):
    runs = [each for fold, each in enumerate(ten()) if fold not in (3, 7, 9)]
    runs += [run(7, status="failed", error="FloatingPointError: nan"), run(9, status="interrupted")]
    (joined,) = folds.read_folds(written(tmp_path, runs))
    assert joined.missing == {3: "no run", 7: "FloatingPointError: nan", 9: "interrupted"}
    assert joined.estimates == {}
    assert len(joined.figures_of_fold) == 7


def test_a_failed_fold_that_was_repeated_counts(tmp_path):
    (joined,) = folds.read_folds(written(tmp_path, [run(4, status="failed", error="x"), *ten()]))
    assert joined.missing == {}


def test_runs_of_other_choices_seeds_code_or_images_are_not_mixed(tmp_path):
    odd = [run(9, commit="def"), run(9, images={"alignment": "deepfunneled"})]
    joined = folds.read_folds(written(tmp_path, [*ten(), *ten(sampler="random"), *ten(seed=1), *odd]))
    assert [len(each.figures_of_fold) for each in joined] == [10, 10, 10, 1, 1]
    assert folds.differing(joined) == ["sampler.name", "seed", "alignment", "commit"]
    assert folds.differing(joined[:2]) == ["sampler.name"]
    assert folds.differing(joined[:1]) == ["sampler.name"]


def test_a_fold_that_was_finished_twice_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"Fold 2 .* was finished twice with the same configuration, in .*sweep/10 and .*sweep/2\."
    ):
        folds.read_folds(written(tmp_path, [*ten(), run(2)]))


def reported(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["siamese_lab.report", str(folder)])
    monkeypatch.setenv("COLUMNS", "200")
    try:
        report.main()
        status = 0
    except SystemExit as ended:
        status = ended.code
    return status, capsys.readouterr()


def test_the_command_prints_and_writes_the_table(tmp_path, monkeypatch, capsys):
    written(tmp_path, [*ten(), run(0, sampler="random")])
    status, said = reported(tmp_path, monkeypatch, capsys)
    assert status == 0
    error = 100 * statistics.stdev(ACCURACIES) / 10**0.5
    (line,) = (line for line in said.out.splitlines() if "│ hard " in line)
    assert f"61.80 ± {error:.2f}" in line and "│ 10 " in line
    assert "sampler.name=random: fold 1 is missing (no run)." in said.out
    first, second = json.loads((tmp_path / "folds.json").read_text(encoding="utf-8"))
    assert first["estimates"]["accuracy"]["mean"] == pytest.approx(0.618)
    assert (first["choices"]["sampler.name"], first["choices"]["commit"]) == ("hard", "abc")
    assert list(second["missing"]) == [str(fold) for fold in range(1, 10)]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (
            [],
            "holds no results.json of a run. Start runs first: python -m siamese_lab.train -m",
        ),
        ([*ten(), run(5)], "Fold 5 of LFW, View 2 was finished twice"),
    ],
)
def test_incomplete_folds_give_one_message(tmp_path, monkeypatch, capsys, runs, message):
    status, said = reported(written(tmp_path, runs), monkeypatch, capsys)
    assert status == 2
    assert message in said.err and said.err.startswith("Error: ") and said.err.count("\n") == 1


def test_a_missing_folder_and_incomplete_results_are_named(tmp_path, monkeypatch, capsys):
    assert "There is no folder" in reported(tmp_path / "nowhere", monkeypatch, capsys)[1].err
    written(tmp_path, ten())
    (tmp_path / "sweep/3/results.json").write_text('{"schema_version": 1, "da', encoding="utf-8")
    status, said = reported(tmp_path, monkeypatch, capsys)
    assert status == 2
    assert "sweep/3/results.json is damaged" in said.err
