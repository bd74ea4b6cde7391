"""JSON that is written whole or not at all, so that whoever reads it while it is written anew sees no half of it."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4


def write_json(place: Path, content: Any, allow_nan: bool = True) -> Path:
    """Write a file; what was there before stays until the new one is complete.

    Raises:
        UserError: for NaN, where none is allowed.
    """
    written = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=allow_nan) + "\n"
    draft = place.with_name(f"{place.name}.{uuid4().hex}.draft")  # another process may write the same file now
    try:
        draft.write_text(written, encoding="utf-8")
        return draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
