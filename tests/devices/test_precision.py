"""Products and convolutions are float32 within the block, and as before afterwards."""

from collections.abc import Iterator

import pytest
import torch

from siamese_lab.devices.precision import HAS_FP32_PRECISION, float32_convolutions, float32_products


@pytest.fixture
def low_precision() -> Iterator[None]:
    """Allow TF32 and bfloat16 for float32 products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


def product_setting(device: str) -> str:
    """Return the setting of products that the installed version of PyTorch obeys."""
    if not HAS_FP32_PRECISION:
        return torch.get_float32_matmul_precision()
    return {"cpu": torch.backends.mkldnn, "cuda": torch.backends.cuda}[device].matmul.fp32_precision


def convolution_setting() -> str | bool:
    return torch.backends.cudnn.conv.fp32_precision if HAS_FP32_PRECISION else torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_products_are_float32_within_the_block_also_if_it_fails(device: str, low_precision: None) -> None:
    before = product_setting(device)
    with pytest.raises(ZeroDivisionError), float32_products(torch.device(device)):
        assert product_setting(device) == ("ieee" if HAS_FP32_PRECISION else "highest") != before
        _ = 1 / 0
    assert product_setting(device) == before
    assert torch.get_float32_matmul_precision() == "medium"


def test_convolutions_are_float32_within_the_block_also_if_it_fails() -> None:
    before = convolution_setting()
    with pytest.raises(ZeroDivisionError), float32_convolutions():
        assert convolution_setting() == ("ieee" if HAS_FP32_PRECISION else False) != before
        _ = 1 / 0
    assert convolution_setting() == before
