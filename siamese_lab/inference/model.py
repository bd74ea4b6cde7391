"""Load a trained network that embeds and compares images of any kind.

Shapes: N images, D embedding dimensions, C channels, H × W pixels.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from lightning import Fabric
from torch import Tensor

from siamese_lab import data as data_sets
from siamese_lab import distances
from siamese_lab.data import DataModule
from siamese_lab.errors import UserError
from siamese_lab.evaluation.embed import evaluating
from siamese_lab.evaluation.trained import Trained
from siamese_lab.evaluation.trained import load as load_trained
from siamese_lab.inference import BATCH
from siamese_lab.inference.inputs import Images, OneImage, PreparedImages, iterate_images, prepare_images
from siamese_lab.inference.threshold import Threshold, load_or_choose_threshold
from siamese_lab.runs.stored_paths import DATA_VARIABLE, not_read, unnamed_folder
from siamese_lab.training.trainer import check_accelerator


def load(
    path: str | PathLike[str], *, accelerator: str = "cpu", data: str | PathLike[str] | None = None
) -> "TrainedNetwork":
    """Load the trained network of a run, for use on images of any kind.

    Args:
        path: a run folder or a checkpoint.
        accelerator: device to compute on: "cpu", "cuda", "mps", or "auto" for the best available device.
        data: folder of the data sets, or the training's own folder of images. It is only needed to choose a threshold.
            The default is SIAMESE_LAB_DATA. A folder that only the checkpoint names is not read.

    Raises:
        UserError: if the file is not a checkpoint of siamese_lab, is incomplete, or contains code that loading would
            execute. See `siamese_lab.evaluation.load`.

    >>> import siamese_lab as sl
    >>> network = sl.load("outputs/runs/mine")
    >>> network.embed(["a.png", "b.png"]).shape
    torch.Size([2, 128])
    >>> float(network.distance("a.png", "b.png")) <= 2
    True
    """
    return TrainedNetwork(load_trained(Path(path)), accelerator, None if data is None else Path(data))


class TrainedNetwork:
    """A trained network on a device, which embeds and compares images.

    Every method takes one image or several: file paths, Pillow images, arrays (uint8, H×W or H×W×C) or tensors. All
    of them but tensors are converted like the images of the training. A tensor must have the form of the network's
    input, as in the tables of a data set. See `siamese_lab.inference.inputs`.

    Args:
        trained: the network and the configuration of its training.
        accelerator: device to compute on.
        data: folder of the data sets, see `load`.
    """

    def __init__(self, trained: Trained, accelerator: str = "cpu", data: Path | None = None) -> None:
        check_accelerator(accelerator, "accelerator")
        self.trained = trained
        self.fabric = Fabric(accelerator=accelerator, devices=1, precision="32-true")
        self.network = trained.network.to(self.fabric.device)
        self.datamodule: DataModule = build_local_datamodule(trained.choices, data)
        """Data module of the training. It loads images only when they are needed."""
        if trained.classes is not None:
            self.datamodule.keep_parts(trained.classes)

    def __repr__(self) -> str:
        choices = self.trained.choices
        network, data_set, sampler = (choices[group]["name"] for group in ("network", "data", "sampler"))
        return f"<{network} trained on {data_set} with {sampler}: {self.trained.checkpoint}>"

    def embed(self, images: Images, *, batch_size: int = BATCH) -> Tensor:
        """Return the embeddings of images: float32 (N, D) of unit norm, on the CPU.

        Args:
            images: one image or several.
            batch_size: number of images that are decoded and embedded together.

        Raises:
            UserError: if there are no images, a value is not an image, or a tensor or array has another form.

        >>> import siamese_lab as sl
        >>> network = sl.load("outputs/runs/mine")
        >>> network.embed(network.datamodule.splits.test.images_NCHW[:5]).shape
        torch.Size([5, 128])
        """
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, but is {batch_size}.")
        parts = [self.embed_prepared(batch) for batch in self.prepare(iterate_images(images), batch_size)]
        if not parts:
            raise UserError("There are 0 images to embed, but at least 1 is needed.")
        return torch.cat(parts)

    def distance(self, left: Images, right: Images) -> Tensor:
        """Return the Euclidean distance of each image from its counterpart: float32 (N,), from 0 (equal) to 2.

        Args:
            left: one image or several.
            right: the same number of images, or one image that is compared with all.

        Raises:
            UserError: in the same cases as `embed`, and if the numbers of images do not match.

        >>> import siamese_lab as sl
        >>> bool(sl.load("outputs/runs/mine").distance(["a.png", "b.png"], "a.png")[1] > 0)
        True
        """
        left_ND, right_ND = self.embed(left), self.embed(right)
        if len(left_ND) != len(right_ND) and 1 not in (len(left_ND), len(right_ND)):
            raise UserError(
                f"Both sides must have the same number of images, or one side must have a single image, but there are "
                f"{len(left_ND)} and {len(right_ND)}."
            )
        return distances.rowwise(left_ND, right_ND)

    def same(self, left: Images, right: Images, *, threshold: float | None = None) -> Tensor:
        """Decide whether each image and its counterpart have the same class: bool (N,).

        Args:
            left: one image or several.
            right: the same number of images, or one image that is compared with all.
            threshold: largest distance that is accepted. The default is `self.threshold`, which has error rates.

        Raises:
            UserError: in the same cases as `distance` and `self.threshold`.

        >>> import siamese_lab as sl
        >>> network = sl.load("outputs/runs/mine")
        >>> network.same("a.png", "a.png")
        tensor([True])
        >>> 0 <= network.threshold.far <= 1
        True
        """
        accepted = self.threshold.threshold if threshold is None else threshold
        return self.distance(left, right) <= accepted

    @cached_property
    def threshold(self) -> Threshold:
        """The largest distance at which two images are accepted as one class, with its error rates.

        It is read from `threshold.json` in the run folder. If there is no such file, the threshold is chosen on the
        validation images of the training's data set and stored there.

        Raises:
            UserError: if the data is not on this machine, or gives too few pairs to choose a threshold.
        """
        return load_or_choose_threshold(self.trained, self.datamodule, self.fabric)

    def prepare(self, images: Iterable[OneImage], batch_size: int = BATCH) -> Iterator[PreparedImages]:
        """Convert images to the form of the network's input, one batch after the other."""
        remaining = iter(images)
        while some := list(islice(remaining, batch_size)):
            yield prepare_images(some, self.datamodule)

    def embed_prepared(self, prepared: PreparedImages) -> Tensor:
        """Return the embeddings of prepared images, in the form that `embed` returns."""
        with evaluating(self.network, self.fabric):
            raw_ND = self.network(self.fabric.to_device(prepared.images_NCHW))
            return self.network.unit_vectors(raw_ND).cpu()


def build_local_datamodule(choices: Mapping[str, Any], folder: Path | None = None) -> DataModule:
    """Build the data module of a training, with the folders of this machine. No image is loaded yet.

    Args:
        choices: configuration of the training.
        folder: folder of the data sets, or the folder of images, the table or the features of a training with
            `image_folder`, `table` or `features`. The default for data sets is SIAMESE_LAB_DATA. Without a folder, the
            images are not read, see `DataModule.unread`.
    """
    options = dict(choices["data"])
    unnamed = unnamed_folder(choices) if folder is None else None
    if "from" in options:
        options |= {"from": None if folder is None else str(folder)}
    elif "file" in options:
        options |= {"file": None if folder is None else str(folder), "root": None}
    elif "root" in options:
        of_data_sets = options["root"] == choices["paths"]["data"]
        here = os.environ.get(DATA_VARIABLE) if folder is None and of_data_sets else folder
        options["root"] = None if here is None else str(here)
    datamodule = data_sets.build(**options, seed=choices["seed"])
    if unnamed is not None:
        datamodule.unread = not_read(unnamed[1], "data", "features" if unnamed[0] == "data.from" else None)
    return datamodule
