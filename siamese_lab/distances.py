"""Distances between unit-norm embeddings, in float32 whatever surrounds them, with gradients that are never NaN.

What is differentiated, `rowwise` and `dot`, keeps float64 where it is given that; what is mined is float32 always.

d²(i, j) = max(0, 2 − 2 z_i·z_j), so plain distances lie in 0…2 and squared ones in 0…4.
Shapes: B embeddings of D dimensions, … any leading shape.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor

from siamese_lab.errors import UserError

TILE_ENTRIES = {"cpu": 2**19, "cuda": 2**26}
"""Similarities held at once: 2 MiB stays near a processor core; a GPU wants few and large steps."""

Kind = Literal["plain", "squared"]


def check_kind(kind: str) -> None:
    """Raise UserError unless `kind` is one of the two distances."""
    if kind not in get_args(Kind):
        raise UserError(f"distance must be one of {', '.join(get_args(Kind))}, but is {kind!r}.")


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Switch autocast off on `device`, and TF32 too where it is a GPU.

    A compiled step cannot switch TF32: it multiplies as `torch.set_float32_matmul_precision` says, at first "highest".
    """
    if torch.compiler.is_compiling() or device.type == "cpu":
        with torch.autocast(device.type, enabled=False):
            yield
        return
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    with torch.autocast(device.type, enabled=False):
        matmul.fp32_precision = "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = before


def safe_sqrt(x: Tensor) -> Tensor:
    """√x for x ≥ 0, whose gradient at 0 is 0 rather than infinity; NaN stays NaN."""
    if not x.requires_grad:
        return x.sqrt()
    zero = x == 0
    return torch.where(zero, 1.0, x).sqrt() * ~zero


def from_similarity(similarity: Tensor, kind: Kind = "plain") -> Tensor:
    """Distance of unit vectors from their dot product."""
    squared = torch.rsub(similarity, 2, alpha=2).clamp_min(0)
    return squared if kind == "squared" else safe_sqrt(squared)


def pairwise(z_BD: Tensor, kind: Kind = "plain") -> Tensor:
    """All distances d_BB within a batch, float32, the diagonal exactly 0."""
    with full_float32(z_BD.device):
        z_BD = z_BD.float()
        return from_similarity(z_BD @ z_BD.T, kind).fill_diagonal_(0)


def rowwise(left: Tensor, right: Tensor, kind: Kind = "plain") -> Tensor:
    """Distances between corresponding rows, at least float32: (…, D) and (…, D) give (…)."""
    return from_similarity(dot(left, right), kind)


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Dot products of corresponding rows, of any length, at least float32: (…, D) and (…, D) give (…)."""
    precision = torch.promote_types(left.dtype, torch.float32)
    return (left.to(precision) * right.to(precision)).sum(-1)


def tile_rows(columns: int, device: torch.device, entries: Mapping[str, int] = TILE_ENTRIES) -> int:
    """How many rows of that many similarities to hold at once, whatever the number of rows in all."""
    return max(1, entries.get(device.type, entries["cpu"]) // columns)
