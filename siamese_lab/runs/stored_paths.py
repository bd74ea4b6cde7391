"""Use a path that a checkpoint stores only if the user names it too.

Reading a folder that another person chose can do harm: on Windows, a folder of another computer gets the user's
credentials. So a folder that only a checkpoint names is neither read nor looked for. Messages name the option to add.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from siamese_lab.runs.plain_values import shortened

DATA_VARIABLE = "SIAMESE_LAB_DATA"
"""Environment variable with the folder of the data sets."""
PATH_OPTIONS = (
    "data.file",
    "data.from",
    "data.root",
    "paths.data",
    "tuned",
    "network.weights",
    "start_from",
    "logger.mlflow.tracking_uri",
    "logger.wandb.entity",
)
"""Options of a run that name folders or files to read, or a server, database or account that gets its results."""
MAX_PATH = 1000
"""Largest number of characters of a path in a message."""


def unnamed_folder(choices: Mapping[str, Any], given: Collection[str] = ()) -> tuple[str, str] | None:
    """Return the folder of a training that the user does not name, and the option that names it.

    Args:
        choices: configuration of the training.
        given: options that the user sets, such as `data.root`.

    Returns:
        The option and its value in the training. None if the training read no folder, or if the user names one by the
        option or by SIAMESE_LAB_DATA. A table that lists images and a file of features count as folders.
    """
    for option in ("file", "from"):
        path = choices["data"].get(option)
        if path is not None and f"data.{option}" not in given:
            return f"data.{option}", str(path)
    root, data_folder = choices["data"].get("root"), choices["paths"].get("data")
    if root is None or "data.root" in given:
        return None
    if root != data_folder:
        return "data.root", str(root)
    return None if "paths.data" in given or DATA_VARIABLE in os.environ else ("paths.data", str(root))


def not_read(folder: str, option: str, what: str | None = None) -> str:
    """Return the message that the folder of a training is not read, with the option that reads it.

    Args:
        folder: the folder or file.
        option: the option.
        what: "images" or "features"; None follows the option.
    """
    what = what or ("features" if option == "data.from" else "images")
    place = {"data.file": "FILE", "data.from": "RUN_OR_FILE"}.get(option, "FOLDER")
    return (
        f"The training read its {what} from {shortened(folder)}. {untrusted_path(option, folder)}. If the {what} are "
        f"elsewhere, add {option}={place}."
    )


def untrusted_path(option: str, path: str) -> str:
    """Explain that a path from a file is not used, and how the user can name it. The last sentence has no full stop."""
    return (
        "The file can come from anyone, so no path in it is used unless you name it too. If the path is yours, add "
        f"{option}={shortened(path, MAX_PATH)}"
    )


def resume_command(checkpoint: Path, overrides: Sequence[str]) -> str:
    """Return the command that resumes a run, with the folders that its command line names.

    >>> print(resume_command(Path("run/checkpoints/last.ckpt"), ["data=image_folder", "data.root=photos", "seed=1"]))
    python -m siamese_lab.train "resume='run/checkpoints/last.ckpt'" "data.root=photos"
    """
    named = [override for override in overrides if override.partition("=")[0] in PATH_OPTIONS]
    return " ".join(["python -m siamese_lab.train", *(f'"{each}"' for each in (f"resume='{checkpoint}'", *named))])
