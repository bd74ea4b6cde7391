"""Options are recorded by the names of parts, without paths of classes, and compared by one list."""

from pathlib import Path

import pytest
from conftest import compose
from omegaconf import OmegaConf

from siamese_lab.config import schema
from siamese_lab.config.schema import config_folder
from siamese_lab.runs import options
from siamese_lab.runs.options import compared_options, flatten, part_name, recorded
from siamese_lab.runs.packed import run_records
from siamese_lab.study.protocol import protocol
from siamese_lab.study.runs import read_study

FIRST_STUDY = Path(__file__).parent / "first_study"
PARTS = sorted(
    (path.parent.name, path.stem, target)
    for path in config_folder().rglob("*.yaml")
    for option, target in flatten(OmegaConf.to_container(OmegaConf.load(path))).items()
    if option.split(".")[-1] == "_target_" and not option.startswith("hydra.")
)


@pytest.mark.parametrize(("group", "name", "target"), PARTS)
def test_a_shipped_part_is_recorded_by_its_name_on_the_command_line(group: str, name: str, target: str) -> None:
    assert part_name(target) == name


def test_there_are_parts_of_every_group_with_classes() -> None:
    assert {group for group, _, _ in PARTS} >= {"optimizer", "schedule", "trainer", "logger", "callbacks"}


def test_a_recorded_configuration_holds_no_path_of_a_class() -> None:
    mine = "+callbacks.mine={_target_: my_package.Lively, options: [{_target_: my_package.Inner}]}"
    config = schema.to_plain(compose("logger=csv", "callbacks=early_stopping", mine))
    assert "_target_" not in str(config) and "my_package" not in str(config)
    assert (config["optimizer"]["name"], config["schedule"]["name"]) == ("adamw", "cosine")
    assert config["logger"] == {"csv": {"name": "csv", "version": "csv", "own_name": ""}}
    assert config["callbacks"]["early_stopping"]["name"] == "early_stopping"
    assert config["callbacks"]["mine"] == {"name": "Lively", "options": [{"name": "Inner"}]}
    assert recorded(config) == config


def test_a_class_of_the_user_in_place_of_a_shipped_one_is_recorded_by_its_class_name() -> None:
    config = schema.to_plain(compose("optimizer=adamw", "optimizer._target_=torch.optim.RAdam"))
    assert config["optimizer"]["name"] == "RAdam"


def test_an_earlier_study_is_read_without_paths_of_classes() -> None:
    (first, *_) = run_records(FIRST_STUDY)
    assert first.line is not None and b"siamese_lab.schedules.cosine" in first.line
    choices = first.read().choices
    assert [choices[group]["name"] for group in ("optimizer", "schedule", "trainer", "logger")] == [
        "adamw",
        "cosine",
        "default",
        "tensorboard",
    ]
    assert protocol(read_study(FIRST_STUDY)).differing == []


@pytest.mark.parametrize("option", [*options.WITHOUT_EFFECT, *options.OUTSIDE_A_STUDY])
def test_listed_options_exist(option: str) -> None:
    shown = [flatten(OmegaConf.to_container(compose(f"data={name}")), branches=True) for name in ("mnist", "table")]
    assert any(option in each for each in shown)


@pytest.mark.parametrize("option", options.WITHOUT_EFFECT)
def test_options_without_effect_are_not_compared(option: str) -> None:
    compared = compared_options(schema.to_plain(compose("budget=half")))
    assert not [name for name in compared if name == option or name.startswith(f"{option}.")]
    assert {"seed", "data.name", "optimizer.name", "trainer.max_steps", "metrics.extra"} <= compared.keys()


def test_an_option_absent_from_earlier_runs_has_the_value_that_they_used() -> None:
    assert compared_options({"seed": 0})["trainer.accumulate_grad_batches"] == 1
    given = {"trainer": {"accumulate_grad_batches": 4}}
    assert compared_options(given)["trainer.accumulate_grad_batches"] == 4


@pytest.mark.parametrize("option", options.NEUTRAL)
def test_an_option_with_its_shipped_value_is_not_compared(option: str) -> None:
    """Runs from before the option used the same value."""
    shown = [schema.to_plain(compose(*each)) for each in (["data=mnist"], ["data=table", "loss=n_pair"])]
    values = [flatten(each)[option] for each in shown if option in flatten(each)]
    assert values and set(map(str, values)) == {str(options.NEUTRAL[option])}
    assert all(option not in compared_options(each) for each in shown)


def test_a_tree_is_flattened_with_and_without_its_branches() -> None:
    tree = {"a": {"b": {"c": 1}, "empty": {}}, "d": [{"e": 2}]}
    assert flatten(tree) == {"a.b.c": 1, "a.empty": {}, "d": [{"e": 2}]}
    assert list(flatten(tree, branches=True)) == ["a", "a.b", "a.b.c", "a.empty", "d"]
