"""`--help` of every command describes every group and option, fits into 80 columns, and ends with three examples."""

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from conftest import Ended, compose
from shipped import BY_GROUP
from test_configs import OVERRIDES

from siamese_lab import __main__ as lab
from siamese_lab import embed, export, metrics, report, search, verify
from siamese_lab.config.help_page import leaves, option_rows, plain_options
from siamese_lab.config.help_texts import GROUPS, OPTIONS
from siamese_lab.config.schema import config_folder
from siamese_lab.data import __main__ as data

MODULES = {"report": report, "embed": embed, "verify": verify, "search": search, "export": export, "data": data}
WIDTH = 80


def check_page(page: str) -> None:
    assert "Traceback" not in page
    too_wide = [line for line in page.splitlines() if len(line) > WIDTH]
    assert not too_wide
    examples = page.split("\nExamples:\n")[1]
    number = examples.count("  python -m siamese_lab")
    assert 3 <= number <= 4
    assert len(re.findall(r"^  # ", examples, re.MULTILINE)) == number, "each example has a comment"
    assert examples.rstrip().splitlines()[-1].startswith("  "), "the examples are last"


@pytest.mark.slow
@pytest.mark.parametrize("override", OVERRIDES)
def test_every_option_that_ships_has_its_sentence(override: str) -> None:
    options = plain_options(compose(override))
    rows = dict(option_rows("train", options))
    assert [row for row, text in rows.items() if not text] == []
    assert len(rows) > 40


@pytest.mark.slow
def test_the_sentences_belong_to_options_that_exist() -> None:
    overrides = [each.values[0] for each in OVERRIDES]
    known = {name for each in overrides for name, _ in leaves(plain_options(compose(each)), OPTIONS["train"])}
    groups_of_options = {"data.augment"}
    assert set(OPTIONS["train"]) - known - groups_of_options == set()


def test_every_group_has_its_sentence() -> None:
    assert set(GROUPS) == {path.name for path in config_folder().iterdir() if path.is_dir()} | {"recipe/study"}
    assert all(GROUPS.values())


def test_help_of_train_lists_groups_names_options_and_defaults(command: Callable[..., Ended]) -> None:
    page = command("--help").out
    check_page(page)
    words = " ".join(page.split())
    for group, names in BY_GROUP.items():
        listed = re.search(rf"{group}=\S+ .*?Names: ([\w, ]+?)(?= \w+=)", words)
        assert listed and set(names) <= set(listed[1].split(", ")), group
    assert "optimizer.lr=0.001 learning rate" in words
    assert f"available: {', '.join(metrics.available())}" in words
    assert "data.classes_per_batch=16" in words


def test_help_of_train_follows_the_chosen_parts(command: Callable[..., Ended]) -> None:
    page = command(
        "sampler=curriculum", "--help", "experiment=tune", "callbacks=[early_stopping]", "logger=[csv,wandb]"
    ).out
    check_page(page)
    for shown in (
        "sampler=curriculum",
        "sampler.stages=",
        "callbacks.early_stopping.patience=3",
        "logger.wandb.mode=null",
        "tuning.trials=16",
    ):
        assert shown in page
    assert "sampler.choice" not in page


def test_help_of_evaluate(evaluate: Callable[..., Ended]) -> None:
    page = evaluate("--help").out
    check_page(page)
    assert "pairs=20000" in page and "checkpoint=…" in page


@pytest.mark.parametrize("name", MODULES)
def test_help_of_the_other_commands(name: str, call: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in ("30", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        ended = call(MODULES[name], "--help")
        assert (ended.status, ended.err) == (0, "")
        check_page(ended.out)


@pytest.mark.slow
def test_the_lab_lists_its_commands() -> None:
    ended = subprocess.run([sys.executable, "-m", "siamese_lab"], capture_output=True, text=True, check=True)
    check_page(ended.stdout)
    for name, each in lab.COMMANDS.items():
        (line,) = (line for line in ended.stdout.splitlines() if line.startswith(f"  {name} "))
        assert line.endswith(each.text) and len(each.text) > 10
