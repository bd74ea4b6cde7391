"""Retrieval over all images that all processes have seen: embeddings are gathered, never figures.

Shapes: B images of a chunk, D dimensions, N images in all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from siamese_lab.metrics import registry
from siamese_lab.metrics.retrieval import KS, ROLE_KS, Distance, Retrieval, macro_figures, most_findable, retrieve
from siamese_lab.query_gallery import QueryGallery


class RetrievalMetrics(Metric):
    """Recall@K, R-Precision, MAP@R and MRR over all images since the last reset, in chunks of any size.

    Several processes each see a non-empty part of the images, and every process returns the figures of all images.
    torch's DistributedSampler repeats images to give each process an equal number. With `image_ids_B` an image counts
    once, and the figures equal those of one process bit for bit. Without ids every row counts as a separate image, and
    a repeated image finds itself.

    Args:
        k: the K's of Recall@K, which is NaN if K exceeds the number of images to find. None is KS, and ROLE_KS with
            roles.
        distance: as `retrieve` takes it.
        extra: names of registered metrics to compute for the same images; see `siamese_lab.metrics.registry`.
        roles: the queries and the gallery among the images, by their ids; None searches all images. With roles, every
            image needs an id, and `map` is computed as well.

    Raises:
        UserError: for an extra metric that is not registered.
    """

    full_state_update = False
    embeddings: list[Tensor]
    labels: list[Tensor]
    image_ids: list[Tensor]

    def __init__(
        self,
        k: Sequence[int] | None = None,
        distance: Distance = "cosine",
        extra: Sequence[str] = (),
        roles: QueryGallery | None = None,
    ) -> None:
        super().__init__()
        self.extra = registry.check_names(extra)
        self.roles = roles
        self.k = tuple(k if k is not None else KS if roles is None else ROLE_KS)
        self.distance: Distance = distance
        self.add_state("embeddings", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")
        self.add_state("image_ids", default=[], dist_reduce_fx="cat")

    def update(self, z_BD: Tensor, labels_B: Tensor, image_ids_B: Tensor | None = None) -> None:
        """Add embeddings, their classes, and image ids (int64, 0 or more; for all chunks or for none)."""
        if z_BD.ndim != 2 or labels_B.shape != z_BD.shape[:1]:
            raise ValueError(
                f"Retrieval expects embeddings (N, D) and labels (N,), but got {tuple(z_BD.shape)} and "
                f"{tuple(labels_B.shape)}."
            )
        self.embeddings.append(z_BD.float())
        self.labels.append(labels_B)
        self.image_ids.append(torch.full_like(labels_B, -1) if image_ids_B is None else image_ids_B)

    def compute(self) -> dict[str, Tensor]:
        """Return {'recall@1': …, …, 'r_precision': …, 'map@r': …, 'mrr': …}, means over classes, and extra metrics.

        `recall@1_macro` and `map@r_macro` are means over classes: see `retrieval.macro_figures`.

        Raises:
            UserError: where `retrieve` does, and if only some chunks came with ids.
            ValueError: if an extra metric returns a figure of a name that is there already.
        """
        return self.figures(*self.images(), self.roles_of_images())

    def images(self) -> tuple[Tensor, Tensor]:
        """Return embeddings and labels of the images so far, each image once."""
        z_ND, labels_N, image_ids_N = map(dim_zero_cat, (self.embeddings, self.labels, self.image_ids))
        has_id_N = image_ids_N >= 0
        if not has_id_N.any():
            return z_ND, labels_N
        if not has_id_N.all():
            raise ValueError("Some images came with ids and some without. Give ids with every chunk or with none.")
        first_M = _one_of_each(image_ids_N)
        return z_ND[first_M], labels_N[first_M]

    def roles_of_images(self) -> QueryGallery | None:
        """Return the roles of the images so far, in the order of `images`; None without roles.

        Raises:
            ValueError: if the images came without ids.
        """
        if self.roles is None:
            return None
        image_ids_N = dim_zero_cat(self.image_ids)
        if not (image_ids_N >= 0).all():
            raise ValueError("Roles belong to image ids, but some images came without ids.")
        return self.roles.rows(image_ids_N.unique())

    def gathered_roles(self) -> QueryGallery | None:
        """Return the roles of the images of all processes, in the order of `gathered`. Every process must call this."""
        if self.roles is None:
            return None
        with self.sync_context():
            return self.roles_of_images()

    def gathered(self) -> tuple[Tensor, Tensor]:
        """Return embeddings and labels of the images of all processes, each image once.

        Every process must call this.
        """
        with self.sync_context():
            return self.images()

    def figures(self, z_ND: Tensor, labels_N: Tensor, roles: QueryGallery | None = None) -> dict[str, Tensor]:
        """Return the figures of these images with these roles, with the options of this metric."""
        return self.figures_of(self.find(z_ND, labels_N, roles=roles), z_ND, labels_N)

    def find(
        self,
        z_ND: Tensor,
        labels_N: Tensor,
        gallery: tuple[Tensor, Tensor] | None = None,
        roles: QueryGallery | None = None,
    ) -> Retrieval:
        """Retrieve with the options of this metric, without a K that exceeds the number of images to find.

        Args:
            z_ND: embeddings of the queries.
            labels_N: their classes.
            gallery: embeddings and classes of the images to search; None searches the queries themselves.
            roles: the queries and the gallery among the images, in place of `gallery`.
        """
        others = len(labels_N) - 1 if gallery is None else len(gallery[1])
        if roles is not None:
            others = most_findable(labels_N, roles.to(labels_N.device))
        able = [k for k in self.k if k <= others] or [1]
        gallery_z_MD, gallery_labels_M = (None, None) if gallery is None else gallery
        return retrieve(
            z_ND,
            labels_N,
            able,
            gallery_z_MD=gallery_z_MD,
            gallery_labels_M=gallery_labels_M,
            distance=self.distance,
            roles=roles,
        )

    def figures_of(self, found: Retrieval, z_ND: Tensor, labels_N: Tensor) -> dict[str, Tensor]:
        """Return the figures of a retrieval from `find`, and the extra metrics of the same images."""
        figures = found.figures()
        unable = z_ND.new_tensor(torch.nan)
        of_retrieval = {f"recall@{k}": figures.pop(f"recall@{k}", unable) for k in self.k} | figures
        of_retrieval |= macro_figures(found, labels_N)
        more = registry.compute(self.extra, z_ND, labels_N)
        if twice := of_retrieval.keys() & more.keys():
            raise ValueError(f"Extra metrics return {', '.join(sorted(twice))}, which retrieval returns already.")
        return of_retrieval | more


def _one_of_each(image_ids_N: Tensor) -> Tensor:
    """Return the first row of each image, in the order of the ids."""
    sorted_N, order_N = image_ids_N.sort(stable=True)
    return order_N[torch.cat([sorted_N.new_ones(1).bool(), sorted_N.diff() > 0])]
