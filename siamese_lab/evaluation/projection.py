"""Embeddings in the plane: t-SNE (van der Maaten & Hinton 2008, JMLR) or UMAP (McInnes et al. 2018, arXiv:1802.03426).

Distances between groups mean little in either: they are to look at, not to measure by.
Shapes: N images, D embedding dimensions.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from torch import Tensor

from siamese_lab.errors import UserError

Method = Literal["tsne", "umap"]
LEAST = 5
"""Images."""
NEIGHBOURS = 30
"""That each image is to stay near to; fewer where there are few images."""


def check_method(method: str | None) -> None:
    """Raise UserError for a method that is not known or not installed."""
    if method is None:
        return
    if method not in get_args(Method):
        raise UserError(f"map must be {' or '.join(get_args(Method))}, or null for none, but is {method!r}.")
    if method == "umap":
        try:
            import umap  # noqa: F401
        except ImportError as error:
            raise UserError("map=umap needs UMAP: pip install umap-learn, or leave map=tsne.") from error


def project(z_ND: Tensor, method: Method, seed: int) -> NDArray[np.float32]:
    """The places of at least five embeddings in the plane, (N, 2)."""
    z = z_ND.float().cpu().numpy()
    neighbours = min(NEIGHBOURS, (len(z) - 1) / 3)
    if method == "umap":
        import umap

        layout = umap.UMAP(n_neighbors=max(2, int(neighbours)), random_state=seed)
    else:
        layout = TSNE(perplexity=neighbours, init="pca", random_state=seed)
    return np.asarray(layout.fit_transform(z), np.float32)
