"""Checkpoints, results, tuning files and thresholds of others are data: nothing in them runs or decides where to write.

Each file gives one message, in bounded time and memory. The files follow from what their formats allow, not from the
code that reads them.
"""

import copy
import io
import json
import math
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from confined import Outcome, confined
from conftest import compose
from omegaconf import OmegaConf
from untrained import checkpoint

from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.config.tuned_options import find_tuned_options, with_tuned_options
from siamese_lab.errors import UserError
from siamese_lab.evaluation import load
from siamese_lab.evaluation.evaluated_data import with_current_folders
from siamese_lab.evaluation.record import read_evaluation
from siamese_lab.inference.embeddings_file import read_embeddings
from siamese_lab.inference.threshold import read_threshold
from siamese_lab.networks.views import check_tta
from siamese_lab.runs import plain_values
from siamese_lab.runs.checkpoints import read_checkpoint
from siamese_lab.runs.results import Results, read_results
from siamese_lab.runs.tuned import Tuned
from siamese_lab.study.folds import read_folds
from siamese_lab.study.runs import read_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits address space, and reads /proc and /dev"),
]

Change = Callable[[dict[str, Any]], Any]


class Creates:
    """Creates a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the content of a checkpoint of a small untrained network."""
    place = checkpoint(tmp_path_factory.mktemp("good"), "network.width=4", "network.embedding_dim=8")
    return dict(torch.load(place, weights_only=True))


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Check that no test leaves a trace of code that ran, or a file outside of the folder of its input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIAMESE_LAB_DATA", raising=False)
    yield
    assert not (tmp_path / "ran").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"given", "run"}


def check(outcome: Outcome, *facts: str) -> None:
    """Check that a file was refused with one short message that states the facts."""
    assert outcome.refused, outcome.message
    assert outcome.message.isprintable() and len(outcome.message) < 900, outcome.message
    assert outcome.message.endswith(".") or "…" in outcome.message, outcome.message
    for fact in facts:
        assert fact in outcome.message, outcome.message


def choose(option: str, value: Any) -> Change:
    """Return a change of one option of the stored configuration."""

    def change(content: dict[str, Any]) -> None:
        inner = content["callbacks"]["StoredChoices"]["choices"]
        *groups, last = option.split(".")
        for group in groups:
            inner = inner[group]
        inner[last] = value

    return change


def weight(name: str, value: Callable[[torch.Tensor], Any]) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["state_dict"][f"network.{name}"] = value(content["state_dict"][f"network.{name}"])

    return change


def laughs(levels: int) -> Any:
    """Return a list that holds one string 2^levels times, in a few bytes."""
    value: Any = "ha"
    for _ in range(levels):
        value = [value, value]
    return value


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["inner"] = value
    return value


def without(key: str) -> Change:
    return lambda content: content.pop(key)


def with_state(**values: Any) -> Change:
    return lambda content: content["callbacks"]["StoredChoices"].update(values)


