"""MLflow (https://mlflow.org): a run in a local SQLite file, which `mlflow ui` shows, or on a tracking server."""

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import requests
from filelock import FileLock
from numpy.typing import NDArray
from omegaconf import OmegaConf

from siamese_lab.errors import UserError
from siamese_lab.runs import results as stored
from siamese_lab.runs.display import short
from siamese_lab.runs.options import flatten
from siamese_lab.runs.results import Results
from siamese_lab.training.trackers.histogram_sheet import draw_histogram
from siamese_lab.training.trackers.pictures import Histogram
from siamese_lab.training.trackers.remote import RemoteLogger, Tracked

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECRETS = ("password", "passwd", "pwd", "sslpassword")
"""Parameters of the address of a database that hold a password."""
STATUS = {"finished": "FINISHED", "shortened": "FINISHED", "interrupted": "KILLED"}
"""Status of MLflow by the status of a run. All other runs failed."""
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # MLflow tries a server that does not answer for minutes, at every call.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Variables that are set before MLflow is imported, unless they are set already."""
CONNECTING = 10
"""Seconds that a server gets to answer when a run starts."""
MOST_PARAMS, LONGEST_PARAM = 100, 6000
"""Limits of MLflow: parameters of one call, and characters of a parameter."""


class MlflowLogger(RemoteLogger):
    """Passes a run to MLflow.

    Args:
        save_dir: the folder of the run.
        experiment: name of the experiment of MLflow that holds the run; None is `siamese_lab`.
        tracking_uri: address of a server or database. None takes the environment variable MLFLOW_TRACKING_URI, and
            without it `mlflow.db` in `store`.
        store: folder of the local database and its artifacts.

    Raises:
        UserError: if `tracking_uri` holds a password, which the configuration of the run would store.
        ResourceError: if mlflow is not installed.
    """

    option = "mlflow"
    package = "mlflow"

    def __init__(self, save_dir: Path, experiment: str | None, tracking_uri: str | None, store: str) -> None:
        if tracking_uri is not None and without_password(tracking_uri) != tracking_uri:
            raise UserError(
                "logger.mlflow.tracking_uri holds a password, which the files of a run would store. Leave it out of "
                "the option: set the environment variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for "
                "a server, or MLFLOW_TRACKING_URI for a database. Delete the folder of this run."
            )
        super().__init__(save_dir)
        self.experiment_name = experiment or "siamese_lab"
        self.store = Path(store).absolute()
        self.tracking_uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")

    def connect(self, tracked: Tracked, run_id: str | None) -> "MlflowRun":
        """Open a run, or continue one that the experiment still has."""
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        if self.tracking_uri is not None:
            check_answers(self.tracking_uri)
            client, experiment = self._open(self.tracking_uri, None)
            where = without_password(self.tracking_uri)
        else:
            self.store.mkdir(parents=True, exist_ok=True)
            database = self.store / "mlflow.db"
            with FileLock(self.store / ".lock"):  # parallel runs would create the tables at the same time
                client, experiment = self._open(f"sqlite:///{database}", (self.store / "artifacts").as_uri())
            where = f'mlflow ui --backend-store-uri "sqlite:///{short(database)}"'
        known = None if run_id is None else find_run(client, run_id)
        if known is None:
            tags = {"folder": str(tracked.folder.absolute())}
            known = client.create_run(experiment, run_name=tracked.name, tags=tags)
        else:
            client.update_run(known.info.run_id, status="RUNNING")
        run = MlflowRun(client, known.info.run_id, where)
        run.log_configuration(tracked.config_values, known.data.params)
        return run

    def _open(self, uri: str, artifacts: str | None) -> tuple["MlflowClient", str]:
        """Return a client and the id of the experiment, which is created if it does not exist."""
        from mlflow import MlflowClient

        client = MlflowClient(uri)
        known = client.get_experiment_by_name(self.experiment_name)
        if known is not None:
            return client, str(known.experiment_id)
        return client, str(client.create_experiment(self.experiment_name, artifact_location=artifacts))


