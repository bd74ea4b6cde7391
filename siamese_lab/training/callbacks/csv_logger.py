"""The CSV logger of a run, which keeps the rows of the steps before a resume."""

import csv
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger

FILE_NAME = "metrics.csv"


class RunCSVLogger(CSVLogger):
    """Keeps the rows of earlier steps when a run is resumed. `CSVLogger` deletes the file and starts another one."""

    @property
    def _set_aside(self) -> Path:
        return Path(self.log_dir) / f"earlier_{FILE_NAME}"

    def set_rows_aside(self) -> None:
        """Rename the file of a run that is resumed, before Lightning deletes it."""
        path = Path(self.log_dir) / FILE_NAME
        if path.is_file():  # otherwise the run was killed between this moment and `keep_rows`
            path.replace(self._set_aside)

    def keep_rows(self, end: int) -> None:
        """Write the rows of the steps before `end` again, and delete the renamed file."""
        for row in read_rows(self._set_aside):
            if row["step"] < end:
                self.experiment.log_metrics({name: row[name] for name in row if name != "step"}, int(row["step"]))
        self.experiment.save()
        self._set_aside.unlink(missing_ok=True)


def read_rows(path: Path) -> list[dict[str, float]]:
    """Return the values of each row that has a step; [] if there is no file. A row that is cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            try:
                values = {name: number(value) for name, value in row.items() if name and value}
            except ValueError:
                continue
            if "step" in values:
                rows.append(values)
    return rows


def number(text: str) -> float:
    """Return a number as an integer if it is written as one.

    >>> number("12"), number("0.5")
    (12, 0.5)
    """
    return int(text) if text.isdecimal() else float(text)
