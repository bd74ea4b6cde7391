"""Write the record of an evaluation: `evaluation.json` with results and provenance, and `per_class.csv`."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from siamese_lab.errors import UserError
from siamese_lab.evaluation.evaluation import ClassFigures, Evaluation, Protocol
from siamese_lab.runs.escapes import escape_csv
from siamese_lab.runs.files import whole_file, write_json
from siamese_lab.runs.plain_values import WrongValueError, build_record, of_type, read_json

SCHEMA_VERSION = 1
FILE_NAME, CLASSES_NAME = "evaluation.json", "per_class.csv"


def write_evaluation(evaluation: Evaluation, origin: Mapping[str, Any], folder: Path) -> None:
    """Write both files into a folder.

    Args:
        evaluation: the results.
        origin: provenance of the results: network, images, configuration and versions.
        folder: a folder that holds no other evaluation.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        **origin,
        "protocols": {name: protocol_values(protocol) for name, protocol in evaluation.protocols.items()},
        "left_out": evaluation.left_out,
        "seconds": {name: round(seconds, 3) for name, seconds in evaluation.seconds.items()},
    }
    write_json(folder / FILE_NAME, content, allow_nan=False)
    with whole_file(folder / CLASSES_NAME) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ClassFigures._fields)
        for name, images, *means in evaluation.classes:
            writer.writerow([escape_csv(name), images, *(f"{mean:.6f}" for mean in means)])


def protocol_values(protocol: Protocol) -> dict[str, Any]:
    """Return the results of a protocol as plain values for JSON."""
    return {
        "how": protocol.how,
        "intervals_over": protocol.over,
        **protocol.facts,
        "figures": {
            name: {"value": figure.value, "low": figure.low, "high": figure.high}
            if protocol.over is not None
            else {"value": figure.value}
            for name, figure in protocol.figures.items()
        },
    }


@dataclass
class StoredFigure:
    """A figure in evaluation.json."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass
class StoredProtocol:
    """The facts of a protocol in evaluation.json that the model card shows."""

    how: str
    intervals_over: str | None
    figures: dict[str, StoredFigure]


@dataclass
class StoredData:
    """The facts of the data in evaluation.json that the model card shows."""

    name: str
    images: int
    classes: int
    classes_trained_on: int


@dataclass
class StoredEvaluation:
    """The facts of evaluation.json that the model card shows."""

    step: int | None
    checkpoint: str
    """Name of the file."""
    data: StoredData
    protocols: dict[str, StoredProtocol]


def read_evaluation(path: Path) -> StoredEvaluation | None:
    """Read evaluation.json; return None if another version of the lab wrote it.

    Raises:
        UserError: if the file is damaged, or breaks a bound of `runs.plain_values`.
    """
    try:
        content = read_json(path)
        if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
            return None
        network = of_type(content.get("network"), dict[str, Any], "network")
        data = of_type(content.get("data"), dict[str, Any], "data")
        protocols = of_type(content.get("protocols"), dict[str, dict[str, Any]], "protocols")
        values = {
            "step": network.get("step"),
            "checkpoint": Path(of_type(network.get("checkpoint"), str, "network.checkpoint")).name,
            "data": {field.name: data[field.name] for field in fields(StoredData) if field.name in data},
            "protocols": {
                name: {field.name: each[field.name] for field in fields(StoredProtocol) if field.name in each}
                for name, each in protocols.items()
            },
        }
        return build_record(StoredEvaluation, values)
    except (OSError, WrongValueError) as error:
        raise UserError(f"{path} is damaged, or siamese_lab did not write it: {error}. Delete the file.") from error
