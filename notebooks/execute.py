"""Execute the notebooks in place, without real data, and store their outputs; arguments select notebooks by number."""

import os
import sys
import tempfile
from pathlib import Path

import matplotlib.font_manager
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
SECONDS = 600
"""Maximum time of a cell on a busy machine."""


def environment(cache: str, real_data: str | None = None) -> dict[str, str]:
    """Return the environment variables of a kernel that can download nothing.

    Args:
        cache: folder for decoded data sets. It must be empty to hide real data that were downloaded earlier.
        real_data: folder with copies of data sets, or None.
    """
    variables = dict(os.environ) | dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"
    )
    variables |= {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    # matplotlib has listed its fonts there by now; elsewhere, a notebook would show a message about it.
    variables |= {"XDG_CACHE_HOME": cache, "MPLCONFIGDIR": matplotlib.get_cachedir()}
    variables.pop("SIAMESE_LAB_DATA", None)
    return variables | ({"SIAMESE_LAB_DATA": real_data} if real_data else {})


def execute(notebook: NotebookNode, folder: Path, variables: dict[str, str]) -> None:
    """Run all cells of a notebook in a folder and store their outputs in the notebook.

    The metadata stay as they are, so that they name no machine, version or time.
    """
    metadata = notebook.metadata.copy()
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=SECONDS, resources=resources, record_timing=False, coalesce_streams=True)
    client.execute(env=variables)
    notebook.metadata = metadata


def main(numbers: list[str], folder: Path = FOLDER) -> None:
    """Execute the notebooks with the given numbers, or all notebooks of the folder."""
    with tempfile.TemporaryDirectory() as cache:
        for path in sorted(folder.glob("*.ipynb")):
            if not numbers or path.name[:2].lstrip("0") in numbers:
                notebook = nbformat.read(path, as_version=4)
                execute(notebook, folder, environment(cache))
                nbformat.write(notebook, path)
                print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
