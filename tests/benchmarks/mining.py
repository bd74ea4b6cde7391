"""Compare the speed of mining with pytorch-metric-learning's miners: `python -m tests.benchmarks.mining [B …]`.

A batch has B images, 4 of each class, embedded in 128 dimensions. The embeddings resemble those of a network in
training: images of a class are nearer to one another than to other images, but the classes overlap. Every call uses
one thread and is measured in processor time. All contestants run in turns within one process. A peer that takes
minutes is called only once. The floor is the least work of a strategy that looks at all distances: the dot products
of all embeddings, and the largest and the smallest of each row.

The last table shows the time of each strategy within training steps of data=omniglot: a Conv-4 on batches of 128
images in the layout of its data module. There the processor's caches no longer hold the data and code of the strategy.
`python -m tests.benchmarks.mining 4096` prints only the table of 4,096 images.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import BatchHardMiner, DistanceWeightedMiner, TripletMarginMiner
from pytorch_metric_learning.utils.loss_and_miner_utils import get_random_triplet_indices
from rich.console import Console
from rich.table import Table
from torch import Tensor

from siamese_lab import losses, networks, samplers
from siamese_lab.config.schema import config_folder, register_schema
from siamese_lab.training.trainer import best_precision
from tests.benchmarks.timing import medians

IMAGES_PER_CLASS = 4
DIMENSIONS = 128
MARGIN = 0.2
CALLS, CALLS_IF_MANY = 20, 5
"""Calls of the lab per turn, up to 1,024 images and beyond. A turn lasts about as long as a turn of a peer."""
FLOOR = "floor"
AFTER_PEERS = "not shown"
"""A turn of all calls of the lab: the first call after the peers waits for memory pages that they have released."""
STRATEGIES = {
    "random": {},
    "hard": {},
    "batch_hard": {},
    "semi_hard": {},
    "semi_hard choice=nearest": {"choice": "nearest"},
    "distance_weighted": {},
    "easy_positive": {},
    "multi_similarity": {},
    "curriculum": {},
    "memory": {},
}
LARGEST_FOR_PEER = {"all": 1024, "all semi_hard=true": 1024}
"""Largest batch that the peer handles; beyond it, the peer needs more memory than the machine has."""
LARGEST_IN_TURNS = {"distance_weighted": 1024}
"""Largest batch that is timed in turns; beyond it, a call takes minutes, so it is made once and shown in brackets."""
IN_TRAINING = 128
"""Images of a training batch."""


def batch(images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return unit-norm embeddings and labels, in a random order."""
    generator = torch.Generator().manual_seed(seed)
    labels_B = torch.arange(images // IMAGES_PER_CLASS).repeat_interleave(IMAGES_PER_CLASS)
    labels_B = labels_B[torch.randperm(images, generator=generator)]
    centre_CD = torch.randn(images // IMAGES_PER_CLASS, DIMENSIONS, generator=generator)
    noise_BD = torch.randn(images, DIMENSIONS, generator=generator)
    return F.normalize(0.7 * centre_CD[labels_B] + noise_BD, dim=1), labels_B


def floor(z_BD: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the least that a strategy needs that looks at all distances."""
    s_BB = z_BD @ z_BD.T
    return s_BB.amax(1), s_BB.amin(1)


def selecting(z_BD: Tensor, labels_B: Tensor) -> dict[str, Callable[[], object]]:
    """Return a call of each strategy of the lab."""
    built = {
        name: samplers.build(name.split()[0], images_per_class=IMAGES_PER_CLASS, **options)
        for name, options in STRATEGIES.items()
    }
    return {name: lambda sampler=sampler: sampler(z_BD, labels_B) for name, sampler in built.items()}


def peers(z_BD: Tensor, labels_B: Tensor) -> dict[str, Callable[[], object]]:
    """Return a call of each miner of the peer, by the lab's name; semi-hard lists every triplet of the window."""
    miners = {
        "batch_hard": BatchHardMiner(distance=LpDistance()),
        "semi_hard": TripletMarginMiner(MARGIN, "semihard", distance=LpDistance()),
        "distance_weighted": DistanceWeightedMiner(),
    }
    mining = {name: lambda miner=miner: miner(z_BD, labels_B) for name, miner in miners.items()}
    return {"random": lambda: get_random_triplet_indices(labels_B), **mining}


def learning(z_BD: Tensor, labels_B: Tensor) -> dict[str, Callable[[], object]]:
    """Return a call of strategy, loss and gradient together, for the lab."""
    loss = losses.build("triplet", margin=MARGIN, reduction="mean_active")
    options = {
        "semi_hard": {},
        "semi_hard choice=nearest": {"choice": "nearest"},
        "all": {},
        "all semi_hard=true": {"semi_hard": True},
    }
    built = {
        name: samplers.build(name.split()[0], images_per_class=IMAGES_PER_CLASS, **of_it)
        for name, of_it in options.items()
    }
    return {
        name: lambda sampler=sampler: backward(
            lambda z_BD: loss(sampler.mine(z_BD.detach(), labels_B), z_BD).value, z_BD
        )
        for name, sampler in built.items()
    }


def peer_steps(z_BD: Tensor, labels_B: Tensor) -> dict[str, Callable[[], object]]:
    """Return a call of miner, loss and gradient together, for the peer."""
    loss = TripletMarginLoss(MARGIN, distance=LpDistance())
    miner = TripletMarginMiner(MARGIN, "semihard", distance=LpDistance())
    return {
        "all": lambda: backward(lambda z_BD: loss(z_BD, labels_B), z_BD),
        "all semi_hard=true": lambda: backward(lambda z_BD: loss(z_BD, labels_B, miner(z_BD, labels_B)), z_BD),
    }


def backward(step: Callable[[Tensor], Tensor], z_BD: Tensor) -> Tensor:
    """Return the gradient with respect to the embeddings."""
    z_BD = z_BD.detach().requires_grad_()
    step(z_BD).backward()
    assert z_BD.grad is not None
    return z_BD.grad


def measure(images: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return seconds of the floor, and of the lab and the peer, without and with loss and gradient."""
    given = batch(images)
    contestants = {("floor", FLOOR): lambda: floor(given[0])}
    for kind, makes in {
        "ours": selecting,
        "our step": learning,
        "peer": peers,
        "peer's step": peer_steps,
    }.items():
        for name, run in makes(*given).items():
            if not kind.startswith("peer") or images <= LARGEST_FOR_PEER.get(name, 4096):
                contestants[kind, name] = run
    slow = {name: contestants.pop(("peer", name)) for name in called_once(images)}
    ours = [run for (kind, _), run in contestants.items() if not kind.startswith("peer")]
    first = {(AFTER_PEERS, ""): lambda: [run() for run in ours]}
    calls = CALLS if images <= 1024 else CALLS_IF_MANY
    turns = {key: repeat_calls(run, 1 if key[0].startswith("peer") else calls) for key, run in contestants.items()}
    taken = medians(first | turns, repeats)  # type: ignore[arg-type]
    by_kind: dict[str, dict[str, float]] = {}
    for (kind, name), seconds in taken.items():
        by_kind.setdefault(kind, {})[name] = seconds / (1 if kind.startswith("peer") else calls)
    for name, run in slow.items():
        by_kind["peer"][name] = seconds_of(run)
    return by_kind


def called_once(images: int) -> list[str]:
    """Return the peers that are too slow to be called more than once."""
    return [name for name, most in LARGEST_IN_TURNS.items() if images > most]


def seconds_of(run: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    started = time.process_time()
    run()
    return time.process_time() - started


def repeat_calls(run: Callable[[], object], calls: int) -> Callable[[], None]:
    """Return a turn of several calls: a single call after seconds of a peer would mostly measure cold caches."""

    def turn() -> None:
        for _ in range(calls):
            run()

    return turn


def table(images: int, taken: dict[str, dict[str, float]]) -> Table:
    """Return a table of milliseconds, multiples of the floor, and the speed relative to the peer."""
    least = taken["floor"][FLOOR]
    shown = Table(title=f"B = {images:,}, floor {1000 * least:.2f} ms", title_justify="left")
    for column in ("", "ms", "× floor", "peer, ms", "× faster"):
        shown.add_column(column, justify="right" if column else "left")
    for ours, theirs, what in (("ours", "peer", "{}"), ("our step", "peer's step", "{}, loss and gradient")):
        for name, seconds in taken[ours].items():
            peer = taken.get(theirs, {}).get(name)
            of_peer = (f"{1000 * peer:.2f}", f"{peer / seconds:.0f}") if peer else ("", "")
            if theirs == "peer" and name in called_once(images):
                of_peer = tuple(f"({figure})" for figure in of_peer)
            shown.add_row(what.format(name), f"{1000 * seconds:.2f}", f"{seconds / least:.1f}", *of_peer)
    if called_once(images):
        shown.caption = "Brackets: the peer was called once."
    return shown


class Training(NamedTuple):
    """Seconds of a training step."""

    step: float
    """Seconds of a step without its selection."""
    selecting: dict[str, float]
    """Seconds of the selection within a step, by strategy."""


def training(repeats: int) -> Training:
    """Time training steps with the network, optimizer and precision of data=omniglot, with each strategy in turn."""
    register_schema()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", overrides=["data=omniglot", f"network.embedding_dim={DIMENSIONS}"])
    size = config.data.image_size
    network = networks.build(**config.network, channels=1, image_size=size, seed=0)
    optimizer = instantiate(config.optimizer)(network.parameters())
    loss = losses.build("triplet", margin=MARGIN)
    labels_B = torch.arange(IN_TRAINING // IMAGES_PER_CLASS).repeat_interleave(IMAGES_PER_CLASS)
    images_BCHW = torch.rand(IN_TRAINING, 1, size, size, generator=torch.Generator().manual_seed(0))
    built = {
        name: samplers.build(name.split()[0], images_per_class=IMAGES_PER_CLASS, **options)
        for name, options in STRATEGIES.items()
    }
    steps: list[float] = []
    selections: dict[str, list[float]] = {name: [] for name in built}
    for _ in range(repeats):
        for name, sampler in built.items():
            started = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=best_precision("cpu") == "bf16-mixed"):
                z_BD = network(images_BCHW)
                selecting_from = time.process_time()
                selection = sampler.mine(z_BD.detach(), labels_B)
                selections[name].append(time.process_time() - selecting_from)
                output = loss(selection, z_BD, labels_B)
            output.value.backward()
            optimizer.step()
            optimizer.zero_grad()
            steps.append(time.process_time() - started - selections[name][-1])
    return Training(statistics.median(steps), {name: statistics.median(each) for name, each in selections.items()})


def training_table(taken: Training) -> Table:
    """Return a table of each strategy's milliseconds and its share of the step."""
    shown = Table(
        title=f"Training steps on {IN_TRAINING} images; without mining, a step takes {1000 * taken.step:.0f} ms",
        title_justify="left",
    )
    for column in ("", "ms", "share"):
        shown.add_column(column, justify="right" if column else "left")
    for name, seconds in taken.selecting.items():
        shown.add_row(name, f"{1000 * seconds:.2f}", f"{seconds / (seconds + taken.step):.1%}")
    return shown


def tiled(images: int, name: str) -> str:
    """Return the seconds and memory of one call on a large batch: its B×B similarities would take gigabytes."""
    z_BD, labels_B = batch(images)
    sampler = samplers.build(name, images_per_class=IMAGES_PER_CLASS)
    sampler(*batch(64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = medians({name: lambda: sampler(z_BD, labels_B)}, 1)[name]
    extra = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"B = {images:,}, {name}: {seconds:.1f} s, at most {extra:.0f} MB of additional memory"


def main() -> None:
    """Print a table for each requested size; by default also the large batch in tiles and the shares of steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", metavar="B", help="images per batch; prints only these tables")
    asked = parser.parse_args().sizes
    torch.set_num_threads(1)
    console = Console(width=110)
    for name in () if asked else ("hard", "semi_hard", "distance_weighted"):
        console.print(tiled(32_768, name), highlight=False)
    for images in asked or [128, 1024, 4096]:
        console.print(table(images, measure(images, repeats=15 if images < 1000 else 5 if images < 4000 else 3)))
    if not asked:
        console.print(training_table(training(repeats=15)))


if __name__ == "__main__":
    main()
