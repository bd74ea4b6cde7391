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
    inside = resolved(folder)
    for name in names:
        path = folder / name
        target = resolved(path)
        if not target.is_relative_to(inside):
            raise UserError(
                f"{path} is a link to {target}, outside of {folder}, and would be written to. Delete the link, "
                "or replace it with a folder. To write to another disk, link the whole folder or set paths.outputs."
            )


def resolved(path: Path) -> Path:
    """Return a path with all links followed; raise UserError if they never end."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError until Python 3.12
        raise UserError(f"{path} is a link that leads back to itself. Delete the link.") from error


def check_no_way_out(folder: Path) -> None:
    """Raise UserError if any link below a folder leads out of it. Folders behind links are not searched."""
    check_inside(folder, (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink()))
