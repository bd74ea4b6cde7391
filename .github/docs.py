"""Build the documentation site: `pip install -e ".[docs]" && python .github/docs.py` writes it to outputs/site.

The pages are the README files, at the paths of their folders, and a reference that autodoc makes from the docstrings of
each package. Sphinx reads copies in a temporary folder, so nothing but the site is left. The site loads nothing from
the network: mermaid diagrams are drawn while it is built.
"""

import argparse
import importlib
import pkgutil
import re
import shutil
import tempfile
from collections.abc import Iterator
from html import escape
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import mermaidx
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import ObjectEntry
from sphinx.transforms.post_transforms import ReferencesResolver, SphinxPostTransform
from sphinx.util.docutils import register_directive

ROOT = Path(__file__).resolve().parents[1]
GUIDE = [
    "configs/README.md",
    *(f"siamese_lab/{part}/README.md" for part in ("data", "samplers", "losses", "networks", "metrics")),
    *(f"siamese_lab/{part}/README.md" for part in ("evaluation", "inference")),
    "notebooks/README.md",
    "tests/benchmarks/README.md",
]
STUDY = ["outputs/study/README.md", "outputs/study/PLAN.md", "outputs/README.md"]
CONTRIBUTE = ["CONTRIBUTING.md", "CHANGELOG.md"]
PATTERNS = ("*.md", "configs/**/*.md", "siamese_lab/**/*.md", "notebooks/*.md", "tests/**/*.md")
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
NAME = re.compile(r"[A-Za-z_][\w.]*")
SETTINGS = {
    "project": "siamese_lab",
    "copyright": "The siamese_lab authors",
    "extensions": ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"],
    "html_theme": "furo",
    "html_title": f"siamese_lab {version('siamese_lab')}",
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "templates_path": [],
    "myst_heading_anchors": 4,
    "myst_fence_as_directive": ["mermaid"],
    "default_role": "py:obj",
    "add_module_names": False,
    "toc_object_entries": False,
    "python_maximum_signature_line_length": 88,
    "autodoc_inherit_docstrings": False,
    "autodoc_member_order": "bysource",
    "autodoc_typehints_format": "short",
    "napoleon_numpy_docstring": False,
    "napoleon_use_rtype": False,
}
STYLE = """
.diagram { overflow-x: auto; background: #fff; padding: 1rem; margin: 1rem 0; border-radius: .3rem; }
.diagram svg { display: block; margin: auto; height: auto; }
@media (max-width: 46em) { h1 { font-size: 1.8em; } h2 { font-size: 1.5em; } }
"""


def main() -> None:
    """Build the site, and exit with status 1 if Sphinx warns."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "outputs/site", help="default: outputs/site")
    folder = parser.parse_args().folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / "objects.inv").is_file():
        parser.error(f"{folder} is replaced by the site, but holds other files. Name an empty folder.")
    with tempfile.TemporaryDirectory() as temporary:
        raise SystemExit(build(folder, Path(temporary)))


def build(folder: Path, temporary: Path) -> int:
    """Build the site in a folder, and return 0 if there was no warning."""
    source, extra = temporary / "pages", temporary / "files"
    for page in [*GUIDE, *STUDY, *CONTRIBUTE, *other_pages()]:
        copy_page(page, source, extra)
    copy_page("README.md", source, extra, start_page_contents())
    write_reference(source / "api")
    (temporary / "static").mkdir()
    (temporary / "static/site.css").write_text(STYLE, encoding="utf-8")
    settings = {
        **SETTINGS,
        "html_extra_path": [str(extra)],
        "html_static_path": [str(temporary / "static")],
        "html_css_files": ["site.css"],
    }
    register_directive("mermaid", Mermaid)
    shutil.rmtree(folder, ignore_errors=True)
    app = Sphinx(source, None, folder, temporary / "doctrees", "html", settings, warningiserror=True)
    app.connect("autodoc-process-docstring", convert_docstring, priority=400)
    app.connect("html-page-context", clean_source_page)
    app.add_post_transform(NameLinks)
    app.build()
    return app.statuscode


def other_pages() -> list[str]:
    """Return the pages that no list names, so that a new README is part of the site."""
    found = {page.relative_to(ROOT).as_posix() for pattern in PATTERNS for page in ROOT.glob(pattern)}
    return sorted(found - {"README.md", *GUIDE, *STUDY, *CONTRIBUTE})


def start_page_contents() -> str:
    """Return the tables of contents of the sidebar, which the start page holds without showing them."""
    parts = {
        "User guide": [*GUIDE, *other_pages()],
        "The study": STUDY,
        "Reference": ["api/siamese_lab.rst"],
        "Contribute": CONTRIBUTE,
    }
    return "\n".join(
        "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *map(staged, pages), "```"])
        for caption, pages in parts.items()
    )


def staged(page: str) -> str:
    """Return the path of a page in the site: the README of a folder is its index."""
    return page.replace("README.md", "index.md")


def copy_page(page: str, source: Path, extra: Path, end: str = "") -> None:
    """Copy a page and the files that it links to. Images belong to the pages; other files are copied as they are."""

    def link(found: re.Match[str]) -> str:
        image, text, target, heading = found.groups()
        file = (ROOT / page).parent / target
        if not file.is_file():
            raise SystemExit(f"Error: {page} links to {target}, which is not a file.")
        if target.endswith(".md"):
            return f"[{text}]({staged(target)}{heading or ''})"
        to = (source if image else extra) / file.resolve().relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
        shown = "" if file.suffix == ".html" else " download"
        return found[0] if image else f'<a href="{escape(target)}"{shown}>{text}</a>'

    pieces = CODE.split((ROOT / page).read_text(encoding="utf-8"))
    text = "".join(piece if at % 2 else LINK.sub(link, piece) for at, piece in enumerate(pieces))
    to = source / staged(page)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(f"{text}\n{end}\n", encoding="utf-8")


def write_reference(folder: Path) -> None:
    """Write one page per package: its public names, then its modules."""
    folder.mkdir(parents=True)
    for package in packages(importlib.import_module("siamese_lab")):
        (folder / f"{package.__name__}.rst").write_text(reference(package), encoding="utf-8")


def packages(package: ModuleType) -> Iterator[ModuleType]:
    """Yield a package and the packages in it."""
    yield package
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if found.ispkg:
            yield from packages(importlib.import_module(found.name))


def reference(package: ModuleType) -> str:
    """Return the page of a package. A public name is documented once, with the package that exports it."""
    inner = list(pkgutil.iter_modules(package.__path__, f"{package.__name__}."))
    modules = [each.name for each in inner if not each.ispkg and not re.search(r"\.(__main__|test_\w+)$", each.name)]
    exported = getattr(package, "__all__", [])
    lines = [*heading(package.__name__, "="), *automodule(package.__name__)]
    if children := [each.name for each in inner if each.ispkg]:
        lines += [".. toctree::", "   :maxdepth: 1", "", *(f"   {short(each)} <{each}>" for each in children), ""]
    for module in modules:
        lines += [*heading(module, "-"), *automodule(module, exported)]
        if short(module) in exported:  # a function that has the name of its module
            lines[-1:] = ["   :no-index:", ""]
    return "\n".join(lines)


def short(name: str) -> str:
    """Return the last part of a dotted name."""
    return name.rpartition(".")[2]


def heading(text: str, line: str) -> list[str]:
    """Return a heading in reStructuredText."""
    return [text, line * len(text), ""]


def automodule(name: str, without: list[str] | None = None) -> list[str]:
    """Return the directive that documents a module."""
    exclude = [f"   :exclude-members: {', '.join(without)}"] if without else []
    return [f".. automodule:: {name}", "   :members:", "   :show-inheritance:", *exclude, ""]


def convert_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn Markdown code spans into literals, or into links if they are names, and escape characters with a meaning."""
    text = "\n".join(lines)
    if text.startswith("Alias for field number"):
        text = ""
    pieces = SPAN.split(text)
    pieces[::2] = [re.sub(r"\||(?<=\()\*(?=\w)", lambda sign: f"\\{sign[0]}", prose) for prose in pieces[::2]]
    pieces[1::2] = [f"`{span}`" if NAME.fullmatch(span) else f"``{span}``" for span in pieces[1::2]]
    for at in range(2, len(pieces), 2):
        if pieces[at][:1].isalnum():  # "`Batch`es": reStructuredText needs a separator
            pieces[at] = f"\\ {pieces[at]}"
    lines[:] = "".join(pieces).split("\n")
    if what in ("attribute", "data", "property"):  # napoleon takes a word and a colon in the first line for a type
        lines.insert(0, "")


