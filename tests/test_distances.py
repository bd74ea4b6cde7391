"""Distances agree with the loops, and are full float32 without NaN under every precision setting."""

import math

import pytest
import torch
import torch.nn.functional as F

from siamese_lab import distances
from siamese_lab.devices.precision import HAS_FP32_PRECISION

KINDS = ("plain", "squared")


def unit_vectors(count, dimensions, seed=0):
    return F.normalize(torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)), dim=1)


def euclidean(left, right, kind):
    squared = sum((x - y) ** 2 for x, y in zip(left.tolist(), right.tolist(), strict=True))
    return squared if kind == "squared" else math.sqrt(squared)


@pytest.fixture
def restore_precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dimensions", [2, 64, 512])
def test_pairwise_and_rowwise_are_euclidean(dimensions, kind):
    z_BD = unit_vectors(9, dimensions)
    expected_BB = [[euclidean(left, right, kind) for right in z_BD.double()] for left in z_BD.double()]
    # Squares are compared, because a square root magnifies the rounding of small squared distances without limit.
    power = {"plain": 2, "squared": 1}[kind]
    expected_squared_BB = torch.tensor(expected_BB, dtype=torch.float64) ** power
    for d_BB in (distances.pairwise(z_BD, kind), distances.rowwise(z_BD[:, None], z_BD[None], kind)):
        torch.testing.assert_close(d_BB.double() ** power, expected_squared_BB, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_diagonal_is_exactly_0_and_the_result_float32(dtype, kind):
    d_BB = distances.pairwise(unit_vectors(20, 64).to(dtype), kind)
    assert d_BB.dtype == torch.float32
    assert (d_BB.diagonal() == 0).all()
    assert (d_BB >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_opposite_images_have_the_largest_distance(kind):
    z_BD = torch.tensor([[0.6, 0.8], [-0.6, -0.8]])
    expected = {"plain": 2.0, "squared": 4.0}[kind]
    assert distances.pairwise(z_BD, kind)[0, 1].item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_rows_have_distance_0_and_finite_gradients(kind):
    z_BD = torch.tensor([[0.6, 0.8], [0.6, 0.8], [1.0, 0.0]], requires_grad=True)
    for d in (distances.pairwise(z_BD, kind), distances.rowwise(z_BD, z_BD.detach().clone(), kind)):
        (gradient_BD,) = torch.autograd.grad(d.sum(), z_BD)
        assert torch.isfinite(gradient_BD).all()


def test_the_root_has_gradient_0_at_0_and_the_usual_gradient_elsewhere():
    x = torch.tensor([0.0, 0.25, 4.0], requires_grad=True)
    root = distances.safe_sqrt(x)
    root.sum().backward()
    assert root.tolist() == [0.0, 0.5, 2.0]
    assert x.grad.tolist() == [0.0, 1.0, 0.25]


def test_a_similarity_above_1_by_rounding_is_distance_0():
    similarity = torch.tensor([1.0 + 2**-23, 1.0, 0.5, -1.0], requires_grad=True)
    d = distances.from_similarity(similarity)
    d.sum().backward()
    assert d.tolist() == [0.0, 0.0, 1.0, 2.0]
    assert similarity.grad.tolist() == [0.0, 0.0, -1.0, -0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_does_not_lower_the_precision(kind):
    z_BD = unit_vectors(16, 128)
    outside = distances.pairwise(z_BD, kind), distances.rowwise(z_BD[:8], z_BD[8:], kind)
    with torch.autocast("cpu", torch.bfloat16):
        assert (z_BD @ z_BD.T).dtype == torch.bfloat16, "autocast should be active outside of distances"
        inside = distances.pairwise(z_BD, kind), distances.rowwise(z_BD[:8], z_BD[8:], kind)
        assert (z_BD @ z_BD.T).dtype == torch.bfloat16, "autocast should be active again afterwards"
    for expected, d in zip(outside, inside, strict=True):
        assert d.dtype == torch.float32
        assert torch.equal(d, expected)


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_a_lower_matmul_precision_does_not_lower_the_precision(precision, restore_precision):
    """Lightning recommends `medium`, which allows multiplication in bfloat16 on processors that support it."""
    z_BD = unit_vectors(256, 256)
    expected_BB = torch.cdist(z_BD.double(), z_BD.double(), compute_mode="donot_use_mm_for_euclid_dist")
    torch.set_float32_matmul_precision(precision)
    d_BB = distances.pairwise(z_BD)
    assert torch.get_float32_matmul_precision() == precision
    torch.testing.assert_close(d_BB.double(), expected_BB, atol=1e-5, rtol=0)


@pytest.fixture
def tf32_by_fp32_precision():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32"
    yield
    matmul.fp32_precision = before


@pytest.mark.skipif(not HAS_FP32_PRECISION, reason="fp32_precision exists since PyTorch 2.9")
def test_tf32_enabled_by_fp32_precision_does_not_fail(tf32_by_fp32_precision):
    """PyTorch refuses to read `allow_tf32` after `fp32_precision` is set."""
    z_BD = unit_vectors(4, 8)
    expected_BB = torch.cdist(z_BD.double(), z_BD.double())
    torch.testing.assert_close(distances.pairwise(z_BD).double(), expected_BB, atol=2e-6, rtol=0)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def test_an_unknown_distance_is_refused():
    distances.check_kind("plain")
    distances.check_kind("squared")
    with pytest.raises(ValueError, match=r"distance must be one of plain, squared, but is 'cosine'\."):
        distances.check_kind("cosine")
