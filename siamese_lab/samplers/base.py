"""The base class of all strategies.

A strategy scores the negatives of each (anchor, positive) pair, and the base class takes the highest score. Every
strategy makes P·K·(K−1) triplets from a P×K batch, so runs differ in the selection, not in the number of triplets.

The score defines the strategy. A strategy that can find the highest score without scoring every image implements
`choose_one`; tests check that both agree.

Shapes: B images, D embedding dimensions, C candidates (the batch, then remembered images), A anchors of a tile, R pairs
per anchor, M negatives per pair, T (anchor, positive) pairs in total.
"""

from abc import ABC
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from siamese_lab import distances
from siamese_lab.batch import AllTriplets, NoTriplets, Selection, Triplets
from siamese_lab.errors import UserError
from siamese_lab.registry import Registry
from siamese_lab.samplers.kernels.class_index import ClassIndex, class_index
from siamese_lab.samplers.kernels.counter_rng import Noise
from siamese_lab.samplers.kernels.tiles import SCRATCH_ENTRIES, MiningInputs, Tile, TileBuffer, tiles
from siamese_lab.samplers.validation import check_embeddings, check_shapes


class Candidates(NamedTuple):
    """The inputs of a score: one positive for each anchor, and every image as a possible negative.

    An anchor may occur several times, once with each of its positives.
    """

    d_ap_B1: Tensor
    """Plain distance (0…2) from each anchor to the positive of its pair."""
    d_an_BB: Tensor
    """Plain distances from each anchor (row) to each image; +inf for images that are not negatives of the anchor."""
    dimensions: int
    """D, the number of embedding dimensions."""
    d_positives_BR: Tensor
    """Plain distances from each anchor to the positives of all its pairs."""


class Choice(NamedTuple):
    """The triplets of some anchors."""

    positive_AR: Tensor
    negative_ARM: Tensor
    fell_back_ARM: Tensor
    """bool: True where no image was eligible and the fallback was taken."""

    @classmethod
    def of_one(cls, positive_AR: Tensor, negative_AR: Tensor, fell_back_AR: Tensor | None = None) -> "Choice":
        """Build a choice of one negative per pair. Without `fell_back_AR` no pair used the fallback."""
        if fell_back_AR is None:
            fell_back_AR = torch.zeros_like(negative_AR, dtype=torch.bool)
        return cls(positive_AR, negative_AR.unsqueeze(2), fell_back_AR.unsqueeze(2))


