"""Data options that another run stored have every option of their data set, or are refused with one sentence."""

from pathlib import Path
from typing import Any

import pytest

from siamese_lab import data
from siamese_lab.data.sets.glyphs import TRAINING_SCRIPTS, Glyphs
from siamese_lab.data.sets.lfw import Lfw
from siamese_lab.data.sets.lfw_closed import LfwClosed
from siamese_lab.data.trained_options import defaults_of, trained_options
from siamese_lab.errors import UserError


@pytest.mark.parametrize("name", data.available())
def test_a_data_set_accepts_stored_options_that_lack_any_option(name: str, tmp_path: Path) -> None:
    options = {"root": str(tmp_path)} if name == "image_folder" else {}
    here = data.build(name, **options)
    for other in data.available():
        stored = {"name": other, **defaults_of(data.registry.classes[other])}
        for lacking in (*stored, None):
            if lacking != "name":
                given = {option: value for option, value in stored.items() if option != lacking}
                try:
                    here.check_unseen(trained_options(given))
                except UserError:
                    assert {name, other} == {"lfw", "lfw_closed"}  # these two share people


def test_missing_options_have_the_defaults_of_the_data_set() -> None:
    assert trained_options({"name": "glyphs", "copies": 3})["scripts"] == [*TRAINING_SCRIPTS]
    assert trained_options({"name": "glyphs", "copies": 3})["copies"] == 3
    assert trained_options({"name": "lfw"})["view"] == 1
    assert trained_options({"name": "of_a_package_that_is_missing"}) == {"name": "of_a_package_that_is_missing"}


def test_defaults_count_when_classes_are_compared() -> None:
    with pytest.raises(UserError, match=r"trained on .*Latin"):
        Glyphs(scripts=["Armenian"]).check_unseen(trained_options({"name": "glyphs"}))
    with pytest.raises(UserError, match="View 1 of LFW has seen"):
        Lfw(view=2, fold=1).check_unseen(trained_options({"name": "lfw"}))
    with pytest.raises(UserError, match="View 1 of LFW has seen"):
        LfwClosed().check_unseen(trained_options({"name": "lfw"}))


@pytest.mark.parametrize(
    ("stored", "fact"),
    [
        (None, "data is None"),
        (["glyphs"], "data is .*expected a dictionary"),
        ({}, "data.name is None"),
        ({"name": 5}, "data.name is 5"),
        ({"name": "glyphs", "scripts": 5}, "data.scripts is 5"),
        ({"name": "glyphs", "scripts": [1]}, r"data.scripts is \[1\]"),
        ({"name": "lfw", "view": "x"}, "data.view is 'x'"),
    ],
)
def test_options_of_another_form_are_refused(stored: Any, fact: str) -> None:
    with pytest.raises(UserError, match=f"{fact}.*Use another checkpoint"):
        trained_options(stored)
