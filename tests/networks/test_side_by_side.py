"""Gradients of convolutions that are computed side by side equal those of `nn.Conv2d`."""

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from siamese_lab import networks
from siamese_lab.networks import side_by_side
from siamese_lab.networks.side_by_side import SideBySideConv2d, compute_side_by_side


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Collect the kernels whose gradients were computed side by side."""
    kernels: list[Tensor] = []
    apply = side_by_side.Convolution.apply

    def counted(images: Tensor, kernel: Tensor, *others: Any) -> Tensor:
        kernels.append(kernel)
        return apply(images, kernel, *others)

    monkeypatch.setattr(side_by_side.Convolution, "apply", counted)
    return kernels


def convolution(channels: int = 4, maps: int = 6, **options: Any) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(channels, maps, 3, **options)


def images(channels: int = 4) -> Tensor:
    x = torch.rand(5, channels, 9, 8, generator=torch.Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last)


def gradients(conv: nn.Conv2d, x: Tensor, autocast: bool = False) -> list[Tensor]:
    """Return the output, and the gradients of images, kernel and bias."""
    conv, x = deepcopy(conv), x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = conv(x)
    (y.float().tanh() * torch.rand(y.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    assert x.grad is not None
    return [y.detach(), x.grad, *(each.grad for each in conv.parameters() if each.grad is not None)]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"padding": 1, "bias": False},
    {"stride": 2, "padding": (1, 0)},
    {"dilation": 2, "padding": 2},
    {"groups": 2},
]


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_equal_those_of_one_thread_bit_by_bit(
    options: dict[str, Any], autocast: bool, shared: list[Tensor]
) -> None:
    plain = convolution(**options)
    ours = deepcopy(plain)
    compute_side_by_side(ours)
    mine = gradients(ours, images(), autocast)
    assert len(shared) == 1
    torch.set_num_threads(1)
    theirs = gradients(plain, images(), autocast)
    assert len(mine) == len(theirs)
    assert all(torch.equal(one, two) and one.dtype == two.dtype for one, two in zip(mine, theirs, strict=True))
    torch.set_num_threads(2)
    torch.testing.assert_close(mine, gradients(plain, images(), autocast), rtol=2e-2 if autocast else 1e-4, atol=1e-3)


def test_gradients_agree_with_finite_differences(shared: list[Tensor]) -> None:
    conv = convolution(2, 2).double()
    compute_side_by_side(conv)
    x = images(2).double()[:2, :, :4, :4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: conv(x), (x, *conv.parameters()))
    assert shared


@pytest.mark.parametrize("frozen", ["kernel", "bias", "images"])
def test_only_wanted_gradients_are_computed(frozen: str) -> None:
    conv = convolution()
    compute_side_by_side(conv)
    x = images().requires_grad_(frozen != "images")
    conv.weight.requires_grad_(frozen != "kernel")
    conv.bias.requires_grad_(frozen != "bias")
    conv(x).square().sum().backward()
    got = {"images": x.grad, "kernel": conv.weight.grad, "bias": conv.bias.grad}
    assert [name for name, each in got.items() if each is None] == [frozen]


@pytest.mark.parametrize("threads", [1, 3])
def test_other_numbers_of_threads_use_pytorch(threads: int, shared: list[Tensor]) -> None:
    torch.set_num_threads(threads)
    conv = convolution()
    compute_side_by_side(conv)
    conv(images()).sum().backward()
    assert not shared and torch.get_num_threads() == threads


def test_the_number_of_threads_stays_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    conv = convolution()
    compute_side_by_side(conv)
    y = conv(images().requires_grad_()).sum()
    monkeypatch.setattr(torch.ops.aten, "convolution_backward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.backward()
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("name", ["conv4", "koch", "resnet10"])
def test_every_convolution_of_a_network_takes_part(name: str, shared: list[Tensor]) -> None:
    network = networks.build(name, channels=1, image_size=105 if name == "koch" else 32, seed=0).train()
    convolutions = [each for each in network.modules() if isinstance(each, nn.Conv2d)]
    assert convolutions and all(type(each) is SideBySideConv2d for each in convolutions)
    network(torch.rand(4, 1, *(2 * [105 if name == "koch" else 32]))).sum().backward()
    assert len(shared) == len(convolutions)
    assert "SideBySide" not in repr(network)


def test_two_runs_of_a_network_are_equal_bit_by_bit() -> None:
    def weights() -> list[Tensor]:
        network = networks.build("conv4", channels=1, image_size=28, width=8, seed=0).train()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        for step in range(4):
            x = torch.rand(32, 1, 28, 28, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            network(x).tanh().sum().backward()
            optimizer.step()
        return [each.detach() for each in network.parameters()]

    assert all(torch.equal(one, two) for one, two in zip(weights(), weights(), strict=True))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_has_a_helper_of_its_own() -> None:
    side_by_side.helper().submit(int).result()  # the parent's helper exists
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    torch.set_num_threads(1)  # GNU's OpenMP cannot be used with threads after a fork
    child = context.Process(target=forked, args=(theirs,))
    child.start()
    assert mine.poll(60) and mine.recv() == 0
    child.join()


def forked(connection: Any) -> None:
    connection.send(side_by_side.helper().submit(int).result(timeout=30))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_network_equals_the_network() -> None:
    network = networks.build("conv4", channels=1, image_size=28, width=4, seed=0).eval()
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    traced = torch.jit.trace(network, x)
    torch.testing.assert_close(traced(x), network(x))


FREED = """
import sys

from siamese_lab.config.process import keep_large_blocks

keep_large_blocks()  # freed memory keeps its values

import torch
from siamese_lab.networks.side_by_side import SideBySideConv2d

torch.set_num_threads(int(sys.argv[1]))
layer = SideBySideConv2d(64, 64, 3, stride=2, padding=1, bias=False)
images_BCHW = torch.randn(16, 64, 1, 1)
for _ in range(3):
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        maps_BOHW = layer(images_BCHW)
    gradient_BOHW = torch.ones_like(maps_BOHW)
    freed = [torch.full((1 << size,), torch.nan) for size in range(4, 21) for _ in range(3)]
    del freed
    maps_BOHW.backward(gradient_BOHW)
    wanted_C = images_BCHW.sum((0, 2, 3))
    torch.testing.assert_close(layer.weight.grad[:, :, 1, 1], wanted_C.expand(64, 64), rtol=2e-2, atol=2e-2)
    assert layer.weight.grad.isfinite().all()
"""


@pytest.mark.slow
@pytest.mark.parametrize("threads", ["1", pytest.param("2", marks=pytest.mark.nightly)])
def test_a_gradient_under_autocast_takes_no_values_from_freed_tensors(threads: str) -> None:
    ended = subprocess.run([sys.executable, "-c", FREED, threads], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
