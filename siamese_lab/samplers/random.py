"""Random sampling: a negative drawn uniformly from all images of other classes; the study's baseline."""

from torch import Tensor

from siamese_lab.samplers.base import Candidates, Choice, Sampler, register
from siamese_lab.samplers.kernels import block_selection
from siamese_lab.samplers.kernels.tiles import MiningInputs


@register("random")
class RandomSampler(Sampler):
    """Draws every valid negative with equal probability.

    >>> import torch
    >>> z_BD = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    >>> selection = RandomSampler(seed=0).mine(z_BD, torch.tensor([0, 0, 1, 1]))
    >>> selection.listed().negative_TM.flatten().tolist()
    [2, 3, 1, 0]
    """

    def score(self, candidates: Candidates) -> Tensor:
        """Score all images by uniform noise."""
        return self.uniform_noise(candidates.d_an_BB)

    def choose(self, inputs: MiningInputs) -> Choice:
        """Draw one negative by its position among the images of other classes, which needs no similarities."""
        if self.num_negatives > 1:
            return super().choose(inputs)
        positive_BR = inputs.classes.positive_BR
        u_BR = self.uniform_noise(positive_BR)
        return Choice.of_one(positive_BR, block_selection.draw_outside(*inputs.runs(), u_BR))