CHECKPOINTS: dict[str, tuple[Change, str]] = {
    "a width of a million": (choose("network.width", 10**6), "do not fit"),
    "a width beyond the bound": (choose("network.width", 10**9), "network.width is 1000000000, expected at most"),
    "embeddings of a million dimensions": (choose("network.embedding_dim", 10**6), "embed.weight is 8×32 instead of"),
    "a width of -1": (choose("network.width", -1), "cannot be built"),
    "a width of 0": (choose("network.width", 0), "network"),
    "a width as text": (choose("network.width", "4"), "network.width is '4', expected a value of the type int"),
    "a width of 4.5": (choose("network.width", 4.5), "network.width is 4.5"),
    "a width that is true": (choose("network.width", True), "network.width is True"),
    "a network named by its class": (choose("network.name", "os.system"), "There is no network 'os.system'"),
    "a data set named by a path": (choose("data.name", "../../etc"), "data.name is '../../etc', expected a name"),
    "a strategy named by a path": (choose("sampler.name", "x/../../owned"), "sampler.name is 'x/../../owned'"),
    "a strategy with line breaks": (choose("sampler.name", "x\n\x1b[2J"), "sampler.name is"),
    "a strategy of a long name": (choose("sampler.name", "x" * 10**5), "sampler.name is"),
    "a strategy that is a list": (choose("sampler.name", ["x"]), "sampler.name is ['x']"),
    "a seed as text": (choose("seed", "abc"), "seed is 'abc', expected a whole number"),
    "a seed of 2^40": (choose("seed", 2**40), "seed is 1099511627776, expected 0 to"),
    "a seed of many digits": (choose("seed", 10**500), "a whole number of 1,661 bits"),
    "a seed of NaN": (choose("seed", float("nan")), "seed is nan"),
    "an unknown option": (choose("network.exec", "rm"), "no option 'exec'"),
    "augmentation as text": (choose("data.augment", {"rotation": "x"}), "cannot be built"),
    "a group that is a list": (choose("network", [1]), "network"),
    "folders that are a number": (choose("paths", 3), "paths is 3"),
    "a folder that is a number": (choose("paths.data", 3), "paths.data is 3"),
    "billion laughs": (choose("data.classes", laughs(60)), "nested in more than"),
    "a thousand laughs in few levels": (choose("data.classes", [laughs(18)] * 500), "more than 2,000,000 values"),
    "a configuration that holds itself": (choose("data.classes", itself()), "nested in more than"),
    "a deep configuration": (choose("data.classes", deep(150)), "nested in more than"),
    "a text of 200,000 characters": (choose("data.classes", "x" * 200_000), "a text of at most"),
    "a tensor among the options": (choose("data.classes", torch.zeros(3)), "holds a Tensor"),
    "a key with line breaks": (choose("data.a\nb", 1), "printable characters"),
    "a command line that is a text": (with_state(overrides="seed=1", choices=3), "the stored configuration is 3"),
    "no configuration": (with_state(choices={}), "lacks data, network, paths, seed"),
    "a format of another version": (with_state(format="x" * 10**6), "has format"),
    "no step": (without("global_step"), "lacks 'global_step'"),
    "a step as text": (lambda content: content.update(global_step="6"), "global_step is '6'"),
    "a step of NaN": (lambda content: content.update(global_step=float("nan")), "global_step is nan"),
    "no weights": (without("state_dict"), "lacks 'state_dict'"),
    "weights in a list": (lambda content: content.update(state_dict=[1]), "is incomplete"),
    "weights by number": (lambda content: content.update(state_dict={1: 2}), "is missing"),
    "a missing weight": (lambda content: content["state_dict"].pop("network.embed.bias"), "embed.bias is missing"),
    "a weight too many": (
        lambda content: content["state_dict"].update({"network.x": torch.zeros(1)}),
        "x is not in this network",
    ),
    "weights of another shape": (weight("embed.weight", lambda old: old.T), "embed.weight is 32×8 instead of 8×32"),
    "weights of whole numbers": (weight("embed.weight", lambda old: old.long()), "holds torch.int64 instead of"),
    "complex weights": (weight("embed.weight", lambda old: old + 1j), "holds torch.complex64 instead of"),
    "a weight that is a text": (weight("embed.weight", lambda old: "x" * 10**6), "no tensor"),
    "NaN": (weight("embed.bias", lambda old: old * torch.nan), "not finite, such as embed.bias"),
    "infinity": (weight("embed.bias", lambda old: old + torch.inf), "not finite, such as embed.bias"),
    "weights of 4 TB in 4 bytes": (weight("embed.weight", lambda old: torch.zeros(1).expand(10**6, 10**6)), "1000000×"),
    "4 TB elsewhere": (lambda content: content.update(x=torch.zeros(1).expand(10**6, 10**6)), "needs more bytes"),
    "a sparse tensor": (lambda content: content.update(x=torch.zeros(9, 9).to_sparse()), "sparse"),
    "callbacks that are a list": (lambda content: content.update(callbacks=[1]), "was not written by a run"),
    "a tuple of sets": (lambda content: content.update(x=[({1, 2}, laughs(60))]), "nested in more than"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_hostile_checkpoint_is_refused(name: str, good: dict[str, Any], tmp_path: Path) -> None:
    change, fact = CHECKPOINTS[name]
    content = copy.deepcopy(good)
    change(content)
    place = tmp_path / "given/checkpoints/last.ckpt"
    place.parent.mkdir(parents=True)
    torch.save(content, place)
    check(confined(lambda: load(place)), fact)


def packed(
    content: dict[str, Any], compression: int = zipfile.ZIP_STORED, extra: dict[str, bytes] | None = None
) -> bytes:
    """Return a checkpoint that was packed again, with further members."""
    written, again = io.BytesIO(), io.BytesIO()
    torch.save(content, written)
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(again, "w", compression) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member), compression)
        for name, more in (extra or {}).items():
            new.writestr(name, more, compression)
    return again.getvalue()


