"""Prepare data sets ahead of time: `python -m siamese_lab.data NAME … [--verify] [--show] [OPTION=VALUE …]`."""

import sys

if __name__ == "__main__":  # before the imports below, which Ctrl-C may interrupt
    from siamese_lab.__main__ import start

    sys.exit(start("data", sys.argv[1:]))


import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from siamese_lab import data
from siamese_lab.config.arguments import train_overrides
from siamese_lab.config.errors import check_types, shipped_options, user_errors_as_messages, wants_tracebacks
from siamese_lab.config.help_layout import HelpParser, example_lines, paragraph, two_columns
from siamese_lab.config.help_texts import TRAIN
from siamese_lab.config.overrides import in_grammar
from siamese_lab.config.schema import Paths, check_keys, config_folder, register_schema
from siamese_lab.errors import UserError, interrupted_at_once
from siamese_lab.runs.console import new_console
from siamese_lab.runs.display import print_plainly, print_titled

BAD_COPY = 1
ALL = "all"
"""Stands for every data set except those of the user's own images, and large sets that have no copy."""
EXAMPLES = (
    ("Download Omniglot and MNIST", "python -m siamese_lab.data omniglot mnist"),
    ("Check the copies of all data sets in a folder", "python -m siamese_lab.data all --verify paths.data=FOLDER"),
    ("Draw images of your own folder", "python -m siamese_lab.data image_folder --show data.root=FOLDER"),
)


def main() -> None:
    """Run the command. Exit with status 1 if `--verify` finds a fault, with 2 if a set cannot be prepared."""
    parser = HelpParser(help_lines(), prog="python -m siamese_lab.data")
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_intermixed_args()
    names = [word for word in asked.names if "=" not in word]
    options = [word for word in asked.names if "=" in word]
    if not names:
        parser.error(f"name at least one of {', '.join(shipped_sets())}, or {ALL}")

    register_schema()
    console, statuses = new_console(), {0}
    with interrupted_at_once():  # PyTorch is loaded here, so --help is printed without it
        data.available()
    for name in expand_all(console, names, options):
        try:
            with user_errors_as_messages(tracebacks=wants_tracebacks()):
                statuses.add(run(console, name, options, asked.verify, asked.show))
        except SystemExit as ended:  # continue with the other sets
            statuses.add(int(ended.code or 0))
    sys.exit(max(statuses))


def help_lines() -> Iterator[str]:
    """Yield the lines of `--help`."""
    yield from paragraph("Download, decode and cache data sets, and print their sizes.")
    yield ""
    yield "  python -m siamese_lab.data NAME … [--verify] [--show] [OPTION=VALUE …]"
    yield ""
    names = (
        f"one of {', '.join(shipped_sets())}; {ALL} is every set except your own images, and large sets without a copy"
    )
    defaults = {f"paths.{name}": in_grammar(value) for name, value in vars(Paths()).items()}
    yield from two_columns(
        [
            ("NAME", names),
            ("--verify", "only read the copies and list the faults found in them (default: off)"),
            ("--show", "draw images, class sizes and a batch, under outputs/data/NAME/ (default: off)"),
            *((f"{option}={default}", TRAIN[option]) for option, default in defaults.items()),
        ]
    )
    yield ""
    yield from paragraph(
        "The options are those of training: python -m siamese_lab.train data=NAME --help lists all options of a set "
        "with their defaults."
    )
    yield ""
    yield from example_lines(EXAMPLES)


def shipped_sets() -> list[str]:
    """List the names that `data=NAME` accepts, without loading a data set."""
    return sorted(path.stem for path in (config_folder() / "data").glob("*.yaml"))


def expand_all(console: Console, names: Sequence[str], options: Sequence[str]) -> list[str]:
    """Replace the name `all` by the names of all sets.

    Sets that need a folder of the user's own images are left out, and sets that say so: `DataModule.left_out_of_all`.
    """
    found: dict[str, None] = {}
    for name in names:
        for each in data.available() if name == ALL else [name]:
            reason = reason_to_leave_out(each, options) if name == ALL else None
            if reason is None:
                found[each] = None
            else:
                print_plainly(console, f"{each}: left out, because {reason}")
    return list(found)


