"""Retrieval over all images that all processes have seen: what is gathered are embeddings, never figures.

Shapes: B images of a chunk, D dimensions, N images in all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from siamese_lab.metrics import registry
from siamese_lab.metrics.retrieval import KS, Distance, retrieve


class RetrievalMetrics(Metric):
    """Recall@K, R-Precision, MAP@R and MRR over all images since the last reset, in chunks of any size.

    Several processes each see a part of the images, of any size but none; every one of them gets the figures of all
    images together. Samplers that give each process as many images (torch's DistributedSampler) repeat some to that
    end: with `image_ids_B` an image counts once, however often and wherever it was seen, and the figures are those of
    one process bit by bit; without, every row is an image of its own, and a repeated one finds itself.

    Args:
        k: the K's of Recall@K, which is NaN for those K that are more than there are images to find.
        distance: as `retrieve` takes it.
        extra: names of registered metrics to compute of the same images; see `siamese_lab.metrics.registry`.

    Raises:
        UserError: for an extra metric that is not registered.
    """

    full_state_update = False
    embeddings: list[Tensor]
    labels: list[Tensor]
    image_ids: list[Tensor]

    def __init__(self, k: Sequence[int] = KS, distance: Distance = "cosine", extra: Sequence[str] = ()) -> None:
        super().__init__()
        self.extra = registry.check_names(extra)
        self.k = tuple(k)
        self.distance: Distance = distance
        self.add_state("embeddings", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")
        self.add_state("image_ids", default=[], dist_reduce_fx="cat")

    def update(self, z_BD: Tensor, labels_B: Tensor, image_ids_B: Tensor | None = None) -> None:
        """Add embeddings, their classes, and which image each is (int64, 0 or more; of all chunks or of none)."""
        self.embeddings.append(z_BD.float())
        self.labels.append(labels_B)
        self.image_ids.append(torch.full_like(labels_B, -1) if image_ids_B is None else image_ids_B)

    def compute(self) -> dict[str, Tensor]:
        """{'recall@1': …, …, 'r_precision': …, 'map@r': …, 'mrr': …}, then the figures of the extra metrics.

        Raises:
            UserError: where `retrieve` does, and if only some chunks came with ids.
            ValueError: if an extra metric returns a figure of a name that is there already.
        """
        z_ND, labels_N, image_ids_N = map(dim_zero_cat, (self.embeddings, self.labels, self.image_ids))
        told_N = image_ids_N >= 0
        if told_N.any():
            if not told_N.all():
                raise ValueError("Some images came with ids and some without. Give ids with every chunk or with none.")
            first_M = _one_of_each(image_ids_N)
            z_ND, labels_N = z_ND[first_M], labels_N[first_M]
        able = [k for k in self.k if k < len(labels_N)] or [1]
        figures = retrieve(z_ND, labels_N, able, distance=self.distance).figures()
        unable = z_ND.new_tensor(torch.nan)
        of_retrieval = {f"recall@{k}": figures.pop(f"recall@{k}", unable) for k in self.k} | figures
        more = registry.compute(self.extra, z_ND, labels_N)
        if twice := of_retrieval.keys() & more.keys():
            raise ValueError(f"Extra metrics return {', '.join(sorted(twice))}, which retrieval returns already.")
        return of_retrieval | more


def _one_of_each(image_ids_N: Tensor) -> Tensor:
    """Where each image is first, in the order of the ids."""
    sorted_N, order_N = image_ids_N.sort(stable=True)
    return order_N[torch.cat([sorted_N.new_ones(1).bool(), sorted_N.diff() > 0])]
