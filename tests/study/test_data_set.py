"""A data set's declaration reaches labels, order, notes and protocol, and earlier results keep their descriptions."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from synthetic import run, study, written

from siamese_lab import data
from siamese_lab.data.info import CrossValidation, DataSetInfo
from siamese_lab.study import runs
from siamese_lab.study.analysis import analyze
from siamese_lab.study.conclusions import caveats
from siamese_lab.study.data_set import data_set
from siamese_lab.study.tables import tabulate

FIRST_STUDY = Path(__file__).parents[1] / "runs/first_study"
LABELS = [
    "MNIST, closed",
    "MNIST, disjoint",
    "Fashion-MNIST, closed",
    "Fashion-MNIST, disjoint",
    "Omniglot",
    "LFW, View 1",
]
OWN = DataSetInfo("Butterflies", "outdoors", order=25, notes=("Wings only.",), compared=("camera",))


@pytest.mark.slow
def test_an_earlier_study_has_the_same_names_order_and_numbers(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copy(FIRST_STUDY / "runs.jsonl.gz", folder)
    read = runs.read_study(folder)
    assert read.data == LABELS
    assert all(each.results.data_set is None for each in read.runs)
    (means, *_) = tabulate(analyze(read, (0.8, 0.9))).headline
    earlier = pd.read_csv(FIRST_STUDY / "recall_at_1.csv")
    pd.testing.assert_frame_equal(means.numbers.reset_index(drop=True), earlier, check_dtype=False)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("digits", {}),
        ("mnist", {"protocol": "closed"}),
        ("fashion_mnist", {"protocol": "disjoint"}),
        ("omniglot", {}),
        ("lfw", {"view": 1}),
        ("lfw", {"view": 2, "fold": 3}),
        ("image_folder", {"root": "/somewhere/birds"}),
    ],
)
def test_a_new_run_has_the_label_of_an_earlier_one(name, options):
    described = data.build(name, **options).describe()
    earlier = run("digits")
    earlier.data, earlier.choices["data"] = name, {"name": name, **options}
    earlier.images = {"alignment": "funneled"} if name == "lfw" else {}
    new = run("digits")
    new.data, new.images, new.data_set = name, earlier.images, described.recorded()
    assert data_set(new)._replace(notes=()) == data_set(earlier)


def test_the_declaration_of_a_set_of_the_user_reaches_tables_notes_and_protocol(tmp_path):
    study(tmp_path, data=("mnist:disjoint", "omniglot"))
    for strategy, camera in (("random", "A"), ("hard", "B")):
        changed = {"data_set": OWN.recorded(), "images": {"camera": camera, "from": "here"}}
        written(tmp_path, run("digits", strategy, **changed))
    analysis = analyze(runs.read_study(tmp_path), (0.8,))
    assert analysis.study.data == ["MNIST, disjoint", "Butterflies, outdoors", "Omniglot"]
    (means, *_) = tabulate(analysis).headline
    assert list(means.shown.columns) == ["strategy", *analysis.study.data]
    found_caveats = caveats(analysis)
    assert "Butterflies, outdoors: Wings only." in found_caveats
    (camera,) = (each for each in found_caveats if "images.camera is" in each)
    assert "A in digits/random" in camera and "B in digits/hard" in camera
    assert not any("images.from" in each for each in found_caveats)


def test_folds_of_a_set_of_the_user_are_joined(tmp_path):
    from siamese_lab.study import folds

    for fold in range(3):
        info = OWN._replace(protocol="3 folds", cross_validation=CrossValidation(fold, 3, "part"))
        each = run("digits", test={"recall@1": 0.5 + fold / 10}, data_set=info.recorded())
        each.choices["data"] |= {"part": fold}
        each.write(written(tmp_path / f"{fold}", each) / "digits/random/seed=0")
    (joined,) = folds.read_folds(tmp_path)
    assert (joined.data, joined.folds, joined.missing) == ("Butterflies, 3 folds", 3, {})
    assert joined.estimates["recall@1"].mean == pytest.approx(0.6)
    assert joined.estimates["recall@1"].standard_error == pytest.approx(0.1 / 3**0.5)


def test_results_with_a_damaged_declaration_are_quarantined(tmp_path):
    written(tmp_path, run(), run(strategy="hard", data_set={"title": "Half"}), run(strategy="semi_hard", data_set=[]))
    read = runs.read_study(tmp_path)
    assert [each.strategy for each in read.runs] == ["random"]
    assert len(read.excluded) == 2


@pytest.mark.parametrize("option", ["fold", "protocol", "root", "view"])
@pytest.mark.parametrize("value", ["x", float("nan"), float("inf"), [1], {}, True])
def test_earlier_results_with_other_types_are_left_out(option, value, tmp_path):
    kinds = {"fold": int, "view": int, "protocol": str, "root": str}
    each = run("lfw")
    each.choices["data"] |= {"view": 2, "fold": 1, option: value}
    written(tmp_path, each)
    found = runs.read_study(tmp_path)
    if type(value) is kinds[option]:
        assert not found.excluded
    else:
        assert not found.every and f"choices.data.{option} is " in found.excluded[0].reason
