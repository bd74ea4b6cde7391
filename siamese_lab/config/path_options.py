"""Accept paths on the command line as people write them: `~`, spaces, brackets and letters beyond ASCII."""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from siamese_lab.config.overrides import quoted

PATHS = (
    "checkpoint",
    "data.cache",
    "data.file",
    "data.from",
    "data.root",
    "folder",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "logger.mlflow.store",
    "logger.wandb.cache",
    "network.weights",
    "paths.cache",
    "paths.data",
    "paths.outputs",
    "resume",
    "start_from",
    "tuned",
)
"""Options with paths as values, for all commands that Hydra parses."""


def with_readable_paths(overrides: Sequence[str]) -> list[str]:
    """Return the overrides, in which Hydra takes each path literally. `~` becomes the home folder.

    A path that Hydra's grammar accepts stays as it is, so a list of paths is still a sweep and `${…}` still refers to
    another option.

    >>> with_readable_paths(["data.root=/photos (1)/Bücher", "paths.data=/a,/b", "seed=1"])
    ["data.root='/photos (1)/Bücher'", 'paths.data=/a,/b', 'seed=1']
    """
    return [_readable(override) for override in overrides]


def _readable(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or key.lstrip("+") not in PATHS:
        return override
    home = re.fullmatch(r"(['\"]?)(~(?:/[^,'\"$]*)?)\1", value)
    if home is not None:
        return f"{key}={quoted(str(Path(home[2]).expanduser()))}"
    if "${" in value or "," in value or value[:1] in ("'", '"') or _is_literal(override, value):
        return override
    return f"{key}={quoted(value)}"


def _is_literal(override: str, value: str) -> bool:
    try:
        parsed = OverridesParser.create().parse_override(override).value()
    except HydraException:
        return False
    return parsed == value or isinstance(parsed, (int, float, type(None)))