def reason_to_leave_out(name: str, options: Sequence[str]) -> str | None:
    """Return why `all` leaves a data set out, with the command that prepares it; None if `all` includes it."""
    with user_errors_as_messages(tracebacks=wants_tracebacks()):
        config = compose(name, [option for option in options if option.startswith("paths.")])
        if needs_own_images(config):
            named = {"table": "data.file=FILE", "features": "data.from=RUN_OR_FILE"}.get(name, "data.root=FOLDER")
            own = "features" if name == "features" else "images"
            return f"it reads your own {own}: python -m siamese_lab.data {name} {named}"
        if data.build(**config.data, seed=config.seed).left_out_of_all():
            return f"there is no copy of it: python -m siamese_lab.data {name}"
    return None


def needs_own_images(config: DictConfig) -> bool:
    """Return whether a data set has neither a folder (its own or `paths.data`) nor a table, or no features."""
    raw = OmegaConf.to_container(config.data)
    assert isinstance(raw, dict)
    if "from" in raw:
        return raw["from"] is None
    return "root" in raw and raw["root"] is None and raw.get("file") is None


def run(console: Console, name: str, options: Sequence[str], only_verify: bool, with_sheets: bool) -> int:
    """Verify or prepare one data set, and return the exit status."""
    config = compose(name, options)
    if not only_verify and name == "features":
        from siamese_lab.evaluation.features import prepare_features  # loads Lightning

        prepare_features(config, console)
    datamodule = data.build(**config.data, seed=config.seed)
    if only_verify:
        return verify(console, name, datamodule)
    prepare(console, name, datamodule)
    if with_sheets:
        show(console, datamodule, Path(config.paths.outputs) / "data" / name)
    return 0


def compose(name: str, options: Sequence[str]) -> DictConfig:
    """Return the configuration of `siamese_lab.train data=NAME OPTION=VALUE …`."""
    overrides = train_overrides([f"data={name}", *options])
    sys.argv[1:] = overrides  # error messages read the overrides from here
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", overrides=overrides)
        check_keys(config)
        check_types(config, shipped_options(overrides))
    return config


def prepare(console: Console, name: str, datamodule: "data.DataModule") -> None:
    """Download and decode missing files, then print the size of each split."""
    started = time.perf_counter()
    splits = datamodule.splits
    seconds = time.perf_counter() - started
    table = Table()
    table.add_column("")
    for column in ("images", "classes", "images per class"):
        table.add_column(column, justify="right")
    for part, rows in zip(splits._fields, splits, strict=True):
        size_C = rows.labels_N.bincount(minlength=len(rows.class_names))
        smallest, largest = (int(size_C.min()), int(size_C.max())) if len(size_C) else (0, 0)
        each = f"{smallest:,}" if smallest == largest else f"{smallest:,}–{largest:,}"
        table.add_row(part, f"{len(rows):,}", f"{len(rows.class_names):,}", each)
    print_titled(console, f"{name}, in {seconds:.1f} s", table)
    for what, where in datamodule.provenance().items():
        console.print(f"{what:<10}{where}", markup=False, highlight=False, soft_wrap=True)


def verify(console: Console, name: str, datamodule: "data.DataModule") -> int:
    """Print the faults of a copy, and return the exit status."""
    problems = datamodule.verify()
    for problem in problems:
        console.print(f"{name}: {problem}", markup=False, highlight=False, soft_wrap=True, style="red")
    if not problems:
        console.print(f"{name}: no faults found.", markup=False, highlight=False, soft_wrap=True)
    return BAD_COPY if problems else 0


def show(console: Console, datamodule: "data.DataModule", folder: Path) -> None:
    """Draw the preview sheets, and print their paths."""
    from siamese_lab.data.preview import write_sheets  # loads matplotlib

    if not datamodule.holds_pixels:
        raise UserError("Features have no pixels to draw. Leave --show out, or name the source set.")
    datamodule.setup("fit")
    for sheet in write_sheets(datamodule, folder):
        console.print(f"{'sheet':<10}{sheet}", markup=False, highlight=False, soft_wrap=True)
