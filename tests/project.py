"""Read pyproject.toml, also on Python 3.10, which has no tomllib."""

import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
read_toml = tomllib.loads


def pyproject() -> dict[str, Any]:
    """Return the content of pyproject.toml."""
    return read_toml((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
