"""List the commands, or start one of them: `python -m siamese_lab [COMMAND [ARGUMENT …]]`."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 (pip refuses it, but a checkout starts with any Python)
    sys.exit(f"Error: siamese_lab needs Python 3.10 or later, but {sys.executable} is {sys.version.split()[0]}.")

import platform
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from siamese_lab.config.process import keep_large_blocks, let_waiting_threads_sleep
from siamese_lab.errors import INTERRUPTED_STATUS, USER_ERROR_STATUS, interrupted_at_once
from siamese_lab.errors.packages import unusable_package
from siamese_lab.registry import did_you_mean
from siamese_lab.runs.output import make_output_last


class Command(NamedTuple):
    """A command of the lab."""

    module: str
    """The module with the function `main`."""
    text: str


COMMANDS: Mapping[str, Command] = {
    "train": Command("siamese_lab.train", "train one network, or a sweep or a study with -m"),
    "evaluate": Command("siamese_lab.evaluate", "evaluate a trained network by six protocols"),
    "report": Command("siamese_lab.report", "turn the results of many runs into a page"),
    "embed": Command("siamese_lab.embed", "embed the images of a folder"),
    "verify": Command("siamese_lab.verify", "decide whether two images show the same class"),
    "search": Command("siamese_lab.search", "find the images nearest to an image"),
    "export": Command("siamese_lab.export", "export a trained network to ONNX or torch.export"),
    "data": Command("siamese_lab.data.__main__", "download, check and draw data sets"),
}


SHELL_COMPLETION = {"--shell-completion", "-sc"}
COMPLETED = ("train", "evaluate")
"""Commands of Hydra, which complete their options in a shell. The others complete names of files, as any program."""


def main() -> None:
    """Start the command that the first argument names; without one, list the commands.

    Commands are imported only when they start, because PyTorch takes seconds to import.
    """
    make_output_last()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h"):
        print("\n".join(help_lines()))
    elif name == "--version":
        print("\n".join(version_lines()))
    elif name in COMMANDS:
        sys.exit(start(name, arguments))
    else:
        print(
            f"Error: There is no command {name!r}.{did_you_mean(name, COMMANDS)} Commands: {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        raise SystemExit(USER_ERROR_STATUS)


def start(name: str, arguments: list[str] | None = None) -> int:
    """Import and run a command, and return its exit status. Ctrl-C ends with one line, also during the import."""
    if arguments is not None:
        sys.argv[1:] = arguments
    make_output_last()
    if any(len(flag) > 2 and "--version".startswith(flag) for flag in sys.argv[1:]):  # flags may be abbreviated
        print("\n".join(version_lines()))
        return 0
    let_waiting_threads_sleep()
    keep_large_blocks()
    try:
        if SHELL_COMPLETION & {*sys.argv[1:]} and name in COMPLETED:
            import_module("siamese_lab.config.completion").complete(name, COMPLETED)
        else:
            with interrupted_at_once():
                module = import_module(COMMANDS[name].module)
            module.main()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED_STATUS
    except (ImportError, OSError) as error:
        message = unusable_package(error)
        if message is None:
            raise
        print(f"Error: {message}", file=sys.stderr)
        return USER_ERROR_STATUS
    return 0


def version_lines() -> Iterator[str]:
    """Yield the versions of the lab, of its commit in a checkout, of Python and of PyTorch, which is not imported."""
    from siamese_lab.runs.environment import commit

    checkout = commit()
    yield version_of("siamese_lab") + ("" if checkout is None else f", commit {checkout}")
    yield f"Python {platform.python_version()}"
    yield version_of("torch")


def version_of(package: str) -> str:
    """Return a package with its version, or that it is not installed."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} is not installed"


train, evaluate, report, embed, verify, search, export, data = (partial(start, name) for name in COMMANDS)
"""The commands siamese-lab-train, …, which an installed package starts here."""


def help_lines() -> Iterator[str]:
    """Yield the lines of `--help`."""
    yield "siamese_lab compares strategies that select training samples for a Siamese"
    yield "network."
    yield ""
    yield "  python -m siamese_lab COMMAND [ARGUMENT …]"
    yield ""
    yield "Commands; python -m siamese_lab COMMAND --help explains one:"
    yield ""
    yield from (f"  {name:<11}{command.text}" for name, command in COMMANDS.items())
    yield ""
    yield "Flags:"
    yield ""
    yield "  --version  print versions; every command has this flag"
    yield "  --help     print this text"
    yield ""
    yield "siamese-lab COMMAND, siamese-lab-COMMAND and python -m siamese_lab.COMMAND are"
    yield "the same commands."
    yield ""
    yield "Examples:"
    yield "  # Train on the embedded data with one strategy"
    yield "  python -m siamese_lab train sampler=distance_weighted"
    yield "  # Evaluate the network of a run"
    yield "  python -m siamese_lab evaluate checkpoint=RUN"
    yield "  # Report a study"
    yield "  python -m siamese_lab report outputs/my_study"


if __name__ == "__main__":
    main()
