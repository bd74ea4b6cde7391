"""Random brightness and contrast, drawn separately for each image of a batch.

Shapes: B images, C channels, H × W pixels.
"""

import torch
from torch import Tensor

from siamese_lab.errors import UserError

DRAWS = 2


class RandomLight:
    """Multiplies each image by one factor (brightness), then its deviations from its mean by another (contrast).

    Args:
        brightness: largest relative change: 0.2 draws a factor from 0.8…1.2.
        contrast: largest relative change of the contrast.

    Raises:
        UserError: for a value outside 0…1.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0) -> None:
        if not (0 <= brightness <= 1 and 0 <= contrast <= 1):
            raise UserError(f"brightness and contrast must be in 0…1, but are {brightness=}, {contrast=}.")
        self.brightness = brightness
        self.contrast = contrast

    @torch.no_grad()
    def __call__(self, images_BCHW: Tensor, draws_2B: Tensor) -> Tensor:
        """Change images in place, and clamp them to 0…1.

        Args:
            images_BCHW: float32 images in 0…1.
            draws_2B: numbers in −1…1 for each image: brightness and contrast.
        """
        if not (self.brightness or self.contrast):
            return images_BCHW
        bright_B111 = (1 + self.brightness * draws_2B[0])[:, None, None, None]
        contrast_B111 = (1 + self.contrast * draws_2B[1])[:, None, None, None]
        mean_B111 = images_BCHW.mean((1, 2, 3), keepdim=True)
        shift_B111 = mean_B111 * bright_B111 * (1 - contrast_B111)
        return images_BCHW.mul_(bright_B111 * contrast_B111).add_(shift_B111).clamp_(0, 1)
