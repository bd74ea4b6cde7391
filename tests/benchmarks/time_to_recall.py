"""Measure the time to Recall@1 = 0.75 on Omniglot, of two sides that are tuned alike.

`SIAMESE_LAB_DATA=FOLDER python -m tests.benchmarks.time_to_recall` needs the folder that holds Omniglot. Both sides
train a Conv-4 with semi-hard triplets (margin 0.2) and AdamW on 32 characters × 4 drawings of the same classes, 28×28
pixels, with a random affine map of each image of the same ranges. The usual recipe is torchvision's data set of PIL
images, a DataLoader with two workers, and pytorch-metric-learning's sampler, miner and loss, in float32, in a plain
loop. The lab trains with its data module, sampler, schedule and trainer, in bfloat16 if the processor supports it.

There are two comparisons. With the same network, both sides train the Conv-4 of the literature with 128 dimensions.
With its own network, each side trains what it would choose: the usual recipe that Conv-4, and the lab its own Conv-4
with 256 dimensions that are normalized over the batch. In each comparison each side tries every learning rate with
every schedule, and its fastest trial counts. Further seeds repeat the fastest trial of each side. The usual recipe is
the same in both comparisons, so it is trained once for both.

Every 25 steps the clock stops while Recall@1 is measured on all 13,180 evaluation images, in float32 for both sides.
Up to three measurements in a row are left out if Recall@1 would not reach 0.75, rising twice as fast as since half of
the steps. Time before the first step is not counted. A trial is stopped after the time of the fastest trial of its side
so far, after its last step, after `--limit` seconds of training, or if Recall@1 would not reach 0.75 until then, again
rising twice as fast. With `--store FILE`, the outcome of each training is kept: the same command continues after an
interruption, on the same machine.
"""

import argparse
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

import lightning
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from lightning import Callback
from omegaconf import DictConfig
from PIL import Image, ImageOps
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.samplers import MPerClassSampler
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from siamese_lab import data, networks
from siamese_lab.config.hydra_app import silence_lightning
from siamese_lab.config.schema import config_folder, register_schema
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.metrics.retrieval import recall_at_k
from siamese_lab.training.build import build_datamodule, build_module
from siamese_lab.training.callbacks import TrainingClock
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.trainer import build_trainer

LEVEL = 0.75
EVERY = 25
MOST_SKIPPED = 3
"""Largest number of measurements in a row that are left out far from the level."""
LIMIT = 1800.0
BATCH = 128
IMAGES_PER_CLASS = 4
CHOICES = (
    "data=omniglot",
    "data.image_size=28",
    "data.rotations=false",
    f"data.classes_per_batch={BATCH // IMAGES_PER_CLASS}",
    "sampler=semi_hard",
    "network.tta=[]",
    "loss=triplet",
    "network.batch_norm=true",
    "network.embedding_dim=256",
)
USUAL, LAB = "usual recipe", "siamese_lab"
NETWORKS = ("same", "own")
RATES = (3e-3, 6e-3, 1e-3)
"""Learning rates. The order changes no result; an early fast trial stops later ones sooner."""
STEPS = (350, 1000, None)
"""Steps in which the learning rate falls to 0 along a cosine; None keeps it constant."""
MOST_STEPS = 10_000
"""Last step of a trial with a constant learning rate."""


class Trial(NamedTuple):
    """One choice of the options that both sides tune."""

    rate: float
    steps: int | None

    def __str__(self) -> str:
        return f"{self.rate:g}, {'constant' if self.steps is None else f'cosine over {self.steps:,} steps'}"


class Outcome(NamedTuple):
    """The seconds and the Recall@1 of a training."""

    seconds: float
    recall: float
    reached: bool
    """True if the training reached the level."""

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s" if self.reached else f"over {self.seconds:.0f} s (only {self.recall:.1%})"


class Repeated(NamedTuple):
    """The best trial of a side, and its outcome with each seed."""

    trial: Trial
    outcomes: list[Outcome]


