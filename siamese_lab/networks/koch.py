"""The convolutional Siamese network for one-shot recognition (Koch et al. 2015, ICML workshop, §3.1 and figure 4).

105×105 images, 64@10×10 – pool – 128@7×7 – pool – 128@4×4 – pool – 256@4×4 – 4096 sigmoid units: 38,951,745 weights,
nearly all of them between the last two layers. The embedding and losses replace the paper's L1 distance and output
unit (4,097 of the weights). PyTorch's initial weights replace the paper's (N(0, 0.01), and N(0, 0.2), which saturates
the sigmoid).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from siamese_lab.networks.siamese import Backbone, register

SIDE = 105
"""Height and width of the paper's images and of Omniglot's."""


@register("koch")
class Koch(Backbone):
    """Implements the paper's layers. Images of another size are resized to 105×105, bilinearly.

    Args:
        channels: number of channels of the input images.
        image_size: height and width of the input images; 105 needs no resizing.
        units: number of units of the fully connected layer, which are the backbone's features.
    """

    def __init__(self, channels: int = 1, image_size: int = 28, units: int = 4096) -> None:
        super().__init__()
        self.features = units
        self.resized = image_size != SIDE
        self.layers = nn.Sequential(
            *_block(channels, 64, 10),
            *_block(64, 128, 7),
            *_block(128, 128, 4),
            nn.Conv2d(128, 256, 4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256 * 6 * 6, units),
            nn.Sigmoid(),
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, `features`)."""
        if self.resized:
            images_BCHW = F.interpolate(images_BCHW, (SIDE, SIDE), mode="bilinear", antialias=True)
        features: Tensor = self.layers(images_BCHW)
        return features


def _block(channels: int, width: int, kernel: int) -> tuple[nn.Module, ...]:
    """Build convolution, pooling and ReLU; pooling comes before ReLU because the two commute."""
    return nn.Conv2d(channels, width, kernel), nn.MaxPool2d(2), nn.ReLU()