class MlflowRun:
    """Writes into an open run of MLflow.

    Args:
        client: client of the tracking store.
        run_id: id of the run.
        where: where the user finds the curves.
    """

    def __init__(self, client: "MlflowClient", run_id: str, where: str) -> None:
        self.client = client
        self.id = run_id
        self.where = where
        self._logged = last_steps(client, run_id)
        """The last step of each metric that an earlier process logged. The run trains these steps again."""

    def log_configuration(self, config_values: Mapping[str, Any], known: Mapping[str, str]) -> None:
        """Log the options as parameters, and the configuration as a file.

        A parameter of MLflow never changes. Options that a resumed run changes stay in the file and become a tag.

        Args:
            config_values: the whole configuration.
            known: parameters that the run has already.
        """
        from mlflow.entities import Param

        values = {name: str(value)[:LONGEST_PARAM] for name, value in flatten(config_values).items()}
        new = [Param(mlflow_name(name), value) for name, value in values.items() if mlflow_name(name) not in known]
        for first in range(0, len(new), MOST_PARAMS):
            self.client.log_batch(self.id, params=new[first : first + MOST_PARAMS])
        changed = {name: value for name, value in values.items() if known.get(mlflow_name(name), value) != value}
        if changed:
            self.client.set_tag(self.id, "changed_options", json.dumps(changed))
        self.client.log_text(self.id, OmegaConf.to_yaml(OmegaConf.create(dict(config_values))), "config.yaml")

    def log_scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log values of one step by name, except values that an earlier process of this run logged."""
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        new = {
            name: each
            for name, each in ((mlflow_name(name), float(each)) for name, each in values.items())
            if step > self._logged.get(name, -1)
        }
        if new:
            self.client.log_batch(self.id, metrics=[Metric(name, each, now, step) for name, each in new.items()])

    def log_histogram(self, name: str, histogram: Histogram, step: int) -> None:
        """Log a distribution as a picture, because MLflow has no histograms, and as numbers in a file."""
        self.log_picture(name, draw_histogram(histogram), step)
        numbers = {"counts": histogram.counts.tolist(), "edges": histogram.edges.tolist()}
        self.client.log_dict(self.id, numbers, f"histograms/{mlflow_name(name)}/step_{step}.json")

    def log_picture(self, name: str, pixels: NDArray[np.uint8], step: int) -> None:
        """Log a picture (height, width, 3)."""
        self.client.log_image(self.id, pixels, key=mlflow_name(name), step=step, synchronous=True)

    def close(self, results: Results, folder: Path) -> None:
        """Add results.json and the status of the run, and close it."""
        try:
            self.client.set_tag(self.id, "status", results.status)
            self.client.log_artifact(self.id, str(folder / stored.FILE_NAME))
        finally:
            self.client.set_terminated(self.id, STATUS.get(results.status, "FAILED"))


def mlflow_name(name: str) -> str:
    """Return a name of a metric or option with the characters that MLflow allows.

    >>> mlflow_name("validation/recall@1")
    'validation/recall_at_1'
    """
    return re.sub(r"[^\w./ -]", "_", name.replace("@", "_at_"))


def without_password(uri: str) -> str:
    """Return an address without the password that it may hold, for the screen.

    >>> without_password("postgresql://me:secret@host:5432/runs")
    'postgresql://me@host:5432/runs'
    >>> without_password("postgresql://host/runs?user=me&password=secret")
    'postgresql://host/runs?user=me'

    Raises:
        UserError: if the text is no address.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise UserError(f"logger.mlflow.tracking_uri must be an address, but is {uri!r}: {error}.") from error
    for name, _ in parse_qsl(parts.query):
        if name in SECRETS:
            uri = re.sub(rf"[?&]{name}=[^&#]*", "", uri)
    return uri if not parts.password else uri.replace(f":{parts.password}@", "@", 1)


def check_answers(uri: str) -> None:
    """Raise an error of requests if an address of the web does not answer. Other addresses are not checked."""
    if uri.startswith(("http://", "https://")):
        requests.head(uri, timeout=CONNECTING)


def find_run(client: "MlflowClient", run_id: str) -> Any:
    """Return a run of MLflow, or None if the store does not have it or it was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def last_steps(client: "MlflowClient", run_id: str) -> dict[str, int]:
    """Return the last step of each metric of a run."""
    names = client.get_run(run_id).data.metrics
    return {name: max(each.step for each in client.get_metric_history(run_id, name)) for name in names}
