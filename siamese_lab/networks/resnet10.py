"""ResNet-10: four residual blocks, the smallest with ResNet-18's halvings (He et al. 2016, arXiv:1512.03385).

It is large enough for a training set of a few thousand faces of 64×64 pixels.
"""

from itertools import pairwise

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1, conv3x3

from siamese_lab.errors import UserError
from siamese_lab.networks.siamese import Backbone, register

STAGES = 4


@register("resnet10")
class ResNet10(Backbone):
    """Stacks a 3×3 convolution and four torchvision blocks, each with twice the maps of the block before it.

    Args:
        channels: number of channels of the input images.
        image_size: height and width of the input images.
        width: number of maps of the first block; the last block has eight times as many.
        pooled: average the last maps over all places. False keeps the features of each place, which suits aligned
            images such as faces.
        stride: stride of the first convolution; 2 takes a quarter of the time and is fine enough for 64×64 pixels.
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
        """Return features (B, `features`)."""
        features: Tensor = self.layers(images_BCHW)
        return features


def _halving(channels: int, width: int) -> BasicBlock:
    shortcut = nn.Sequential(conv1x1(channels, width, stride=2), nn.BatchNorm2d(width))
    return BasicBlock(channels, width, stride=2, downsample=shortcut)
