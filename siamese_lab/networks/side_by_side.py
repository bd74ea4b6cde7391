"""Convolutions that compute their two gradients side by side, each by one thread, on a CPU with two threads.

oneDNN's gradient of a kernel shares its work between threads that wait for each other many times, without sleeping. If
another process uses one of the cores, each wait lasts until the system runs the missing thread: with two threads, a
busy core, and bfloat16, the gradients of Conv-4's last convolution took 62 to 118 ms instead of 5. The gradients of
the kernel and of the features need nothing from each other, so that each takes one thread, which waits for nothing.

With another number of threads, PyTorch's own gradients are used.

oneDNN's bfloat16 gradient of a kernel with a stride reads memory that nobody has written if the maps have one pixel
(found with torch 2.14.1 on a CPU with AMX): values of freed tensors get into the gradient, up to NaN. Such layers, as
in a ResNet on images of 16 pixels, are computed in float32.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

THREADS = 2
"""Number of threads with which gradients are computed side by side: one for each."""

Gradients = tuple[Tensor, Tensor, Tensor]


class SideBySideConv2d(nn.Conv2d):
    """`nn.Conv2d` with gradients side by side."""

    def _get_name(self) -> str:
        return nn.Conv2d.__name__

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 (torch's name)
        if self.padding_mode != "zeros" or isinstance(self.padding, str) or self.transposed:
            return super()._conv_forward(input, weight, bias)
        return convolve(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def compute_side_by_side(network: nn.Module) -> None:
    """Let the convolutions of a network compute their gradients side by side; parameters and names stay."""
    for module in network.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = SideBySideConv2d


def convolve(
    images_BCHW: Tensor,
    kernel_OCkk: Tensor,
    bias_O: Tensor | None,
    stride: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
    groups: int = 1,
) -> Tensor:
    """Return `F.conv2d` of the same arguments, with gradients side by side where `is_shared` allows it.

    The gradients cannot be differentiated again where they are computed side by side.
    """
    if reads_unset_memory(images_BCHW, stride):
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(
                images_BCHW.float(),
                kernel_OCkk.float(),
                None if bias_O is None else bias_O.float(),
                stride,
                padding,
                dilation,
                groups,
            )
    if not is_shared(images_BCHW, kernel_OCkk):
        return F.conv2d(images_BCHW, kernel_OCkk, bias_O, stride, padding, dilation, groups)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        images_BCHW, kernel_OCkk = images_BCHW.to(dtype), kernel_OCkk.to(dtype)
        bias_O = None if bias_O is None else bias_O.to(dtype)
    maps: Tensor = Convolution.apply(images_BCHW, kernel_OCkk, bias_O, stride, padding, dilation, groups)
    return maps


def reads_unset_memory(images_BCHW: Tensor, stride: tuple[int, ...]) -> bool:
    """Return whether oneDNN's gradient of the kernel would read memory that nobody has written."""
    return (
        torch.is_grad_enabled()
        and images_BCHW.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and max(stride) > 1
        and min(images_BCHW.shape[-2:]) == 1
    )


def is_shared(images_BCHW: Tensor, kernel_OCkk: Tensor) -> bool:
    """Return whether two threads compute the gradient of a kernel on the CPU, outside of export and compilation."""
    return (
        kernel_OCkk.requires_grad
        and torch.is_grad_enabled()
        and images_BCHW.ndim == 4
        and images_BCHW.device.type == "cpu"
        and torch.get_num_threads() == THREADS
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined]  # public, but torch.jit lists no names
    )


class Convolution(torch.autograd.Function):
    """Convolution of images (B, C, H, W) with a kernel (O, C, k, k)."""

    @staticmethod
    def forward(context: Any, images_BCHW: Tensor, kernel_OCkk: Tensor, bias_O: Tensor | None, *options: Any) -> Tensor:
        """Return the maps (B, O, H, W)."""
        context.save_for_backward(images_BCHW, kernel_OCkk)
        context.bias_sizes = None if bias_O is None else list(bias_O.shape)
        context.options = options
        return F.conv2d(images_BCHW, kernel_OCkk, bias_O, *options)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient_BOHW: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of images, kernel and bias."""
        images_BCHW, kernel_OCkk = context.saved_tensors
        stride, padding, dilation, groups = context.options
        of_images, of_kernel, of_bias = context.needs_input_grad[:3]

        def gradients(*wanted: bool) -> Gradients:
            return torch.ops.aten.convolution_backward(
                gradient_BOHW,
                images_BCHW,
                kernel_OCkk,
                context.bias_sizes,
                stride,
                padding,
                dilation,
                False,
                [0, 0],
                groups,
                wanted,
            )

        with one_thread():
            if of_images:
                other = helper().submit(gradients, False, of_kernel, of_bias)
                image_gradient, _, _ = gradients(True, False, False)
                _, kernel_gradient, bias_gradient = other.result()
            else:
                image_gradient, kernel_gradient, bias_gradient = gradients(False, of_kernel, of_bias)
        return image_gradient, kernel_gradient, bias_gradient, None, None, None, None


@contextmanager
def one_thread() -> Iterator[None]:
    """Let this thread of Python compute with one thread inside of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def helper() -> ThreadPoolExecutor:
    """Return the thread that computes the gradients of kernels."""
    return ThreadPoolExecutor(1, "gradients of kernels", torch.set_num_threads, (1,))


if hasattr(os, "register_at_fork"):
    forget: Callable[[], None] = helper.cache_clear  # a forked process has no threads of its parent
    os.register_at_fork(after_in_child=forget)
