"""The documentation site builds without a warning, its links lead somewhere, and it loads nothing from the network."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

import siamese_lab

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / ".github/docs.py"
MISSING = [name for name in ("sphinx", "furo", "myst_parser", "mermaidx") if find_spec(name) is None]
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""Tags that make a browser load a file, and their attribute."""


class Page(HTMLParser):
    """The links, loaded files, anchors and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADED and values.get(LOADED[tag]):
            self.loaded.append(values[LOADED[tag]])


class Site(NamedTuple):
    """The pages of a built site, by path."""

    folder: Path
    pages: dict[Path, Page]

    def wrong(self, page: Path, target: str) -> str | None:
        """Return what is wrong with a link within the site; None if it leads to a file and an anchor."""
        parts = urlsplit(target)
        file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not file.is_file():
            return f"{page.relative_to(self.folder)}: no file for {target}"
        anchor = unquote(parts.fragment)
        if anchor and file in self.pages and anchor not in self.pages[file].anchors:
            return f"{page.relative_to(self.folder)}: no anchor for {target}"
        return None


def read_site(folder: Path) -> Site:
    folder = folder.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    return Site(folder, pages)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return a site: the one that SIAMESE_LAB_SITE names, or a new one."""
    if built := os.environ.get("SIAMESE_LAB_SITE"):
        return read_site(ROOT / built)
    if not SCRIPT.is_file():
        pytest.skip("an sdist has no folder .github")
    if MISSING:
        pytest.skip(f'pip install -e ".[docs]" installs {", ".join(MISSING)}')
    folder = tmp_path_factory.mktemp("site")
    ended = subprocess.run([sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert "WARNING" not in ended.stderr
    return read_site(folder)


def internal(site: Site) -> Iterator[tuple[Path, str]]:
    for path, page in site.pages.items():
        for target in (*page.links, *page.loaded):
            if not urlsplit(target).scheme and target != "#":  # "#" is the link of a page to itself
                yield path, target


@pytest.mark.slow
def test_every_link_leads_to_a_file_and_an_anchor(site: Site) -> None:
    links = list(internal(site))
    assert len(links) > 1000
    assert [wrong for path, target in links if (wrong := site.wrong(path, target))] == []


@pytest.mark.slow
def test_no_page_loads_anything_from_the_network(site: Site) -> None:
    for path, page in site.pages.items():
        assert [each for each in page.loaded if re.match(r"(\w+:)?//", each)] == [], path
    for path in site.folder.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", path.read_text(encoding="utf-8")) == [], path


@pytest.mark.slow
def test_every_readme_is_a_page_of_the_sidebar(site: Site) -> None:
    start = site.folder / "index.html"
    linked = {(site.folder / urlsplit(target).path).resolve() for target in site.pages[start].links}
    ignored = ("outputs", ".", "build", "dist")
    readmes = [path for path in ROOT.glob("*/**/README.md") if not path.relative_to(ROOT).parts[0].startswith(ignored)]
    shown = [ROOT / f"outputs/{each}" for each in ("README.md", "study/README.md")]
    others = [ROOT / f"{each}.md" for each in ("CONTRIBUTING", "CHANGELOG", "outputs/study/PLAN")]
    assert len(readmes) >= 10
    for path in (*readmes, *shown, *others):
        at = path.relative_to(ROOT).as_posix().replace("README.md", "index.md").replace(".md", ".html")
        assert site.folder / at in linked, at


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site: Site) -> None:
    anchors = {anchor for page in site.pages.values() for anchor in page.anchors}
    for name in siamese_lab.__all__:
        value = getattr(siamese_lab, name)
        if isinstance(value, str):
            continue
        if hasattr(value, "__path__"):
            assert f"module-siamese_lab.{name}" in anchors
            named = {each for each in value.__all__ if callable(getattr(value, each))}
            assert {f"siamese_lab.{name}.{each}" for each in named} <= anchors
        else:
            assert f"siamese_lab.{name}" in anchors


@pytest.mark.slow
def test_diagrams_are_drawn_and_no_markup_is_left(site: Site) -> None:
    contributing = site.folder / "CONTRIBUTING.html"
    assert "svg" in site.pages[contributing].tags
    for path in site.pages:
        if path.name != "report.html" and "_modules" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert "flowchart LR" not in text
            assert not re.search(r":(?:py:)?\w+:`|system-message", text), path


def test_a_wrong_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here">1</a><a href="b.html#there">2</a><a href="c.html">3</a>')
    (tmp_path / "b.html").write_text('<p id="here"></p>')
    site = read_site(tmp_path)
    found = [site.wrong(path, target) for path, target in internal(site)]
    assert found == [None, "a.html: no anchor for b.html#there", "a.html: no file for c.html"]
