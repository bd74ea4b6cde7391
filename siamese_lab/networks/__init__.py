"""Images → unit-norm embeddings: a backbone by name, inside the Siamese network that all of them share."""

from typing import Any

from siamese_lab.networks.siamese import Backbone, SiameseNetwork, available, register, registry
from siamese_lab.registry import options_of

registry.discover(__name__, __path__)
__all__ = ["OPTIONS", "Backbone", "SiameseNetwork", "available", "build", "register"]

OPTIONS = [option for option in options_of(SiameseNetwork) if option not in ("backbone", "seed")]
"""Of `SiameseNetwork`, whatever the backbone."""


def build(name: str, seed: int = 0, **options: Any) -> SiameseNetwork:
    """The Siamese network over the backbone called `name`.

    Args:
        name: one of `available()`.
        seed: of dropout; initial weights come from PyTorch's own generator.
        **options: of `SiameseNetwork`, such as `embedding_dim`, and of the backbone, such as `channels` and
            `image_size` of its input.

    Raises:
        UserError: for an unknown name or option, or images the backbone cannot take.
    """
    of_network = {option: options.pop(option) for option in OPTIONS if option in options}
    return SiameseNetwork(registry.build(name, also=OPTIONS, **options), seed=seed, **of_network)
