"""Batch normalization over the batch of all processes (Ioffe & Szegedy 2015, arXiv:1502.03167), on any device.

`torch.nn.SyncBatchNorm` needs a GPU. On a CPU, the plugin `SynchronizeBatchNorm` replaces torch's modules by the
modules of this file while a network is trained.

Shapes: C channels.
"""

from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.plugins.layer_sync import LayerSync
from torch import Tensor, nn

from siamese_lab.devices import processes

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


class SynchronizedBatchNorm1d(nn.BatchNorm1d):
    """`nn.BatchNorm1d` over the batch of all processes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Normalize by the statistics of the whole batch in training, otherwise by the running statistics."""
        return normalize(self, input) if is_shared(self) else super().forward(input)


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batch of all processes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Normalize by the statistics of the whole batch in training, otherwise by the running statistics."""
        return normalize(self, input) if is_shared(self) else super().forward(input)


class SynchronizedBatchNorm3d(nn.BatchNorm3d):
    """`nn.BatchNorm3d` over the batch of all processes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's name)
        """Normalize by the statistics of the whole batch in training, otherwise by the running statistics."""
        return normalize(self, input) if is_shared(self) else super().forward(input)


SYNCHRONIZED: dict[type[BatchNorm], type[BatchNorm]] = {
    nn.BatchNorm1d: SynchronizedBatchNorm1d,
    nn.BatchNorm2d: SynchronizedBatchNorm2d,
    nn.BatchNorm3d: SynchronizedBatchNorm3d,
}


DIMENSIONS: dict[type[BatchNorm], tuple[int, ...]] = {
    nn.BatchNorm1d: (2, 3),
    nn.BatchNorm2d: (4,),
    nn.BatchNorm3d: (5,),
}
"""Numbers of dimensions that torch's modules accept."""


class SynchronizeBatchNorm(LayerSync):
    """Synchronizes every batch norm of a model while it is trained."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace torch's modules by synchronized ones that hold the same parameters and buffers."""
        return replace_batch_norms(model, SYNCHRONIZED)

    def revert(self, model: nn.Module) -> nn.Module:
        """Put torch's modules back, with the trained parameters and buffers."""
        return replace_batch_norms(model, {ours: theirs for theirs, ours in SYNCHRONIZED.items()})


def replace_batch_norms(module: nn.Module, kinds: dict[type[BatchNorm], type[BatchNorm]]) -> nn.Module:
    """Replace the batch norms inside a module in place, and return it; for a batch norm, return its replacement."""
    for name, child in module.named_children():
        module.add_module(name, replace_batch_norms(child, kinds))
    if not isinstance(module, BatchNorm) or type(module) not in kinds:
        return module
    other = kinds[type(module)](
        module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
    )
    other.weight, other.bias = module.weight, module.bias
    other.running_mean, other.running_var = module.running_mean, module.running_var
    other.num_batches_tracked = module.num_batches_tracked
    return other.train(module.training)


def is_shared(norm: BatchNorm) -> bool:
    """Return whether a module needs the statistics of the other processes."""
    return norm.training and processes.count() > 1


def normalize(norm: BatchNorm, x: Tensor) -> Tensor:
    """Center and scale each channel over the batch of all processes, and move the running statistics.

    The statistics have at least float32 precision, also if autocast leaves x in fewer bits. The moments are summed over
    the processes in float64, so that their difference loses no precision.

    Args:
        norm: the module with scale, shift and running statistics.
        x: features of this process, with channels in dimension 1.
    """
    check_dimensions(norm, x)
    wide = x if x.dtype.itemsize >= 4 else x.float()
    mean_C, variance_C, count = moments(wide)
    move_running_statistics(norm, mean_C.detach(), variance_C.detach(), count)
    shape = 1, -1, *(1 for _ in x.shape[2:])
    centered = wide - mean_C.to(wide.dtype).view(shape)
    scale_C = (variance_C + norm.eps).rsqrt()
    if not norm.affine:
        return (centered * scale_C.to(wide.dtype).view(shape)).to(x.dtype)
    scale_C = scale_C * norm.weight
    return torch.addcmul(norm.bias.to(wide.dtype).view(shape), centered, scale_C.to(wide.dtype).view(shape)).to(x.dtype)


def check_dimensions(norm: BatchNorm, x: Tensor) -> None:
    """Raise ValueError if features have another number of dimensions than torch's module accepts."""
    accepted = next(numbers for kind, numbers in DIMENSIONS.items() if isinstance(norm, kind))
    if x.ndim not in accepted:
        expected = " or ".join(map(str, accepted))
        raise ValueError(f"{type(norm).__name__} expects features with {expected} dimensions, but got {x.ndim}.")


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return each channel's mean and biased variance and the number of values, over all processes; float64."""
    variance_C, mean_C = (each_C.double() for each_C in torch.var_mean(x, [0, *range(2, x.ndim)], correction=0))
    count = mean_C.new_full((1,), x.numel() // x.shape[1])
    sums: Tensor = SumOverProcesses.apply(torch.cat([mean_C * count, (variance_C + mean_C.square()) * count, count]))
    sum_C, square_C, count = sums.split([len(mean_C), len(mean_C), 1])
    count = count.detach()
    mean_C = sum_C / count
    return mean_C, (square_C / count - mean_C.square()).clamp(min=0), count


def move_running_statistics(norm: BatchNorm, mean_C: Tensor, variance_C: Tensor, count: Tensor) -> None:
    """Move the running statistics, if the module keeps any, towards the statistics of a batch of `count` values."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    unbiased_C = variance_C * (count / (count - 1))
    norm.running_mean.lerp_(mean_C.to(norm.running_mean.dtype), share)
    norm.running_var.lerp_(unbiased_C.to(norm.running_var.dtype), share)


class SumOverProcesses(torch.autograd.Function):
    """Sum a tensor over all processes; its gradient is the sum of the gradients of all processes."""

    @staticmethod
    def forward(context: Any, part: Tensor) -> Tensor:
        """Return the sum."""
        return summed(part)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        return summed(gradient)


def summed(part: Tensor) -> Tensor:
    """Return the sum over all processes, without a gradient."""
    whole = part.clone()
    dist.all_reduce(whole)
    return whole
