"""Write the record of an evaluation: `evaluation.json` with results and provenance, and `per_class.csv`."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siamese_lab.evaluation.evaluation import ClassFigures, Evaluation, Protocol
from siamese_lab.runs.files import whole_file, write_json

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
            writer.writerow([name, images, *(f"{mean:.6f}" for mean in means)])


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
