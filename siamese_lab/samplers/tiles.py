"""The similarities of a batch, some anchors at a time, so that mining takes O(B·tile) memory.

Shapes: B images, D embedding dimensions, C images that may be chosen, A anchors of a tile, K images of a class, R pairs
per anchor, Q images remembered beside the batch, N columns, which are C and some padding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese_lab import distances
from siamese_lab.samplers.class_peers import ClassPeers, ClassRuns, class_runs
from siamese_lab.samplers.primitives import draw_outside, padded

TILE_ENTRIES = {"cpu": 2**21, "cuda": 2**26}
"""Similarities held at once: on a CPU more than where losses differentiate, as a product of few rows is slow."""

SPARE_ENTRIES = 2**17
"""Room to look at several pairs of an anchor at once in a small tile, where a step costs more to start than to compute."""

NOBODY = torch.iinfo(torch.int64).max
"""The label of a place that holds no image to choose."""


class Images(NamedTuple):
    """The anchors of a step, and the images that their negatives are chosen from."""

    z_CD: Tensor
    """Unit-norm float32: the batch, followed by what is remembered beside it, if anything."""
    labels_C: Tensor
    """int64."""
    peers: ClassPeers
    """Of the B images of the batch."""

    def runs(self) -> tuple[ClassRuns, Tensor | int]:
        """All images in the order of their labels, and how many of them may be chosen, which come first."""
        batch = len(self.peers.own_BK)
        if len(self.labels_C) == batch:
            return self.peers.runs, batch
        return class_runs(self.labels_C, self.labels_C[:batch]), (self.labels_C != NOBODY).sum()


class Tile(NamedTuple):
    """Some anchors beside all images."""

    s_AN: Tensor
    """Dot products, to be overwritten; the columns beyond C mean nothing."""
    spare: Tensor
    """Room to work in: at least as many numbers as the dot products, in one row."""
    s_ap_AR: Tensor
    """Of the anchor and each of its positives."""
    positive_AR: Tensor
    valid_AR: Tensor
    """bool: False where an anchor has fewer than R positives."""
    own_AK: Tensor
    """The batch's images of the anchor's class."""
    barred_AQ: Tensor | None
    """bool: which of the remembered images, if any, are no negatives of the anchor."""
    anchors: slice
    """Which rows of the batch."""
    source: Images

    @property
    def images(self) -> int:
        """C."""
        return self.source.z_CD.shape[0]

    @property
    def dimensions(self) -> int:
        """D."""
        return self.source.z_CD.shape[1]

    def masked(self, value: float) -> Tensor:
        """The dot products `s_AN`, with this one in place of all that are not of a negative."""
        self.s_AN.scatter_(1, self.own_AK, value)
        if self.barred_AQ is not None:
            remembered = slice(self.images - self.barred_AQ.shape[1], self.images)
            self.s_AN[:, remembered].masked_fill_(self.barred_AQ, value)
        if self.images < self.s_AN.shape[1]:
            self.s_AN[:, self.images :].fill_(value)
        return self.s_AN

    def draw_negatives(self, u_AR: Tensor) -> Tensor:
        """Uniform draws among all negatives of each anchor."""
        runs, choosable = self.source.runs()
        of_tile = ClassRuns(runs.order_C, runs.start_B[self.anchors], runs.count_B[self.anchors])
        return draw_outside(of_tile, choosable, u_AR)

    def with_positives(self, slot_AR: Tensor) -> "Tile":
        """The same anchors with pairs of other positives: `slot_AR` says which of the anchor's."""
        return self._replace(
            s_ap_AR=self.s_ap_AR.gather(1, slot_AR),
            positive_AR=self.positive_AR.gather(1, slot_AR),
            valid_AR=self.valid_AR[:, : slot_AR.shape[1]],
        )


class Room:
    """Memory for tiles, on a CPU kept from call to call: a fresh page costs as much as the work done in it."""

    def __init__(self) -> None:
        self._kept: Tensor | None = None

    def of(self, entries: int, like: Tensor) -> Tensor:
        """So many entries of the kind of `like`, with anything in them."""
        if like.device.type != "cpu" or torch.compiler.is_compiling():
            return like.new_empty(entries)
        if self._kept is None or len(self._kept) < entries:
            with torch.inference_mode(False):
                self._kept = torch.empty(entries)
        return self._kept[:entries]


def tiles(images: Images, room: Room) -> Iterator[Tile]:
    """All anchors of a batch, tile by tile; a tile is overwritten by the next one."""
    z_CD, labels_C, peers = images
    batch, count = len(peers.own_BK), len(z_CD)
    columns = padded(count)
    z_ND = z_CD if columns == count else F.pad(z_CD, (0, 0, 0, columns - count))
    rows = min(batch, distances.tile_rows(columns, z_CD.device, TILE_ENTRIES))
    pairs = peers.positive_BR.shape[1]
    spare_entries = max(1, min(pairs, SPARE_ENTRIES // (rows * columns))) * rows * columns
    s, spare = room.of(rows * columns + spare_entries, z_CD).split([rows * columns, spare_entries])
    for start in range(0, batch, rows):
        anchors = slice(start, min(start + rows, batch))
        s_AN = s[: (anchors.stop - start) * columns].view(-1, columns)
        with distances.full_float32(z_CD.device):
            torch.mm(z_CD[anchors], z_ND.T, out=s_AN)
        positive_AR = peers.positive_BR[anchors]
        yield Tile(
            s_AN,
            spare,
            s_AN.gather(1, positive_AR),
            positive_AR,
            peers.valid_BR[anchors],
            peers.own_BK[anchors],
            _barred(labels_C[anchors], labels_C[batch:]) if count > batch else None,
            anchors,
            images,
        )


def _barred(labels_A: Tensor, remembered_Q: Tensor) -> Tensor:
    return (labels_A[:, None] == remembered_Q) | (remembered_Q == NOBODY)
