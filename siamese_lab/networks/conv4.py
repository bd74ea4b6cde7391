"""Conv-4: four blocks of 3×3 convolution, batch norm, 2×2 max pooling and ReLU (Vinyals et al. 2016, arXiv:1606.04080).

Pooling comes before ReLU: the two commute, so ReLU processes only a quarter of the numbers. On a CPU, the first block
computes convolution and batch norm as one convolution: see `folded_norm`.
An odd side is rounded up or down when it is halved: 28×28 images become 2×2×64 features, or the literature's 1×1×64.
"""

from itertools import pairwise

from torch import Tensor, nn

from siamese_lab.errors import UserError
from siamese_lab.networks.folded_norm import convolve_and_normalize
from siamese_lab.networks.siamese import Backbone, register

BLOCKS = 4


@register("conv4")
class Conv4(Backbone):
    """Implements the backbone of the few-shot literature.

    Args:
        channels: number of channels of the input images.
        image_size: height and width of the input images; at least 16, as each block halves it.
        width: feature maps of the first block.
        double_width: give each block twice the maps of the block before it, instead of an equal number. The first block
            has the largest images and takes most of the time, so 32, 64, 128, 256 maps take less time than four times
            64.
        ceil_mode: round halves of odd sides up, which keeps the border of the image.
    """

    def __init__(
        self,
        channels: int = 1,
        image_size: int = 28,
        width: int = 64,
        double_width: bool = False,
        ceil_mode: bool = True,
    ) -> None:
        super().__init__()
        if image_size < 2**BLOCKS:
            raise UserError(
                f"Conv-4 halves its images four times and so needs at least {2**BLOCKS}×{2**BLOCKS} pixels, "
                f"but they are {image_size}×{image_size}. Set data.image_size={2**BLOCKS} or more."
            )
        side = -(-image_size // 2**BLOCKS) if ceil_mode else image_size // 2**BLOCKS
        widths = [width * 2**block if double_width else width for block in range(BLOCKS)]
        self.features = widths[-1] * side * side
        first, *others = (_block(*ends, ceil_mode) for ends in pairwise([channels, *widths]))
        self.blocks = nn.Sequential(FirstBlock(*first), *others)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, `features`)."""
        return self.blocks(images_BCHW).flatten(1)


class FirstBlock(nn.Sequential):
    """The block that receives images: convolution and batch norm are one convolution."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the maps of the block."""
        conv, norm, pool, relu = self
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        maps: Tensor = relu(pool(convolve_and_normalize(conv, norm, images_BCHW)))
        return maps


def _block(channels: int, width: int, ceil_mode: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.MaxPool2d(2, ceil_mode=ceil_mode),
        nn.ReLU(),
    )