BYTES: dict[str, tuple[Callable[[dict[str, Any]], bytes], str]] = {
    "nothing": (lambda good: b"", "not a readable checkpoint"),
    "text": (lambda good: b"hello", "not a readable checkpoint"),
    "noise": (lambda good: os.urandom(5000), "not a readable checkpoint"),
    "HTML": (lambda good: b"<!DOCTYPE html><html>404</html>", "not a readable checkpoint"),
    "compressed members": (lambda good: packed(good, zipfile.ZIP_DEFLATED), "are compressed"),
    "2 GB in 2 MB": (
        lambda good: packed({"x": torch.zeros(200_000_000, dtype=torch.uint8)}, zipfile.ZIP_DEFLATED),
        "are compressed",
    ),
    "a pickle of 33 MB": (lambda good: packed({"x": ["y" * 100_000 + str(n) for n in range(340)]}), "describes its"),
    "a list": (lambda good: saved([1, 2]), "holds a list"),
    "half of it": (lambda good: packed(good)[:4000], "not a readable checkpoint"),
}


def saved(content: Any) -> bytes:
    written = io.BytesIO()
    torch.save(content, written)
    return written.getvalue()


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_checkpoint_is_refused(name: str, good: dict[str, Any], tmp_path: Path) -> None:
    make, fact = BYTES[name]
    place = tmp_path / "given/last.ckpt"
    place.parent.mkdir()
    place.write_bytes(make(good))
    check(confined(lambda: load(place)), str(place), fact)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_pickled_code_does_not_run_in_any_layout(good: dict[str, Any], tmp_path: Path) -> None:
    harm = Creates(tmp_path / "ran")
    files = {
        "zip": saved(good | {"x": harm}),
        "pickle": pickle.dumps(harm),
        "in a zip": packed({}, extra={"archive/data.pkl": pickle.dumps(harm)}),
    }
    (tmp_path / "given").mkdir()
    for name, content in files.items():
        place = tmp_path / f"given/{name}.ckpt"
        place.write_bytes(content)
        check(confined(lambda place=place: load(place)))
        check(confined(lambda place=place: with_resumed_overrides([f"resume={place}"])))


