"""Standardize images as the images that pretrained weights have seen."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from siamese_lab.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class Standardize(nn.Module):
    """Maps images (0…1) to three channels with a mean and a deviation removed. Gray images get three equal channels.

    Args:
        channels: of the input images, 1 or 3.
        mean: of red, green and blue.
        deviation: of red, green and blue.
    """

    mean_C11: Tensor
    deviation_C11: Tensor

    def __init__(
        self,
        channels: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        deviation: Sequence[float] = IMAGENET_DEVIATION,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise UserError(
                f"Pretrained weights see images of 1 or 3 channels, but these have {channels}. "
                "Set network.pretrained=false."
            )
        self.register_buffer("mean_C11", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation_C11", torch.tensor(deviation)[:, None, None], persistent=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return standardized images (B, 3, H, W), channels-last."""
        images_B3HW = (images_BCHW - self.mean_C11) / self.deviation_C11
        return images_B3HW.contiguous(memory_format=torch.channels_last)
