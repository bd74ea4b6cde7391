"""Conv-4: four blocks of 3×3 convolution, batch norm, 2×2 max pooling and ReLU (Vinyals et al. 2016, arXiv:1606.04080).

Pooling comes before ReLU: the two commute, and so a quarter of the numbers goes through the second.
"""

from itertools import pairwise

from torch import Tensor, nn

from siamese_lab.networks.backbone import Backbone
from siamese_lab.networks.registry import register

BLOCKS = 4


@register("conv4")
class Conv4(Backbone):
    """The backbone of the few-shot literature, 64 features for 28×28 images.

    Args:
        channels: of the input images.
        image_size: their height and width; at least 16, as each block halves it.
        width: feature maps of every block.
    """

    def __init__(self, channels: int = 1, image_size: int = 28, width: int = 64) -> None:
        super().__init__()
        side = image_size // 2**BLOCKS
        if side < 1:
            raise ValueError(
                f"Conv-4 halves its images four times and so needs at least {2**BLOCKS}×{2**BLOCKS} pixels, "
                f"but they are {image_size}×{image_size}. Set data.image_size={2**BLOCKS} or more."
            )
        self.features = width * side * side
        self.blocks = nn.Sequential(*(_block(*ends) for ends in pairwise([channels, *[width] * BLOCKS])))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Features (B, `features`)."""
        return self.blocks(images_BCHW).flatten(1)


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.MaxPool2d(2),
        nn.ReLU(),
    )
