"""Semi-hard mining: a negative farther than the positive, by less than the margin.

Schroff et al. 2015 (arXiv:1503.03832), §3.2. The paper uses squared distances: `distance="squared"`.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.errors import UserError
from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import Tile

WIDEST = 8.0
"""Every margin from here on gives the same window, because squared distances end at 4."""


@register("semi_hard")
class SemiHardSampler(Sampler):
    """Takes a negative inside the open window d_ap < d_an < d_ap + margin.

    If the window is empty, the fallback is the nearest negative beyond d_ap. If no negative is beyond d_ap, the
    fallback is the farthest negative.

    Args:
        margin: width of the window, in units of `distance`; usually the margin of the loss.
        choice: "uniform" draws from the window, "nearest" takes the nearest negative in the window.
        distance: "plain" or "squared"; usually the distance of the loss.
        **base: see `Sampler`.

    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = SemiHardSampler(choice="nearest").mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> selection.listed().negative_TM.flatten().tolist()
    [2, 3, 0, 1]
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
            raise UserError(f"margin, the width of the semi-hard window, must be above 0, but got {margin}.")
        if choice not in ("uniform", "nearest"):
            raise UserError(f"sampler.choice must be 'uniform' or 'nearest', but got {choice!r}.")
        distances.check_kind(distance)
        self.margin = margin
        self.choice = choice
        self.distance = distance

    def score(self, candidates: Candidates) -> Tensor:
        """Score images inside the window by noise or nearness; images outside get −inf."""
        d_ap_B1, d_an_BB = self._in_units(candidates.d_ap_B1), self._in_units(candidates.d_an_BB)
        window_BB = (d_an_BB > d_ap_B1) & (d_an_BB < d_ap_B1 + self.margin)
        preference_BB = self.uniform_noise(d_an_BB) if self.choice == "uniform" else -d_an_BB
        return preference_BB.masked_fill(~window_BB, -torch.inf)

    def fallback(self, candidates: Candidates) -> Tensor:
        """Prefer the nearest image beyond the positive, then the farthest image."""
        d_ap_B1, d_an_BB = candidates.d_ap_B1, candidates.d_an_BB
        beyond_BB = (d_an_BB > d_ap_B1) & (d_an_BB < torch.inf)
        return torch.where(beyond_BB, 3 - d_an_BB, d_an_BB - 3)

    def choose_one(self, tile: Tile) -> Choice:
        """Find the highest score on similarities, which fall as distances grow."""
        s_AN, s_ap_AR, width_AR = tile.masked(torch.inf), tile.s_ap_AR, self._width(tile.s_ap_AR)
        if self.choice == "nearest":
            negative_AR, is_empty_AR = block_selection.nearest_in_window(s_AN, s_ap_AR, width_AR, tile.scratch)
        else:
            u_AR = self.uniform_noise(s_ap_AR)
            negative_AR, is_empty_AR = block_selection.draw_in_window(s_AN, s_ap_AR, width_AR, u_AR, tile.scratch)
        return Choice.of_one(tile.positive_AR, negative_AR, is_empty_AR)

    def _width(self, s_ap_AR: Tensor) -> Tensor:
        """Return the width of the window in similarities s = 1 − d²/2.

        It is half of (d_ap + margin)² − d_ap², or half the margin of squared distances.
        """
        margin = min(self.margin, WIDEST)
        if self.distance == "squared":
            return torch.full_like(s_ap_AR, max(margin / 2, block_selection.SMALLEST))
        least = max(margin**2 / 2, block_selection.SMALLEST)
        return distances.from_similarity(s_ap_AR).mul_(margin).add_(least)

    def _in_units(self, d: Tensor) -> Tensor:
        return d.square() if self.distance == "squared" else d
