"""A mistake on a command line is one message, and paths are taken as people write them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ended, compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from siamese_lab.config.errors import check_option_names, explain
from siamese_lab.config.overrides import quoted, unquoted
from siamese_lab.config.path_options import PATHS, with_readable_paths
from siamese_lab.errors import UserError

PLACES = (
    "~",
    "~/photos",
    "/t/Bücher",
    "/t/写真",
    "/t/My photos (1)",
    "/t/it's",
    "/t/seed=0",
    "/t/a#b",
    "/t/[x] {y}",
    "/t/a;b&c!",
    "\\\\server\\share",
    "C:\\photos\\",
    'a"b',
)


def value_of(override: str) -> object:
    parsed = OverridesParser.create().parse_override(override)
    return OmegaConf.create({"value": parsed.value()}).value


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("option", PATHS)
def test_a_path_needs_no_quotes(option: str, place: str) -> None:
    (override,) = with_readable_paths([f"{option}={place}"])
    assert value_of(override) == (str(Path(place).expanduser()) if place.startswith("~") else place)
    assert with_readable_paths([override]) == [override], "a path that is quoted stays"


@pytest.mark.parametrize("place", [*PLACES, "", "'", "\\", "\\'", "${oc.env:HOME}", "a\\${x}'", "\n"])
def test_quotes_keep_every_text(place: str) -> None:
    assert value_of(f"folder={quoted(place)}") == place
    assert unquoted(quoted(place)) == place


def test_other_values_and_sweeps_stay() -> None:
    others = ["data.root=/a,/b", "paths.outputs=${seed}/x", "data.root=null", "seed=~", "sampler=Bücher", "~logger"]
    assert with_readable_paths(others) == others


def test_a_home_folder_is_composed() -> None:
    assert compose("data=image_folder", "data.root=~/photos").data.root == str(Path("~/photos").expanduser())


@pytest.mark.parametrize("value", ["~x", "Bücher", "a b(", "it's", "a=b", "a#b", "[x", "{"])
def test_an_unreadable_value_is_told_how_to_quote_it(value: str) -> None:
    with pytest.raises(HydraException) as refused:
        compose(f"study_name={value}")
    message = explain(refused.value)
    assert message.startswith(f"The value of study_name cannot be read: {value}. Quote")
    assert f'"study_name={quoted(value)}"' in message
    assert compose(f"study_name={quoted(value)}").study_name == value


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_that_numpy_rejects_is_refused(seed: str) -> None:
    with pytest.raises(UserError, match=f"seed must be a whole number from 0 to 4,294,967,295, but is {seed}"):
        compose(f"seed={seed}")


@pytest.mark.parametrize("threads", ["0", "-1", "100000"])
def test_a_number_of_threads_that_torch_rejects_is_refused(threads: str) -> None:
    with pytest.raises(UserError, match=f"threads must be from 1 to 1,024, or null .*, but is {threads}"):
        compose(f"threads={threads}")


MISTAKES = {
    ("--foo",): "There is no flag '--foo'.",
    ("--seed=1",): "There is no flag '--seed'. Write seed=1. Options",
    ("--multirum",): "There is no flag '--multirum'. Did you mean '--multirun'?",
    ("-x",): "There is no flag '-x'.",
    ("seed",): "'seed' sets nothing. Options are written NAME=VALUE",
    ("=3",): "'=3' names no option.",
    ("seed=0,1",): "seed=0,1 has several values, but this is a single run. Add -m",
    ("seed=abc",): "seed=abc",
    ("seed=1.5",): "seed=1.5",
    ("seed=-1",): "seed must be a whole number from 0 to",
    ("threads=0",): "threads must be from 1 to",
    ("data.classes_per_batch=0",): "at least 2 classes",
    ("data.images_per_class=0",): "at least 2 images per class",
    ("trainer.precision=foo",): "Precision 'foo' is invalid",
    ("study_name=Bücher", "seed=1"): "\"study_name='Bücher'\"",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_on_the_command_line_is_one_message(
    arguments: tuple[str, ...], command: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = command("data=digits", "logger=null", *arguments)
    assert ended.status == 2, ended.err
    assert MISTAKES[arguments] in " ".join(ended.err.split()), ended.err
    assert "Traceback" not in ended.err and "LexerNo" not in ended.err
    assert not list(tmp_path.rglob("*.ckpt"))


# --- wrong options, before Hydra starts


@pytest.mark.parametrize(
    ("option", "suggestion"), [("optimzer.lr", "optimizer.lr"), ("sed", "seed"), ("lernrate", None)]
)
def test_an_option_of_no_part_is_found_without_composing(
    option: str, suggestion: str | None, command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compose_nothing(*_: object, **__: object) -> None:
        raise AssertionError("it composes")

    monkeypatch.setattr("hydra.compose", compose_nothing)
    monkeypatch.setattr("hydra._internal.hydra.Hydra.compose_config", compose_nothing)
    ended = command(f"{option}=1")
    assert ended.status == 2
    assert ended.err.startswith(f"Error: There is no option {option!r}.")
    assert suggestion is None or f"Did you mean {suggestion!r}?" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["sampler=memory", "sampler.size=64"],
        ["logger=csv", "logger.csv.version=x"],
        ["callbacks=early_stopping", "callbacks.early_stopping.patience=5"],
        ["tuning=default", "tuning.space.optimizer.adamw.lr.low=0.01"],
        ["+anything=1", "hydra.job.name=x", "recipe/study=glyphs", "data.augment.rotation=3"],
    ],
)
def test_an_option_that_a_part_has_is_left_to_hydra(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["siamese_lab.train", *arguments])
    check_option_names(arguments)
