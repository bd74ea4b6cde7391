"""Project embeddings to 2-D: t-SNE (van der Maaten & Hinton 2008, JMLR), UMAP (McInnes et al. 2018, arXiv:1802.03426).

Distances between groups mean little in both projections. Use the projections to look at, not to measure.
Shapes: N images, D embedding dimensions.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from siamese_lab.errors import UserError

Method = Literal["tsne", "umap"]
MIN_IMAGES = 5
"""Smallest number of images that can be projected."""
NEIGHBORS = 30
"""Number of neighbors that each image should stay near to. It is smaller if there are few images."""


def check_method(method: str | None) -> None:
    """Raise UserError if the projection method is unknown or not installed."""
    if method is None:
        return
    if method not in get_args(Method):
        raise UserError(f"map must be {' or '.join(get_args(Method))}, or null for no map, but is {method!r}.")
    if method == "umap":
        try:
            import umap  # noqa: F401
        except ImportError as error:
            raise UserError(
                "map=umap needs the package umap-learn, which is not installed. Run `pip install umap-learn`, or set "
                "map=tsne."
            ) from error


def project(z_ND: Tensor, method: Method, seed: int) -> NDArray[np.float32]:
    """Return the 2-D coordinates (N, 2) of at least five embeddings."""
    z = z_ND.float().cpu().numpy()
    neighbors = min(NEIGHBORS, (len(z) - 1) / 3)
    if method == "umap":
        import umap

        layout = umap.UMAP(n_neighbors=max(2, int(neighbors)), random_state=seed)
    else:
        from sklearn.manifold import TSNE  # takes most of a second

        layout = TSNE(perplexity=neighbors, init="pca", random_state=seed)
    return np.asarray(layout.fit_transform(z), np.float32)
