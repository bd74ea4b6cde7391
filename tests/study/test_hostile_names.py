"""A report of names with markup, formulas, spreadsheet formulas and line breaks is plain text in every format."""

import base64
import csv
import re
from pathlib import Path

import pytest
from rich.console import Console
from synthetic import run

from siamese_lab.errors.controls import escape_controls
from siamese_lab.runs.escapes import escape_csv, escape_markdown
from siamese_lab.study import report
from siamese_lab.study.tables.table import escape_latex

NAMES = (
    '<script>alert(1)</script>"><img src=x onerror=alert(2)>',
    "from_$1_to_$5",
    r"$\frac$",
    '=HYPERLINK("http://x","y")',
    "@SUM(1)",
    "[/] [bold]a|b[link](javascript:x) ![x](http://x) `c`",
    r"\input{/etc/passwd} 50% #1 {",
    "日本 🙂",
    "＝cmd()",
)
"""Each is the name of a strategy and the title of a data set."""
ACTS = "\x1b[31m\x07\u202egnp.exe\x9b2J"
"""Characters that act on a terminal, in values that are no names."""


# No font of matplotlib has all characters of these names, and some names need more room than a figure has.
pytestmark = pytest.mark.filterwarnings("error::UserWarning:matplotlib", "error:Glyph", "error:constrained_layout")


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    described = {"protocol": None, "order": 1, "notes": [], "compared": [], "cross_validation": None}
    for number, name in enumerate(NAMES):
        for strategy in ("random", name):
            for seed in range(2):
                each = run(strategy=strategy, seed=seed, data_set=described | {"title": name, "notes": [name]})
                each.versions, each.commit, each.error = {name: name}, f"{name}{ACTS}", f"{name}{ACTS}"
                each.choices["ema"] = f"{ACTS}{seed}"
                place = folder / f"{number}/{strategy == name}/{seed}"
                place.mkdir(parents=True)
                each.write(place)
    with Console(quiet=True) as console:
        report.report(folder, console)
    return folder


@pytest.mark.slow
def test_no_cell_of_a_csv_file_is_a_formula(reported: Path) -> None:
    files = list((reported / "tables").glob("*.csv"))
    cells = {cell for file in files for row in list(csv.reader(file.open(encoding="utf-8")))[1:] for cell in row}
    assert {f"'{NAMES[number]}" for number in (3, 4, 8)} <= cells
    texts = [cell for cell in cells if not re.fullmatch(r"[-+]?[\d.]+(e[-+]\d+)?", cell)]
    assert not [cell for cell in texts if cell.startswith((*"=+-@", *"＝＋－＠"))]


@pytest.mark.slow
def test_markdown_holds_no_tags_links_or_formulas(reported: Path) -> None:
    files = list((reported / "tables").glob("*.md"))
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert "<script" not in text and "<img" not in text, file
        assert not re.search(r"(?<!\\)\$", text), file
        assert not re.search(r"(?<!\\)\]\(", text), file
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1, file


@pytest.mark.slow
def test_latex_holds_no_commands_of_names(reported: Path) -> None:
    for file in (reported / "tables").glob("*.tex"):
        text = file.read_text(encoding="utf-8")
        assert r"\input" not in text and r"\frac" not in text, file
        assert not re.search(r"\\\\\s*[\[*]", text), file


@pytest.mark.slow
def test_the_page_and_its_figures_hold_no_markup_of_names(reported: Path) -> None:
    page = (reported / "report.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1, "that of the copy buttons"
    assert "<script>alert" not in page and "<img src=x" not in page and "&lt;script" in page
    assert r"\x1b[31m\x07\u202egnp.exe\x9b2J" in page
    assert escape_controls(page) == page
    embedded = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", page)
    assert embedded
    for svg in (base64.b64decode(each).decode() for each in embedded):
        assert "<script" not in svg and "<img" not in svg


def test_folds_of_hostile_names_are_printed(tmp_path: Path) -> None:
    for number in (0, 1):
        folds = {"fold": number, "folds": 2, "option": "fold", "figures": ""}
        described = {"protocol": None, "order": 1, "notes": [], "compared": [], "cross_validation": folds}
        each = run(strategy="[/]", data_set=described | {"title": "[/] <b>"}, test={"[/]": 0.5})
        each.choices["sampler"]["name"] = "[/red]"
        each.choices["data"]["fold"] = number
        (tmp_path / str(number)).mkdir()
        each.write(tmp_path / str(number))
    console = Console(record=True, width=120, quiet=True)
    report.report_folds(tmp_path, console)
    assert (tmp_path / "folds.json").is_file()


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("semi_hard", "semi_hard"),
        ("<0.001", "<0.001"),
        ("98.1 [2]", "98.1 [2]"),
        ("<b>", "&lt;b>"),
        ("&lt;b>", "&amp;lt;b>"),
        ("R&D", "R&D"),
        ("a\n|b", r"a \|b"),
        ("[a](http://b)", r"[a\](http://b)"),
        ("[a]: http://b", r"[a\]: http://b"),
        ("$x$", r"\$x\$"),
    ],
)
def test_markdown_escapes_only_what_has_a_meaning(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("[2]", "{[}2]"), ("*", "{*}"), ("a [2]", "a [2]"), ("a\n\nb", "a b"), ("$x^2$", r"\$x\textasciicircum{}2\$")],
)
def test_latex_escapes_rows_that_begin_like_an_argument(text: str, escaped: str) -> None:
    assert escape_latex(text) == escaped


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1"])
def test_csv_escapes_formulas(text: str) -> None:
    assert escape_csv(text) == f"'{text}"
    assert escape_csv(f"a{text}") == f"a{text}"
