"""Choosing among many images at once, faster than by masking and sorting: each function says what it equals.

A row of C columns is read as `depth` × `blocks`, both about √C; block j is the columns j, j + blocks, j + 2·blocks, … A
pass over the row reduces every block to one number, which vectorises; the index is then looked for in the winning block
alone, as `argmax` over a whole row costs about twenty times `amax`. Comparisons that write booleans, `masked_fill` and
`where` are slow for the same reason: comparisons write numbers here, in place, and the rest is done by arithmetic.

Shapes: A anchors (rows), C images (columns; a multiple of the number of blocks, see `padded`), N blocks of D columns, R
pairs or draws per anchor.
"""

import math

import torch
from torch import Tensor

from siamese_lab.samplers.class_peers import ClassRuns

ANY_NEGATIVE = -1
"""The bound below which all negative floats lie, as integers."""
SHORT = 128
"""Up to so many columns a plain `argmax` is the fastest."""
SMALLEST = torch.finfo(torch.float32).tiny
VECTOR = 32
"""Numbers that a processor reduces at once, column by column; of what is left over it takes ten times as long."""


def block_count(columns: int) -> int:
    """About √C, a multiple of `VECTOR`."""
    return VECTOR * max(1, round(math.sqrt(columns) / VECTOR))


def padded(columns: int) -> int:
    """The next number of columns that `block_count(columns)` divides."""
    blocks = block_count(columns)
    return blocks * math.ceil(columns / blocks)


def in_blocks(x_AC: Tensor) -> Tensor:
    """A view of rows as (A, depth, blocks)."""
    blocks = block_count(x_AC.shape[1])
    return x_AC.view(len(x_AC), -1, blocks)


def largest(x_AC: Tensor) -> Tensor:
    """`x_AC.argmax(1)`."""
    if x_AC.shape[1] <= SHORT:
        return x_AC.argmax(1)
    x_ADN = in_blocks(x_AC)
    block_A1 = x_ADN.amax(1).argmax(1, keepdim=True)
    return _column(_of_block(x_ADN, block_A1)[:, 0].argmax(1, keepdim=True), block_A1, x_ADN)[:, 0]


