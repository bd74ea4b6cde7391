"""The networks that map images to unit-norm embeddings: one backbone per file, inside a common Siamese network.

Losses and training are in other packages.
"""

from typing import Any

import torch

from siamese_lab.networks.siamese import Backbone, SiameseNetwork, available, register, registry
from siamese_lab.registry import options_of

registry.discover(__name__, __path__)
__all__ = ["OPTIONS", "Backbone", "SiameseNetwork", "available", "build", "register"]

OPTIONS = [option for option in options_of(SiameseNetwork) if option not in ("backbone", "seed")]
"""The options of `SiameseNetwork`, common to all backbones."""


def build(name: str, seed: int | None = None, initial_weights: bool = True, **options: Any) -> SiameseNetwork:
    """Build the Siamese network with the backbone `name`.

    Args:
        name: one of `available()`.
        seed: seed of the initial weights and of dropout. None takes the weights from PyTorch's own generator.
        initial_weights: load the pretrained weights of the backbone, if it has any. False is for a network that gets
            the weights of a checkpoint.
        **options: options of `SiameseNetwork`, such as `embedding_dim`, and of the backbone, such as `channels` and
            `image_size` of its input.

    Raises:
        UserError: if the name or an option is unknown, or the backbone does not accept the image size.
    """
    of_network = {option: options.pop(option) for option in OPTIONS if option in options}
    if seed is None:
        network = SiameseNetwork(registry.build(name, also=OPTIONS, **options), **of_network)
    else:
        with torch.random.fork_rng(devices=[]):  # weights start on the CPU; other random numbers stay as they are
            torch.manual_seed(seed)
            network = SiameseNetwork(registry.build(name, also=OPTIONS, **options), seed=seed, **of_network)
    if initial_weights:
        network.backbone.load_initial_weights()
    return network
