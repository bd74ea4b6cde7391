"""A curriculum: one strategy after another as training goes on, from easy triplets to hard ones.

The idea of ordering examples by difficulty is Bengio et al. 2009 (doi:10.1145/1553374.1553380).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from siamese_lab.batch import Selection
from siamese_lab.errors import UserError
from siamese_lab.samplers.base import Sampler, build, check_listed, register
from siamese_lab.samplers.kernels.tiles import MiningInputs

STAGES = ({"name": "random", "until": 0.1}, {"name": "semi_hard", "until": 0.7}, {"name": "hard", "until": 1.0})


@register("curriculum")
class CurriculumSampler(Sampler):
    """The strategy of the stage that the training is in.

    Args:
        stages: for each its strategy's `name`, the share of training `until` which it lasts (ascending, the last one
            1), and the strategy's options.
        **base: see `Sampler`; of every stage.

    Raises:
        UserError: for stages that do not end one after another at 1, or that do not list triplets.
    """

    def __init__(self, stages: Sequence[Mapping[str, Any]] = STAGES, **base: Any) -> None:
        super().__init__(**base)
        self.until = [float(stage.get("until", 0)) for stage in stages]
        if self.until[-1:] != [1.0] or any(end <= start for start, end in pairwise([0.0, *self.until])):
            raise UserError(
                "Each stage of a curriculum needs an `until`, after that of the stage before and 1 for the last, "
                f"but they are {self.until}."
            )
        options = [{key: value for key, value in stage.items() if key != "until"} for stage in stages]
        self.strategies = nn.ModuleList(build(**(base | of_stage)) for of_stage in options)
        check_listed("curriculum", self.strategies)
        self.uses_memory = any(strategy.uses_memory for strategy in self.strategies)

    def stage(self, progress: float) -> int:
        """Return the number of the stage at this share of the training, counted from 0."""
        return next((number for number, end in enumerate(self.until) if progress < end), len(self.until) - 1)

    def select(self, inputs: MiningInputs) -> Selection:
        """Select as the strategy of the current stage does, and report the stage."""
        stage = self.stage(inputs.progress)
        strategy = self.strategies[stage]
        assert isinstance(strategy, Sampler)
        selection = strategy.select(inputs)
        number = torch.full((), float(stage), device=inputs.z_CD.device)
        return selection._replace(statistics={**selection.statistics, "stage": number})
