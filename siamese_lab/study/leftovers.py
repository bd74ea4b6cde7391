"""Files of an earlier report that this one has no place for, which would be taken for its own."""

from collections.abc import Container, Sequence
from pathlib import Path


def take_away(folder: Path, names: Container[str], forms: Sequence[str]) -> None:
    """Delete what a report has left in a folder, by a name that is not among these.

    That is what is there in all forms (".csv", …) that it writes; any other file is the user's.
    """
    for first in sorted(folder.glob(f"*{forms[0]}")):
        of_all_forms = [first.with_suffix(form) for form in forms]
        if first.stem not in names and all(place.is_file() for place in of_all_forms):
            for place in of_all_forms:
                place.unlink()
