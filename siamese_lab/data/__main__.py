"""Prepare data sets ahead of time: `python -m siamese_lab.data NAME … [--verify] [--show] [OPTION=VALUE …]`."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from siamese_lab import data
from siamese_lab.config.arguments import train_overrides
from siamese_lab.config.errors import check_types, user_errors_as_messages, wants_tracebacks
from siamese_lab.config.schema import check_keys, config_folder, register_schema
from siamese_lab.data.preview import write_sheets

BAD_COPY = 1


def main() -> None:
    """Run the command. Exit with status 1 if `--verify` finds a fault, with 2 if a set cannot be prepared."""
    parser = argparse.ArgumentParser(
        prog="python -m siamese_lab.data",
        description="Download, decode and cache data sets, and print their sizes.",
        epilog="The options are the same as for siamese_lab.train: paths.data=FOLDER, data.image_size=32, …",
    )
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"one of {', '.join(data.available())}")
    parser.add_argument("--verify", action="store_true", help="only read the copies and list the faults found in them")
    parser.add_argument(
        "--show", action="store_true", help="draw images, class sizes and a batch, under outputs/data/NAME/"
    )
    asked = parser.parse_intermixed_args()
    names = [word for word in asked.names if "=" not in word]
    options = [word for word in asked.names if "=" in word]
    if not names:
        parser.error(f"name at least one of {', '.join(data.available())}")

    register_schema()
    console, statuses = Console(), {0}
    for name in names:
        try:
            with user_errors_as_messages(tracebacks=wants_tracebacks()):
                statuses.add(run(console, name, options, asked.verify, asked.show))
        except SystemExit as ended:  # continue with the other sets
            statuses.add(int(ended.code or 0))
    sys.exit(max(statuses))


def run(console: Console, name: str, options: Sequence[str], only_verify: bool, with_sheets: bool) -> int:
    """Verify or prepare one data set, and return the exit status."""
    config = compose(name, options)
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
        check_types(config, overrides)
    return config


def prepare(console: Console, name: str, datamodule: data.DataModule) -> None:
    """Download and decode missing files, then print the size of each split."""
    started = time.perf_counter()
    splits = datamodule.splits
    seconds = time.perf_counter() - started
    table = Table(title=f"{name}, in {seconds:.1f} s", title_justify="left", title_style="bold")
    table.add_column("")
    for column in ("images", "classes", "images per class"):
        table.add_column(column, justify="right")
    for part, rows in zip(splits._fields, splits, strict=True):
        size_C = rows.labels_N.bincount(minlength=len(rows.class_names))
        smallest, largest = int(size_C.min()), int(size_C.max())
        each = f"{smallest:,}" if smallest == largest else f"{smallest:,}–{largest:,}"
        table.add_row(part, f"{len(rows):,}", f"{len(rows.class_names):,}", each)
    console.print(table)
    for what, where in datamodule.provenance().items():
        console.print(f"{what:<10}{where}", markup=False, highlight=False, soft_wrap=True)


def verify(console: Console, name: str, datamodule: data.DataModule) -> int:
    """Print the faults of a copy, and return the exit status."""
    problems = datamodule.verify()
    for problem in problems:
        console.print(f"{name}: {problem}", markup=False, highlight=False, soft_wrap=True, style="red")
    if not problems:
        console.print(f"{name}: no faults found.", markup=False, highlight=False, soft_wrap=True)
    return BAD_COPY if problems else 0


def show(console: Console, datamodule: data.DataModule, folder: Path) -> None:
    """Draw the preview sheets, and print their paths."""
    datamodule.setup("fit")
    for sheet in write_sheets(datamodule, folder):
        console.print(f"{'sheet':<10}{sheet}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
