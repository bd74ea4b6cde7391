"""Run benchmarks and write their tables: `python -m tests.benchmarks.run [NAME …] [--quick] [--out FOLDER]`.

Each benchmark runs in its own process, and writes FOLDER/NAME.md with the command, the processor, the date and the
commit. A table that exists for the same command, processor and commit is not measured again, so the same command goes
on after an interruption. --quick measures short forms, which show that everything runs and no more.
"""

import argparse
import datetime
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from siamese_lab.runs.environment import commit, processor

ROOT = Path(__file__).parents[2]
WIDTH = "130"


class Benchmark(NamedTuple):
    """One script of this package."""

    text: str
    """Names what it measures, and about how long it takes."""
    quick: tuple[str, ...]
    """Its arguments with --quick."""
    data: bool = False
    """True if it needs the data sets in SIAMESE_LAB_DATA."""


BENCHMARKS = {
    "mining": Benchmark("mining compared with pytorch-metric-learning, 15 minutes", ("128",)),
    "kernels": Benchmark("fast choices of the strategies, 5 minutes", ("128",)),
    "training_loop": Benchmark("what a run adds to the bare step of its network, 2 minutes", ("random",)),
    "recipe_steps": Benchmark("a step of each recipe, 10 minutes", ("digits", "--threads", "1"), data=True),
    "input": Benchmark("input compared with torchvision's, 10 minutes", ("--quick",)),
    "retrieval": Benchmark("retrieval compared with pytorch-metric-learning, 15 minutes", ("omniglot",)),
    "evaluation_share": Benchmark("share of validation and test in a run, 15 minutes", ("--quick", "digits", "glyphs")),
    "time_to_recall": Benchmark("time to a Recall@1 on Omniglot, hours", ("--quick",), data=True),
}


def main() -> int:
    """Run the benchmarks that the command line names, all by default. Return 1 if one has failed."""
    named = "; ".join(f"{name}: {each.text}" for name, each in BENCHMARKS.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=named)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"benchmarks to run: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="run short forms")
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmarks"), help="folder of the tables")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch, except for scripts that set them")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}, but {', '.join(BENCHMARKS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = [
        name
        for name in arguments.names or BENCHMARKS
        if not write_table(name, arguments.quick, arguments.threads, arguments.out)
    ]
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def write_table(name: str, quick: bool, threads: int, folder: Path) -> bool:
    """Run one benchmark and write its table, unless the table exists. Return False if it fails or lacks its data."""
    benchmark = BENCHMARKS[name]
    if benchmark.data and "SIAMESE_LAB_DATA" not in os.environ:
        print(f"{name}: set SIAMESE_LAB_DATA to the folder of the data sets.", file=sys.stderr)
        return False
    command = ["-m", f"tests.benchmarks.{name}", *(benchmark.quick if quick else ())]
    head = header(shlex.join(["python", *command]), threads)
    table = folder / f"{name}{'_quick' if quick else ''}.md"
    if table.exists() and same_but_for_the_date(table.read_text(encoding="utf-8"), head):
        print(f"{name}: {table} has been measured at this commit.")
        return True
    print(f"{name}: {benchmark.text} …" if not quick else f"{name} …", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "COLUMNS": WIDTH, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line.rstrip())
    if process.returncode:
        return False
    table.write_text(f"{head}\n\n```text\n" + "\n".join(printed).strip("\n") + "\n```\n", encoding="utf-8")
    print(f"{name}: {table}")
    return True


def header(command: str, threads: int) -> str:
    """Return the lines above a table: what was run, where, when and on which commit."""
    cores = os.cpu_count()
    return "\n".join(
        (
            f"- command: `{command}`",
            f"- processor: {processor()}, {cores} cores, OMP_NUM_THREADS={threads}",
            f"- commit: {commit() or 'unknown'}",
            f"- date: {datetime.datetime.now(tz=datetime.timezone.utc):%Y-%m-%d}",
        )
    )


def same_but_for_the_date(text: str, head: str) -> bool:
    """Return whether a table begins with the lines of `head`, of any date. Changed files make every table outdated."""
    lines = [line for line in head.splitlines() if not line.startswith("- date:")]
    return "-dirty" not in head and text.splitlines()[: len(lines)] == lines


if __name__ == "__main__":
    sys.exit(main())