class Sampler(nn.Module, ABC):
    """Chooses M negatives for every (anchor, positive) pair of a batch.

    A strategy implements `score`. It may also implement `fallback`, for pairs without an eligible negative.

    Args:
        seed: seed of the sampler's own random numbers. Checkpoints hold their state.
        images_per_class: K, if batches are exactly P×K (see `class_index`); None counts the labels.
        num_negatives: M, the number of different negatives for each pair: the M with the highest scores.
        finite_only: reject embeddings that are not finite. A training run accepts them: its own message says more.
    """

    triplet_type: type = Triplets
    """Type that a call returns: `Triplets`, or one that only some losses accept (`Loss.accepted_types`)."""
    uses_memory = False
    """True if negatives may come from a memory of past embeddings, which have unit norm."""

    def __init__(
        self,
        seed: int = 0,
        images_per_class: int | None = None,
        num_negatives: int = 1,
        finite_only: bool = True,
    ) -> None:
        super().__init__()
        if images_per_class is not None and images_per_class < 2:
            raise UserError(
                f"images_per_class must be at least 2 for an anchor to have a positive, but got {images_per_class}."
            )
        if num_negatives < 1:
            raise UserError(f"sampler.num_negatives must be at least 1, but got {num_negatives}.")
        self.images_per_class = images_per_class
        self.num_negatives = num_negatives
        self.finite_only = finite_only
        self.noise = Noise(seed)
        self._tile_buffer = TileBuffer()

    def score(self, candidates: Candidates) -> Tensor:
        """Score each image as the negative of each anchor (B×B): the highest is chosen, −inf marks ineligible images.

        Images that are not negatives may get any score, because the base class masks them afterwards.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement score.")

    def fallback(self, candidates: Candidates) -> Tensor:
        """Score the negatives of a pair without an eligible negative. The default is uniform noise."""
        return self.uniform_noise(candidates.d_an_BB)

    def positives(self, tile: Tile) -> Tensor | None:
        """Return the positives of the pairs of each anchor as int64 slots (A, R); None takes each positive once."""
        return None

    def forward(
        self, z_BD: Tensor, labels_B: Tensor, image_ids_B: Tensor | None = None
    ) -> Triplets | AllTriplets | NoTriplets:
        """Return only the triplets of a batch: `mine(…).triplets` at the start of training."""
        return self.mine(z_BD, labels_B, image_ids_B).triplets

    @torch.no_grad()
    def mine(
        self, z_BD: Tensor, labels_B: Tensor, image_ids_B: Tensor | None = None, progress: float = 0.0
    ) -> Selection:
        """Select the triplets of a batch.

        Args:
            z_BD: unit-norm embeddings of any floating type; distances are computed in float32.
            labels_B: int64 class labels.
            image_ids_B: int64 ids of the images, needed if an image may occur twice: see `class_index`.
            progress: completed share of the training (0…1).

        Raises:
            ValueError: if shapes, types or devices do not match.
            ValueError: if an embedding does not have unit norm, or the batch has a single class or no positive pair.
            UserError: if an embedding is not finite or zero, or an anchor has fewer than M negatives.
        """
        check_shapes(z_BD, labels_B, image_ids_B)
        z_BD = z_BD.detach().float()
        check_embeddings(z_BD, self.finite_only)
        classes = class_index(labels_B, self.images_per_class, image_ids_B)
        return self.select(MiningInputs(z_BD, labels_B, classes, progress))

    def select(self, inputs: MiningInputs) -> Selection:
        """Choose negatives for every anchor and list the triplets."""
        choice, valid_BR = self.choose(inputs), inputs.classes.valid_BR
        positive_BR, negative_BRM, fell_back_BRM = choice
        pairs = positive_BR.shape[1]
        anchor_BR = inputs.classes.own_BK[:, :1].expand(-1, pairs)
        if self.images_per_class is None:
            valid_BR = valid_BR[:, :pairs]
            triplets = Triplets(anchor_BR[valid_BR], positive_BR[valid_BR], negative_BRM[valid_BR])
            fallback_TM = fell_back_BRM[valid_BR]
        else:
            triplets = Triplets(anchor_BR.flatten(), positive_BR.flatten(), negative_BRM.flatten(0, 1))
            fallback_TM = fell_back_BRM.flatten(0, 1)
        return Selection(triplets, inputs.z_CD, fallback_TM)

    def choose(self, inputs: MiningInputs) -> Choice:
        """Choose the pairs and negatives of all anchors, tile by tile."""
        if self.num_negatives > 1:
            check_negatives(inputs.classes, self.num_negatives)
        batch, choice = len(inputs.classes.own_BK), None
        for tile in tiles(inputs, self._tile_buffer):
            slot_AR = self.positives(tile)
            if slot_AR is not None:
                tile = tile.with_positives(slot_AR)
            chosen = self.choose_one(tile) if self.num_negatives == 1 else self.choose_best(tile)
            if len(tile.s_AN) == batch:
                choice = chosen
                break
            # One preallocated result: small tensors that outlive each tile would prevent reuse of the heap.
            choice = choice or Choice(*(each_A.new_empty(batch, *each_A.shape[1:]) for each_A in chosen))
            for each_B, each_A in zip(choice, chosen, strict=True):
                each_B[tile.anchors] = each_A
        assert choice is not None
        # With NaN embeddings every comparison fails, and the index may point into the padding.
        return choice._replace(negative_ARM=choice.negative_ARM.clamp_max(len(inputs.z_CD) - 1))

    def choose_one(self, tile: Tile) -> Choice:
        """Choose one negative for each pair: the highest score. A strategy may implement a faster way to find it."""
        return self.choose_best(tile)

    def choose_best(self, tile: Tile) -> Choice:
        """Choose the M different images with the highest scores; the fallback chooses the missing ones."""
        s_AC = tile.s_AN[:, : tile.num_candidates]
        other_AC = tile.masked(-torch.inf)[:, : tile.num_candidates] == -torch.inf
        d_an_AC = distances.from_similarity(s_AC).masked_fill_(other_AC, torch.inf)
        d_ap_AR = distances.from_similarity(tile.s_ap_AR)
        negatives, fell_back = [], []
        for d_ap_AG in d_ap_AR.split(max(1, SCRATCH_ENTRIES // d_an_AC.numel()), 1):
            d_an_TC, other_TC, d_positives_TR = (_for_each(d_ap_AG, of_A) for of_A in (d_an_AC, other_AC, d_ap_AR))
            candidates = Candidates(d_ap_AG.reshape(-1, 1), d_an_TC, tile.dimensions, d_positives_TR)
            negative_TM, fell_back_TM = _best(
                self.score(candidates).masked_fill(other_TC, -torch.inf),
                self.fallback(candidates).masked_fill(other_TC, -torch.inf),
                self.num_negatives,
            )
            negatives.append(negative_TM.view(*d_ap_AG.shape, -1))
            fell_back.append(fell_back_TM.view(*d_ap_AG.shape, -1))
        return Choice(tile.positive_AR, torch.cat(negatives, 1), torch.cat(fell_back, 1))

    def uniform_noise(self, like: Tensor) -> Tensor:
        """Draw independent uniform noise in 0…1 from the sampler's own random numbers."""
        return self.noise.uniform(tuple(like.shape), like.device)

    def gumbel_noise(self, like: Tensor) -> Tensor:
        """Draw standard Gumbel noise: the argmax of log-weights + noise is a draw from the normalized weights."""
        return self.uniform_noise(like).log_().neg_().log_().neg_()


