"""JSON that is written whole or not at all, so that whoever reads it while it is written anew sees no half of it."""

import json
from pathlib import Path
from typing import Any


def write_json(place: Path, content: Any, allow_nan: bool = True) -> Path:
    """Write a file; what was there before stays until the new one is complete.

    Raises:
        UserError: for NaN, where none is allowed.
    """
    draft = place.with_name(f"{place.name}.draft")
    draft.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan) + "\n", encoding="utf-8")
    return draft.replace(place)
