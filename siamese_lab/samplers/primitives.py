"""Choosing among many images at once, faster than by masking and sorting: each function says what it equals.

A row of C columns is read as `depth` × `blocks`, both about √C; block j is the columns j, j + blocks, j + 2·blocks, … A
pass over the row reduces every block to one number, which vectorises; the index is then looked for in the winning block
alone, as `argmax` over a whole row costs about twenty times `amax`. Comparisons that write booleans, `masked_fill` and
`where` are slow for the same reason: what they would do is done by arithmetic, in place.

Shapes: A anchors (rows), C images (columns; a multiple of the number of blocks, see `padded`), N blocks, R pairs or
draws per anchor, S of them at a time, X = A·S.
"""

import math

import torch
from torch import Tensor

from siamese_lab.samplers.class_peers import ClassRuns

ANY_NEGATIVE = -1
"""The bound below which all negative floats lie, as integers."""
SMALLEST = torch.finfo(torch.float32).tiny


def block_count(columns: int) -> int:
    """About √C, a multiple of 8 for the sake of vector registers."""
    return 8 * math.ceil(math.sqrt(max(1, columns)) / 8)


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
    x_ADN = in_blocks(x_AC)
    block_A1 = x_ADN.amax(1).argmax(1, keepdim=True)
    return _column(_of_block(x_ADN, block_A1)[:, 0].argmax(1, keepdim=True), block_A1, x_ADN)[:, 0]


def smallest(x_AC: Tensor) -> Tensor:
    """`x_AC.argmin(1)`."""
    x_ADN = in_blocks(x_AC)
    block_A1 = x_ADN.amin(1).argmin(1, keepdim=True)
    return _column(_of_block(x_ADN, block_A1)[:, 0].argmin(1, keepdim=True), block_A1, x_ADN)[:, 0]


def in_window(
    s_AC: Tensor, s_ap_AR: Tensor, width_AR: Tensor, u_AR: Tensor | None, spare: Tensor
) -> tuple[Tensor, Tensor]:
    """For each pair a column with s_ap − width < s < s_ap, and whether there is any.

    If there is none: the largest s below s_ap, and if there is none of these either, the smallest s of all.

    Args:
        s_AC: similarities, +inf where the column is not to be chosen.
        s_ap_AR: of R pairs.
        width_AR: of the open window, above 0.
        u_AR: uniform numbers in (0, 1) for a uniform draw from the window; None takes the largest s of it.
        spare: room to work in, of A·C entries at least; the more of them, the more pairs at a time.
    """
    rows, columns = s_AC.shape
    farthest_A1 = smallest(s_AC)[:, None]
    bound_AR = (-width_AR.clamp_min(SMALLEST)).view(torch.int32)
    at_once = max(1, len(spare) // (rows * columns))
    chosen, found = [], []
    for start in range(0, s_ap_AR.shape[1], at_once):
        some = slice(start, start + at_once)
        bound_AS = bound_AR[:, some]
        gap_ASC = spare[: bound_AS.numel() * columns].view(rows, -1, columns)
        gap_XC = signed_gap(s_AC[:, None], s_ap_AR[:, some, None], gap_ASC).flatten(0, 1)
        nearest_X = smallest(gap_XC)
        gap_AS = gap_XC.gather(1, nearest_X[:, None]).view_as(bound_AS)
        negative_AS = torch.where(gap_AS < 0, nearest_X.view_as(bound_AS), farthest_A1)
        found_AS = gap_AS < bound_AS
        if u_AR is not None:
            drawn_X1 = draw_below(gap_XC, bound_AS.reshape(-1, 1), u_AR[:, some].reshape(-1, 1))
            negative_AS = torch.where(found_AS, drawn_X1.view_as(bound_AS), negative_AS)
        chosen.append(negative_AS)
        found.append(found_AS)
    return torch.cat(chosen, 1), torch.cat(found, 1)


def signed_gap(left: Tensor, right: Tensor, into: Tensor) -> Tensor:
    """left − right as an int32 that is negative where the difference is, and the lower the nearer it is to 0.

    The bits of negative floats, read as integers, ascend as their magnitudes do, from −2³¹; those of positive floats
    are positive. So one `amin` finds the nearest below 0, and one comparison with a negative bound a whole window.
    """
    torch.sub(left, right, out=into)
    return into.view(torch.int32)


def draw_below(x_AC: Tensor, bound_A1: Tensor | int, u_AR: Tensor) -> Tensor:
    """R uniform draws per row among the columns with x < bound; x is overwritten.

    Args:
        x_AC: int32; a row with no such column gives indices without meaning.
        bound_A1: int32, negative.
        u_AR: uniform numbers in (0, 1).
    """
    x_AC.clamp_max_(-1).sub_(bound_A1).clamp_(-1, 0)  # clamped first, so that the difference does not overflow
    below_ADN = in_blocks(x_AC)
    upto_AN = below_ADN.sum(1, dtype=torch.int32).cumsum(1).neg_()
    count_A1 = upto_AN[:, -1:]
    rank_AR = torch.minimum((u_AR * count_A1).long(), count_A1 - 1)
    block_AR = torch.searchsorted(upto_AN, rank_AR, right=True).clamp_max_(upto_AN.shape[1] - 1)
    within_ARD = _of_block(below_ADN, block_AR).cumsum(2).neg_()
    rank_AR = rank_AR - upto_AN.gather(1, block_AR) + within_ARD[..., -1]
    row_AR1 = torch.searchsorted(within_ARD, rank_AR[..., None], right=True).clamp_max_(within_ARD.shape[2] - 1)
    return _column(row_AR1[..., 0], block_AR, below_ADN)


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
    others_B1 = images - count_B1
    place_BR = torch.minimum((u_BR * others_B1).long(), others_B1 - 1)
    return runs.order_C[place_BR + count_B1 * (place_BR >= start_B1)]


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


def _of_block(x_ADN: Tensor, block_AR: Tensor) -> Tensor:
    """The columns of R blocks per row, (A, R, depth)."""
    depth = x_ADN.shape[1]
    index_ADR = block_AR[:, None].expand(-1, depth, -1)
    return x_ADN.gather(2, index_ADR).transpose(1, 2).contiguous()


def _column(row_AR: Tensor, block_AR: Tensor, x_ADN: Tensor) -> Tensor:
    return row_AR * x_ADN.shape[2] + block_AR


def _below(x: Tensor, limit: Tensor) -> Tensor:
    """x, but less than limit, which rounding may have reached."""
    return torch.minimum(x, limit * (1 - 2**-23))
