"""The base of all backbones: images in, a flat vector of features out."""

from torch import nn


class Backbone(nn.Module):
    """Maps images (B, channels, image_size, image_size), float 0…1, to features (B, `features`)."""

    features: int
