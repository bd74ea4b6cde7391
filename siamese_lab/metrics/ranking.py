"""The exact places of the images of a query's own class among all others, tile by tile, without an N×N matrix.

The place of the j-th nearest image of the class is j plus the number of images of other classes that come before it.
The figures need only the places up to R, and the first place. So most of a row is never sorted. The largest similarity
of each block of a row gives a lower bound of how many images of other classes come before. This bounds how many images
of the class have places up to R. Only the images of other classes before the last of these are selected and counted.

Ties count against the model: an image of the class is placed after every image of another class at the same distance.
Similarities within `TIE` count as equal, because a matrix product rounds equal rows differently in different places. An
embedding that is not finite is never found, finds nothing, and comes before all images of other classes than its own.

Shapes: N images, M of the gallery, Q queries among the images, T queries of a tile, J images of the query's class,
B blocks of a row, H selected images of other classes, D dimensions.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.query_gallery import Ignored

TIE = 1e-6
"""Tolerance of cosines; for ½d² it is multiplied by the larger squared norm of the two embeddings."""
TILE_ENTRIES = {"cpu": 2**24, "cuda": 2**26}
"""Number of similarities in memory at once: 64 MiB at most. The product takes most of the time and needs many rows."""
COUNTED_ENTRIES = {"cpu": 2**22, "cuda": 2**26}
"""Number of similarities counted at once: the selection for large classes takes several times their memory."""
MOST_ROWS = {"cpu": 256, "cuda": 4096}
"""Maximum number of rows of a tile: more rows are not faster and exceed the cache."""
ALIGNED = 64
"""Divisor of the number of columns of a tile: products into unaligned rows are a third slower."""
DEEPEST = 16
"""Maximum number of similarities of a block."""
UNIT = 1e-5
"""Tolerance of norm 1, within which embeddings are not divided by their norm."""
NEVER = torch.iinfo(torch.int32).max
"""The place of an image that is not found."""

Distance = Literal["cosine", "euclidean"]


class Points(NamedTuple):
    """Embeddings, prepared for comparison."""

    z_ND: Tensor
    """float32, of unit length for cosines."""
    length_N: Tensor | None
    """Norms, for Euclidean distances; None for cosines."""
    finite_N: Tensor
    """bool."""

    def part(self, chosen: Tensor | slice) -> "Points":
        """Some of them."""
        length_N = None if self.length_N is None else self.length_N[chosen]
        return Points(self.z_ND[chosen], length_N, self.finite_N[chosen])


class Queries(NamedTuple):
    """The queries, and the positions of their classes in the sorted gallery."""

    row_Q: Tensor
    """int64: rows of the images."""
    start_Q: Tensor
    """int64: position in `order_M` where the class begins."""
    count_Q: Tensor
    """int64: number of images of the class, including the query if it is in the gallery."""
    relevant_Q: Tensor
    """int64: R, without the query itself; at least 1."""

    def part(self, chosen: Tensor | slice) -> "Queries":
        """Some of them."""
        return Queries(*(each_Q[chosen] for each_Q in self))


class Places(NamedTuple):
    """The components of the figures of each query."""

    first_Q: Tensor
    """int32: the place, from 1, of the nearest image of the class; NEVER where there is none."""
    found_Q: Tensor
    """int32: images of the class among the R nearest."""
    precision_Q: Tensor
    """float64 if the device has it: the sum of the precisions at these places."""
    all_precision_Q: Tensor
    """The sum of the precisions at the places of all images of the class, in the type of `precision_Q`, or 0."""

    def write(self, chosen: slice, found: "Places") -> None:
        """Store the places that some of the queries found."""
        for each_Q, found_T in zip(self, found, strict=True):
            each_Q[chosen] = found_T


def summed_in(device: torch.device) -> torch.dtype:
    """Return float64, so that the order of the images has no effect; Apple's GPUs support only float32."""
    return torch.float32 if device.type == "mps" else torch.float64


def empty_places(queries: Queries) -> Places:
    """Allocate places for all queries before the first tile.

    Small tensors kept from each tile would lie between the large tensors that it frees. That memory could not be
    reused, and its amount would grow with the number of tiles.
    """
    summed = summed_in(queries.row_Q.device)
    kinds = torch.int32, torch.int32, summed, summed
    return Places(*(torch.empty_like(queries.row_Q, dtype=kind) for kind in kinds))


