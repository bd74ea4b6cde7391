"""`load`: a trained network that takes images of any kind.

Shapes: N images, D embedding dimensions, C channels, H × W pixels.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from os import PathLike
from pathlib import Path

import torch
from lightning import Fabric
from torch import Tensor

from siamese_lab import distances
from siamese_lab.data import DataModule
from siamese_lab.errors import UserError
from siamese_lab.evaluation.embed import evaluating
from siamese_lab.evaluation.trained import Trained
from siamese_lab.evaluation.trained import load as load_trained
from siamese_lab.inference.inputs import Images, OneImage, Taken, each_of, take
from siamese_lab.inference.source import data_here
from siamese_lab.inference.threshold import Threshold, threshold_of
from siamese_lab.training.trainer import check_accelerator

BATCH = 256
"""Images at a time."""


def load(
    place: str | PathLike[str], *, accelerator: str = "cpu", data: str | PathLike[str] | None = None
) -> "TrainedNetwork":
    """The trained network of a run, to be used on images of any kind.

    Args:
        place: the folder of a run, or a checkpoint.
        accelerator: where it computes: "cpu", "cuda", "mps", or "auto" for what there is.
        data: the folder of the data sets, where a threshold has yet to be chosen; by default SIAMESE_LAB_DATA, or
            where they were at the training.

    Raises:
        UserError: for what is no checkpoint of the lab's, is not whole, or would have to be executed; see
            `siamese_lab.evaluation.load`.

    >>> import siamese_lab as sl
    >>> network = sl.load("outputs/runs/mine")
    >>> network.embed(["a.png", "b.png"]).shape
    torch.Size([2, 128])
    >>> float(network.distance("a.png", "b.png")) <= 2
    True
    """
    return TrainedNetwork(load_trained(Path(place)), accelerator, None if data is None else Path(data))


class TrainedNetwork:
    """A network and what it takes to use it.

    Images are files, images of Pillow's, arrays (uint8, H×W or H×W×C) or tensors, one or several. All but tensors are
    made as the images of training were; a tensor is taken as the network sees it, which is how the tables of a data
    set hold images. See `siamese_lab.inference.inputs`.

    Args:
        trained: the network and the choices it was trained with.
        accelerator: where it computes.
        data: the folder of the data sets; see `load`.
    """

    def __init__(self, trained: Trained, accelerator: str = "cpu", data: Path | None = None) -> None:
        check_accelerator(accelerator, "accelerator")
        self.trained = trained
        self.fabric = Fabric(accelerator=accelerator, devices=1, precision="32-true")
        self.network = trained.network.to(self.fabric.device)
        self.images: DataModule = data_here(trained.choices, data)
        """The data that it was trained on, of which nothing is loaded before it is asked for."""

    def __repr__(self) -> str:
        told, where = self.trained.choices, self.trained.checkpoint
        return f"<{told['network']['name']} trained on {told['data']['name']} with {told['sampler']['name']}: {where}>"

    def embed(self, images: Images, *, batch_size: int = BATCH) -> Tensor:
        """The embeddings of images, float32 (N, D) of unit norm, on the CPU.

        Args:
            images: one or several.
            batch_size: so many are decoded and embedded at a time.

        Raises:
            UserError: for no images, for what is none, and for tensors and arrays of another form.

        >>> import siamese_lab as sl
        >>> network = sl.load("outputs/runs/mine")
        >>> network.embed(network.images.splits.test.images_NCHW[:5]).shape
        torch.Size([5, 128])
        """
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, but is {batch_size}.")
        parts = [self.embed_taken(taken) for taken in self.taken(each_of(images), batch_size)]
        if not parts:
            raise UserError("There are no images to embed.")
        return torch.cat(parts)

    def distance(self, left: Images, right: Images) -> Tensor:
        """The distance of each image from its counterpart: float32 (N,), 0 for equal ones to 2.

        Args:
            left: one image, or several.
            right: as many, or one for all.

        Raises:
            UserError: as `embed`, and where there is another number of them.

        >>> import siamese_lab as sl
        >>> bool(sl.load("outputs/runs/mine").distance(["a.png", "b.png"], "a.png")[1] > 0)
        True
        """
        left_ND, right_ND = self.embed(left), self.embed(right)
        if len(left_ND) != len(right_ND) and 1 not in (len(left_ND), len(right_ND)):
            raise UserError(
                f"Images are compared one by one, or all with a single one, but here are {len(left_ND)} and "
                f"{len(right_ND)}."
            )
        return distances.rowwise(left_ND, right_ND)

    def same(self, left: Images, right: Images, *, threshold: float | None = None) -> Tensor:
        """Whether each image and its counterpart are of one class: bool (N,).

        Args:
            left: one image, or several.
            right: as many, or one for all.
            threshold: the greatest distance that is accepted; by default `self.threshold`, which tells its errors.

        Raises:
            UserError: as `distance`, and as `self.threshold`.

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
        """The greatest distance at which two images are taken to be of one class, with its error rates.

        It is read from `threshold.json` beside the run, or else chosen on the data of the training and stored there.

        Raises:
            UserError: where the data is not here, or makes no pairs to choose by.
        """
        return threshold_of(self.trained, self.images, self.fabric)

    def taken(self, images: Iterable[OneImage], batch_size: int = BATCH) -> Iterator[Taken]:
        """Images as the network sees them, so many at a time, with what that changed."""
        waiting = iter(images)
        while some := list(islice(waiting, batch_size)):
            yield take(some, self.images)

    def embed_taken(self, taken: Taken) -> Tensor:
        """The embeddings of such images, as `embed` gives them."""
        with evaluating(self.network, self.fabric):
            raw_ND = self.network(self.fabric.to_device(taken.images_NCHW))
            return self.network.unit_vectors(raw_ND).cpu()
