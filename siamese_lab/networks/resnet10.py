"""ResNet-10: four residual blocks, the smallest that halves as ResNet-18 does (He et al. 2016, arXiv:1512.03385).

Enough for faces of 64×64 pixels where nothing but a few thousand of them is there to learn from.
"""

from itertools import pairwise

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1, conv3x3

from siamese_lab.errors import UserError
from siamese_lab.networks.siamese import Backbone, register

STAGES = 4


@register("resnet10")
class ResNet10(Backbone):
    """A 3×3 convolution and four blocks of torchvision's, each with twice the maps of the one before it.

    Args:
        channels: of the input images.
        image_size: their height and width.
        width: maps of the first block; the last one has eight times as many.
        pooled: average the last maps over all places; False keeps each place's features apart, which suits images that
            are aligned, as faces often are.
        stride: of the first convolution; 2 takes a quarter of the time, and images of 64×64 pixels bear it.
    """

    def __init__(
        self, channels: int = 1, image_size: int = 28, width: int = 32, pooled: bool = True, stride: int = 2
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise UserError(f"stride must be 1 or 2, but is {stride}.")
        if image_size < 8 * stride:
            raise UserError(
                f"ResNet-10 with stride={stride} needs at least {8 * stride}×{8 * stride} pixels, "
                f"but they are {image_size}×{image_size}. Set data.image_size={8 * stride} or more."
            )
        widths = [width * 2**stage for stage in range(STAGES)]
        side = 1 if pooled else -(-image_size // (stride * 2 ** (STAGES - 1)))
        self.features = widths[-1] * side * side
        self.layers = nn.Sequential(
            conv3x3(channels, width, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            BasicBlock(width, width),
            *(_halving(*ends) for ends in pairwise(widths)),
            nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity(),
            nn.Flatten(),
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Features (B, `features`)."""
        features: Tensor = self.layers(images_BCHW)
        return features


def _halving(channels: int, width: int) -> BasicBlock:
    shortcut = nn.Sequential(conv1x1(channels, width, stride=2), nn.BatchNorm2d(width))
    return BasicBlock(channels, width, stride=2, downsample=shortcut)
