"""ResNet-18 and ResNet-50 (He et al. 2016, arXiv:1512.03385), from torchvision, with a stem for small images.

Shapes: B images of C × H × W.
"""

from typing import ClassVar, Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from siamese_lab.errors import ResourceError, UserError
from siamese_lab.networks.siamese import Backbone, register
from siamese_lab.networks.standardize import Standardize

Stem = Literal["auto", "small", "imagenet"]
SMALL = 64
"""Largest image size that gets the small stem."""


class ResNet(Backbone):
    """Wraps one of torchvision's residual networks up to its global average pooling.

    Args:
        channels: number of channels of the input images.
        image_size: height and width of the input images.
        stem: "imagenet" halves twice before the first block (7×7 convolution, max pooling), "small" not at all (3×3);
            "auto" is small for images of up to 64×64 pixels, unless pretrained weights need imagenet's.
        pretrained: start from torchvision's ImageNet weights; images are then standardized like ImageNet's, and
            gray images get three equal channels.
    """

    architecture: ClassVar[str]
    """Torchvision's name of the network."""

    def __init__(self, channels: int = 1, image_size: int = 28, stem: Stem = "auto", pretrained: bool = False) -> None:
        super().__init__()
        resolved = resolve_stem(stem, image_size, pretrained)
        self.layers = models.get_model(self.architecture, weights=None)
        self.features = self.layers.fc.in_features
        self.layers.fc = nn.Identity()
        if resolved == "small":
            self.layers.maxpool = nn.Identity()
            self.layers.conv1 = first_convolution(channels, 3)
        elif not pretrained:
            self.layers.conv1 = first_convolution(channels, 7, stride=2)
        self.pretrained = pretrained
        self.standardize = Standardize(channels) if pretrained else nn.Identity()

    def load_initial_weights(self) -> None:
        """Load torchvision's ImageNet weights if `pretrained`."""
        if self.pretrained:
            weights = pretrained_weights(self.architecture)
            self.layers.load_state_dict({name: each for name, each in weights.items() if not name.startswith("fc.")})

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, `features`)."""
        features: Tensor = self.layers(self.standardize(images_BCHW))
        return features


@register("resnet18")
class ResNet18(ResNet):
    """A residual network of 18 layers and 512 features."""

    architecture = "resnet18"


@register("resnet50")
class ResNet50(ResNet):
    """A residual network of 50 layers and 2048 features."""

    architecture = "resnet50"


def resolve_stem(stem: str, image_size: int, pretrained: bool) -> str:
    """Return the stem that `auto` stands for. Raise UserError if the stem is unknown or does not fit the weights."""
    if stem not in ("auto", "small", "imagenet"):
        raise UserError(f"stem must be 'auto', 'small' or 'imagenet', but is {stem!r}.")
    if stem == "small" and pretrained:
        raise UserError(
            "Pretrained weights begin with ImageNet's 7×7 convolution, so stem='small' does not fit them. "
            "Set network.stem=imagenet or auto, or network.pretrained=false."
        )
    if stem == "auto":
        return "small" if image_size <= SMALL and not pretrained else "imagenet"
    return stem


def first_convolution(channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Build a convolution to 64 maps, with initial weights drawn like torchvision's."""
    convolution = nn.Conv2d(channels, 64, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def pretrained_weights(architecture: str) -> dict[str, Tensor]:
    """Return torchvision's best ImageNet weights, downloaded once and checked.

    Raises:
        ResourceError: if the weights can be neither found nor downloaded.
    """
    weights = models.get_model_weights(architecture).DEFAULT
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise ResourceError(
            f"The pretrained weights of {architecture} could not be loaded from {weights.url} ({error}). "
            f"Put that file into {torch.hub.get_dir()}/checkpoints by hand, or set network.pretrained=false."
        ) from error
    return state
