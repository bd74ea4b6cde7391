"""Hard-negative mining: the nearest negative of the anchor, argmin d_an.

It collapses easily (Schroff et al. 2015, arXiv:1503.03832, §3.2): the loss then stays at the margin and
`d_ap_mean` and `d_an_mean` both fall to 0.
"""

from torch import Tensor

from siamese_lab.samplers.base import Candidates, Sampler
from siamese_lab.samplers.registry import register


@register("hard")
class HardSampler(Sampler):
    """The nearest negative."""

    def score(self, candidates: Candidates) -> Tensor:
        """The nearer, the better."""
        return -candidates.d_an_BB