def points(z_ND: Tensor, distance: Distance) -> Points:
    """Prepare embeddings as float32, with a copy only if necessary."""
    z_ND = z_ND.detach().float()
    length_N = torch.linalg.vector_norm(z_ND, dim=1)
    finite_N = length_N.isfinite()
    if distance == "euclidean":
        return Points(z_ND, length_N, finite_N)
    if ((length_N - 1).abs() > UNIT).any():
        z_ND = z_ND / length_N.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    return Points(z_ND, None, finite_N)


def similarities(queries: Points, gallery: Points, out_TM: Tensor) -> Tensor:
    """Compute similarities, larger for nearer images: cosines, or q·g − ½‖g‖², which is ½‖q‖² − ½d²."""
    with distances.full_float32(out_TM.device):
        if gallery.length_N is None:
            return torch.mm(queries.z_ND, gallery.z_ND.T, out=out_TM)
        return torch.addmm(gallery.length_N.square() / -2, queries.z_ND, gallery.z_ND.T, out=out_TM)


def class_lists(labels_N: Tensor, gallery_labels_M: Tensor, ignored_N: Tensor | int) -> tuple[Tensor, Queries]:
    """Return the gallery sorted by class, `order_M`, and the queries, smallest classes first.

    Args:
        labels_N: classes of the images.
        gallery_labels_M: classes of the gallery.
        ignored_N: number of images of its class in the gallery that each image does not search, such as itself.
    """
    order_M = gallery_labels_M.argsort(stable=True)
    sorted_M = gallery_labels_M[order_M]
    start_N = torch.searchsorted(sorted_M, labels_N)
    count_N = torch.searchsorted(sorted_M, labels_N, right=True) - start_N
    relevant_N = count_N - ignored_N
    row_Q = (relevant_N > 0).nonzero().squeeze(1)
    row_Q = row_Q[(count_N[row_Q] * len(order_M) + start_N[row_Q]).argsort(stable=True)]
    return order_M, Queries(row_Q, start_N[row_Q], count_N[row_Q], relevant_N[row_Q])