registry: Registry[Sampler] = Registry("sampler")
register = registry.register
available = registry.available
build = registry.build


def _for_each(pairs_AG: Tensor, of_AX: Tensor) -> Tensor:
    """Repeat the row of each anchor for each of its pairs."""
    return of_AX[:, None].expand(-1, pairs_AG.shape[1], -1).reshape(-1, of_AX.shape[1])


def _best(score_AC: Tensor, fallback_AC: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the highest scores above −inf, then the highest fallbacks of the others, and a mask of the fallbacks."""
    best_AM, first_AM = score_AC.topk(count, 1)
    fell_back_AM = best_AM == -torch.inf
    then_AM = fallback_AC.masked_fill(score_AC > -torch.inf, -torch.inf).topk(count, 1).indices
    turn_AM = (fell_back_AM.cumsum(1) - 1).clamp_min_(0)
    return torch.where(fell_back_AM, then_AM.gather(1, turn_AM), first_AM), fell_back_AM


def check_listed(user: str, strategies: Iterable[nn.Module]) -> None:
    """Raise UserError if a strategy that `user` combines does not list its triplets."""
    for strategy in strategies:
        assert isinstance(strategy, Sampler)
        if strategy.triplet_type is not Triplets:
            raise UserError(
                f"sampler={user} needs strategies that list their triplets, but got {type(strategy).__name__}. "
                "Choose another strategy than 'all' or 'none'."
            )


def check_negatives(classes: ClassIndex, count: int) -> None:
    """Raise UserError unless every anchor has at least `count` negatives within the batch."""
    batch, largest_class = classes.own_BK.shape
    fewest = batch - largest_class
    if fewest < count:
        raise UserError(
            f"sampler.num_negatives={count} needs {count} different negatives per pair, but some anchors of this batch "
            f"of {batch} images have only {fewest}. Set sampler.num_negatives={fewest} or a larger "
            "data.classes_per_batch."
        )
