"""Distances between unit-norm embeddings, in float32 also under autocast, with gradients that are never NaN.

`rowwise` and `dot`, which losses differentiate, keep float64. Mining always uses float32.

d²(i, j) = max(0, 2 − 2 z_i·z_j), so plain distances lie in 0…2 and squared ones in 0…4.
Shapes: B embeddings of D dimensions, … any leading shape.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor

from siamese_lab.devices.precision import float32_products
from siamese_lab.errors import UserError

TILE_ENTRIES = {"cpu": 2**19, "cuda": 2**26}
"""Number of similarities in memory at once: 2 MiB fit the cache of a CPU core; a GPU needs few, large steps."""

Kind = Literal["plain", "squared"]


def check_kind(kind: str) -> None:
    """Raise UserError unless `kind` is one of the two distances."""
    if kind not in get_args(Kind):
        raise UserError(f"distance must be one of {', '.join(get_args(Kind))}, but is {kind!r}.")


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Switch autocast off on `device`, and products in fewer bits: TF32 on a GPU, bfloat16 on a CPU.

    A compiled step cannot switch these. It multiplies with the precision of `torch.set_float32_matmul_precision`; the
    default is "highest".
    """
    if torch.compiler.is_compiling():
        with torch.autocast(device.type, enabled=False):
            yield
        return
    with torch.autocast(device.type, enabled=False), float32_products(device):
        yield


def safe_sqrt(x: Tensor) -> Tensor:
    """Return √x for x ≥ 0. The gradient at 0 is 0 instead of infinity; NaN stays NaN."""
    if not x.requires_grad:
        return x.sqrt()
    zero = x == 0
    return torch.where(zero, 1.0, x).sqrt() * ~zero


def from_similarity(similarity: Tensor, kind: Kind = "plain") -> Tensor:
    """Return the distance of unit vectors, given their dot product."""
    squared = torch.rsub(similarity, 2, alpha=2).clamp_min(0)
    return squared if kind == "squared" else safe_sqrt(squared)


def pairwise(z_BD: Tensor, kind: Kind = "plain") -> Tensor:
    """Return all distances d_BB within a batch: float32, with a diagonal of exactly 0."""
    with full_float32(z_BD.device):
        z_BD = z_BD.float()
        return from_similarity(z_BD @ z_BD.T, kind).fill_diagonal_(0)


def rowwise(left: Tensor, right: Tensor, kind: Kind = "plain") -> Tensor:
    """Return distances between corresponding rows, at least float32: (…, D) and (…, D) give (…)."""
    return from_similarity(dot(left, right), kind)


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Return dot products of corresponding rows of any norm, at least float32: (…, D) and (…, D) give (…)."""
    precision = torch.promote_types(left.dtype, torch.float32)
    return (left.to(precision) * right.to(precision)).sum(-1)


def tile_rows(columns: int, device: torch.device, entries: Mapping[str, int] = TILE_ENTRIES) -> int:
    """Return how many rows of `columns` similarities to hold in memory at once."""
    return max(1, entries.get(device.type, entries["cpu"]) // columns)
