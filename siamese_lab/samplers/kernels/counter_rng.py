"""Random numbers from a counter: the n-th number of a call is a hash of the seed, the call and n (SplitMix64).

They use plain tensor operations, and their complete state is two integers. So the numbers are the same on every
device, compiled or not, also in a captured CUDA graph, and checkpoints hold the state.

Steele et al. 2014, doi:10.1145/2714064.2660195.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from siamese_lab.samplers.kernels import on_eager_cpu

GOLDEN = 0x9E3779B97F4A7C15
BETWEEN_CALLS = 0xD1342543DE82EF95
"""Odd increment per call, far from small multiples of `GOLDEN`, so that no two calls of a training share a number."""
AHEAD = 2**14
"""Count of numbers drawn at once on a CPU, where an operation on few numbers takes longer to start than to compute."""
BITS = 23
"""Number of random bits: float32 holds every (k + ½) / 2^23 exactly, and none is 0 or 1."""


class Noise(nn.Module):
    """A separate stream of random numbers.

    Args:
        seed: any integer.
    """

    key: Tensor
    calls: Tensor
    stride: Tensor
    _ahead: "_Ahead | None"

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.register_buffer("key", torch.tensor(_mixed(seed)))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        # Not a Python number, as a compiler's index arithmetic does not wrap around.
        self.register_buffer("stride", torch.tensor(_signed(GOLDEN)), persistent=False)
        self._ahead = None

    def uniform(self, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Draw independent uniform float32 numbers in the open interval (0, 1)."""
        if self.key.device != device:
            self.to(device)
        count = math.prod(shape)
        numbers = self._kept(count) if on_eager_cpu(device) else self._numbers(self.calls, count)
        self.calls.add_(1)
        return numbers.view(shape)

    def _numbers(self, call: Tensor, count: int) -> Tensor:
        """Return the first `count` numbers of a call, or of several calls (S, 1) as one row each."""
        first = self.key.add(call, alpha=_signed(BETWEEN_CALLS))
        x = torch.addcmul(first, torch.arange(count, device=call.device), self.stride)
        _mix_upper_(x)
        return _shifted(x, 64 - BITS).to(torch.float32).add_(0.5).mul_(2.0**-BITS)

    def _kept(self, count: int) -> Tensor:
        """Return the numbers of this call. Several calls of equal size are drawn together in advance."""
        call, ahead = int(self.calls), self._ahead
        if ahead is None or not (ahead.size == count and 0 <= call - ahead.first < len(ahead.numbers)):
            with torch.inference_mode(False):
                calls_S1 = call + torch.arange(max(1, AHEAD // max(1, count)))[:, None]
                ahead = self._ahead = _Ahead(call, count, self._numbers(calls_S1, count).unbind())
        return ahead.numbers[call - ahead.first]

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._ahead = None

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Store a copy, because later calls increment the counter."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "calls"] = self.calls.clone()


class _Ahead(NamedTuple):
    """Numbers that were drawn in advance for later calls."""

    first: int
    """Index of the first call."""
    size: int
    """Count of numbers per call."""
    numbers: tuple[Tensor, ...]
    """The numbers of each call; the caller may overwrite them."""


def _mix_upper_(x: Tensor) -> None:
    """Apply SplitMix64's finalizer in place, without its last step, which changes only the lower 33 bits."""
    x ^= _shifted(x, 30)
    x *= _signed(0xBF58476D1CE4E5B9)
    x ^= _shifted(x, 27)
    x *= _signed(0x94D049BB133111EB)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Shift x right as an unsigned integer."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _mixed(seed: int) -> int:
    """Apply SplitMix64's finalizer to a Python integer, so that neighboring seeds start far apart."""
    x = (seed + GOLDEN) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return _signed(x ^ x >> 31)


def _signed(x: int) -> int:
    """Return the signed 64-bit integer with the same bits, because torch has no unsigned arithmetic."""
    return x - 2**64 if x >= 2**63 else x
