"""Write embeddings and thumbnails of validation images for TensorBoard's projector.

Shapes: N images, B at a time, D embedding dimensions, C channels, H × W pixels.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from lightning import Callback, LightningModule, Trainer
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch import Tensor

from siamese_lab.data import DataModule
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.class_index import class_offsets
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.runs.files import whole_file, write_text
from siamese_lab.training.callbacks.tensorboard import event_writer
from siamese_lab.training.module import SiameseModule

MAX_IMAGES = 1000
THUMBNAIL = 64
"""Maximum side of a thumbnail in pixels; browsers accept a sheet with a side of up to 8,192 pixels."""
FOLDER = "projector"


class EmbeddingProjector(Callback):
    """Writes the embeddings once, when a run validates or tests the weights that it reports.

    Args:
        folder: the folder of the run's events, where the projector expects `projector_config.pbtxt`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_written = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the embeddings of an earlier training."""
        self._is_written = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the embeddings, unless the validation belongs to training."""
        if trainer.state.fn == "validate":
            self._write(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the embeddings, unless a validation after training has written them."""
        if not self._is_written:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if event_writer(trainer) is None:
            return
        self._is_written = True
        assert isinstance(pl_module, SiameseModule)
        datamodule: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        table = datamodule.splits.validation
        index_N = balanced_indices(table, MAX_IMAGES)
        images_NCHW = fetch_images(table, index_N)
        with trainer.precision_plugin.forward_context():
            parts = [
                pl_module.network(to_float(images_BCHW.to(pl_module.device)))
                for images_BCHW in images_NCHW.split(datamodule.eval_batch_size)
            ]
        z_ND = pl_module.network.unit_vectors(torch.cat(parts)).cpu()
        write_projector_files(self.folder, z_ND, table.labels_N[index_N], table.class_names, images_NCHW)


def balanced_indices(table: BaseTable, maximum: int) -> Tensor:
    """Return indices (int64, N) of the first image of every class, then the second one, and so on, up to `maximum`."""
    order_N, start_C, size_C = class_offsets(table.labels_N, len(table.class_names))
    rank_N = torch.arange(len(order_N)) - start_C.repeat_interleave(size_C)
    return order_N[rank_N.argsort(stable=True)[:maximum]].long()


def fetch_images(table: BaseTable, index_N: Tensor) -> Tensor:
    """Return the images (uint8, N×C×H×W) at the given indices."""
    ((_, images_NCHW),) = table.fetch([(None, index_N)])
    return images_NCHW


def write_projector_files(
    folder: Path, z_ND: Tensor, labels_N: Tensor, class_names: Sequence[str], images_NCHW: Tensor
) -> None:
    """Write embeddings, classes and thumbnails into a subfolder, and the config that names these files.

    Frozen features, which are float32, have no thumbnails.

    The classes are two columns. The projector colors points by `class` if there are at most 50 classes, and by the
    numbers of the column `class number` if there are more.
    """
    subfolder = folder / FOLDER
    subfolder.mkdir(exist_ok=True)
    write_lines(subfolder / "embeddings.tsv", ("\t".join(f"{each:.5f}" for each in z_D) for z_D in z_ND.tolist()))
    rows = (f"{' '.join(class_names[label].split())}\t{label}" for label in labels_N.tolist())
    write_lines(subfolder / "classes.tsv", ("class\tclass number", *rows))
    config = ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "validation images"
    embedding.tensor_path = f"{FOLDER}/embeddings.tsv"
    embedding.metadata_path = f"{FOLDER}/classes.tsv"
    if not images_NCHW.is_floating_point():
        thumbnails_NCHW = thumbnails(images_NCHW)
        with whole_file(subfolder / "thumbnails.png") as draft:
            thumbnail_sheet(thumbnails_NCHW).save(draft, compress_level=1)
        embedding.sprite.image_path = f"{FOLDER}/thumbnails.png"
        embedding.sprite.single_image_dim.extend([thumbnails_NCHW.shape[3], thumbnails_NCHW.shape[2]])
    write_text(folder / "projector_config.pbtxt", str(config))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file with one line for each string."""
    write_text(path, "".join(f"{line}\n" for line in lines))


def thumbnails(images_NCHW: Tensor) -> Tensor:
    """Return the images as float32 0…1, reduced to THUMBNAIL pixels a side if they are larger."""
    small_NCHW = to_float(images_NCHW)
    if max(small_NCHW.shape[2:]) <= THUMBNAIL:
        return small_NCHW
    return F.interpolate(small_NCHW, (THUMBNAIL, THUMBNAIL), mode="area")


def thumbnail_sheet(images_NCHW: Tensor) -> Image.Image:
    """Arrange thumbnails row by row in a square sheet; unused cells are black."""
    number, _, height, width = images_NCHW.shape
    side = math.ceil(math.sqrt(number))
    padded = F.pad(images_NCHW.expand(-1, 3, -1, -1), (0, 0, 0, 0, 0, 0, 0, side**2 - number))
    pixels = padded.unflatten(0, (side, side)).permute(0, 3, 1, 4, 2).reshape(side * height, side * width, 3)
    return Image.fromarray((pixels * 255).round().to(torch.uint8).numpy())
