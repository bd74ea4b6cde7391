"""Refuse links inside a folder, through which a command would write outside of it."""

from collections.abc import Iterable
from pathlib import Path

from siamese_lab.errors import UserError


def check_inside(folder: Path, names: Iterable[str]) -> None:
    """Raise UserError if a path in a folder that is about to be written leads out of the folder.

    The folder itself may be a link. A folder from someone else may hold links to places that only its receiver can
    write to.

    Args:
        folder: the folder that the user named.
        names: paths relative to the folder; they need not exist.
    """
    inside = folder.resolve()
    for name in names:
        path = folder / name
        if not path.resolve().is_relative_to(inside):
            raise UserError(
                f"{path} is a link to {path.resolve()}, outside of {folder}, and would be written to. Delete the link, "
                "or replace it with a folder. To write to another disk, link the whole folder or set paths.outputs."
            )


def check_no_way_out(folder: Path) -> None:
    """Raise UserError if any link below a folder leads out of it. Folders behind links are not searched."""
    check_inside(folder, (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink()))
