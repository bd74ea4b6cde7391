"""Where the data of a training is on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from siamese_lab import data

VARIABLE = "SIAMESE_LAB_DATA"


def data_here(choices: Mapping[str, Any], folder: Path | None = None) -> data.DataModule:
    """The data that a network was trained on, of which nothing is loaded yet.

    Args:
        choices: of the training.
        folder: of the data sets; by default SIAMESE_LAB_DATA, or else that of the training. A folder of images of
            one's own (`image_folder`) is always that of the training.
    """
    options, paths = dict(choices["data"]), choices["paths"]
    here = folder if folder is not None else os.environ.get(VARIABLE)
    if here is not None and "root" in options and options["root"] == paths["data"]:
        options["root"] = str(here)
    cache = options.get("cache")
    if cache is not None and not Path(cache).is_dir():
        options["cache"] = None  # that of the user, as it was another machine's
    return data.build(**options, seed=choices["seed"])
