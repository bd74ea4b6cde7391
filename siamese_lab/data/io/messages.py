"""What the user is told while files are fetched and decoded: on standard error, and no bars in log files."""

from rich.console import Console

console = Console(stderr=True, soft_wrap=True)


def announce(line: str) -> None:
    """Tell in a line what happens with the user's files."""
    console.print(line, markup=False, highlight=False, style="dim")
