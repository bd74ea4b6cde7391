"""The embeddings of validation images, with their thumbnails, for TensorBoard's projector.

Shapes: N images, B at a time, D embedding dimensions, C channels, H × W pixels.
"""

import math
from collections.abc import Iterable
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
from siamese_lab.training.callbacks.event_writer import event_writer
from siamese_lab.training.module import SiameseModule

MOST = 1000
"""Images."""
THUMBNAIL = 64
"""Most pixels of a thumbnail's side; the browser takes a sheet of up to 8,192."""
FOLDER = "projector"


class EmbeddingProjector(Callback):
    """Writes them once a run validates the weights that it reports.

    Args:
        folder: where the run's events lie, in which the projector looks for `projector_config.pbtxt`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write them, unless validation is within training."""
        if event_writer(trainer) is None or trainer.state.fn != "validate":
            return
        assert isinstance(pl_module, SiameseModule)
        images: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        table = images.splits.validation
        index_N = evenly(table, MOST)
        images_NCHW = fetch(table, index_N)
        with trainer.precision_plugin.forward_context():
            parts = [
                pl_module.network(to_float(images_BCHW.to(pl_module.device)))
                for images_BCHW in images_NCHW.split(images.eval_batch_size)
            ]
        z_ND = pl_module.network.unit_vectors(torch.cat(parts)).cpu()
        write(self.folder, z_ND, [table.class_names[label] for label in table.labels_N[index_N].tolist()], images_NCHW)


def evenly(table: BaseTable, most: int) -> Tensor:
    """The first images of every class, the second ones, and so on, up to `most`: int64 (N)."""
    order_N, start_C, size_C = class_offsets(table.labels_N, len(table.class_names))
    rank_N = torch.arange(len(order_N)) - start_C.repeat_interleave(size_C)
    return order_N[rank_N.argsort(stable=True)[:most]].long()


def fetch(table: BaseTable, index_N: Tensor) -> Tensor:
    """The images (uint8, N×C×H×W) at some indices."""
    ((_, images_NCHW),) = table.fetch([(None, index_N)])
    return images_NCHW


def write(folder: Path, z_ND: Tensor, names: list[str], images_NCHW: Tensor) -> None:
    """Three files below a folder, and in it the one that names them."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    write_lines(place / "embeddings.tsv", ("\t".join(f"{each:.5f}" for each in z_D) for z_D in z_ND.tolist()))
    write_lines(place / "classes.tsv", (" ".join(name.split()) for name in names))
    thumbnails_NCHW = thumbnails(images_NCHW)
    sheet(thumbnails_NCHW).save(place / "thumbnails.png", compress_level=1)

    config = ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "validation images"
    embedding.tensor_path = f"{FOLDER}/embeddings.tsv"
    embedding.metadata_path = f"{FOLDER}/classes.tsv"
    embedding.sprite.image_path = f"{FOLDER}/thumbnails.png"
    embedding.sprite.single_image_dim.extend([thumbnails_NCHW.shape[3], thumbnails_NCHW.shape[2]])
    (folder / "projector_config.pbtxt").write_text(str(config), encoding="utf-8")


def write_lines(place: Path, lines: Iterable[str]) -> None:
    """Each with its end."""
    place.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def thumbnails(images_NCHW: Tensor) -> Tensor:
    """float32 0…1, made smaller where they are larger than that."""
    small_NCHW = to_float(images_NCHW)
    if max(small_NCHW.shape[2:]) <= THUMBNAIL:
        return small_NCHW
    return F.interpolate(small_NCHW, (THUMBNAIL, THUMBNAIL), mode="area")


def sheet(images_NCHW: Tensor) -> Image.Image:
    """As many rows as columns of thumbnails, from the left and then from above, the rest of it black."""
    number, _, height, width = images_NCHW.shape
    side = math.ceil(math.sqrt(number))
    padded = F.pad(images_NCHW.expand(-1, 3, -1, -1), (0, 0, 0, 0, 0, 0, 0, side**2 - number))
    pixels = padded.unflatten(0, (side, side)).permute(0, 3, 1, 4, 2).reshape(side * height, side * width, 3)
    return Image.fromarray((pixels * 255).round().to(torch.uint8).numpy())
