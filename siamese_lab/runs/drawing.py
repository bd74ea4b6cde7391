"""Silence the warnings of matplotlib about names that no font or layout fits: names come from folders and files."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

IGNORED = ("Glyph .* missing from", "constrained_layout not applied", "Tight layout not applied")
"""Beginnings of warnings. A missing character is drawn as a box, and the tables and the page hold the whole name."""


@contextmanager
def without_font_warnings() -> Iterator[None]:
    """Ignore warnings about missing characters and about names that are too long, while figures are drawn or stored."""
    with warnings.catch_warnings():
        for message in IGNORED:
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
        yield