OVERRIDES = {
    "callback of Hydra": ("+hydra.callbacks.x._target_=torch.utils.collect_env.run", None),
    "folder of Hydra": ("hydra.run.dir=/elsewhere", None),
    "launcher of Hydra": ("hydra/launcher=joblib", None),
    "search path of Hydra": ("hydra.searchpath=[file:///elsewhere]", None),
    "outputs": ("paths.outputs=/elsewhere", None),
    "cache": ("paths.cache=/elsewhere", None),
    "cache of the data": ("data.cache=/elsewhere", None),
    "outputs in a dictionary": ("paths={outputs: elsewhere}", "decides where files are written"),
    "optimizer": ("optimizer._target_=joblib.load", "names the class joblib.load. Code is only run if you name it"),
    "nested class": ("+optimizer.x._target_=os.system", "names the class os.system"),
    "class in a dictionary": ("+callbacks.x={_target_: os.system, command: ls}", "names the class os.system"),
    "class in a list": ("+callbacks.x=[{a: {_target_: os.system}}]", "names the class os.system"),
    "class that ships, with a suffix": ("optimizer._target_=torch.optim.SGD.x", "names the class torch.optim.SGD.x"),
    "arguments": ("+optimizer._args_=[1]", "optimizer._args_"),
    "trainer": ("+trainer._target_=os.system", "names the class os.system"),
    "group by path": ("recipe=../../../tmp/evil", "the path recipe=../../../tmp/evil"),
    "groups by path": ("callbacks=[early_stopping,../x]", "stores the path"),
    "package": ("sampler@hydra.callbacks=hard", "sets a package"),
    "logger in another folder": ("logger.csv.name=../../elsewhere", "stores the path"),
    "logger in the home folder": ("logger.csv.version=~", "cannot be parsed"),
    "logger above": ("logger.csv.version=..", "stores the path"),
    "tracker of others": ("logger.mlflow.tracking_uri=http://elsewhere", "stores the path"),
    "database of others": ("logger.mlflow.tracking_uri=mlruns", "stores the path"),
    "account of others": ("logger.wandb.entity=them", "stores the path"),
    "weights of others": ("network.weights=mine.pth", "stores the path"),
    "network of others": ("start_from=runs/mine", "stores the path"),
    "folder of a tracker": ("logger.mlflow.store=/elsewhere", None),
    "study elsewhere": ("study_name=/elsewhere", "stores the path"),
    "folder of images": ("data.root=photos", "stores the path data.root=photos. The file can come from anyone"),
    "folder of another computer": ("paths.data='//host/share'", "add paths.data=//host/share"),
    "folder in a dictionary": ("data={root: photos}", "stores the path data.root=photos"),
    "folder that is a number": ("data.root=3", "stores the path data.root=3"),
    "folder that is true": ("paths.data=true", "stores the path paths.data=True"),
    "tuned options": ("tuned=mine", "stores the path tuned=mine"),
    "environment": ("study_name=${oc.env:HOME}", "refers to another value"),
    "quoted environment": ("study_name='${oc.env:HOME}'", "refers to another value"),
    "unknown option": ("sead=1", "sead is unknown. Did you mean 'seed'?"),
    "many threads": ("threads=1000000", "threads is 1000000, expected at most"),
    "many processes": ("trainer.devices=100000", "trainer.devices is 100000, expected at most"),
    "many workers": ("data.workers=100000", "data.workers is 100000, expected at most"),
    "negative seed": ("seed=-1", "seed is -1, expected 0 to"),
    "several values": ("sampler=hard,random", "lists several values"),
    "no grammar": ("a=[[[", "cannot be parsed"),
    "deep grammar": ("data.x=" + "[" * 3000 + "]" * 3000, "cannot be parsed"),
    "long": ("data.x=" + "x" * 20_000, "has 20,007 characters"),
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_stored_option_runs_nothing_and_writes_nowhere_else(
    name: str, good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, fact = OVERRIDES[name]
    content = copy.deepcopy(good)
    content["callbacks"]["StoredChoices"]["overrides"] = ["data=digits", stored]
    place = tmp_path / "given/last.ckpt"
    place.parent.mkdir()
    torch.save(content, place)
    if fact is None:
        composed = with_resumed_overrides([f"resume={place}", "seed=3"])
        assert "data=digits" in composed and stored not in composed
        option = stored.split("=")[0].lstrip("+")
        assert option == "hydra.run.dir" or f"Ignored: {option}, because" in capsys.readouterr().err
    else:
        with pytest.raises(UserError) as refused:
            with_resumed_overrides([f"resume={place}"])
        check(Outcome(True, str(refused.value)), str(place), fact)


def test_what_the_user_names_again_is_used(good: dict[str, Any], tmp_path: Path) -> None:
    content = copy.deepcopy(good)
    mine = ["optimizer._target_=mine.Lion", "paths.cache=/fast/cache", "+optimizer.beta=0.5"]
    content["callbacks"]["StoredChoices"]["overrides"] = ["data=digits", *mine]
    place = tmp_path / "given/last.ckpt"
    place.parent.mkdir()
    torch.save(content, place)
    with pytest.raises(UserError, match=r"names the class mine\.Lion.*repeat optimizer\._target_="):
        with_resumed_overrides([f"resume={place}"])
    composed = with_resumed_overrides([f"resume={place}", *mine[:2]])
    assert composed[:2] == mine[:2] and mine[2] in composed


def test_the_cache_of_a_checkpoint_is_not_written_to(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = copy.deepcopy(good)
    (tmp_path / "given").mkdir()
    choose("paths.cache", str(tmp_path / "given"))(content)
    torch.save(content, tmp_path / "given/last.ckpt")
    trained = load(tmp_path / "given/last.ckpt")
    assert trained.choices["paths"]["cache"] is None
    assert "does not decide where files are written" in " ".join(capsys.readouterr().err.split())


RESULT = Results(
    data="digits",
    sampler="random",
    loss="triplet",
    network="conv4",
    seed=0,
    choices={"data": {"name": "digits"}, "sampler": {"name": "random"}},
    images={},
    versions={"torch": "2"},
    commit=None,
    hardware={"device": "cpu"},
    status="finished",
    test={"recall@1": 0.5},
    validation={"recall@1": 0.5},
)


def with_results(**changed: Any) -> str:
    return json.dumps(vars(RESULT) | changed)


def point(**changed: Any) -> dict[str, Any]:
    return {"step": 1, "triplets": 1, "train": {}, "validation": {}} | changed


FOLD = {"fold": 0, "folds": 10, "option": "fold", "figures": ""}
DESCRIBED = {"title": "T", "protocol": None, "order": 1, "notes": [], "compared": [], "cross_validation": None}
RESULTS: dict[str, tuple[str, str]] = {
    "numbers as texts": (with_results(test={"recall@1": "0.5"}), "test.recall@1 is '0.5', expected a number"),
    "a history whose step is a text": (
        with_results(history=[point(step="1")], seconds_of_history=[1]),
        "history[0].step",
    ),
    "a history whose step is true": (
        with_results(history=[point(step=True)], seconds_of_history=[1]),
        "history[0].step",
    ),
    "a history of numbers": (
        with_results(history=[1], seconds_of_history=[1]),
        "history[0] is 1, expected a dictionary",
    ),
    "a history that is a text": (with_results(history="x"), "history is 'x', expected a list"),
    "metrics of a history as texts": (
        with_results(history=[point(train={"loss": "x"})], seconds_of_history=[1]),
        "history[0].train.loss is 'x'",
    ),
    "more seconds than points": (with_results(seconds_of_history=[1, 2]), "seconds_of_history has 2"),
    "seconds as texts": (with_results(seconds={"total": "1"}), "seconds.total is '1'"),
    "a seed as text": (with_results(seed="0"), "seed is '0', expected a whole number"),
    "a seed as list": (with_results(seed=[0]), "seed is [0]"),
    "a name as list": (with_results(sampler=["x"]), "sampler is ['x']"),
    "an empty name": (with_results(sampler=""), "sampler is '', expected a name"),
    "a long name": (with_results(sampler="x" * 10**5), "sampler is 'xxx"),
    "a name with control characters": (with_results(data="a\x1b[2J\nb"), "data is 'a"),
    "a name that UTF-8 cannot write": (with_results(data="a\ud800"), "that UTF-8 can write"),
    "an unknown status": (with_results(status="done"), "expected one of running, finished"),
    "a number of 5,000 digits": (with_results().replace('"seed": 0', '"seed": ' + "9" * 5000), "4300 digits"),
    "a number of 1,000 digits": (
        with_results().replace('"seed": 0', '"seed": ' + "9" * 1000),
        "seed is a number of 3,322 bits",
    ),
    "a metric of 1e300": (with_results(test={"recall@1": 1e300}), "test.recall@1 is 1e+300"),
    "100,000 metrics": (with_results(test={f"m{n}": 0.5 for n in range(100_000)}), "test has 100,000 entries"),
    "a metric of a long name": (with_results(test={"m" * 5000: 0.5}), "printable characters"),
    "a metric of a name with line breaks": (with_results(test={"a\nb": 0.5}), "printable characters"),
    "nested 100,000 times": (with_results(choices={"data": {}}).replace("{}", "[" * 10**5 + "]" * 10**5), "nested"),
    "nested 30 times": (with_results(choices={"data": {"a": deep(30)}}), "nested in more than 20 levels"),
    "choices that are a list": (with_results(choices=[1]), "choices is [1], expected a dictionary"),
    "no data": (with_results(choices={}), "choices.data is missing"),
    "tuned without steps": (
        with_results(choices={"data": {}, "tuned": {"trials": 1}}),
        "the field choices.tuned.steps",
    ),
    "hardware as texts": (with_results(hardware={"processes": "2"}), "hardware.processes is '2'"),
    "versions that are numbers": (with_results(versions={"torch": 2}), "versions.torch is 2, expected a text"),
    "images that are numbers": (with_results(images={"from": 2}), "images.from is 2"),
    "a commit that is a number": (with_results(commit=1), "commit is 1"),
    "a fault of another kind": (with_results(fault="x"), "fault is 'x'"),
    "a folder of data that is a number": (
        with_results(data="image_folder", choices={"data": {"root": 5}}),
        "choices.data.root is 5, expected a text",
    ),
    "a description without a title": (with_results(data_set={"title": None}), "data_set"),
    "a description with other fields": (with_results(data_set=DESCRIBED | {"x": 1}), "data_set.x is unknown"),
    "an order as text": (with_results(data_set=DESCRIBED | {"order": "1"}), "data_set.order is '1'"),
    "a fold of 10^15": (
        with_results(data_set=DESCRIBED | {"cross_validation": FOLD | {"folds": 10**15}}),
        "the fold is 0 of",
    ),
    "a fold of -1": (with_results(data_set=DESCRIBED | {"cross_validation": FOLD | {"fold": -1}}), "the fold is -1"),
    "not UTF-8": ("\udcff", "damaged"),
    "a list": ("[]", "damaged"),
    "half of it": (with_results()[:100], "damaged"),
    "another field": (with_results(exec="rm"), "the field exec is unknown"),
    "a missing field": (json.dumps({"schema_version": 2}), "is missing"),
    "a long version": (with_results(schema_version="x" * 10**4), "has schema version x"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_hostile_results_are_left_out_of_a_report(name: str, tmp_path: Path) -> None:
    content, fact = RESULTS[name]
    (tmp_path / "given/a").mkdir(parents=True)
    (tmp_path / "given/a/results.json").write_bytes(content.encode("utf-8", "surrogateescape"))

    def reason() -> None:
        study = read_study(tmp_path / "given")
        assert not study.runs and not study.folds
        raise UserError(study.excluded[0].reason)

    check(confined(reason), fact)
    check(confined(lambda: read_folds(tmp_path / "given")))


def test_a_results_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    place = tmp_path / "given/results.json"
    with place.open("wb") as stream:
        stream.truncate(1 << 30)
    check(confined(lambda: read_results(place.parent)), f"more than {plain_values.MAX_BYTES:,} bytes")


IRREGULAR: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
}


@pytest.mark.parametrize("kind", IRREGULAR)
def test_a_results_file_that_is_no_file_is_left_out(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "given/a/results.json"
    place.parent.mkdir(parents=True)
    IRREGULAR[kind](place)

    def reasons() -> None:
        raise UserError(read_study(tmp_path / "given").excluded[0].reason)

    check(confined(reasons), "no regular file")


@pytest.mark.parametrize("name", ["last.ckpt", "evaluation.json", "digits/semi_hard/tuned.json"])
@pytest.mark.parametrize("kind", IRREGULAR)
def test_a_file_that_is_no_regular_file_is_refused(kind: str, name: str, tmp_path: Path) -> None:
    place = tmp_path / "given" / name
    place.parent.mkdir(parents=True)
    IRREGULAR[kind](place)
    readers: dict[str, Callable[[], Any]] = {
        "last.ckpt": lambda: read_checkpoint(place),
        "evaluation.json": lambda: read_evaluation(place),
        "tuned.json": lambda: find_tuned_options(tmp_path / "given", "digits", "semi_hard"),
    }
    check(confined(readers[place.name]), str(place), "no regular file")


@pytest.mark.parametrize("kind", IRREGULAR)
def test_the_checkpoint_of_a_run_that_is_no_regular_file_is_refused(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "given/checkpoints/last.ckpt"
    place.parent.mkdir(parents=True)
    IRREGULAR[kind](place)
    check(confined(lambda: load(tmp_path / "given")), str(place), "no regular file")


def test_undefined_values_of_a_history_are_left_out_of_curves(tmp_path: Path) -> None:
    from siamese_lab.study.runs import curves, figures

    history = [point(train={"loss": float("inf")}, validation={"recall@1": float("nan")})]
    (tmp_path / "given").mkdir()
    (tmp_path / "given/results.json").write_text(
        with_results(history=history, seconds_of_history=[float("inf")], test={"recall@1": float("-inf"), "mrr": None})
    )
    study = read_study(tmp_path / "given")
    assert figures(study).empty
    assert curves(study)[["loss", "recall@1", "seconds"]].isna().all(axis=None)


TUNED = Tuned(
    data="digits",
    sampler="semi_hard",
    options={"optimizer.lr": 0.01},
    score=0.9,
    metric="map@r",
    trials=1,
    every_trial=[],
    choices={},
    versions={},
    commit=None,
)
TUNINGS: dict[str, tuple[dict[str, Any], str]] = {
    "outputs": ({"options": {"paths.outputs": "/elsewhere"}}, "sets paths.outputs, but a tuning only sets options of"),
    "cache": ({"options": {"paths.cache": "/elsewhere"}}, "sets paths.cache"),
    "seed": ({"options": {"seed": 7}}, "sets seed"),
    "steps": ({"options": {"trainer.max_steps": 3}}, "sets trainer.max_steps"),
    "folder of the data": ({"options": {"data.root": "/elsewhere"}}, "sets data.root"),
    "Hydra": ({"options": {"hydra.run.dir": "/elsewhere"}}, "sets hydra.run.dir"),
    "a group": ({"options": {"optimizer": {"_target_": "joblib.load"}}}, "sets optimizer"),
    "a logger": ({"options": {"logger": {"_target_": "joblib.load"}}}, "sets logger"),
    "a class": ({"options": {"optimizer._target_": "joblib.load"}}, "sets optimizer._target_"),
    "a partial call": ({"options": {"optimizer._partial_": False}}, "sets optimizer._partial_"),
    "a name": ({"options": {"network.name": "mlp"}}, "sets network.name"),
    "a new option": ({"options": {"optimizer.filename": "/x"}}, "sets optimizer.filename"),
    "a text for a number": ({"options": {"optimizer.lr": "0.1"}}, "optimizer.lr='0.1', expected a number"),
    "a dictionary for a number": ({"options": {"optimizer.lr": {"_target_": "x"}}}, "expected a number"),
    "true for a number": ({"options": {"optimizer.lr": True}}, "expected a number"),
    "a number for a word": ({"options": {"sampler.choice": [1]}}, "sampler.choice=[1]"),
    "an interpolation": ({"options": {"sampler.choice": "${oc.env:HOME}"}}, "refers to another value"),
    "a path for a word": ({"options": {"sampler.choice": "../x"}}, "stores the path"),
    "a width of a billion": ({"options": {"network.width": 10**9}}, "network.width is 1000000000"),
    "a score as text": ({"score": "0.9"}, "score is '0.9'"),
    "trials as text": ({"trials": "1"}, "trials is '1'"),
    "trials that are no dictionaries": ({"every_trial": [1]}, "every_trial[0] is 1"),
    "no steps": ({"choices": {}}, "choices.trainer.max_steps is missing"),
    "another data set": ({"choices": {"data": {"name": "x"}, "trainer": {"max_steps": 1}}}, "data.name=x"),
    "options that are a list": ({"options": [1]}, "options is [1]"),
    "another field": ({"exec": "rm"}, "the field exec is unknown"),
    "another strategy": ({"sampler": "hard"}, "holds options for data=digits sampler=hard"),
    "the name of another data set": ({"data": "mnist"}, "holds options for data=mnist sampler=semi_hard"),
}


@pytest.mark.parametrize("name", TUNINGS)
def test_a_hostile_tuning_file_is_refused(name: str, tmp_path: Path) -> None:
    from siamese_lab.config.schema import to_plain

    changed, fact = TUNINGS[name]
    config = compose("data=digits")
    folder = tmp_path / "given/digits/semi_hard"
    folder.mkdir(parents=True)
    content = vars(TUNED) | {"choices": to_plain(config)} | changed
    (folder / "tuned.json").write_text(json.dumps(content), encoding="utf-8")
    config.tuned = str(tmp_path / "given")
    hydra = SimpleNamespace(
        runtime=SimpleNamespace(choices=SimpleNamespace(data="digits", sampler="semi_hard")),
        overrides=SimpleNamespace(task=[]),
    )
    with pytest.raises(UserError) as refused:
        with_tuned_options(config, hydra)
    check(Outcome(True, str(refused.value)), fact)


THRESHOLDS = {
    "a text": ({"threshold": "1"}, "threshold is '1'"),
    "no number": ({"threshold": None}, "threshold is None"),
    "NaN": ({"threshold": math.nan}, r"threshold is nan, expected a number in 0…2"),
    "beyond every distance": ({"threshold": 2.5}, "threshold is 2.5"),
    "an infinite rate": ({"far": math.inf}, "far is inf, expected a number in 0…1"),
    "fewer than no pairs": ({"negatives": -1}, "negatives is -1"),
    "another field": ({"exec": 1}, "the field exec is unknown"),
    "pairs of 1e400": ({"positives": 10**400}, "positives is a number of 1,329 bits"),
}


@pytest.mark.parametrize("name", THRESHOLDS)
def test_a_hostile_threshold_is_refused(name: str, tmp_path: Path) -> None:
    changed, fact = THRESHOLDS[name]
    rates = {"threshold": 1.0, "accuracy": 0.5, "far": 0.5, "frr": 0.5}
    pairs = {"chosen_on": "pairs", "chosen_pairs": 2, "measured_on": "pairs", "positives": 1, "negatives": 1}
    (tmp_path / "given").mkdir()
    place = tmp_path / "given/threshold.json"
    place.write_text(json.dumps({"schema_version": 1, **rates, **pairs, "step": 1, "weights": "x", **changed}))
    check(confined(lambda: read_threshold(place)), fact)


def test_pickled_names_of_an_embeddings_file_do_not_run(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    place = tmp_path / "given/evil.npz"
    harm = np.array([Creates(tmp_path / "ran")], dtype=object)
    np.savez(place, names=harm, embeddings=np.zeros((1, 8), np.float32), about="{}")
    outcome = confined(lambda: read_embeddings(place))
    check(outcome, "it holds Python objects, which are never loaded")
    assert "allow_pickle" not in outcome.message


ABOUT = json.dumps({"folder": "/photos", "weights": "x", "checkpoint": "/last.ckpt"})
EMBEDDINGS: dict[str, tuple[dict[str, Any], str]] = {
    "another number of names": ({"names": ["a", "b"]}, "2 names have embeddings of 1×8"),
    "one dimension": ({"embeddings": np.zeros(1, np.float32)}, "embeddings of 1 "),
    "whole numbers": ({"embeddings": np.zeros((1, 8), np.int64)}, "torch.int64"),
    "NaN": ({"embeddings": np.full((1, 8), np.nan, np.float32)}, "not finite"),
    "a list about it": ({"about": "[1]"}, "about is [1], expected a dictionary"),
    "a number as a folder": ({"about": '{"folder": 1}'}, "about.folder is 1"),
    "nested 100,000 times": ({"about": "[" * 10**5}, "nested"),
    "a name with line breaks": ({"names": ["a\n\x1b[2J"]}, "not printable"),
    "a name of another direction": ({"names": ["a\u202egnp.exe"]}, "not printable"),
    "a name above the folder": ({"names": ["a/../../b.png"]}, "a/../../b.png leads out of the folder"),
    "an escaped name above the folder": ({"names": [r"\x2e\x2e/b.png"]}, "leads out of the folder"),
    "an absolute name": ({"names": ["/etc/passwd"]}, "/etc/passwd leads out of the folder"),
    "an escaped absolute name": ({"names": [r"\x2fetc/passwd"]}, "leads out of the folder"),
    "no name": ({"names": [""]}, "leads out of the folder"),
    "a colored checkpoint": ({"about": ABOUT.replace("/last", r"\u001b[31m")}, r"about.checkpoint is '\x1b[31m"),
    "texts": ({"embeddings": ["x"]}, "not a readable file of embeddings"),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_hostile_file_of_embeddings_is_refused(name: str, tmp_path: Path) -> None:
    changed, fact = EMBEDDINGS[name]
    (tmp_path / "given").mkdir()
    place = tmp_path / "given/evil.npz"
    np.savez(place, **({"names": ["a"], "embeddings": np.zeros((1, 8), np.float32), "about": ABOUT} | changed))
    check(confined(lambda: read_embeddings(place)), fact)


def test_embeddings_of_2_gb_in_2_mb_are_refused(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    place = tmp_path / "given/evil.npz"
    np.savez_compressed(place, names=["a"], embeddings=np.zeros((1, 50_000_000), np.float32), about=ABOUT)
    check(confined(lambda: read_embeddings(place)), "are compressed")


@pytest.mark.parametrize(("rows", "fact"), [(3_000_000, "3,000,000 rows"), (400_000, "names have more than")])
def test_a_parquet_file_that_repeats_a_name_is_refused(rows: int, fact: str, tmp_path: Path) -> None:
    reason = "the extra parquet is not installed"
    arrow, parquet = (pytest.importorskip(name, reason=reason) for name in ("pyarrow", "pyarrow.parquet"))
    (tmp_path / "given").mkdir()
    place = tmp_path / "given/evil.parquet"
    names = arrow.DictionaryArray.from_arrays(arrow.array(np.zeros(rows, np.int32)), arrow.array(["A" * 1000]))
    parquet.write_table(arrow.table({"name": names}), place, compression="zstd")
    check(read_as_outcome(place), fact)


def read_as_outcome(place: Path) -> Outcome:
    """Read in this process, because pyarrow reserves more address space than `confined` allows."""
    with pytest.raises(UserError) as refused:
        read_embeddings(place)
    return Outcome(True, str(refused.value))


def test_a_name_that_a_file_system_allows_can_be_searched(tmp_path: Path) -> None:
    names = ["写真\u3000一.png", "👩\u200d🔬.png", r"caf\xe9.png", "a/..b.png"]
    (tmp_path / "given").mkdir()
    place = tmp_path / "given/e.npz"
    np.savez(place, names=names, embeddings=np.zeros((4, 8), np.float32), about=ABOUT)
    assert read_embeddings(place).names == tuple(names)


def test_a_checkpoint_that_names_a_view_very_often_gives_a_short_message() -> None:
    with pytest.raises(UserError, match=r"each view once.*100,000 names") as refused:
        check_tta(["mirrored"] * 100_000)
    assert len(str(refused.value)) < 200


def test_an_interpolation_of_a_checkpoint_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    text = r"C:\${oc.env:SECRET}\\${oc.env:SECRET}"
    stored = {"name": "image_folder", "root": text, "augment": {"x": [text]}, "cache": None}
    options = with_current_folders({"data": stored, "paths": {"data": None, "cache": None}})
    composed = OmegaConf.create({"data": options, "paths": {"cache": "here"}})
    assert OmegaConf.to_container(composed.data, resolve=True) == stored | {"cache": "here"}
