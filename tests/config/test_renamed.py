"""Earlier names of options are accepted for one minor version, with a warning that names the new one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended

from siamese_lab.config import renamed
from siamese_lab.config.arguments import for_hydra
from siamese_lab.config.help_texts import OPTIONS
from siamese_lab.config.renamed import OF_NAME, is_accepted, translated, with_new_option_names
from siamese_lab.errors import UserError
from siamese_lab.runs.renamed_options import REMOVED_CHOICES, RENAMED, with_new_names


@pytest.mark.parametrize("each", RENAMED, ids=lambda each: each.old)
def test_the_new_name_is_an_option_and_the_earlier_one_is_not(each: renamed.Renamed) -> None:
    listed = OPTIONS["train"]
    assert each.new in listed
    assert each.old not in listed
    assert each.old.rpartition(".")[0] == each.new.rpartition(".")[0], "stored files rename within a group"


def test_an_earlier_name_occurs_once() -> None:
    assert len(OF_NAME) == len(RENAMED)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("sampler.negatives=2", "sampler.num_negatives=2"),
        ("++data.colour=false", "++data.color=false"),
        ("schedule.drops=[0.5,0.75]", "schedule.milestones=[0.5,0.75]"),
        ("data.hold_out=10", "data.validation_fraction=0.1"),
        ("data.hold_out=4,5", "data.validation_fraction=0.25,0.2"),
        ("name=mine", "study_name=mine"),
    ],
)
def test_an_override_is_translated_with_a_warning(
    given: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert with_new_option_names([given, "seed=1", "--cfg", "job"]) == [expected, "seed=1", "--cfg", "job"]
    told = capsys.readouterr().err
    assert told.startswith("Warning: ") and told.count("\n") == 1 and f"Write {expected}." in told


def test_names_of_today_are_left_alone_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["data.name=x", "network.tta=[mirrored]", "study_name=name", "logger.csv.name=x", "-m"]
    given += ["--config-dir", "name", "--config-name=tested", "-cd", "tested"]  # folders and files with such a name
    assert with_new_option_names(given) == given
    assert capsys.readouterr().err == ""


def test_an_option_of_an_own_config_keeps_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sampler").mkdir()
    (tmp_path / "sampler/mine.yaml").write_text("name: mine\nnegatives: 3\n", encoding="utf-8")
    given = ["sampler=mine", "sampler.negatives=5", "network.views=[]"]
    expected = [*given[:2], "network.tta=[]"]
    flags = ["--config-dir", str(tmp_path)]
    assert with_new_option_names([*given, *flags]) == [*expected, *flags]
    assert for_hydra([*given, *flags]) == [*flags, *expected]
    assert "negatives" not in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0.1", "x", "1", "[10]"])
def test_a_value_without_translation_is_one_message(value: str) -> None:
    with pytest.raises(UserError, match=r"takes other values.*Set data\.validation_fraction"):
        translated(OF_NAME["data.hold_out"], f"data.hold_out={value}")


@pytest.mark.parametrize(
    ("since", "version", "accepted"),
    [("0.1.0", "0.1.0", True), ("0.1.0", "0.1.9", True), ("0.1.0", "0.2.0", False), ("0.3.0", "1.3.0", False)],
)
def test_an_earlier_name_ends_with_the_next_minor_version(since: str, version: str, accepted: bool) -> None:
    assert is_accepted(since, version) is accepted


def test_later_versions_refuse_an_earlier_name_and_name_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed.metadata, "version", lambda package: "0.2.0")
    with pytest.raises(UserError, match=r"sampler.negatives is called .* 0\.1\.0\. Write sampler\.num_negatives=2\."):
        with_new_option_names(["sampler.negatives=2"])


def test_a_stored_name_of_today_wins_over_an_earlier_one() -> None:
    assert with_new_names({"data": {"color": True, "colour": False}}) == {"data": {"color": True, "colour": False}}
    assert with_new_names({"data": {"hold_out": 10}}) == {"data": {"validation_fraction": 0.1}}


def test_a_command_accepts_an_earlier_name(command: Callable[..., Ended]) -> None:
    ended = command("data=digits", "sampler.negatives=3", "--cfg", "job")
    assert ended.status == 0, ended.err
    assert "num_negatives: 3" in ended.out
    assert "Warning: sampler.negatives is called sampler.num_negatives since version 0.1.0" in ended.err


@pytest.mark.parametrize("choice", REMOVED_CHOICES)
def test_a_removed_choice_says_what_to_use_instead(choice: str, command: Callable[..., Ended]) -> None:
    ended = command(choice)
    assert ended.status == 2
    assert ended.err.startswith(f"Error: There is no {choice} any more.") and "trainer.max_steps" in ended.err
