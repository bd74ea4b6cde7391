"""Full float32 products and convolutions, where PyTorch may use TF32 on a GPU or bfloat16 on a CPU.

PyTorch 2.9 has a setting `fp32_precision` for each operation, and refuses to read the older settings once it is set.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

HAS_FP32_PRECISION = hasattr(torch.backends.cudnn, "conv")


@contextmanager
def float32_products(device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices on `device` in float32 within the block."""
    if not HAS_FP32_PRECISION:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
        return
    backend: Any = torch.backends.mkldnn if device.type == "cpu" else torch.backends.cuda
    with _changed(backend.matmul, "fp32_precision", "ieee"):
        yield


@contextmanager
def float32_convolutions() -> Iterator[None]:
    """Convolve float32 images on a GPU in float32 within the block."""
    cudnn: Any = torch.backends.cudnn
    if HAS_FP32_PRECISION:
        with _changed(cudnn.conv, "fp32_precision", "ieee"):
            yield
    else:
        with _changed(cudnn, "allow_tf32", False):
            yield


@contextmanager
def _changed(owner: Any, setting: str, value: object) -> Iterator[None]:
    """Give a setting another value within the block."""
    before = getattr(owner, setting)
    setattr(owner, setting, value)
    try:
        yield
    finally:
        setattr(owner, setting, before)
