"""Execute the notebooks in place, without real data, and store their outputs; arguments select notebooks by number."""

import importlib
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
NO_NETWORK = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
"""Proxies that refuse every connection, so that a notebook cannot download."""
SECONDS = 600
"""Maximum time of a cell on a busy machine."""


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells of a notebook in a folder and store their outputs in the notebook.

    The kernel inherits the environment variables. The metadata stay as they are, so that they name no machine, version
    or time.
    """
    metadata = notebook.metadata.copy()
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS, resources=resources, record_timing=False, coalesce_streams=True).execute()
    notebook.metadata = metadata


def main(numbers: list[str]) -> None:
    """Execute the notebooks with the given numbers, or all notebooks."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ.pop("SIAMESE_LAB_DATA", None)
        # An empty cache, because earlier downloads are real data.
        os.environ.update(NO_NETWORK, XDG_CACHE_HOME=cache, PYTHONPATH=str(ROOT))
        # Build the cache of fonts here, because a notebook would show the message about it.
        importlib.import_module("matplotlib.font_manager")
        for path in sorted(FOLDER.glob("*.ipynb")):
            if not numbers or path.name[:2].lstrip("0") in numbers:
                notebook = nbformat.read(path, as_version=4)
                execute(notebook, FOLDER)
                nbformat.write(notebook, path)
                print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