class RecallMonitor:
    """Measures Recall@1 during a training and decides when the training is over.

    Args:
        who: the name of the training in the output.
        test: the images on which Recall@1 is measured.
        limit: seconds after which the training is over in any case.
        steps: last step of the training.
        level: the Recall@1 to reach.
        every: steps between two measurements.
    """

    def __init__(self, who: str, test: ImageTable, limit: float, steps: int, level: float, every: int) -> None:
        self.who = who
        self.test = test
        self.limit = limit
        self.steps = steps
        self.level = level
        self.every = every
        self.outcome = Outcome(0.0, 0.0, False)
        self.measured: list[tuple[int, float]] = []

    def is_due(self, step: int) -> bool:
        """Return whether Recall@1 is measured after a step."""
        if step % self.every:
            return False
        return self.hoped(step) >= self.level or step - self.measured[-1][0] > MOST_SKIPPED * self.every

    def hoped(self, step: float) -> float:
        """Return the Recall@1 after a step if it rises twice as fast as since half of the measured steps."""
        if len(self.measured) < 2:
            return 1.0
        last, high = self.measured[-1]
        earlier, low = next(each for each in reversed(self.measured) if each[0] <= max(last / 2, self.measured[0][0]))
        return high + 2 * (high - low) / (last - earlier) * (step - last)

    def is_over(self, network: nn.Module, step: int, seconds: float) -> bool:
        """Measure Recall@1 after a step, and return whether the training is over."""
        found = recall(network, self.test)
        self.measured.append((step, found))
        self.outcome = Outcome(seconds, found, found >= self.level)
        print(f"{self.who}: step {step}, {seconds:.0f} s, Recall@1 {self.outcome.recall:.1%}", flush=True)
        last = min(self.steps, step * self.limit / seconds)
        return self.outcome.reached or seconds >= self.limit or self.hoped(last) < self.level


class TrainingOver(Exception):  # noqa: N818 (nothing went wrong)
    """Raised when the training has reached the level or the time limit."""


class StopWhenOver(Callback):
    """Stops the clock while Recall@1 is measured, and ends the training when it is over."""

    def __init__(self, clock: TrainingClock, watch: RecallMonitor) -> None:
        self.clock = clock
        self.watch = watch

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object) -> None:
        assert isinstance(pl_module, SiameseModule)
        if self.watch.is_due(trainer.global_step):
            self.clock.on_validation_start(trainer, pl_module)
            if self.watch.is_over(pl_module.network, trainer.global_step, self.clock.seconds()):
                raise TrainingOver
            self.clock.on_train_start(trainer, pl_module)


def recall(network: nn.Module, test: ImageTable) -> float:
    """Compute Recall@1 on all evaluation images, in float32."""
    network.eval()
    with torch.no_grad():
        z_ND = F.normalize(torch.cat([network(chunk.float() / 255) for chunk in test.images_NCHW.split(512)]), dim=1)
    network.train()
    return float(recall_at_k(z_ND, test.labels_N, (1,))[1])


def train_with_lab(
    module: SiameseModule, images: data.DataModule, trainer_config: DictConfig, watch: RecallMonitor
) -> Outcome:
    """Train with the lab's own trainer."""
    clock = TrainingClock()
    trainer = build_trainer(
        trainer_config,
        callbacks=[clock, StopWhenOver(clock, watch)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )
    with suppress(TrainingOver):
        trainer.fit(module, datamodule=images)
    return watch.outcome


class Unpacked(datasets.Omniglot):
    """Torchvision's data set over unpacked files. It would refuse the folder if its zip files were packed again."""

    def _check_integrity(self) -> bool:
        return True


def train_with_peers(root: Path, validation_alphabets: list[str], trial: Trial, watch: RecallMonitor) -> Outcome:
    """Train with torchvision's data set and pytorch-metric-learning."""
    network = usual_network()
    batches = usual_batches(root, validation_alphabets)
    miner, loss = TripletMarginMiner(margin=0.2, type_of_triplets="semihard"), TripletMarginLoss(margin=0.2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=trial.rate, weight_decay=1e-4)
    falls = None if trial.steps is None else torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, trial.steps)
    next(batches)  # the workers have started
    spent, since = 0.0, time.perf_counter()
    for step in range(1, (trial.steps or MOST_STEPS) + 1):
        images_BCHW, labels_B = next(batches)
        z_BD = network(images_BCHW)
        optimizer.zero_grad()
        loss(z_BD, labels_B, miner(z_BD, labels_B)).backward()
        optimizer.step()
        if falls is not None:
            falls.step()
        if watch.is_due(step):
            spent += time.perf_counter() - since
            if watch.is_over(network, step, spent):
                break
            since = time.perf_counter()
    return watch.outcome


