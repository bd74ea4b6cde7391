"""Write the first two cells of each notebook: the badge that opens it in Colab, and a cell that installs the lab there.

`python notebooks/colab.py` writes them again, for example after a change of the repository's address.
"""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

FOLDER = Path(__file__).resolve().parent
REPOSITORY = "_OWNER_/siamese_lab"
"""Owner and name of the repository on GitHub. _OWNER_, which no account can be called, stands for the owner until the
repository is public.
"""
BRANCH = "main"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
BADGE_ID, INSTALL_ID = "colab-badge", "colab-install"
INSTALL = f"""\
# On Colab, install the lab and its extras. Where the lab is installed, this cell does nothing.
from importlib.util import find_spec

if find_spec("siamese_lab") is None:
    %pip install --quiet "siamese_lab[timm,onnx] @ git+https://github.com/{REPOSITORY}@{BRANCH}"\
"""
"""The cell names the repository, because anybody could publish a package with the name of the lab."""


def badge(name: str) -> str:
    """Return the text of the first cell of a notebook."""
    address = f"https://colab.research.google.com/github/{REPOSITORY}/blob/{BRANCH}/notebooks/{name}.ipynb"
    return (
        f"[![Open in Colab]({BADGE})]({address})\n\n"
        "Runs on two CPU cores; a GPU is not needed. On Colab, the next cell installs the lab, which takes a few "
        "minutes. Anywhere else it does nothing."
    )


def write_cells(notebook: NotebookNode, name: str) -> None:
    """Put both cells at the start of a notebook, or replace them. Stored outputs stay, and their numbers move on."""
    if [cell.id for cell in notebook.cells[:2]] == [BADGE_ID, INSTALL_ID]:
        first, install = notebook.cells[:2]
        first.source, install.source = badge(name), INSTALL
        return
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.execution_count is not None:
            cell.execution_count += 1
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count += 1
    install = nbformat.v4.new_code_cell(INSTALL, id=INSTALL_ID, execution_count=1)
    notebook.cells[:0] = [nbformat.v4.new_markdown_cell(badge(name), id=BADGE_ID), install]


def main(folder: Path = FOLDER) -> None:
    """Write both cells of every notebook of a folder."""
    for path in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        write_cells(notebook, path.stem)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
