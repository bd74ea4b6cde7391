"""evaluation.json, with where its figures come from, and per_class.csv beside it."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siamese_lab.evaluation.evaluation import ClassFigures, Evaluation, Protocol
from siamese_lab.runs.files import write_json

SCHEMA_VERSION = 1
FILE_NAME, CLASSES_NAME = "evaluation.json", "per_class.csv"


def write(evaluation: Evaluation, origin: Mapping[str, Any], folder: Path) -> None:
    """Write both files into a folder.

    Args:
        evaluation: what was found.
        origin: which network, which images, which choices and which versions.
        folder: which holds no other evaluation.
    """
    content = {
        "schema_version": SCHEMA_VERSION,
        **origin,
        "protocols": {name: plain(protocol) for name, protocol in evaluation.protocols.items()},
        "left_out": evaluation.left_out,
        "seconds": {name: round(seconds, 3) for name, seconds in evaluation.seconds.items()},
    }
    write_json(folder / FILE_NAME, content, allow_nan=False)
    with (folder / CLASSES_NAME).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ClassFigures._fields)
        for name, images, *means in evaluation.classes:
            writer.writerow([name, images, *(f"{mean:.6f}" for mean in means)])


def plain(protocol: Protocol) -> dict[str, Any]:
    """A protocol as JSON has it."""
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