def in_window(
    s_AC: Tensor, s_ap_AR: Tensor, width_AR: Tensor, u_AR: Tensor | None, spare: Tensor
) -> tuple[Tensor, Tensor]:
    """For each pair a column with s_ap − width < s < s_ap, and whether there is any.

    If there is none: the largest s below s_ap, and if there is none of these either, the smallest s of all. Of columns
    whose s − s_ap are rounded to the same number, any may be taken.

    Args:
        s_AC: similarities, +inf where the column is not to be chosen.
        s_ap_AR: of R pairs.
        width_AR: of the open window, above 0.
        u_AR: uniform numbers in (0, 1) for a uniform draw from the window; None takes the largest s of it.
        spare: room to work in, for A·C numbers or more; as many pairs are looked at together as it holds.
    """
    s_A1DN = in_blocks(s_AC)[:, None]
    s_ap_AR11 = s_ap_AR[..., None, None]
    bound_AR11 = width_AR.clamp_min(SMALLEST).neg_().view(torch.int32)[..., None, None]
    together = max(1, min(s_ap_AR.shape[1], len(spare) // s_AC.numel()))
    least, inside = [], []
    for s_ap_AG11, bound_AG11 in zip(s_ap_AR11.split(together, 1), bound_AR11.split(together, 1), strict=True):
        shape = (len(s_AC), s_ap_AG11.shape[1], *s_A1DN.shape[2:])
        gap_AGDN = signed_gap(s_A1DN, s_ap_AG11, spare[: math.prod(shape)].view(shape))
        least.append(gap_AGDN.amin(2))
        if u_AR is not None:
            inside.append(gap_AGDN.lt_(bound_AG11).sum(2, dtype=torch.int32))
    nearest_AR = _joined(least).min(2)
    found_AR = nearest_AR.values < bound_AR11[..., 0, 0]
    block_AR = nearest_AR.indices
    if u_AR is not None:
        drawn_AR, rank_AR = _block_of_draw(_joined(inside), u_AR)
        block_AR = torch.where(found_AR, drawn_AR, block_AR)
    s_ARD = _of_block(s_A1DN[:, 0], block_AR)
    gap_ARD = signed_gap(s_ARD, s_ap_AR11[..., 0])
    row_AR = gap_ARD.argmin(2)
    if u_AR is not None:
        row_AR = torch.where(found_AR, _row_of_rank(gap_ARD.lt_(bound_AR11[..., 0]), rank_AR), row_AR)
    return _column(row_AR, block_AR, s_A1DN[:, 0]), found_AR


def signed_gap(left: Tensor, right: Tensor, into: Tensor | None = None) -> Tensor:
    """left − right as an int32 that is negative where the difference is, and the lower the nearer it is to 0.

    The bits of negative floats, read as integers, ascend as their magnitudes do, from −2³¹; those of positive floats
    are positive. So one `amin` finds the nearest below 0, or the nearest to 0 if all are above; and one comparison with
    a negative bound finds a whole window.
    """
    return torch.sub(left, right, out=into).view(torch.int32)


def draw_below(x_AC: Tensor, bound: int, u_AR: Tensor) -> Tensor:
    """R uniform draws per row among the columns with x < bound; x is overwritten.

    Args:
        x_AC: int32; a row with no such column gives indices without meaning.
        bound: what to stay below.
        u_AR: uniform numbers in (0, 1).
    """
    below_ADN = in_blocks(x_AC.lt_(bound))
    count_A1N = below_ADN.sum(1, keepdim=True, dtype=torch.int32)
    block_AR, rank_AR = _block_of_draw(count_A1N.expand(-1, u_AR.shape[1], -1), u_AR)
    return _column(_row_of_rank(_of_block(below_ADN, block_AR), rank_AR), block_AR, below_ADN)


def _block_of_draw(count_ARN: Tensor, u_AR: Tensor) -> tuple[Tensor, Tensor]:
    """The block that a uniform draw among all that were counted falls into, and its rank within that block."""
    upto_ARN = count_ARN.cumsum(2, dtype=torch.int32)
    rank_AR1 = _integer_below(upto_ARN[..., -1:], u_AR[..., None])
    block_AR1 = torch.searchsorted(upto_ARN, rank_AR1, right=True).clamp_max_(upto_ARN.shape[2] - 1)
    before_AR1 = upto_ARN.gather(2, block_AR1) - count_ARN.gather(2, block_AR1)
    return block_AR1[..., 0], (rank_AR1 - before_AR1)[..., 0]


def _row_of_rank(counted_ARD: Tensor, rank_AR: Tensor) -> Tensor:
    """Where the 1 with that rank, counted from 0, stands among the ones and zeros of a block."""
    upto_ARD = counted_ARD.cumsum(2, dtype=torch.int32)
    return torch.searchsorted(upto_ARD, rank_AR[..., None], right=True)[..., 0]


def draw_weighted(weight_AC: Tensor, u_AR: Tensor) -> Tensor:
    """R independent draws per row with the given weights, by the inverse of their cumulated sums, block by block.

    Args:
        weight_AC: non-negative, float32; a row of zeros gives an index without meaning.
        u_AR: uniform numbers in (0, 1).
    """
    weight_ADN = in_blocks(weight_AC)
    upto_AN = weight_ADN.sum(1).cumsum(1)
    target_AR = _below(u_AR * upto_AN[:, -1:], upto_AN[:, -1:])
    block_AR = torch.searchsorted(upto_AN, target_AR, right=True).clamp_max_(upto_AN.shape[1] - 1)
    within_ARD = _of_block(weight_ADN, block_AR).cumsum(2)
    before_AR = torch.where(block_AR > 0, upto_AN.gather(1, (block_AR - 1).clamp_min_(0)), 0.0)
    rest_AR1 = _below((target_AR - before_AR)[..., None], within_ARD[..., -1:])
    row_AR1 = torch.searchsorted(within_ARD, rest_AR1, right=True).clamp_max_(within_ARD.shape[2] - 1)
    return _column(row_AR1[..., 0], block_AR, weight_ADN)


def draw_outside(runs: ClassRuns, images: Tensor | int, u_BR: Tensor) -> Tensor:
    """R uniform draws per anchor among the images that are not of its class.

    Args:
        runs: the classes in the order of their labels.
        images: how many there are; those at the end of `runs.order_C` beyond that number are left out.
        u_BR: uniform numbers in (0, 1).
    """
    start_B1, count_B1 = runs.start_B[:, None], runs.count_B[:, None]
    place_BR = _integer_below(images - count_B1, u_BR)
    return runs.order_C.take(place_BR + count_B1 * (place_BR >= start_B1))


def power_(x: Tensor, exponent: int) -> Tensor:
    """x^exponent for exponent ≥ 0 by repeated squaring; x is overwritten. `pow` is several times slower."""
    if exponent == 0:
        return x.fill_(1.0)
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
    """Parts of the pairs, as one."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _of_block(x_ADN: Tensor, block_AR: Tensor) -> Tensor:
    """The columns of R blocks per row, (A, R, depth)."""
    depth = x_ADN.shape[1]
    index_ADR = block_AR[:, None].expand(-1, depth, -1)
    return x_ADN.gather(2, index_ADR).transpose(1, 2).contiguous()


def _column(row_AR: Tensor, block_AR: Tensor, x_ADN: Tensor) -> Tensor:
    return row_AR * x_ADN.shape[2] + block_AR


def _integer_below(count: Tensor, u: Tensor) -> Tensor:
    """Uniform draws of an integer in 0 … count − 1: u < 1 in float32, times a count up to 2²⁴, stays below it."""
    return (u * count).to(count.dtype)


def _below(x: Tensor, limit: Tensor) -> Tensor:
    """x, but less than limit, which rounding may have reached."""
    return torch.minimum(x, limit * (1 - 2**-23))
