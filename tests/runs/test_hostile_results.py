"""Results with wrong types, numbers out of their range, or repeated keys are refused with one sentence."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from siamese_lab.errors import UserError
from siamese_lab.runs.plain_values import MAX_DEPTH, WrongValueError, check_plain, parse_json
from siamese_lab.runs.results import Results, results_from
from siamese_lab.runs.studied_options import GROUPS, STUDIED
from siamese_lab.study.plan import hypotheses

PLAIN = {int: 3, float: 0.5, bool: True, str: "name"}
"""A value of each type."""
OTHERS: Mapping[type, Sequence[Any]] = {
    int: ("5", 0.5, True, float("nan")),
    float: ("0.5", False, float("nan"), float("inf")),
    bool: (1, "true", 0.0),
    str: (1, True, "", "a\nb", "x" * 201),
}
"""Values that no option of a type may have, besides lists and dictionaries."""
NO_SCALARS: Sequence[Any] = ([], [0.5], {}, {"a": 1})


def content() -> dict[str, Any]:
    """Return the smallest results of a finished run, with every option that the study reads."""
    choices: dict[str, Any] = {"seed": 0}
    for option, kind in STUDIED.items():
        group, name = option.split(".")
        choices.setdefault(group, {})[name] = PLAIN[kind]
    metrics = {"recall@1": 0.5, "view_1/threshold": 1.5, "view_1/negatives": 500.0, "mrr": None, "auc": float("nan")}
    return {
        "schema_version": 2,
        "status": "finished",
        "data": "omniglot",
        "sampler": "random",
        "loss": "triplet",
        "network": "conv4",
        "seed": 0,
        "choices": choices,
        "images": {},
        "versions": {},
        "commit": None,
        "hardware": {},
        "test": metrics,
        "validation": metrics,
        "floors": {"pixels": metrics},
        "per_class": {"a": {"queries": 40, "recall@1": 1.0}},
        "seconds": {"total": 1.0},
        "history": [{"step": 1, "triplets": 2, "train": {"loss": -3.0}, "validation": {"recall@1": 1.0000001}}],
        "seconds_of_history": [0.5],
    }


def read(values: Mapping[str, Any]) -> Results:
    return results_from(lambda: parse_json(json.dumps(values)), "results.json", "Restore the file.")


def put(values: dict[str, Any], place: Sequence[Any], value: Any) -> dict[str, Any]:
    """Return a copy with another value at a place."""
    changed = copy.deepcopy(values)
    inner: Any = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


def test_honest_results_are_read() -> None:
    run = read(content())
    assert run.test["view_1/threshold"] == 1.5 and run.choices["optimizer"]["lr"] == 0.5


def test_every_option_of_the_plan_has_a_type() -> None:
    plan = hypotheses()
    rules = [rule for hypothesis in plan["hypotheses"].values() for rule in hypothesis["rules"]]
    named = {*plan["held"], *plan["standard"], *plan["controls"]["options"]}
    for rule in rules:
        named |= {rule["factor"]} if "factor" in rule else set()
        named |= {*rule.get("varies", [])}
        named |= {name for term in rule.get("terms", []) for name in term if "." in name}
    assert named - {"batch_size"} == set(STUDIED)


@pytest.mark.parametrize("option", STUDIED)
def test_an_option_that_the_study_reads_has_its_type(option: str) -> None:
    place = ["choices", *option.split(".")]
    for value in (*OTHERS[STUDIED[option]], *NO_SCALARS):
        with pytest.raises(
            UserError, match=rf"choices\.{re.escape(option)} is .*, expected .*Restore the file"
        ) as told:
            read(put(content(), place, value))
        assert "\n" not in str(told.value)
    read(put(content(), place, None))


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_of_options_is_a_dictionary(group: str) -> None:
    for value in (None, "x", [], [1], 5, True):
        with pytest.raises(UserError, match=rf"choices\.{group} is .*expected a dictionary|choices.data is missing"):
            read(put(content(), ["choices", group], value))


def test_an_option_with_dots_in_its_name_is_checked_too() -> None:
    values = content()
    del values["choices"]["loss"]["margin"]
    with pytest.raises(UserError, match=r"choices\.loss\.margin is \[0\.2\]"):
        read(put(values, ["choices", "loss.margin"], [0.2]))


def test_options_of_own_parts_may_have_any_value() -> None:
    for value in (None, [0.1, 0.2], {"a": [1]}, "text"):
        read(put(content(), ["choices", "loss", "margins"], value))
        read(put(content(), ["choices", "callbacks"], value))


@pytest.mark.parametrize(
    "place",
    [
        ["test", "recall@1"],
        ["test", "view_1/auc"],
        ["test", "an_own_metric"],
        ["validation", "map@r"],
        ["floors", "pixels", "recall@1"],
        ["per_class", "a", "recall@1"],
        ["history", 0, "validation", "recall@1"],
    ],
)
@pytest.mark.parametrize("value", [7.0, 1.01, -0.01])
def test_a_metric_is_a_share(place: list[Any], value: float) -> None:
    with pytest.raises(UserError, match=rf"{re.escape(place[-1])} is {value}, expected a share in 0…1"):
        read(put(content(), place, value))


@pytest.mark.parametrize(
    "place",
    [
        ["steps"],
        ["tested_step"],
        ["seconds", "total"],
        ["history", 0, "step"],
        ["history", 0, "triplets"],
        ["seconds_of_history", 0],
    ],
)
def test_counts_and_seconds_are_not_negative(place: list[Any]) -> None:
    with pytest.raises(UserError, match="is -1, expected a number of at least 0"):
        read(put(content(), place, -1))


@pytest.mark.parametrize(("seed", "valid"), [(0, True), (2**32 - 1, True), (-1, False), (2**32, False)])
def test_a_seed_is_one_that_a_run_can_have(seed: int, valid: bool) -> None:
    values = put(content(), ["seed"], seed)
    if valid:
        assert read(values).seed == seed
        return
    with pytest.raises(UserError, match=rf"seed is {seed}, expected 0 to 4,294,967,295"):
        read(values)


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_a_repeated_key_is_damage(place: str) -> None:
    text = json.dumps(content())
    if place == "outside":
        text = text.removesuffix("}") + ', "seed": 7}'
    else:
        text = text.replace('"recall@1": 0.5', '"recall@1": 0.5, "recall@1": 0.9', 1)
    key = "seed" if place == "outside" else "recall@1"
    with pytest.raises(UserError, match=f"the key {key} occurs several times"):
        results_from(lambda: parse_json(text), "results.json", "Restore the file.")


@pytest.mark.parametrize("inner", [1, None, "text", [], 10**19])
def test_values_are_nested_in_at_most_the_stated_levels(inner: Any) -> None:
    def nested(levels: int) -> Any:
        value = inner
        for _ in range(levels):
            value = [value]
        return value

    if inner == 10**19:
        with pytest.raises(WrongValueError, match="a number of at most"):
            check_plain(nested(3))
        return
    check_plain(nested(MAX_DEPTH))
    with pytest.raises(WrongValueError, match=f"more than {MAX_DEPTH} levels"):
        check_plain(nested(MAX_DEPTH + 1))


def test_the_standard_values_of_the_plan_have_the_types() -> None:
    for option, value in hypotheses()["standard"].items():
        read(put(content(), ["choices", *option.split(".")], value))
