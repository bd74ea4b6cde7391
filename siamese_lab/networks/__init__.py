"""Images → unit-norm embeddings: a backbone by name, inside the Siamese network that all of them share."""

from collections.abc import Sequence
from typing import Any

from siamese_lab.networks.backbone import Backbone
from siamese_lab.networks.registry import available, register, registry
from siamese_lab.networks.siamese import SiameseNetwork

registry.discover(__name__, __path__)
__all__ = ["Backbone", "SiameseNetwork", "available", "build", "register"]


def build(
    name: str,
    embedding_dim: int = 128,
    normalize: bool = True,
    dropout: float = 0.0,
    batch_norm: bool = False,
    views: Sequence[str] = (),
    seed: int = 0,
    **options: Any,
) -> SiameseNetwork:
    """The Siamese network over the backbone called `name`.

    Args:
        name: one of `available()`.
        embedding_dim: D, the dimensions of the embedding.
        normalize: whether embeddings have unit norm.
        dropout: share of the backbone's features that training leaves out.
        batch_norm: whether the dimensions of the embedding are centred and scaled over the batch.
        views: of an image that are embedded together with it, outside training.
        seed: of dropout; initial weights come from PyTorch's own generator.
        **options: of the backbone, such as `channels` and `image_size` of its input.

    Raises:
        ValueError: for an unknown name or option, or images the backbone cannot take.
    """
    backbone = registry.build(name, also=["embedding_dim", "normalize", "dropout", "batch_norm", "views"], **options)
    return SiameseNetwork(backbone, embedding_dim, normalize, dropout, batch_norm, views, seed)
