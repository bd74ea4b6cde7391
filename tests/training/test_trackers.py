"""Several loggers at once, trackers that fail, and what Weights & Biases and MLflow hold after a run."""

import json
import signal
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import QUICK, compose
from omegaconf import OmegaConf
from rich.console import Console
from test_resume import interrupt_after

from siamese_lab.errors import Interrupted, NonFiniteLossError, ResourceError, UserError
from siamese_lab.runs.results import Results
from siamese_lab.training.callbacks.csv_logger import RunCSVLogger, read_rows
from siamese_lab.training.callbacks.tensorboard import RunTensorBoardLogger
from siamese_lab.training.run import train
from siamese_lab.training.trackers import (
    Histogram,
    PictureLogger,
    RemoteLogger,
    Tracked,
    build_loggers,
    building,
    wandb_logger,
)
from siamese_lab.training.trackers.histogram_sheet import draw_histogram
from siamese_lab.training.trackers.mlflow_logger import mlflow_name
from siamese_lab.training.trackers.remote import IDS, stored_ids

SHORT = ("trainer.val_check_interval=3", "network.width=8", "metrics.floors=false", "trainer.precision=32-true")
DRAWN = ("train/d_ap", "train/d_an", "hardest triplets")
"""Names of the histograms and of the picture of a run."""
DIVERGING = ("optimizer=sgd", "optimizer.lr=1e38", "trainer.max_steps=20", "trainer.val_check_interval=20")


# --- the group `logger`


def test_a_list_of_names_builds_one_logger_each(tmp_path: Path) -> None:
    loggers = build_loggers(compose("logger=[tensorboard,csv]", "logger.csv.version=table").logger, tmp_path)
    assert [type(each) for each in loggers] == [RunTensorBoardLogger, RunCSVLogger]
    assert Path(loggers[0].log_dir) == tmp_path and Path(loggers[1].log_dir) == tmp_path / "table"
    assert build_loggers(compose("logger=null").logger, tmp_path) == []
    assert [isinstance(each, PictureLogger) for each in loggers] == [True, False]


