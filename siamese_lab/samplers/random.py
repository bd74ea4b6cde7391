"""Random sampling: a negative drawn uniformly from all images of other classes; the study's baseline."""

from torch import Tensor

from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import MiningInputs


@register("random")
class RandomSampler(Sampler):
    """Every valid negative is equally likely."""

    def score(self, candidates: Candidates) -> Tensor:
        """Noise alone."""
        return self.uniform_noise(candidates.d_an_BB)

    def choose(self, inputs: MiningInputs) -> Choice:
        """One negative needs no similarities, only a place among the images of other classes."""
        if self.negatives > 1:
            return super().choose(inputs)
        positive_BR = inputs.classes.positive_BR
        u_BR = self.uniform_noise(positive_BR)
        return Choice.of_one(positive_BR, block_selection.draw_outside(*inputs.runs(), u_BR))
