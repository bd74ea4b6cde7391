"""Time to Recall@1 = 0.75 on Omniglot, beside the usual recipe: `python -m tests.benchmarks.time_to_recall`.

SIAMESE_LAB_DATA names the folder that holds it. Both train the literature's Conv-4 from the same weights with semi-hard
triplets (margin 0.2), AdamW 3e-3, 32 characters × 4 drawings, and a random affine map of each image. The usual recipe
is torchvision's data set of PIL images, a DataLoader of two workers, and pytorch-metric-learning's sampler, miner and
loss, in float32, in a plain loop. Every 50 steps the clock is stopped to measure Recall@1 on all 13,180 evaluation
images; what comes before the first step is not counted.
"""

import argparse
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning
import torch
from hydra import compose, initialize_config_dir
from lightning import Callback
from omegaconf import DictConfig
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.samplers import MPerClassSampler
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from siamese_lab import data
from siamese_lab.callbacks import TrainingClock
from siamese_lab.choices import config_folder, register_schema
from siamese_lab.data.image_table import ImageTable
from siamese_lab.metrics.retrieval import recall_at_k
from siamese_lab.module import SiameseModule
from siamese_lab.networks import SiameseNetwork
from siamese_lab.train import build_data, build_module
from siamese_lab.trainer import build_trainer

LEVEL = 0.75
EVERY = 50
LONGEST = 3000
CHOICES = (
    "data=omniglot",
    "data.rotations=false",
    "sampler=semi_hard",
    "loss=triplet",
    "schedule=constant",
    "network.width=64",
    "network.doubling=false",
)


class Reached(Exception):  # noqa: N818 (nothing went wrong)
    """The level has been reached."""


class UntilLevel(Callback):
    """Measures Recall@1 on the evaluation images and ends the training once it is high enough."""

    def __init__(self, clock: TrainingClock, test: ImageTable) -> None:
        self.clock = clock
        self.test = test

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object) -> None:
        assert isinstance(pl_module, SiameseModule)
        if trainer.global_step % EVERY == 0:
            self.clock.on_validation_start(trainer, pl_module)
            if recall(pl_module.network, self.test) >= LEVEL:
                raise Reached
            self.clock.on_train_start(trainer, pl_module)


def recall(network: SiameseNetwork, test: ImageTable) -> float:
    """Recall@1 of all evaluation images, in float32."""
    network.eval()
    with torch.no_grad():
        z_ND = torch.cat([network(chunk.float() / 255) for chunk in test.images_NCHW.split(512)])
    network.train()
    return float(recall_at_k(z_ND, test.labels_N, (1,))[1])


def here(module: SiameseModule, images: data.DataModule, trainer_config: DictConfig) -> float:
    """Seconds of training through the lab's own trainer."""
    clock = TrainingClock()
    trainer = build_trainer(
        trainer_config,
        callbacks=[clock, UntilLevel(clock, images.splits.test)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )
    try:
        trainer.fit(module, datamodule=images)
    except Reached:
        return clock.seconds()
    raise RuntimeError(f"Recall@1 stayed below {LEVEL} for {LONGEST} steps.")


class Unpacked(datasets.Omniglot):
    """torchvision's data set over a folder whose zip files were packed anew, which it would refuse."""

    def _check_integrity(self) -> bool:
        return True


def usual_recipe(network: SiameseNetwork, root: Path, validation_alphabets: list[str], test: ImageTable) -> float:
    """Seconds of training with torchvision's data set and pytorch-metric-learning."""
    images = Unpacked(str(root), background=True, transform=pil_augmentation())
    held_out = [number for number, name in enumerate(images._characters) if name.split("/")[0] in validation_alphabets]
    kept = [index for index, (_, label) in enumerate(images._flat_character_images) if label not in held_out]
    labels = [images._flat_character_images[index][1] for index in kept]
    miner, loss = TripletMarginMiner(margin=0.2, type_of_triplets="semihard"), TripletMarginLoss(margin=0.2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-4)
    sampler = MPerClassSampler(labels, m=4, batch_size=128, length_before_new_iter=len(labels))
    loader = DataLoader(
        torch.utils.data.Subset(images, kept),
        128,
        sampler=sampler,
        num_workers=2,
        drop_last=True,
        persistent_workers=True,
    )
    step, spent, since = 0, 0.0, time.perf_counter()
    while step < LONGEST:
        for images_BCHW, labels_B in loader:
            z_BD = network(images_BCHW)
            optimizer.zero_grad()
            loss(z_BD, labels_B, miner(z_BD, labels_B)).backward()
            optimizer.step()
            step += 1
            if step % EVERY == 0:
                spent += time.perf_counter() - since
                if recall(network, test) >= LEVEL:
                    return spent
                since = time.perf_counter()
    raise RuntimeError(f"Recall@1 stayed below {LEVEL} for {LONGEST} steps.")


def pil_augmentation() -> Callable[[object], Tensor]:
    """Resize, invert, and the affine ranges of configs/data/omniglot.yaml."""
    return transforms.Compose(
        [
            transforms.Lambda(lambda image: image.convert("L").point(lambda grey: 255 - grey)),
            transforms.Resize(28),
            transforms.RandomAffine(10, (0.08, 0.08), (0.85, 1.15), (-8, 8)),
            transforms.ToTensor(),
        ]
    )


@contextmanager
def unpacked_background(root: Path) -> Iterator[Path]:
    """A folder with the background drawings as files, as torchvision wants them."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "omniglot-py"
        with zipfile.ZipFile(root / "omniglot-py" / "images_background.zip") as archive:
            archive.extractall(target)
        yield Path(folder)


def main() -> None:
    """Print both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch, for both")
    parser.add_argument("--seeds", type=int, default=1, help="repeat with so many seeds")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    register_schema()

    table = Table("seed", "usual recipe", "here", "ratio", title=f"Seconds to Recall@1 = {LEVEL:.0%} on Omniglot")
    for seed in range(arguments.seeds):
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose("train", [*CHOICES, f"seed={seed}", f"trainer.max_steps={LONGEST}"])
        images = build_data(config)
        ours = here(build_module(config, images), images, config.trainer)
        network = build_module(config, images).network
        with unpacked_background(Path(config.paths.data)) as root:
            theirs = usual_recipe(network, root, list(config.data.validation_alphabets), images.splits.test)
        table.add_row(str(seed), f"{theirs:.0f} s", f"{ours:.0f} s", f"{theirs / ours:.1f}×")
    Console().print(table)


if __name__ == "__main__":
    main()