class UsualBackbone(networks.Backbone):
    """A Conv-4: four blocks of 64 maps (convolution, batch norm, ReLU, pooling)."""

    features = 64

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*usual_blocks(), nn.Flatten())

    def forward(self, images_BCHW: Tensor) -> Tensor:
        features: Tensor = self.layers(images_BCHW)
        return features


def usual_network() -> nn.Sequential:
    """Return the Conv-4 of the literature, with 128 dimensions."""
    return nn.Sequential(*usual_blocks(), nn.Flatten(), nn.Linear(64, 128))


def usual_blocks() -> list[nn.Module]:
    """Return the layers of a Conv-4 for 28×28 pixels, up to 64 maps of one pixel."""
    return [
        layer
        for channels in (1, 64, 64, 64)
        for layer in (nn.Conv2d(channels, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2))
    ]


def usual_batches(root: Path, validation_alphabets: list[str]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of 32 characters × 4 drawings, without the validation alphabets, epoch after epoch."""
    images = Unpacked(str(root), background=True, transform=pil_augmentation())
    held_out = {number for number, name in enumerate(images._characters) if name.split("/")[0] in validation_alphabets}
    kept = [index for index, (_, label) in enumerate(images._flat_character_images) if label not in held_out]
    labels = [images._flat_character_images[index][1] for index in kept]
    sampler = MPerClassSampler(labels, m=IMAGES_PER_CLASS, batch_size=BATCH, length_before_new_iter=len(labels))
    loader = DataLoader(
        torch.utils.data.Subset(images, kept),
        BATCH,
        sampler=sampler,
        num_workers=2,
        drop_last=True,
        persistent_workers=True,
    )
    while True:
        yield from loader


def pil_augmentation() -> Callable[[object], Tensor]:
    """Return transforms that resize, invert, and apply the affine ranges of configs/data/omniglot.yaml."""
    return transforms.Compose(
        [
            transforms.Lambda(white_on_black),
            transforms.Resize(28),
            transforms.RandomAffine(10, (0.08, 0.08), (0.85, 1.15), (-8, 8)),
            transforms.ToTensor(),
        ]
    )


def white_on_black(image: Image.Image) -> Image.Image:
    """Convert to grayscale, with light strokes on black."""
    return ImageOps.invert(image.convert("L"))


@contextmanager
def unpacked_background(root: Path) -> Iterator[Path]:
    """Yield a folder with the background drawings as files, as torchvision expects them."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "omniglot-py"
        with zipfile.ZipFile(root / "omniglot-py" / "images_background.zip") as archive:
            archive.extractall(target)
        yield Path(folder)


class Contest:
    """Runs trainings of both sides on one loaded data set.

    Args:
        root: the folder of the unpacked background drawings.
        level: the Recall@1 to reach.
        every: steps between two measurements.
        measured: number of evaluation images, from the first one; None takes all.
        store: a file for the outcomes of the trainings, which are not repeated; None keeps nothing.
    """

    def __init__(
        self, root: Path, level: float, every: int, measured: int | None = None, store: Path | None = None
    ) -> None:
        self.root, self.level, self.every, self.measured, self.store = root, level, every, measured, store
        self.images = build_datamodule(composed(Trial(RATES[0], None), 0))

    def outcome(self, side: str, network: str, trial: Trial, seed: int, limit: float) -> Outcome:
        """Return the stored outcome of a training, or else train and store it."""
        key = [side, network, *trial, seed, limit, self.level, self.every, self.measured, torch.get_num_threads()]
        lines = self.store.read_text().splitlines() if self.store and self.store.is_file() else []
        for stored, outcome in map(json.loads, lines):
            if stored == key:
                return Outcome(*outcome)
        outcome = self.train(side, network, trial, seed, limit)
        if self.store:
            with self.store.open("a") as file:
                file.write(json.dumps([key, outcome]) + "\n")
        return outcome

    def train(self, side: str, network: str, trial: Trial, seed: int, limit: float) -> Outcome:
        """Train one side, with the `same` network for both sides or with its `own` network."""
        steps = trial.steps or MOST_STEPS
        watch = RecallMonitor(f"{side}, {network} network, {trial}", self.test, limit, steps, self.level, self.every)
        config = composed(trial, seed)
        torch.manual_seed(seed)
        if side == USUAL:
            return train_with_peers(self.root, list(config.data.validation_alphabets), trial, watch)
        images = build_datamodule(config)
        module = build_module(config, images)
        if network == "same":
            module.network = networks.SiameseNetwork(UsualBackbone(), embedding_dim=128)
        return train_with_lab(module, images, config.trainer, watch)

    @property
    def test(self) -> ImageTable:
        """Return the evaluation images."""
        table = self.images.splits.test
        assert isinstance(table, ImageTable)
        return table if self.measured is None else table.rows(torch.arange(self.measured))

    def tune(self, side: str, network: str, trials: Sequence[Trial], limit: float) -> tuple[Trial, Outcome]:
        """Return the trial of a side that reaches the level first, or else the highest Recall@1, and its outcome."""
        best: tuple[Trial, Outcome] | None = None
        for trial in trials:
            outcome = self.outcome(side, network, trial, seed=0, limit=limit)
            if best is None or is_better(outcome, best[1]):
                best = trial, outcome
            limit = min(limit, outcome.seconds) if outcome.reached else limit
        assert best is not None
        return best

    def repeat(self, side: str, network: str, trials: Sequence[Trial], seeds: int, limit: float) -> Repeated:
        """Tune a side with seed 0, and train its best trial with the further seeds."""
        trial, first = self.tune(side, network, trials, limit)
        return Repeated(trial, [first, *(self.outcome(side, network, trial, seed, limit) for seed in range(1, seeds))])


def is_better(outcome: Outcome, than: Outcome) -> bool:
    """Return whether an outcome took less time than another one, or has a higher Recall@1 if none reached the level."""
    if outcome.reached and than.reached:
        return outcome.seconds < than.seconds
    return outcome.reached or (not than.reached and outcome.recall > than.recall)


def composed(trial: Trial, seed: int) -> DictConfig:
    """Return the configuration of the lab for a trial."""
    schedule = "constant" if trial.steps is None else "cosine"
    steps = trial.steps or MOST_STEPS
    options = (f"optimizer.lr={trial.rate}", f"schedule={schedule}", f"trainer.max_steps={steps}", f"seed={seed}")
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", [*CHOICES, *options])


def main() -> None:
    """Tune both sides, and print the times of the fastest trials and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds; the first one is the one of the trials")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of training after which a trial is stopped")
    parser.add_argument("--network", choices=NETWORKS, help="make only this comparison")
    parser.add_argument("--store", type=Path, help="a file for the outcomes, from which the same command continues")
    parser.add_argument("--quick", action="store_true", help="two trials of at most 3 seconds, 500 images")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    register_schema()
    silence_lightning()
    trials = [Trial(*each) for each in product(RATES, STEPS)]
    level, every, limit = LEVEL, EVERY, arguments.limit
    if arguments.quick:
        trials, level, every, limit = [Trial(1e-3, None), Trial(3e-3, 10)], 0.7, 5, min(limit, 3.0)
    shown = Table(title=f"Seconds of training to Recall@1 = {level:.0%} on Omniglot", title_justify="left")
    for column in ("network", "seed", USUAL, "learning rate", LAB, "learning rate", "ratio"):
        shown.add_column(column)
    shown.caption = f"{len(trials)} trials of each side for each network: learning rate and schedule."
    with unpacked_background(Path(composed(trials[0], 0).paths.data)) as root:
        contest = Contest(root, level, every, 500 if arguments.quick else None, arguments.store)
        usual = contest.repeat(USUAL, NETWORKS[0], trials, arguments.seeds, limit)
        for network in (arguments.network,) if arguments.network else NETWORKS:
            lab = contest.repeat(LAB, network, trials, arguments.seeds, limit)
            for seed, outcomes in enumerate(zip(usual.outcomes, lab.outcomes, strict=True)):
                cells = zip(map(str, outcomes), (str(usual.trial), str(lab.trial)), strict=True)
                shown.add_row(network, str(seed), *chain.from_iterable(cells), ratio(*outcomes))
    Console(width=130).print(shown)


def ratio(theirs: Outcome, ours: Outcome) -> str:
    """Return how many times longer the usual recipe took: "over …" if it was stopped, "–" if the lab was stopped."""
    if not ours.reached:
        return "–"
    return f"{'' if theirs.reached else 'over '}{theirs.seconds / ours.seconds:.1f}×"


if __name__ == "__main__":
    main()