def test_a_config_of_the_user_may_be_one_logger_without_a_name(tmp_path: Path) -> None:
    own = OmegaConf.create({"_target_": "lightning.pytorch.loggers.CSVLogger", "name": "mine"})
    (logger,) = build_loggers(own, tmp_path)
    assert logger.name == "mine" and Path(logger.save_dir) == tmp_path


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mine": 3}, r"logger\.mine must name .*_target_.* is 3"),
        ({"mine": {"name": "x"}}, r"logger\.mine must name .*_target_"),
        ({"mine": {"_target_": "builtins.dict"}}, r"logger\.mine\._target_ must be a logger.*builtins\.dict"),
        ({"mine": {"_target_": "nowhere.Logger"}}, "nowhere.Logger"),
    ],
)
def test_an_entry_that_is_no_logger_is_refused(config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        build_loggers(OmegaConf.create(config), tmp_path)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_one_sentence_with_the_extra(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "find_spec", lambda package: None)
    with pytest.raises(ResourceError, match=rf"logger={name} .*pip install 'siamese_lab\[{name}\]'"):
        build_loggers(compose(f"logger=[csv,{name}]").logger, tmp_path)


def test_the_default_paths_are_in_the_folder_of_outputs() -> None:
    config = compose("logger=[wandb,mlflow]", "paths.outputs=elsewhere", "study_name=mine").logger
    assert (config.wandb.cache, config.mlflow.store) == ("elsewhere/wandb_cache", "elsewhere/mlflow")
    assert config.wandb.group == config.mlflow.experiment == "mine"


# --- histograms


def test_a_histogram_counts_finite_values() -> None:
    values = torch.tensor([[0.0, 1.0, 2.0], [torch.inf, torch.nan, 2.0]])
    counts, edges = Histogram.of(values)
    assert counts.sum() == 4 and counts[-1] == 2 and counts[0] == 1
    assert (edges[0], edges[-1], len(edges)) == (0.0, 2.0, len(counts) + 1)
    assert Histogram.of(torch.empty(0)).counts.sum() == 0


def test_a_drawn_histogram_has_bars_of_the_height_of_the_counts() -> None:
    histogram = Histogram(np.array([4, 0, 2, 1]), np.linspace(0, 1, 5))
    pixels = draw_histogram(histogram)
    blue = (pixels == np.array([70, 130, 180])).all(-1)  # "steelblue"
    heights = [int(blue[:, place * 10 : (place + 1) * 10].any(1).sum()) for place in range(4)]
    assert heights == [161, 1, 81, 41], "each bar includes the base line"
    assert draw_histogram(Histogram.of(torch.empty(0))).shape[2] == 3


# --- any tracker, here one in memory


class RecordingRun:
    """Keeps what it gets. It raises an error at the call that its logger names."""

    def __init__(self, logger: "RecordingLogger", run_id: str | None) -> None:
        self.id, self.fails_at, self.calls = run_id or "new-1", logger.fails_at, logger.calls
        self.where = "in memory"

    def log_scalars(self, values: Mapping[str, float], step: int) -> None:
        self.calls.append(("scalars", set(values), step))
        if self.fails_at == "scalars":
            raise ConnectionError("the server\nis gone")

    def log_histogram(self, name: str, histogram: Histogram, step: int) -> None:
        self.calls.append(("histogram", name, step))

    def log_picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        self.calls.append(("picture", name, step))

    def close(self, results: Results, folder: Path) -> None:
        self.calls.append(("closed", results.status))
        if self.fails_at == "close":
            raise RuntimeError("nothing answers")


class RecordingLogger(RemoteLogger):
    """A tracker in memory, chosen by `+logger.recording={_target_: …}`."""

    option, package = "recording", "json"
    latest: "RecordingLogger"

    def __init__(self, save_dir: Path, fails_at: str = "") -> None:
        super().__init__(save_dir)
        self.fails_at, self.calls = fails_at, []
        RecordingLogger.latest = self

    def connect(self, tracked: Tracked, run_id: str | None) -> RecordingRun:
        self.calls.append(("opened", run_id, tracked.config_values["data"]["name"]))
        if self.fails_at == "connect":
            raise ConnectionError("the server\nis gone")
        return RecordingRun(self, run_id)


def recorded_run(folder: Path, fails_at: str, *overrides: str) -> tuple[Results | Exception, list, str]:
    """Run with the tracker in memory; return the results or the error, what the tracker got, and what was printed."""
    recording = f"+logger.recording={{_target_: {__name__}.RecordingLogger, fails_at: '{fails_at}'}}"
    printed, every = StringIO(), [*QUICK, *SHORT, *overrides, recording]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome: Results | Exception = train(compose(*every), folder, every, Console(file=printed, width=1000))
    except Exception as error:
        outcome = error
    return outcome, RecordingLogger.latest.calls, printed.getvalue()


@pytest.mark.slow
def test_a_tracker_gets_the_scalars_pictures_and_histograms_of_a_run_once(tmp_path: Path) -> None:
    _, calls, printed = recorded_run(tmp_path, "")
    assert calls[0] == ("opened", None, "digits") and calls[-1] == ("closed", "finished")
    assert [call for call in calls if call[0] in ("histogram", "picture")] == [
        (kind, name, step)
        for step in (3, 6)
        for kind, name in (
            ("histogram", "train/d_ap"),
            ("histogram", "train/d_an"),
            ("picture", "hardest triplets"),
        )
    ]
    names = set().union(*(call[1] for call in calls if call[0] == "scalars"))
    assert {"train/loss", "validation/recall@1", "test/recall@1"} <= names and "epoch" not in names
    assert stored_ids(tmp_path) == {"recording": "new-1"}
    assert "Warning" not in printed and printed.count("Curves:  in memory\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("fails_at", ["connect", "scalars", "close"])
def test_a_tracker_that_fails_costs_one_warning_and_no_result(fails_at: str, tmp_path: Path) -> None:
    results, calls, printed = recorded_run(tmp_path, fails_at)
    assert isinstance(results, Results) and results.status == "finished" and results.test["recall@1"] is not None
    assert printed.count("Warning: logger=recording") == 1
    assert ("nothing answers" if fails_at == "close" else "ConnectionError: the server is gone") in printed
    assert len([call for call in calls if call[0] == "scalars"]) == {"connect": 0, "scalars": 1}.get(fails_at, 7)
    assert (calls[-1] == ("closed", "finished")) == (fails_at != "connect"), "the tracker may have come back"
    assert read_rows(tmp_path / "csv/metrics.csv"), "the other logger goes on"


@pytest.mark.slow
def test_a_tracker_gets_how_a_run_ended_and_a_resumed_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, calls, _ = recorded_run(tmp_path / "diverging", "", *DIVERGING)
    assert isinstance(error, NonFiniteLossError) and calls[-1] == ("closed", "failed")

    with monkeypatch.context() as patch:
        interrupt_after(4, signal.SIGTERM, patch)
        error, calls, _ = recorded_run(tmp_path / "run", "")
    assert isinstance(error, Interrupted) and calls[-1] == ("closed", "interrupted")
    (tmp_path / "run" / IDS).write_text('{"recording": "kept-2", "other": "../x"}', encoding="utf-8")
    _, calls, _ = recorded_run(tmp_path / "run", "", f"resume='{tmp_path}/run/checkpoints/last.ckpt'")
    assert calls[0][:2] == ("opened", "kept-2") and calls[-1] == ("closed", "finished")
    assert min(call[2] for call in calls if call[0] == "scalars") >= 4
    _, calls, _ = recorded_run(tmp_path / "run", "")
    assert calls[0][:2] == ("opened", None), "a run that starts again is another run of the tracker"


@pytest.mark.parametrize("content", ["", "[]", "3", '{"wandb": 7}', '{"wandb": "../../x"}', '{"wandb": ""}'])
def test_ids_that_are_none_are_ignored(content: str, tmp_path: Path) -> None:
    (tmp_path / IDS).write_text(content, encoding="utf-8")
    assert stored_ids(tmp_path) == {}
    assert stored_ids(tmp_path / "nowhere") == {}


# --- Weights & Biases, and MLflow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one MLflow database for all tests; creating its tables takes seconds."""
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the package, with an empty home folder and without a login."""
    package = pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return package


def closed_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def tracked_run(folder: Path, *overrides: str) -> tuple[Results, str]:
    """Run with `paths.outputs` in the folder's parent; return the results and what was printed."""
    printed, every = StringIO(), [*QUICK, *SHORT, f"paths.outputs='{folder.parent}/outputs'", *overrides]
    folder.mkdir(parents=True, exist_ok=True)
    return train(compose(*every), folder, every, Console(file=printed, width=1000)), printed.getvalue()


def wandb_records(folder: Path) -> Iterator[Any]:
    """Yield the records in the one .wandb file below a folder, which has the format of LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.rglob("*.wandb")
    content, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:  # the rest of a block is empty
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        if place + 7 + length > len(content):  # it is still being written
            return
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(parts)
            parts = b""


def wandb_points(folder: Path) -> dict[tuple[str, int], Any]:
    """Return the values of a W&B run by name and step."""
    points = {}
    for record in wandb_records(folder):
        if record.WhichOneof("record_type") == "history":
            row = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            points |= {(name, record.history.step.num): each for name, each in row.items() if name[0] != "_"}
    return points


def wandb_exit_code(folder: Path) -> int:
    """Return the exit code of a W&B run, which the process of W&B writes soon after the run is closed."""
    for _ in range(200):
        codes = [each.exit.exit_code for each in wandb_records(folder) if each.WhichOneof("record_type") == "exit"]
        if codes:
            break
        time.sleep(0.1)
    (code,) = codes
    return int(code)


def wandb_configuration(folder: Path) -> dict[str, Any]:
    """Return the first configuration of a W&B run."""
    (run, *_) = (each.run for each in wandb_records(folder) if each.WhichOneof("record_type") == "run")
    return {each.key: json.loads(each.value_json) for each in run.config.update}


def mlflow_runs(store: Path, experiment: str) -> tuple[Any, list[Any]]:
    """Return a client of a local database, and the runs of an experiment in the order of their names."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return client, sorted(found, key=lambda run: run.info.run_name)


def mlflow_points(client: Any, run: Any) -> dict[tuple[str, int], float]:
    """Return the values of an MLflow run by name and step; no step may occur twice."""
    points: dict[tuple[str, int], float] = {}
    for name in run.data.metrics:
        for each in client.get_metric_history(run.info.run_id, name):
            assert (name, each.step) not in points
            points[name, each.step] = each.value
    return points


def mlflow_files(client: Any, run: Any, folder: str | None = None) -> set[str]:
    listed = client.list_artifacts(run.info.run_id, folder)
    inner = [mlflow_files(client, run, each.path) for each in listed if each.is_dir]
    return {each.path for each in listed if not each.is_dir}.union(*inner)


@pytest.mark.slow
def test_all_loggers_at_once_hold_equal_figures(tmp_path: Path, store: Path, wandb: Any) -> None:
    folder = tmp_path / "runs/one"
    mlflow = (f"logger.mlflow.store='{store}'", "logger.mlflow.experiment=equal")
    results, printed = tracked_run(folder, "logger=[csv,wandb,mlflow]", "logger.wandb.mode=offline", *mlflow)
    assert "Warning" not in printed
    assert f'wandb sync "{folder}/wandb/offline-run-' in printed and f'sqlite:///{store}/mlflow.db"' in printed
    csv = {
        (name, int(row["step"])): value
        for row in read_rows(folder / "csv/metrics.csv")
        for name, value in row.items()
        if name not in ("step", "epoch")
    }
    assert {name for name, _ in csv} >= {"train/loss", "validation/recall@1", "test/map@r", "trace/gradient_norm"}

    points = wandb_points(folder)
    scalars = {(name, step): value for (name, step), value in points.items() if name.split(".")[0] not in DRAWN}
    assert scalars == pytest.approx(csv)
    client, (run,) = mlflow_runs(store, "equal")
    assert mlflow_points(client, run) == pytest.approx(
        {(mlflow_name(name), step): v for (name, step), v in csv.items()}
    )
    assert scalars["test/recall@1", 6] == pytest.approx(results.test["recall@1"])

    shown = wandb_configuration(folder)
    assert {name: shown[name] for name in results.choices} == results.choices
    assert run.data.params["optimizer.lr"] == str(results.choices["optimizer"]["lr"])
    assert (wandb_exit_code(folder), run.info.status, run.data.tags["status"]) == (0, "FINISHED", "finished")

    for name in ("train/d_ap", "train/d_an"):
        for step in (3, 6):
            read = client.download_artifacts(run.info.run_id, f"histograms/{name}/step_{step}.json", str(tmp_path))
            numbers = json.loads(Path(read).read_text())
            assert points[f"{name}.values", step] == numbers["counts"]
            assert points[f"{name}.bins", step] == pytest.approx(numbers["edges"])
            assert sum(numbers["counts"]) == 6 * 8 * 7, "one for each (anchor, positive) pair"
    pictures = list(folder.rglob("media/images/hardest triplets*.png"))
    files = mlflow_files(client, run)
    assert (
        len(pictures) == 2 == sum(each.startswith("images/hardest triplets") and each[-4:] == ".png" for each in files)
    )

    read = client.download_artifacts(run.info.run_id, "results.json", str(tmp_path))
    assert json.loads(Path(read).read_text()) == json.loads((folder / "results.json").read_text())
    read = client.download_artifacts(run.info.run_id, "config.yaml", str(tmp_path))
    assert yaml.safe_load(Path(read).read_text()) == results.choices
    (copy,) = folder.rglob("files/results.json")
    assert copy.read_text() == (folder / "results.json").read_text()
    assert stored_ids(folder).keys() == {"wandb", "mlflow"}
    home = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert home == [], "nothing is written to the home folder"
    assert not Path("mlruns").exists()


@pytest.mark.slow
def test_each_run_of_a_sweep_is_a_run_of_each_tracker(command: Any, tmp_path: Path, store: Path, wandb: Any) -> None:
    own = (f"logger.mlflow.store='{store}'", "logger.mlflow.experiment=sweep", "hydra.sweep.dir=sweep")
    several = ("-m", "seed=0,1", "logger=[wandb,mlflow]", "logger.wandb.mode=offline")
    steps = ("trainer.max_steps=3", "trainer.val_check_interval=3")
    ended = command(*QUICK[:2], *SHORT[1:], *steps, *several, *own)
    assert ended.status == 0, ended.err
    _, runs = mlflow_runs(store, "sweep")
    assert [run.data.params["seed"] for run in runs] == ["0", "1"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    folders = sorted(path for path in (tmp_path / "sweep").iterdir() if path.name[0] in "01")
    assert [wandb_configuration(each)["seed"] for each in folders] == [0, 1]
    assert [wandb_exit_code(each) for each in folders] == [0, 0]
    assert [stored_ids(each)["mlflow"] for each in folders] == [run.info.run_id for run in runs]


@pytest.mark.slow
def test_a_failed_run_is_marked_as_failed(tmp_path: Path, store: Path, wandb: Any) -> None:
    mlflow = (f"logger.mlflow.store='{store}'", "logger.mlflow.experiment=failed")
    with pytest.raises(NonFiniteLossError):
        tracked_run(tmp_path / "run", *DIVERGING, "logger=[wandb,mlflow]", "logger.wandb.mode=offline", *mlflow)
    client, (run,) = mlflow_runs(store, "failed")
    assert run.info.status == "FAILED" and "results.json" in mlflow_files(client, run)
    assert wandb_exit_code(tmp_path / "run") == 1


@pytest.mark.slow
def test_a_resumed_run_continues_its_run_of_each_tracker(
    tmp_path: Path, store: Path, wandb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("logger=[csv,wandb,mlflow]", "logger.wandb.mode=offline", f"logger.mlflow.store='{store}'")
    every = (*options, "logger.mlflow.experiment=resumed", "trainer.log_every_n_steps=1")
    with monkeypatch.context() as patch:
        interrupt_after(4, signal.SIGTERM, patch)
        with pytest.raises(Interrupted):
            tracked_run(tmp_path / "run", *every)
    _, (run,) = mlflow_runs(store, "resumed")
    assert run.info.status == "KILLED" and wandb_exit_code(tmp_path / "run") == 255
    (first,) = (tmp_path / "run/wandb").glob("offline-run-*")
    before = wandb_points(tmp_path / "run")
    first.rename(tmp_path / first.name)

    last = tmp_path / "run/checkpoints/last.ckpt"
    tracked_run(tmp_path / "run", *every, "trainer.max_steps=8", f"resume='{last}'")
    client, (again,) = mlflow_runs(store, "resumed")
    assert again.info.run_id == run.info.run_id and again.info.status == "FINISHED"
    assert json.loads(again.data.tags["changed_options"])["trainer.max_steps"] == "8"
    steps = sorted(step for name, step in mlflow_points(client, again) if name == "train/loss")
    assert steps == list(range(8))
    (second,) = (tmp_path / "run/wandb").glob("offline-run-*")
    assert second.name.rpartition("-")[2] == first.name.rpartition("-")[2] == stored_ids(tmp_path / "run")["wandb"]
    after = wandb_points(tmp_path / "run")
    assert {step for name, step in before if name == "train/loss"} == {0, 1, 2, 3}
    assert {step for name, step in after if name == "train/loss"} == {4, 5, 6, 7}


@pytest.mark.slow
def test_an_mlflow_server_that_does_not_answer_costs_one_warning(tmp_path: Path, store: Path) -> None:
    address = f"http://127.0.0.1:{closed_port()}"
    results, printed = tracked_run(tmp_path / "run", "logger=[csv,mlflow]", f"logger.mlflow.tracking_uri={address}")
    assert results.status == "finished" and printed.count("Warning: ") == 1
    assert "logger=mlflow" in printed and "Connection" in printed
    assert read_rows(tmp_path / "run/csv/metrics.csv")


@pytest.mark.slow
def test_wandb_without_a_login_or_a_server_is_stored_offline(
    tmp_path: Path, wandb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = ("logger=wandb", "logger.wandb.mode=online", "trainer.max_steps=3")
    _, printed = tracked_run(tmp_path / "run", *online)
    assert printed.count("Warning: ") == 1 and "wandb login" in printed and "wandb sync" in printed
    assert wandb_exit_code(tmp_path / "run") == 0 and ("test/recall@1", 3) in wandb_points(tmp_path / "run")

    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setattr(wandb_logger, "CONNECTING", 2.0)
    wandb.teardown()  # the package reads the variables once
    _, printed = tracked_run(tmp_path / "other", *online)
    assert printed.count("Warning: ") == 1 and "server cannot be used" in printed and "wandb sync" in printed, printed
    assert wandb_exit_code(tmp_path / "other") == 0 and ("test/recall@1", 3) in wandb_points(tmp_path / "other")
    wandb.teardown()


def test_an_unknown_mode_of_wandb_is_refused(tmp_path: Path, wandb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"logger\.wandb\.mode .*online or offline.*'sometimes'"):
        build_loggers(compose("logger=wandb", "logger.wandb.mode=sometimes").logger, tmp_path)
    monkeypatch.setenv("WANDB_MODE", "never")
    with pytest.raises(UserError, match=r"WANDB_MODE.*'never'"):
        build_loggers(compose("logger=wandb").logger, tmp_path)


@pytest.mark.parametrize(
    "address", ["https://me:secret@runs.example.org", "postgresql://host/runs?user=me&password=secret"]
)
def test_a_password_in_the_address_of_mlflow_is_refused_and_not_repeated(address: str, tmp_path: Path) -> None:
    config = compose("logger=mlflow", f"logger.mlflow.tracking_uri='{address}'").logger
    with pytest.raises(UserError, match="MLFLOW_TRACKING_PASSWORD") as refused:
        build_loggers(config, tmp_path)
    assert "secret" not in str(refused.value)


def test_an_address_of_mlflow_that_cannot_be_parsed_is_named(tmp_path: Path) -> None:
    config = compose("logger=mlflow", "logger.mlflow.tracking_uri='http://[::1'").logger
    with pytest.raises(UserError, match=r"tracking_uri must be an address, but is 'http://\[::1'"):
        build_loggers(config, tmp_path)