def places(
    images: Points,
    gallery: Points,
    order_M: Tensor,
    queries: Queries,
    ignored: Ignored | None = None,
    every: bool = False,
) -> Places:
    """Compute the places of each query's class, in the order of the queries.

    Args:
        images: images with the queries as rows. If they are the gallery, each query excludes itself by index.
        gallery: images to search.
        order_M: images of the gallery, sorted by class.
        queries: the result of `class_lists`.
        ignored: images of its class that a query does not search; None for none.
        every: True also sums the precisions at the places of all images of the class.
    """
    within = images is gallery
    size, device = len(order_M), order_M.device
    columns = -(-size // ALIGNED) * ALIGNED
    largest = int(queries.count_Q.max())
    rows = min(len(queries.row_Q), tile_rows(columns, device))
    counted_rows = distances.tile_rows(columns + 8 * largest, device, COUNTED_ENTRIES)
    buffer_TM = torch.empty(rows, columns, device=device)
    lost_L = (~gallery.finite_N).nonzero().squeeze(1)
    found = empty_places(queries)
    for chosen in slices(len(queries.row_Q), rows):
        part = queries.part(chosen)
        asking = images.part(part.row_Q)
        s_TM = buffer_TM[: len(part.row_Q)]
        similarities(asking, gallery, s_TM[:, :size])
        s_TM[:, size:] = -torch.inf
        s_TM[:, lost_L] = torch.inf
        for few in slices(len(s_TM), counted_rows):
            bar_TJ = take_own(s_TM[few], asking.part(few), gallery, order_M, part.part(few), within, ignored)
            at = slice(chosen.start + few.start, chosen.start + few.stop)
            found.write(at, placed(s_TM[few], bar_TJ, part.relevant_Q[few], every))
    return _never_for(~images.finite_N[queries.row_Q], found)


def tile_rows(entries: int, device: torch.device) -> int:
    """Return the number of rows of a tile."""
    most = MOST_ROWS.get(device.type, MOST_ROWS["cpu"])
    return min(most, distances.tile_rows(entries, device, TILE_ENTRIES))


def slices(total: int, length: int) -> Iterator[slice]:
    """Yield slices of at most `length` up to `total`."""
    return (slice(start, min(start + length, total)) for start in range(0, total, length))


def _never_for(lost_Q: Tensor, found: Places) -> Places:
    return Places(
        found.first_Q.masked_fill(lost_Q, NEVER),
        found.found_Q.masked_fill(lost_Q, 0),
        found.precision_Q.masked_fill(lost_Q, 0),
        found.all_precision_Q.masked_fill(lost_Q, 0),
    )


def take_own(
    s_TM: Tensor,
    asking: Points,
    gallery: Points,
    order_M: Tensor,
    queries: Queries,
    within: bool,
    ignored: Ignored | None = None,
) -> Tensor:
    """Take the query's own class out of the rows, and return its bars, descending, −inf where there is none.

    The bar of an image of the class is what another image must reach to come before it: its similarity, less a tie.
    """
    slot_J = torch.arange(int(queries.count_Q[-1]), device=s_TM.device)
    last_T1 = queries.count_Q[:, None] - 1
    own_TJ = order_M[queries.start_Q[:, None] + torch.minimum(slot_J, last_T1)]
    none_TJ = (slot_J > last_T1) | ~gallery.finite_N[own_TJ]
    if within:
        none_TJ |= own_TJ == queries.row_Q[:, None]
    if ignored is not None:
        none_TJ |= ignored.mask(queries.row_Q, own_TJ)
    bar_TJ = s_TM.gather(1, own_TJ).sub_(ties(asking, gallery, own_TJ))
    s_TM.scatter_(1, own_TJ, -torch.inf)
    return descending(bar_TJ.masked_fill_(none_TJ, -torch.inf))


def ties(asking: Points, gallery: Points, index_TJ: Tensor) -> Tensor | float:
    """Return the difference up to which similarities of a query count as equal."""
    if asking.length_N is None or gallery.length_N is None:
        return TIE
    return TIE * torch.maximum(asking.length_N[:, None], gallery.length_N[index_TJ]).square()


def placed(s_TM: Tensor, bar_TJ: Tensor, relevant_T: Tensor, every: bool = False) -> Places:
    """Compute the places of a tile, and overwrite the tile.

    Args:
        s_TM: similarities of the images of other classes, −inf for all else; a multiple of `DEEPEST` columns.
        bar_TJ: the result of `take_own`.
        relevant_T: R.
        every: True also sums the precisions at the places of all images of the class.
    """
    all_precision_T = precision_at_all(s_TM, bar_TJ) if every else 0 * relevant_T.to(summed_in(s_TM.device))
    relevant_T = relevant_T.int()
    within_T = how_many_can_stand_within(s_TM, bar_TJ, relevant_T)
    bar_TJ, nearest_T1 = bar_TJ[:, : max(1, int(within_T.max()))].contiguous(), bar_TJ[:, :1]
    ahead_TJ = count_reaching(s_TM, bar_TJ, within_T)
    number_J = torch.arange(1, bar_TJ.shape[1] + 1, dtype=torch.int32, device=s_TM.device)
    place_TJ = ahead_TJ.add_(number_J)
    counts_TJ = (place_TJ <= relevant_T[:, None]) & (number_J <= within_T[:, None])
    precision_T = (number_J / place_TJ).mul_(counts_TJ).sum(1, dtype=summed_in(s_TM.device))
    first_T, beyond_T = place_TJ[:, 0], within_T == 0
    if beyond_T.any():
        # Written over the tile: comparing into floats and adding these up is faster than counting booleans.
        others_T = torch.ge(s_TM, nearest_T1, out=s_TM).sum(1).int()
        first_T = torch.where(beyond_T, 1 + others_T, first_T)
    first_T = torch.where(nearest_T1[:, 0] > -torch.inf, first_T, NEVER)
    return Places(first_T, counts_TJ.sum(1, dtype=torch.int32), precision_T, all_precision_T)


def precision_at_all(s_TM: Tensor, bar_TJ: Tensor) -> Tensor:
    """Return the sum of the precisions at the places of all images of the class; see `placed`."""
    own_T = (bar_TJ > -torch.inf).sum(1, dtype=torch.int32)
    number_J = torch.arange(1, bar_TJ.shape[1] + 1, dtype=torch.int32, device=s_TM.device)
    place_TJ = count_reaching(s_TM, bar_TJ, own_T).add_(number_J)
    return (number_J / place_TJ).mul_(number_J <= own_T[:, None]).sum(1, dtype=summed_in(s_TM.device))


def how_many_can_stand_within(s_TM: Tensor, bar_TJ: Tensor, relevant_T: Tensor) -> Tensor:
    """Return an upper bound of the images of the class with places up to R, int32, by bisection on block maxima."""
    depth = _depth(bar_TJ.shape[1], s_TM.shape[1])
    block_TB = s_TM.view(len(s_TM), depth, -1).amax(1) if depth > 1 else s_TM
    scratch_TB = torch.empty_like(block_TB)
    surely_T = torch.zeros_like(relevant_T)
    at_most_T = (bar_TJ > -torch.inf).sum(1, dtype=torch.int32)
    for _ in range(int(at_most_T.max()).bit_length()):
        tried_T = (surely_T + at_most_T + 1) // 2
        bar_T1 = bar_TJ.gather(1, (tried_T.long() - 1).clamp_min_(0)[:, None])
        ahead_T = torch.ge(block_TB, bar_T1, out=scratch_TB).sum(1)
        can_T = tried_T + ahead_T <= relevant_T
        surely_T = torch.where(can_T, tried_T, surely_T)
        at_most_T = torch.where(can_T, at_most_T, tried_T - 1)
    return surely_T


def _depth(own: int, columns: int) -> int:
    """Return the size of a block, a power of 2; small for large classes, or else every block holds a match."""
    return min(DEEPEST, 1 << max(0, (columns // max(1, own)).bit_length() - 1))


def count_reaching(s_TM: Tensor, bar_TJ: Tensor, within_T: Tensor) -> Tensor:
    """Count the similarities that reach each of the first `within_T` bars of a row; int32, arbitrary for later bars."""
    rows, columns = s_TM.shape
    last_T1 = (within_T.long() - 1).clamp_min_(0)[:, None]
    lowest_T1 = torch.where(within_T[:, None] > 0, bar_TJ.gather(1, last_T1), torch.inf)
    cell_H = where_reached(s_TM, lowest_T1)
    row_edges = torch.searchsorted(cell_H, torch.arange(rows + 1, device=s_TM.device) * columns)
    number_T = row_edges.diff()
    widest = max(1, int(number_T.max()))
    shift_T = torch.arange(rows, device=s_TM.device) * widest - row_edges[:-1]
    to_H = torch.arange(len(cell_H), device=s_TM.device).add_(shift_T.repeat_interleave(number_T))
    picked_TH = s_TM.new_full((rows, widest), torch.inf)
    picked_TH.view(-1)[to_H] = s_TM.view(-1)[cell_H]
    below_TJ = torch.searchsorted(ascending(picked_TH), bar_TJ, out_int32=True)
    return below_TJ.neg_().add_(number_T.int()[:, None])


def where_reached(s_TM: Tensor, bar_T1: Tensor) -> Tensor:
    """Return the flat indices of the cells of a tile that reach the bar of their row; int64, ascending."""
    if s_TM.device.type != "cpu":
        return (s_TM >= bar_T1).view(-1).nonzero().squeeze(1)
    # Four times as fast as torch on a CPU.
    return torch.from_numpy(np.flatnonzero(np.greater_equal(s_TM.numpy(), bar_T1.numpy())))


def ascending(x_TH: Tensor) -> Tensor:
    """Sort rows; on a CPU in place by numpy, which is five times as fast as torch."""
    if x_TH.device.type != "cpu":
        return x_TH.sort(1).values
    x_TH.numpy().sort(axis=1)
    return x_TH


def descending(x_TH: Tensor) -> Tensor:
    """Sort rows from the largest to the smallest."""
    return ascending(x_TH.neg_()).neg_()
