"""A convolution of images and its batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167) as one convolution, on the CPU.

The first layer of a small network has few input channels and large feature maps, so batch norm, which reads and writes
the maps several times, takes as long as the convolution. The mean and variance of the maps follow from the mean μ and
the covariance Σ of the image patches under the kernel w: they are wᵀμ and wᵀΣw. Batch norm then only scales the kernel
and adds a bias, in training as well, and gradients pass through both moments. The result equals `Conv2d` and
`BatchNorm2d` up to rounding.

Shapes: B images, C channels, H × W pixels, O output maps, P = C·kernel² values of a patch, N = B·H·W patches.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese_lab.networks.side_by_side import convolve


def convolve_and_normalize(conv: nn.Conv2d, norm: nn.BatchNorm2d, images_BCHW: Tensor) -> Tensor:
    """Return `norm(conv(images_BCHW))`, by one convolution where `can_fold` allows it.

    Args:
        conv: a convolution without bias.
        norm: its batch norm, in training or evaluation mode.
        images_BCHW: floating-point images.
    """
    if not can_fold(conv, norm, images_BCHW):
        normalized: Tensor = norm(conv(images_BCHW))
        return normalized
    if not norm.training:
        with torch.autocast("cpu", enabled=False):
            kernel_OCkk, bias_O = folded(conv, norm, *running_moments(norm))
        return F.conv2d(images_BCHW, kernel_OCkk, bias_O, padding=conv.padding)
    with torch.autocast("cpu", enabled=False):
        with torch.no_grad():
            centered_BCHW, center_C = padded_and_centered(images_BCHW.to(conv.weight.dtype), conv)
            mean_P, covariance_PP, count = patch_moments(centered_BCHW, conv)
        weight_OP = conv.weight.flatten(1)
        mean_O, variance_O = weight_OP @ mean_P, ((weight_OP @ covariance_PP) * weight_OP).sum(1)
        with torch.no_grad():
            shift_O = conv.weight.sum((2, 3)) @ center_C
            move_running_statistics(norm, mean_O + shift_O, variance_O * (count / (count - 1)))
        kernel_OCkk, bias_O = folded(conv, norm, mean_O, variance_O)
    return convolve(centered_BCHW, kernel_OCkk, bias_O)


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d, mean_O: Tensor, variance_O: Tensor) -> tuple[Tensor, Tensor]:
    """Return kernel and bias of the convolution that also normalizes maps with this mean and variance."""
    scale_O = norm.weight * (variance_O + norm.eps).rsqrt()
    kernel_OCkk = conv.weight * scale_O.view(-1, 1, 1, 1)  # keeps the memory format of the weight
    return kernel_OCkk, norm.bias - mean_O * scale_O


def can_fold(conv: nn.Conv2d, norm: nn.BatchNorm2d, images_BCHW: Tensor) -> bool:
    """Return whether one convolution replaces the layers.

    It does not for images that need a gradient, on a GPU, in an exported or compiled program, with synchronized batch
    norm, and for layers with other options than the ones of a plain first layer.
    """
    plain_conv = conv.bias is None and conv.stride == (1, 1) and conv.dilation == (1, 1) and conv.groups == 1
    plain_norm = type(norm) is nn.BatchNorm2d and norm.affine and norm.track_running_stats
    return (
        plain_conv
        and plain_norm
        and norm.momentum is not None
        and conv.padding_mode == "zeros"
        and isinstance(conv.padding, tuple)
        and images_BCHW.device.type == "cpu"
        and not images_BCHW.requires_grad
        and not torch.compiler.is_compiling()
    )


def running_moments(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the running mean and variance."""
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, norm.running_var


def padded_and_centered(images_BCHW: Tensor, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Pad images with zeros as the convolution would, and subtract the mean of each channel, which is returned (C,).

    Batch norm removes a constant of a map, so the result stays the same. The gradient of the kernel becomes a sum of
    values around zero, which loses less precision, above all in bfloat16.
    """
    assert isinstance(conv.padding, tuple)
    above, left = conv.padding
    padded_BCHW = F.pad(images_BCHW, (left, left, above, above))
    center_C = padded_BCHW.mean((0, 2, 3))
    return padded_BCHW - center_C.view(1, -1, 1, 1), center_C


def patch_moments(padded_BCHW: Tensor, conv: nn.Conv2d) -> tuple[Tensor, Tensor, int]:
    """Return the mean (P,) and the biased covariance (P, P) of the patches of padded images, and their number N."""
    rows, columns = conv.kernel_size
    height, width = padded_BCHW.shape[2] - rows + 1, padded_BCHW.shape[3] - columns + 1
    patches_PN = torch.stack(
        [
            padded_BCHW[:, channel, row : row + height, column : column + width].reshape(-1)
            for channel in range(padded_BCHW.shape[1])
            for row in range(rows)
            for column in range(columns)
        ]
    )
    mean_P = patches_PN.mean(1)
    patches_PN.sub_(mean_P[:, None])
    count = patches_PN.shape[1]
    return mean_P, patches_PN @ patches_PN.T / count, count


def move_running_statistics(norm: nn.BatchNorm2d, mean_O: Tensor, unbiased_variance_O: Tensor) -> None:
    """Move the running statistics towards those of a batch, as `BatchNorm2d` does."""
    running_mean_O, running_variance_O = running_moments(norm)
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    running_mean_O.lerp_(mean_O.to(running_mean_O.dtype), norm.momentum)
    running_variance_O.lerp_(unbiased_variance_O.to(running_variance_O.dtype), norm.momentum)
