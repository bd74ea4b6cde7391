"""The similarities of a batch for some anchors at a time, so that mining takes O(B·tile) memory.

Shapes: B images, D embedding dimensions, C candidates, A anchors of a tile, K images of a class, R pairs per anchor, Q
remembered images, N columns (C and padding).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.samplers.kernels import on_eager_cpu
from siamese_lab.samplers.kernels.block_selection import draw_outside, padded
from siamese_lab.samplers.kernels.class_index import ClassIndex, ClassRuns, class_runs

TILE_ENTRIES = {"cpu": 2**21, "cuda": 2**26}
"""Number of similarities in memory at once. On a CPU it exceeds that of losses: a product of few rows is slow."""

SCRATCH_ENTRIES = 2**17
"""Size of the scratch memory in which several pairs of an anchor are compared together.

An operation on few numbers takes longer to start than to compute.
"""

EMPTY_LABEL = torch.iinfo(torch.int64).max
"""The label of a place in the memory without an image."""


class MiningInputs(NamedTuple):
    """The anchors of a step and the candidates for their negatives."""

    z_CD: Tensor
    """Unit-norm float32: the batch, then remembered images, if there are any."""
    labels_C: Tensor
    """int64, `EMPTY_LABEL` for an empty place of the memory."""
    classes: ClassIndex
    """The classes of the B images of the batch."""
    progress: float = 0.0
    """Completed share of the training (0…1)."""

    def runs_of_batch(self) -> ClassRuns:
        """Return the images of the batch, sorted by label."""
        labels_B = self.labels_C[: len(self.classes.own_BK)]
        return class_runs(labels_B, labels_B) if self.classes.runs is None else self.classes.runs

    def runs(self) -> tuple[ClassRuns, Tensor | int]:
        """Return all candidates, sorted by label, and the number of valid candidates, which come first."""
        batch = len(self.classes.own_BK)
        if len(self.labels_C) == batch:
            return self.runs_of_batch(), batch
        return class_runs(self.labels_C, self.labels_C[:batch]), (self.labels_C != EMPTY_LABEL).sum()


class Tile(NamedTuple):
    """Some anchors, compared with all candidates."""

    s_AN: Tensor
    """Dot products, which may be overwritten; the columns beyond C are padding."""
    scratch: Tensor
    """Scratch memory for at least as many numbers as the dot products, in one row."""
    s_ap_AR: Tensor
    """Dot products of the anchor and each of its positives."""
    positive_AR: Tensor
    valid_AR: Tensor
    """bool: False where an anchor has fewer than R positives."""
    own_AK: Tensor
    """The batch's images of the anchor's class."""
    excluded_AQ: Tensor | None
    """+inf where a remembered image is not a negative of the anchor, else −inf; None without a memory."""
    anchors: slice
    """The rows of the batch."""
    source: MiningInputs

    @property
    def num_candidates(self) -> int:
        """C, the number of candidates."""
        return self.source.z_CD.shape[0]

    @property
    def dimensions(self) -> int:
        """D, the number of embedding dimensions."""
        return self.source.z_CD.shape[1]

    @property
    def scratch_AN(self) -> Tensor:
        """Scratch memory in the shape of the dot products."""
        return self.scratch[: self.s_AN.numel()].view_as(self.s_AN)

    def masked(self, infinity: float) -> Tensor:
        """Return the dot products `s_AN`, with this infinity in place of all images that are not negatives."""
        self.s_AN.scatter_(1, self.own_AK, infinity)
        if self.excluded_AQ is not None:
            s_AQ = self.s_AN[:, self.num_candidates - self.excluded_AQ.shape[1] : self.num_candidates]
            if infinity > 0:
                s_AQ.clamp_min_(self.excluded_AQ)
            else:
                s_AQ.clamp_max_(-self.excluded_AQ)
        if self.num_candidates < self.s_AN.shape[1]:
            self.s_AN[:, self.num_candidates :].fill_(infinity)
        return self.s_AN

    def draw_negatives(self, u_AR: Tensor) -> Tensor:
        """Draw uniformly among all negatives of each anchor."""
        runs, choosable = self.source.runs()
        of_tile = ClassRuns(runs.order_C, runs.start_B[self.anchors], runs.count_B[self.anchors])
        return draw_outside(of_tile, choosable, u_AR)

    def with_positives(self, slot_AR: Tensor) -> "Tile":
        """Return the same anchors with the positives at the slots `slot_AR`."""
        return self._replace(
            s_ap_AR=self.s_ap_AR.gather(1, slot_AR),
            positive_AR=self.positive_AR.gather(1, slot_AR),
            valid_AR=self.valid_AR[:, : slot_AR.shape[1]],
        )


class TileBuffer:
    """Memory for tiles, on a CPU kept between calls, because a new page costs as much as the work done in it."""

    def __init__(self) -> None:
        self._kept: Tensor | None = None

    def take(self, entries: int, like: Tensor) -> Tensor:
        """Return uninitialized memory for `entries` numbers of the type of `like`."""
        if not on_eager_cpu(like.device):
            return like.new_empty(entries)
        if self._kept is None or len(self._kept) < entries:
            with torch.inference_mode(False):
                self._kept = torch.empty(entries, dtype=like.dtype)
        return self._kept[:entries]


def tiles(inputs: MiningInputs, buffer: TileBuffer) -> Iterator[Tile]:
    """Yield all anchors of a batch, tile by tile. Each tile overwrites the one before."""
    z_CD, classes = inputs.z_CD, inputs.classes
    batch, count = len(classes.own_BK), len(z_CD)
    columns = padded(count)
    z_ND = z_CD if columns == count else F.pad(z_CD, (0, 0, 0, columns - count))
    rows = min(batch, distances.tile_rows(columns, z_CD.device, TILE_ENTRIES))
    mask = _MemoryMask.of(inputs) if count > batch else None
    pairs = classes.positive_BR.shape[1]
    scratch_entries = max(1, min(pairs, SCRATCH_ENTRIES // (rows * columns))) * rows * columns
    kept = buffer.take(rows * columns + scratch_entries, z_CD)
    s, scratch = kept[: rows * columns], kept[rows * columns :]
    for start in range(0, batch, rows):
        anchors = slice(start, min(start + rows, batch))
        s_AN = s[: (anchors.stop - start) * columns].view(-1, columns)
        _products(z_CD[anchors], z_ND.T, s_AN)
        positive_AR = classes.positive_BR[anchors]
        yield Tile(
            s_AN,
            scratch,
            s_AN.gather(1, positive_AR),
            positive_AR,
            classes.valid_BR[anchors],
            classes.own_BK[anchors],
            None if mask is None else mask.for_anchors(anchors),
            anchors,
            inputs,
        )


def _products(z_AD: Tensor, z_DN: Tensor, into: Tensor) -> None:
    """Multiply in float32. On a CPU autocast does not change products that are written to an existing tensor."""
    if z_AD.device.type == "cpu":
        torch.mm(z_AD, z_DN, out=into)
        return
    with distances.full_float32(z_AD.device):
        torch.mm(z_AD, z_DN, out=into)


class _MemoryMask(NamedTuple):
    """The remembered images that are not negatives of an anchor: images of its class and empty places."""

    class_B: Tensor
    """float32: where the anchor's class begins in the sorted batch."""
    class_Q: Tensor
    """float32: the same number for a remembered image; −1 if the batch has no image of its class."""
    empty_Q: Tensor
    """½ where the place is empty, else −½."""

    @classmethod
    def of(cls, inputs: MiningInputs) -> "_MemoryMask":
        """Build the mask from floats, because a comparison that writes floats takes a tenth of the time."""
        runs, batch = inputs.runs_of_batch(), len(inputs.classes.own_BK)
        sorted_B, remembered_Q = inputs.labels_C[:batch].take(runs.order_C), inputs.labels_C[batch:]
        place_Q = torch.searchsorted(sorted_B, remembered_Q)
        is_in_batch_Q = sorted_B.take(place_Q.clamp_max(batch - 1)) == remembered_Q
        class_Q = torch.where(is_in_batch_Q, place_Q, -1).float()
        return cls(runs.start_B.float(), class_Q, (remembered_Q == EMPTY_LABEL).float() - 0.5)

    def for_anchors(self, anchors: slice) -> Tensor:
        """Return +inf where excluded, else −inf (A, Q)."""
        class_A1 = self.class_B[anchors, None]
        excluded_AQ = self.class_Q.new_empty(len(class_A1), len(self.class_Q))
        torch.eq(class_A1, self.class_Q, out=excluded_AQ)
        return excluded_AQ.add_(self.empty_Q).mul_(torch.inf)
