"""Random sampling: a negative drawn uniformly from all images of other classes; the study's baseline."""

from torch import Tensor

from siamese_lab.samplers.base import Candidates, Sampler
from siamese_lab.samplers.registry import register


@register("random")
class RandomSampler(Sampler):
    """Every valid negative is equally likely."""

    def score(self, candidates: Candidates) -> Tensor:
        """Noise alone."""
        return self.uniform_noise(candidates.d_an_BB)
