"""Koch's network follows the paper, for every size of the images."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from siamese_lab import networks


def test_maps_and_weights_equal_those_of_the_paper():
    """Figure 4 of Koch et al. 2015 gives 96, 42, 18 and 6 pixels a side after the convolutions."""
    backbone = networks.build("koch", image_size=105).backbone
    seen = []
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
    features = backbone(torch.rand(2, 1, 105, 105))
    assert seen == [(64, 96, 96), (128, 42, 42), (128, 18, 18), (256, 6, 6)]
    assert features.shape == (2, 4096)
    assert ((features > 0) & (features < 1)).all(), "a sigmoid should come last"
    output_unit = 4096 + 1
    convolutions = 64 * (100 + 1) + 128 * (64 * 49 + 1) + 128 * (128 * 16 + 1) + 256 * (128 * 16 + 1)
    weights = sum(weight.numel() for weight in backbone.parameters())
    assert weights == convolutions + 4096 * (9216 + 1) == 38_951_745 - output_unit


@pytest.mark.slow
def test_other_sizes_are_resized_to_that_of_the_paper():
    torch.manual_seed(0)
    large = networks.build("koch", channels=3, image_size=105).eval()
    torch.manual_seed(0)
    small = networks.build("koch", channels=3, image_size=28).eval()
    images_BCHW = torch.rand(2, 3, 28, 28)
    resized_BCHW = F.interpolate(images_BCHW, (105, 105), mode="bilinear", align_corners=False)
    torch.testing.assert_close(small(images_BCHW), large(resized_BCHW), atol=1e-5, rtol=1e-4)
