"""Semi-hard mining: a negative that is farther than the positive, but by less than the margin.

Schroff et al. 2015 (arXiv:1503.03832), §3.2, who take squared distances: `distance="squared"`.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.errors import UserError
from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import Tile


@register("semi_hard")
class SemiHardSampler(Sampler):
    """A negative inside the open window d_ap < d_an < d_ap + margin.

    If the window is empty: the nearest negative beyond d_ap, and if there is none, the farthest of all.

    Args:
        margin: width of the window, in units of `distance`; the loss's own margin.
        choice: "uniform" draws from the window, "nearest" takes its nearest.
        distance: "plain" or "squared"; the loss's own.
        **base: see `Sampler`.
    """

    def __init__(
        self,
        margin: float = 0.2,
        choice: Literal["uniform", "nearest"] = "uniform",
        distance: distances.Kind = "plain",
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if not margin > 0:
            raise UserError(f"The semi-hard window needs a margin above 0, but it is {margin}.")
        if choice not in ("uniform", "nearest"):
            raise UserError(f"choice must be 'uniform' or 'nearest', but is {choice!r}.")
        distances.check_kind(distance)
        self.margin = margin
        self.choice = choice
        self.distance = distance

    def score(self, candidates: Candidates) -> Tensor:
        """Noise or nearness inside the window, −inf outside."""
        d_ap_B1, d_an_BB = self._in_units(candidates.d_ap_B1), self._in_units(candidates.d_an_BB)
        window_BB = (d_an_BB > d_ap_B1) & (d_an_BB < d_ap_B1 + self.margin)
        preference_BB = self.uniform_noise(d_an_BB) if self.choice == "uniform" else -d_an_BB
        return preference_BB.masked_fill(~window_BB, -torch.inf)

    def fallback(self, candidates: Candidates) -> Tensor:
        """The nearest beyond the positive, and after those the farthest."""
        d_ap_B1, d_an_BB = candidates.d_ap_B1, candidates.d_an_BB
        beyond_BB = (d_an_BB > d_ap_B1) & (d_an_BB < torch.inf)
        return torch.where(beyond_BB, 3 - d_an_BB, d_an_BB - 3)

    def choose_one(self, tile: Tile) -> Choice:
        """As by score, on similarities, which fall as distances grow."""
        s_AN, s_ap_AR, width_AR = tile.masked(torch.inf), tile.s_ap_AR, self._width(tile.s_ap_AR)
        if self.choice == "nearest":
            negative_AR, is_empty_AR = block_selection.nearest_in_window(s_AN, s_ap_AR, width_AR, tile.scratch)
        else:
            u_AR = self.uniform_noise(s_ap_AR)
            negative_AR, is_empty_AR = block_selection.draw_in_window(s_AN, s_ap_AR, width_AR, u_AR, tile.scratch)
        return Choice.of_one(tile.positive_AR, negative_AR, is_empty_AR)

    def _width(self, s_ap_AR: Tensor) -> Tensor:
        """The window in similarities s = 1 − d²/2: half of (d_ap + margin)² − d_ap², or of a margin of squares."""
        if self.distance == "squared":
            return torch.full_like(s_ap_AR, max(self.margin / 2, block_selection.SMALLEST))
        least = max(self.margin**2 / 2, block_selection.SMALLEST)
        return distances.from_similarity(s_ap_AR).mul_(self.margin).add_(least)

    def _in_units(self, d: Tensor) -> Tensor:
        return d.square() if self.distance == "squared" else d
