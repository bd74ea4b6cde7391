"""Make the consoles that commands print to. They escape characters of others that act on a terminal."""

from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from siamese_lab.errors.controls import escape_controls


def new_console(**options: Any) -> Console:
    """Return a console that escapes acting characters in everything that is printed, see `escape_controls`.

    Args:
        **options: arguments of `rich.console.Console`.
    """
    console = Console(**options)
    console.push_render_hook(_Escaping())
    return console


class _Escaping(RenderHook):
    """Escapes the text of renderables. Colors and cursor movements of rich itself stay."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(each) for each in renderables]


class _Escaped:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.renderable, options):
            yield segment if segment.control else Segment(escape_controls(segment.text), segment.style)
