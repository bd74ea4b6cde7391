"""One convolution equals Conv2d + BatchNorm2d in output, gradients and running statistics."""

from copy import deepcopy
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from siamese_lab.networks.conv4 import Conv4
from siamese_lab.networks.folded_norm import can_fold, convolve_and_normalize
from siamese_lab.training.batch_norm import SynchronizeBatchNorm


def layers(channels: int = 1, width: int = 8, kernel: int = 3, padding: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    torch.manual_seed(channels)
    conv, norm = nn.Conv2d(channels, width, kernel, padding=padding, bias=False), nn.BatchNorm2d(width)
    nn.init.uniform_(norm.weight, 0.5, 2.0)
    nn.init.uniform_(norm.bias, -1.0, 1.0)
    return conv, norm


def images(channels: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return bright images with dark lines, whose mean is far from zero in comparison with their variance."""
    generator = torch.Generator().manual_seed(1)
    ink_BCHW = torch.rand(6, channels, 15, 13, generator=generator) > 0.8
    return (1 - 0.7 * ink_BCHW.float() - 0.1 * torch.rand(ink_BCHW.shape, generator=generator)).to(dtype)


class Outcome(NamedTuple):
    output: Tensor
    gradients: list[Tensor]
    statistics: list[Tensor]


def outcome(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor, folded: bool, autocast: bool = False) -> Outcome:
    conv, norm = deepcopy((conv, norm))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = convolve_and_normalize(conv, norm, x) if folded else norm(conv(x))
    target = torch.rand(y.shape, generator=torch.Generator().manual_seed(2)).to(y.dtype)
    (y.double().tanh() * target).sum().backward()  # smooth: a rounding does not switch a gradient on or off
    gradients = [each.grad for each in (conv.weight, norm.weight, norm.bias)]
    return Outcome(y.detach(), gradients, list(norm.buffers()))


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("channels", "kernel", "padding"), [(1, 3, 1), (3, 3, 1), (2, 5, 0), (1, 1, 0)])
def test_in_float64_it_equals_both_layers(channels: int, kernel: int, padding: int, train: bool) -> None:
    conv, norm = (each.double().train(train) for each in layers(channels, kernel=kernel, padding=padding))
    x = images(channels, torch.float64)
    assert can_fold(conv, norm, x)
    one, two = (outcome(conv, norm, x, folded) for folded in (True, False))
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("train", [True, False])
def test_in_float32_it_is_as_near_to_float64_as_both_layers(train: bool) -> None:
    conv, norm = (each.train(train) for each in layers())
    exact = outcome(deepcopy(conv).double(), deepcopy(norm).double(), images().double(), folded=False)
    x = images()
    one, two = (outcome(conv, norm, x, folded) for folded in (True, False))
    for kind in range(3):
        for mine, theirs, right in zip(*(flat(each[kind]) for each in (one, two, exact)), strict=True):
            size = right.double().abs().max().clamp(min=1)
            errors = [float((each.double() - right.double()).abs().max() / size) for each in (mine, theirs)]
            assert errors[0] <= max(3 * errors[1], 3e-6)


def flat(tensors: Tensor | list[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else tensors


@pytest.mark.parametrize("train", [True, False])
def test_under_autocast_it_differs_by_roundings_of_bfloat16(train: bool) -> None:
    conv, norm = (each.train(train) for each in layers())
    one, two = (outcome(conv, norm, images(), folded, autocast=True) for folded in (True, False))
    assert one.output.dtype == two.output.dtype == torch.bfloat16
    exact = outcome(conv, norm, images(), folded=False)
    for kind in range(2):
        for mine, theirs, right in zip(*(flat(each[kind]) for each in (one, two, exact)), strict=True):
            errors = [float((each.float() - right).abs().max() / right.abs().max()) for each in (mine, theirs)]
            assert errors[0] <= max(2 * errors[1], 2e-2)


def test_gradients_agree_with_finite_differences() -> None:
    conv, norm = (each.double() for each in layers(width=2))
    x = images(dtype=torch.float64)[:2, :, :5, :5]

    def of(weight: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        parameters = {"weight": weight}, {"weight": scale, "bias": shift}

        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.norm = conv, norm

            def forward(self, x: Tensor) -> Tensor:
                return convolve_and_normalize(self.conv, self.norm, x)

        named = {f"conv.{name}": each for name, each in parameters[0].items()}
        named |= {f"norm.{name}": each for name, each in parameters[1].items()}
        return torch.func.functional_call(Both(), named, (x,))

    parameters = [each.detach().clone().requires_grad_() for each in (conv.weight, norm.weight, norm.bias)]
    assert torch.autograd.gradcheck(of, parameters)


def test_images_that_need_a_gradient_get_it() -> None:
    conv, norm = layers()
    x = images().requires_grad_()
    assert not can_fold(conv, norm, x)
    convolve_and_normalize(conv, norm, x).square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_synchronized_batch_norm_is_not_bypassed() -> None:
    network = SynchronizeBatchNorm().apply(Conv4())
    conv, norm = network.blocks[0][0], network.blocks[0][1]
    assert not can_fold(conv, norm, images())
    reverted = SynchronizeBatchNorm().revert(network)
    assert can_fold(reverted.blocks[0][0], reverted.blocks[0][1], images())


def test_conv4_folds_its_first_block_and_keeps_its_memory_format() -> None:
    network = Conv4(width=8).to(memory_format=torch.channels_last)
    assert list(dict(network.state_dict()))[:2] == ["blocks.0.0.weight", "blocks.0.1.weight"]
    x = images().contiguous(memory_format=torch.channels_last)
    plain = nn.Sequential(*network.blocks[0])(x)
    folded = network.blocks[0](x)
    assert folded.is_contiguous(memory_format=torch.channels_last) and plain.stride() == folded.stride()
    torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-5)
