"""Measure what each fast choice of a strategy gains: `python -m tests.benchmarks.kernels [B …]`.

A strategy defines which negative it chooses by `score`. Some also have `choose_one` (`random` has `choose`), which
finds the highest score without the B×B scores. Each cell is the time of the strategy without its fast choice, divided
by its time with it, in processor time on one thread. Both take turns in one process. A fast choice that is near 1
everywhere does not pay.

`ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2` in the environment emulates a processor without AVX-512.
"""

import argparse
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from siamese_lab import samplers
from siamese_lab.samplers import Sampler
from tests.benchmarks import mining
from tests.benchmarks.mining import IMAGES_PER_CLASS, batch
from tests.benchmarks.timing import medians

SIZES = (128, 512, 1024, 4096)
WITHOUT_OWN = ("curriculum", "memory")
"""Strategies that use the fast choices of others."""
STRATEGIES: dict[str, dict[str, Any]] = {
    name: options for name, options in mining.STRATEGIES.items() if name not in WITHOUT_OWN
}
FAST = ("choose", "choose_one")


def readable(fast: Sampler, **options: Any) -> Sampler:
    """Build a strategy again, without its fast choice: the highest `score` is found among all scores."""
    slow = {name: getattr(Sampler, name) for name in FAST}
    return type(f"Readable{type(fast).__name__}", (type(fast),), slow)(**options)


def gains(images: int, repeats: int) -> dict[str, float]:
    """Return the time without the fast choice relative to the time with it, for each strategy."""
    given = batch(images)
    contestants = {}
    for name, options in STRATEGIES.items():
        fast = samplers.build(name.split()[0], images_per_class=IMAGES_PER_CLASS, **options)
        slow = readable(fast, images_per_class=IMAGES_PER_CLASS, **options)
        contestants[name, "fast"] = lambda sampler=fast: sampler(*given)
        contestants[name, "slow"] = lambda sampler=slow: sampler(*given)
    taken = medians(contestants, repeats)  # type: ignore[arg-type]
    return {name: taken[name, "slow"] / taken[name, "fast"] for name in STRATEGIES}  # type: ignore[index]


def main() -> None:
    """Print a table with a row for each fast choice and a column for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", metavar="B", help="images per batch")
    sizes = parser.parse_args().sizes or SIZES
    torch.set_num_threads(1)
    taken = {images: gains(images, repeats=41 if images < 1000 else 9 if images < 4000 else 3) for images in sizes}
    shown = Table(title="Gain of the fast choice over the readable score", title_justify="left")
    for column in ("", *(f"{images:,}" for images in sizes)):
        shown.add_column(column, justify="right" if column else "left")
    for name in STRATEGIES:
        shown.add_row(name, *(f"{taken[images][name]:.2f}" for images in sizes))
    Console(width=110).print(shown)


if __name__ == "__main__":
    main()
