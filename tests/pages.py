"""Read the files that a page shows: a fenced block shows a file if its first line is a comment with the path."""

import re
from pathlib import Path

from project import ROOT, read_toml

BLOCK = re.compile(r"^```(?:python|yaml|toml)\n# (\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def files_of(page: str) -> dict[str, str]:
    """Return the content of each file that a page of the repository shows, by path."""
    return dict(BLOCK.findall((ROOT / page).read_text(encoding="utf-8")))


def write(files: dict[str, str], folder: Path) -> None:
    """Write files below a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")


def entry_points(toml: str) -> dict[str, dict[str, str]]:
    """Return the entry points of a pyproject.toml, or of a part of one."""
    content = read_toml(toml)
    return content["project"]["entry-points"]


def install(files: dict[str, str], points: dict[str, dict[str, str]], folder: Path) -> None:
    """Leave files and entry points in a folder of PYTHONPATH as pip leaves an installed package."""
    write(files, folder)
    about = folder / "my_package-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 0.1.0\n")
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in points.items()
    )
    (about / "entry_points.txt").write_text("\n".join(groups))
