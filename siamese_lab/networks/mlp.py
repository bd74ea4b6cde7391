"""Fully connected layers with batch norm and ReLU: a baseline that ignores the neighborhood of pixels."""

from itertools import pairwise

from torch import Tensor, nn

from siamese_lab.errors import UserError
from siamese_lab.networks.siamese import Backbone, register


@register("mlp")
class MLP(Backbone):
    """Passes flattened images through `depth` layers of `width` units.

    Args:
        channels: number of channels of the input images.
        image_size: height and width of the input images.
        width: number of units of every layer.
        depth: number of layers; 0 leaves the values of an image as they are, so that the whole network is linear.
    """

    accepts_features = True

    def __init__(self, channels: int = 1, image_size: int = 28, width: int = 512, depth: int = 2) -> None:
        super().__init__()
        if depth < 0 or width < 1:
            raise UserError(
                f"An MLP needs a depth of at least 0 and a width of at least 1, but they are {depth} and {width}."
            )
        widths = [channels * image_size**2, *[width] * depth]
        self.features = widths[-1]
        self.layers = nn.Sequential(nn.Flatten(), *(_layer(*ends) for ends in pairwise(widths)))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, `features`)."""
        features: Tensor = self.layers(images_BCHW)
        return features


def _layer(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU())