def clean_source_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """Remove links to modules of others, and back to the reference, which exported names would break."""
    if page.startswith("_modules/"):
        back = r'<a class="viewcode-back".*?</a>'
        foreign = r'<li><a href="(?!siamese_lab).*?</li>'
        context["body"] = re.sub(f"{back}|{foreign}", "", context["body"])


class NameLinks(SphinxPostTransform):
    """Links names to the objects that they mean. Sphinx itself would compare each name with every object."""

    default_priority = ReferencesResolver.default_priority - 1

    def run(self, **options: Any) -> None:
        """Replace the references to Python objects on a page. A name that nothing documents stays as it is."""
        objects = self.env.domains.python_domain.objects
        unique = unique_names(objects)
        for node in list(self.document.findall(pending_xref)):
            if node.get("refdomain") != "py":
                continue
            place = objects.get(meaning(node, objects, unique))
            if place is None:
                node.replace_self(node.children)
            else:
                page = self.app.builder.get_relative_uri(self.env.docname, place.docname)
                link = nodes.reference("", "", *node.children, internal=True, refuri=f"{page}#{place.node_id}")
                node.replace_self(link)


def unique_names(objects: dict[str, ObjectEntry]) -> dict[str, str]:
    """Return the path of each class or function whose name no other class or function has."""
    paths: dict[str, list[str]] = {}
    for path, entry in objects.items():
        if entry.objtype in ("class", "exception", "function"):
            paths.setdefault(short(path), []).append(path)
    return {name: found[0] for name, found in paths.items() if len(found) == 1}


def meaning(node: pending_xref, objects: dict[str, ObjectEntry], unique: dict[str, str]) -> str:
    """Return the path of the object that a name means at its place, or an empty text."""
    target = node["reftarget"]
    module, inside = node.get("py:module") or "", node.get("py:class") or ""
    paths = (f"{module}.{inside}.{target}", f"{module}.{target}", target, f"siamese_lab.{target}")
    name = short(target)
    is_distinct = name[:1].isupper() or "_" in name  # `seed` or `batch` is rather a word than the name of a function
    return next((path for path in paths if path in objects), unique.get(name, "") if is_distinct else "")


class Mermaid(Directive):
    """Draws a diagram. A page is narrow, so a chart from left to right runs from top to bottom."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the diagram as SVG within the page."""
        code = re.sub(r"^flowchart LR", "flowchart TB", "\n".join(self.content))
        svg = mermaidx.render(code).svg()
        return [nodes.raw("", f'<div class="diagram">{svg}</div>', format="html")]


if __name__ == "__main__":
    main()
