"""Lake's twenty runs of within-alphabet 20-way one-shot classification of Omniglot (doi:10.1126/science.aab3050).

In each run one person drew 20 characters of an alphabet, `run01/training/class01.png`. Another person drew the same
characters in another order, `run01/test/item01.png`. `run01/class_labels.txt` matches both.

Shapes: E runs, W characters in a run, Q drawings to classify in a run.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

from siamese_lab.data.io.decode import Convert, decode
from siamese_lab.data.io.image_files import list_images
from siamese_lab.data.official_protocols import OneShot
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import ResourceError

RUNS, WAYS = 20, 20
RUN_NAMES = tuple(f"run{number:02}" for number in range(1, RUNS + 1))
ANSWERS = "class_labels.txt"
HOW = (
    f"{RUNS} runs of {WAYS}-way classification within an alphabet, drawn by two people (Lake et al. 2015). Random "
    "episodes are easier, so their figures are not comparable with these."
)


def read_runs(path: Path, convert: Convert) -> OneShot:
    """Read the runs of an archive or folder.

    Both drawings of a character in a run form one class. The class has the name of the known drawing.

    Args:
        path: `all_runs.zip`, or the folder unpacked from it.
        convert: converts a drawing to an image of the data set.

    Raises:
        UserError: if runs are missing or unexpected, or if a drawing cannot be read.
    """
    files = list_images(path)
    row_of = {_short(name): row for row, name in enumerate(files.names)}
    known, asked = ([name for name in row_of if f"/{part}/" in name] for part in ("training", "test"))
    answers = list(_answers(path))
    known_of = dict(answers)
    answered = (
        sorted(name for name, _ in answers) == sorted(asked)
        and sorted(known_of.values()) == sorted(known)
        and all(_run(name) == _run(answer) for name, answer in answers)
    )
    in_runs = all(Counter(map(_run, part)) == Counter(RUN_NAMES * WAYS) for part in (known, asked))
    if not (answered and in_runs and len(row_of) == len(files.names) == 2 * RUNS * WAYS):
        raise ResourceError(
            f"{path} should hold {RUNS} runs of {WAYS} known drawings, as many to classify and {ANSWERS}, but holds "
            f"{len(known)} and {len(asked)} drawings in {len(files.names)} images and {len(answers)} answers, or some "
            "of other runs. It is incomplete or another archive: replace it with the original."
        )
    class_of = {name: label for label, name in enumerate(known)}
    label_of = class_of | {name: class_of[known_of[name]] for name in asked}
    labels_N = torch.tensor([label_of[name] for name in row_of])
    known_EW, asked_EQ = (torch.tensor([row_of[name] for name in names]).view(RUNS, WAYS) for names in (known, asked))
    table = ImageTable(decode(files, convert), labels_N, tuple(known))
    return OneShot(
        "lake", "Lake's runs", HOW, table, known_EW, asked_EQ, labels_N[asked_EQ] - labels_N[known_EW[:, :1]]
    )


def _answers(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each drawing to classify, with the known drawing of its character."""
    for content in list_images(path, ANSWERS).contents():
        for line in content.decode("ascii", errors="replace").splitlines():
            asked, _, known = line.partition(" ")
            yield _short(asked), _short(known)


def _short(name: str) -> str:
    """Return the last three parts of a path: 'run01/test/item01.png'."""
    return "/".join(PurePosixPath(name.strip()).parts[-3:])


def _run(name: str) -> str:
    """Return the run of a drawing: 'run01'."""
    return name.split("/", 1)[0]
