"""Selection among many images, faster than masking and sorting. Each docstring states the equivalent operation.

A row of C columns is viewed as `depth` × `blocks`, both about √C. Block j holds the columns j, j + blocks,
j + 2·blocks, … A pass over the row reduces every block to one number, which vectorizes. The index is then searched only
in the winning block, because `argmax` over a whole row takes about twenty times as long as `amax`. In a short row each
column is a block, because starting an operation takes longer there than reading all columns. Comparisons that write
booleans, `masked_fill` and `where` do not vectorize either, so comparisons write numbers in place here, and arithmetic
does the rest.

Shapes: A anchors (rows), C images (columns; a multiple of the number of blocks, see `padded`), N blocks of D columns, R
pairs or draws per anchor.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from siamese_lab.samplers.kernels.class_index import ClassRuns

SHORT = 128
"""Largest number of columns for which each column is a block."""
SMALLEST = torch.finfo(torch.float32).tiny
"""The smallest width of a window."""
VECTOR = 32
"""Number of columns that a processor reduces at once; each remaining column takes ten times as long."""


def block_count(columns: int) -> int:
    """Return the number of blocks: about √C, a multiple of `VECTOR`; one per column if there are few columns."""
    if columns <= SHORT:
        return VECTOR * math.ceil(columns / VECTOR)
    return VECTOR * max(1, round(math.sqrt(columns) / VECTOR))


def padded(columns: int) -> int:
    """Return the next number of columns that `block_count(columns)` divides."""
    blocks = block_count(columns)
    return blocks * math.ceil(columns / blocks)


def in_blocks(x_AC: Tensor) -> Tensor:
    """Return a view of the rows as (A, depth, blocks)."""
    blocks = block_count(x_AC.shape[1])
    return x_AC.view(len(x_AC), -1, blocks)


def largest(x_AC: Tensor) -> Tensor:
    """Compute `x_AC.argmax(1)`."""
    x_ADN = in_blocks(x_AC)
    if x_ADN.shape[1] == 1:
        return x_AC.argmax(1)
    block_A1 = x_ADN.amax(1).argmax(1, keepdim=True)
    return _column(_of_block(x_ADN, block_A1)[:, 0].argmax(1, keepdim=True), block_A1, x_ADN)[:, 0]


def nearest_in_window(s_AC: Tensor, s_ap_AR: Tensor, width_AR: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """Find, for each pair, the column with the largest s inside the open window s_ap − width < s < s_ap.

    If the window is empty, find the largest s below s_ap. If no s is below s_ap, find the smallest s. Among columns
    with equal rounded s − s_ap, any may be returned.

    Args:
        s_AC: similarities, +inf where the column must not be chosen.
        s_ap_AR: similarities of anchor and positive, of R pairs.
        width_AR: width of the open window, at least `SMALLEST`.
        scratch: memory for at least A·C numbers; its size decides how many pairs are compared together.

    Returns:
        The columns (A, R), and booleans (A, R): True where the window is empty.
    """
    s_ADN = in_blocks(s_AC)
    least_AR, block_AR = _joined([gap_AGDN.amin(2) for _, gap_AGDN in _gaps(s_ADN, s_ap_AR, scratch)]).min(2)
    is_empty_AR = least_AR >= _edge(width_AR)
    if s_ADN.shape[1] == 1:
        return block_AR, is_empty_AR
    row_AR = signed_gap(_of_block(s_ADN, block_AR), s_ap_AR[..., None]).argmin(2)
    return _column(row_AR, block_AR, s_ADN), is_empty_AR


def draw_in_window(
    s_AC: Tensor, s_ap_AR: Tensor, width_AR: Tensor, u_AR: Tensor, scratch: Tensor
) -> tuple[Tensor, Tensor]:
    """Draw uniformly from the window of each pair. Where it is empty, return the same as `nearest_in_window`.

    Args:
        s_AC: see `nearest_in_window`.
        s_ap_AR: similarities of R pairs, or of one pair (A, 1) with the window that all draws share.
        width_AR: see `nearest_in_window`; same shape as `s_ap_AR`.
        u_AR: uniform numbers in (0, 1).
        scratch: see `nearest_in_window`.
    """
    s_ADN, edge_AR = in_blocks(s_AC), _edge(width_AR)
    least, inside = [], []
    for pairs, gap_AGDN in _gaps(s_ADN, s_ap_AR, scratch):
        least.append(gap_AGDN.flatten(2).amin(2))
        inside_AGDN = gap_AGDN.lt_(_bound(edge_AR[:, pairs], least[-1])[..., None, None])
        inside.append(_count(inside_AGDN, kept=inside_AGDN.shape[1] == s_ap_AR.shape[1]))
    least_AR = _joined(least)
    drawn = _draw(_joined(inside).expand(-1, u_AR.shape[1], -1), u_AR)
    block_AR, is_empty_AR = drawn.block_AR1[..., 0], least_AR >= edge_AR
    if s_ADN.shape[1] == 1:
        return block_AR, is_empty_AR
    gap_ARD = signed_gap(_of_block(s_ADN, block_AR), s_ap_AR[..., None])
    row_AR = _row_of_rank(gap_ARD.lt_(_bound(edge_AR, least_AR)[..., None]), drawn.rank_in_block())
    return _column(row_AR, block_AR, s_ADN), is_empty_AR


def _gaps(s_ADN: Tensor, s_ap_AR: Tensor, scratch: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield groups of pairs and their `signed_gap` of s and s_ap; each group overwrites the scratch memory."""
    pairs = s_ap_AR.shape[1]
    together = max(1, min(pairs, len(scratch) // s_ADN.numel()))
    for first in range(0, pairs, together):
        some = slice(first, first + together)
        s_ap_AG11 = s_ap_AR[:, some, None, None]
        shape = (*s_ap_AG11.shape[:2], *s_ADN.shape[1:])
        yield some, signed_gap(s_ADN[:, None], s_ap_AG11, scratch[: math.prod(shape)].view(shape))


def _edge(width: Tensor) -> Tensor:
    """Return the integer that is above all gaps inside a window of this width."""
    return width.neg().view(torch.int32)


def _bound(edge: Tensor, least: Tensor) -> Tensor:
    """Return the integer that is above all gaps inside the window, or above the least gap if the window is empty."""
    return torch.maximum(edge, least + 1)


def signed_gap(left: Tensor, right: Tensor, into: Tensor | None = None) -> Tensor:
    """Return left − right as an int32 with the sign of the difference; the nearer to 0, the lower within each sign.

    The bits of negative floats, read as integers, start at −2³¹ and ascend with the magnitude. The bits of positive
    floats are positive integers. So one `amin` finds the difference nearest below 0, or nearest to 0 if all are above
    0. One comparison with a negative bound finds a whole window.
    """
    return torch.sub(left, right, out=into).view(torch.int32)


class _BlockDraw(NamedTuple):
    """A uniform draw of one column among all counted columns."""

    block_AR1: Tensor
    """Index of the block that holds the drawn column."""
    rank_AR1: Tensor
    """Number of counted columns before the drawn column, in all blocks."""
    upto_ARN: Tensor
    """Number of counted columns in each block and the blocks before it."""
    count_ARN: Tensor
    """Number of counted columns in each block."""

    def rank_in_block(self) -> Tensor:
        """Return the number of counted columns before the drawn column within its block (A, R, 1)."""
        return self.rank_AR1 - self.upto_ARN.gather(2, self.block_AR1) + self.count_ARN.gather(2, self.block_AR1)


def _draw(count_ARN: Tensor, u_AR: Tensor) -> _BlockDraw:
    upto_ARN = count_ARN.cumsum(2, dtype=torch.int32)
    rank_AR1 = _integer_below(upto_ARN[..., -1:], u_AR[..., None])
    block_AR1 = torch.searchsorted(upto_ARN, rank_AR1, right=True).clamp_max_(upto_ARN.shape[2] - 1)
    return _BlockDraw(block_AR1, rank_AR1, upto_ARN, count_ARN)


def _count(ones_AGDN: Tensor, kept: bool) -> Tensor:
    """Count the ones of each block, given ones and zeros; a view if the input is kept and a block is one column."""
    if kept and ones_AGDN.shape[2] == 1:
        return ones_AGDN.squeeze(2)
    return ones_AGDN.sum(2, dtype=torch.int32)


def _row_of_rank(counted_ARD: Tensor, rank_AR1: Tensor) -> Tensor:
    """Return the row of the 1 with this rank, counted from 0, among the ones and zeros of a block."""
    upto_ARD = counted_ARD.cumsum(2, dtype=torch.int32)
    return torch.searchsorted(upto_ARD, rank_AR1, right=True)[..., 0]


def draw_weighted(weight_AC: Tensor, u_AR: Tensor) -> Tensor:
    """Draw R independent columns per row with the given weights, by inverting cumulative sums block by block.

    Args:
        weight_AC: non-negative, float32; a row of zeros returns an arbitrary index.
        u_AR: uniform numbers in (0, 1).
    """
    weight_ADN = in_blocks(weight_AC)
    upto_AN = (weight_ADN.sum(1) if weight_ADN.shape[1] > 1 else weight_AC).cumsum(1)
    target_AR = _below(u_AR * upto_AN[:, -1:], upto_AN[:, -1:])
    block_AR = torch.searchsorted(upto_AN, target_AR, right=True).clamp_max_(upto_AN.shape[1] - 1)
    if weight_ADN.shape[1] == 1:
        return block_AR
    within_ARD = _of_block(weight_ADN, block_AR).cumsum(2)
    before_AR = torch.where(block_AR > 0, upto_AN.gather(1, (block_AR - 1).clamp_min_(0)), 0.0)
    rest_AR1 = _below((target_AR - before_AR)[..., None], within_ARD[..., -1:])
    row_AR1 = torch.searchsorted(within_ARD, rest_AR1, right=True).clamp_max_(within_ARD.shape[2] - 1)
    return _column(row_AR1[..., 0], block_AR, weight_ADN)


def draw_outside(runs: ClassRuns, images: Tensor | int, u_BR: Tensor) -> Tensor:
    """Draw R images per anchor uniformly among the images of other classes.

    Args:
        runs: the classes in the order of their labels.
        images: number of images; later entries of `runs.order_C` are left out.
        u_BR: uniform numbers in (0, 1).
    """
    start_B1, count_B1 = runs.start_B[:, None], runs.count_B[:, None]
    place_BR = _integer_below(images - count_B1, u_BR)
    return runs.order_C.take(place_BR + count_B1 * (place_BR >= start_B1))


def power_(x: Tensor, exponent: int) -> Tensor:
    """Compute x^exponent for x > 0 and exponent ≥ 0 by repeated squaring. The result overwrites x.

    `pow` is several times slower. The exponent 2ⁿ − 1 needs the most products and occurs for D = 2ⁿ⁺¹ dimensions. It is
    computed as x^(2ⁿ) / x.
    """
    if exponent == 0:
        return x.fill_(1.0)
    if exponent > 7 and exponent & (exponent + 1) == 0:
        once = x.clone()
        return power_(x, exponent + 1).div_(once)
    result: Tensor | None = None
    while True:
        if exponent % 2:
            result = x.clone() if result is None and exponent > 1 else x if result is None else result.mul_(x)
        exponent //= 2
        if exponent == 0:
            assert result is not None
            return result
        x.square_()


def _joined(parts: list[Tensor]) -> Tensor:
    """Concatenate parts of the pairs."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _of_block(x_ADN: Tensor, block_AR: Tensor) -> Tensor:
    """Return the columns of R blocks per row, (A, R, depth)."""
    depth = x_ADN.shape[1]
    index_ADR = block_AR[:, None].expand(-1, depth, -1)
    return x_ADN.gather(2, index_ADR).transpose(1, 2).contiguous()


def _column(row_AR: Tensor, block_AR: Tensor, x_ADN: Tensor) -> Tensor:
    return row_AR * x_ADN.shape[2] + block_AR


def _integer_below(count: Tensor, u: Tensor) -> Tensor:
    """Map u to integers in 0 … count − 1: u < 1 in float32, times a count up to 2²⁴, stays below the count."""
    return (u * count).to(count.dtype)


def _below(x: Tensor, limit: Tensor) -> Tensor:
    """Return x, or a number just below the limit if rounding has reached the limit."""
    return torch.minimum(x, limit * (1 - 2**-23))
