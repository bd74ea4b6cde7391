"""The base of all strategies: a strategy scores the negatives of each (anchor, positive) pair, the base takes the best.

Whatever the strategy, a P×K batch gives the same P·K·(K−1) triplets, so runs differ in selection, not in quantity.

Shapes: B images, D embedding dimensions, R positives per anchor, T = number of (anchor, positive) pairs.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from siamese_lab import distances
from siamese_lab.batch import Triplets
from siamese_lab.device_generator import DeviceGenerator
from siamese_lab.samplers.class_peers import class_peers

QUANTILES = (0.1, 0.5, 0.9)


class Candidates(NamedTuple):
    """What a strategy may know: one positive for each anchor, and every image of the batch as its negative."""

    d_ap_B1: Tensor
    """Plain distance (0…2) from each anchor to the positive of its pair."""
    d_an_BB: Tensor
    """Plain distances from each anchor (row) to each image; +inf for the images of the anchor's own class."""
    dimensions: int
    """D of the embeddings."""


class Sampler(nn.Module, ABC):
    """Chooses one negative for every (anchor, positive) pair of a batch.

    A strategy implements `score` and, if it can leave a pair without any negative, may state its own `fallback`.

    Args:
        seed: of the sampler's own random generator, whose state travels in checkpoints.
        images_per_class: K, where batches are exactly P×K (see `class_peers`); None reads it from the labels.
    """

    def __init__(self, seed: int = 0, images_per_class: int | None = None) -> None:
        super().__init__()
        if images_per_class is not None and images_per_class < 2:
            raise ValueError(f"A positive needs images_per_class of at least 2, but it is {images_per_class}.")
        self.images_per_class = images_per_class
        self.generator = DeviceGenerator(seed)
        self._statistics: dict[str, Tensor] = {}

    @abstractmethod
    def score(self, candidates: Candidates) -> Tensor:
        """Score each image as the negative of each anchor (B×B): the highest is chosen, −inf is not eligible.

        Images of the anchor's own class may get any score: the base masks them afterwards.
        """

    def fallback(self, candidates: Candidates) -> Tensor:
        """Score the negatives of a pair for which `score` found none eligible: uniform, unless said otherwise."""
        return self.uniform_noise(candidates.d_an_BB)

    @torch.no_grad()
    def forward(self, z_BD: Tensor, labels_B: Tensor) -> Triplets:
        """Choose the triplets of a batch.

        Args:
            z_BD: unit-norm embeddings of any floating type; distances are taken in float32.
            labels_B: their int64 classes.

        Raises:
            ValueError: for shapes or devices that do not match, a single class, or no positive pair.
        """
        _check_shapes(z_BD, labels_B)
        d_BB = distances.pairwise(z_BD)
        same_BB = labels_B[:, None] == labels_B
        peers = class_peers(labels_B, self.images_per_class)
        d_an_BB = d_BB.masked_fill(same_BB, torch.inf)
        d_ap_BR = d_BB.gather(1, peers.positive_BR)
        columns = [
            self._choose(Candidates(d_ap_B1, d_an_BB, z_BD.shape[1]), same_BB) for d_ap_B1 in d_ap_BR.split(1, 1)
        ]
        negative_BR = torch.stack([negative_B for negative_B, _ in columns], 1)
        fell_back_BR = torch.stack([fell_back_B for _, fell_back_B in columns], 1)

        anchor_BR = torch.arange(len(labels_B), device=z_BD.device)[:, None].expand_as(negative_BR)
        listed = [anchor_BR, peers.positive_BR, negative_BR, fell_back_BR]
        if self.images_per_class is None:
            listed = [column_BR[peers.valid_BR] for column_BR in listed]
        anchor_T, positive_T, negative_T, fell_back_T = (column.reshape(-1) for column in listed)

        triplets = Triplets(anchor_T, positive_T, negative_T[:, None])
        self._statistics = _describe(triplets, d_BB, fell_back_T)
        return triplets

    def _choose(self, candidates: Candidates, same_BB: Tensor) -> tuple[Tensor, Tensor]:
        """The negative of each anchor's pair, and whether it had to fall back."""
        score_BB = self.score(candidates).masked_fill(same_BB, -torch.inf)
        fallback_BB = self.fallback(candidates).masked_fill(same_BB, -torch.inf)
        best_B, negative_B = score_BB.max(1)
        fell_back_B = best_B == -torch.inf
        return torch.where(fell_back_B, fallback_BB.argmax(1), negative_B), fell_back_B

    def statistics(self) -> dict[str, Tensor]:
        """What the last call chose, as scalars on the device.

        `fallback_share` of pairs, `violating_share` of triplets with d_an < d_ap, mean and quantiles of the plain
        distances d_ap and d_an, and `distinct_negatives`, the share of the batch's images chosen at least once.
        """
        return self._statistics

    def uniform_noise(self, like: Tensor) -> Tensor:
        """Independent uniform noise in 0…1 from the sampler's own generator."""
        return torch.rand(like.shape, device=like.device, generator=self.generator.on(like.device))

    def gumbel_noise(self, like: Tensor) -> Tensor:
        """Standard Gumbel noise: the argmax of log-weights + noise is a draw from the normalised weights."""
        exponential = torch.empty(like.shape, device=like.device)
        exponential.exponential_(generator=self.generator.on(like.device))
        return -exponential.clamp_min(torch.finfo(torch.float32).tiny).log()

    def get_extra_state(self) -> dict[str, Any]:
        """The generator's state, for checkpoints."""
        return self.generator.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take up a stored generator state."""
        self.generator.load_state_dict(state)


def _check_shapes(z_BD: Tensor, labels_B: Tensor) -> None:
    if z_BD.ndim != 2 or labels_B.shape != z_BD.shape[:1]:
        raise ValueError(
            f"A sampler expects embeddings of shape (B, D) and labels of shape (B,), but got "
            f"{tuple(z_BD.shape)} and {tuple(labels_B.shape)}."
        )
    if z_BD.device != labels_B.device:
        raise ValueError(
            f"Embeddings and labels must be on one device, but are on {z_BD.device} and {labels_B.device}."
        )


def _describe(triplets: Triplets, d_BB: Tensor, fell_back_T: Tensor) -> dict[str, Tensor]:
    d_ap_T = d_BB[triplets.anchor_T, triplets.positive_T]
    d_an_T = d_BB[triplets.anchor_T, triplets.negative_TM[:, 0]]
    chosen_B = torch.zeros(len(d_BB), device=d_BB.device).index_fill_(0, triplets.negative_TM[:, 0], 1.0)
    statistics = {
        "fallback_share": fell_back_T.float().mean(),
        "violating_share": (d_an_T < d_ap_T).float().mean(),
        "distinct_negatives": chosen_B.mean(),
    }
    for name, d_T in (("d_ap", d_ap_T), ("d_an", d_an_T)):
        statistics[f"{name}_mean"] = d_T.mean()
        quantiles = torch.quantile(d_T, torch.tensor(QUANTILES, device=d_T.device))
        for share, value in zip(QUANTILES, quantiles.unbind(), strict=True):
            statistics[f"{name}_q{share * 100:.0f}"] = value
    return statistics
