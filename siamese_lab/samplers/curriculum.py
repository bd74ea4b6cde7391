"""A curriculum: several strategies in sequence during training, from easy to hard triplets.

Bengio et al. 2009 (doi:10.1145/1553374.1553380) introduced the order of examples by difficulty.
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
    """Selects by the strategy of the current stage of training.

    Args:
        stages: for each stage the `name` of its strategy, the share of training `until` which it lasts (ascending, 1
            for the last stage), and the options of the strategy.
        **base: the options of `Sampler`, passed to the strategy of every stage.

    Raises:
        UserError: if `until` does not ascend to 1, or a strategy does not list its triplets.

    >>> sampler = CurriculumSampler()
    >>> [sampler.stage(progress) for progress in (0.0, 0.5, 1.0)]
    [0, 1, 2]
    """

    def __init__(self, stages: Sequence[Mapping[str, Any]] = STAGES, **base: Any) -> None:
        super().__init__(**base)
        self.until = [float(stage.get("until", 0)) for stage in stages]
        if self.until[-1:] != [1.0] or any(end <= start for start, end in pairwise([0.0, *self.until])):
            raise UserError(
                "`until` of the stages of a curriculum must ascend from stage to stage and end at 1, "
                f"but got {self.until}. Correct sampler.stages."
            )
        options = [{key: value for key, value in stage.items() if key != "until"} for stage in stages]
        self.strategies = nn.ModuleList(build(**(base | of_stage)) for of_stage in options)
        check_listed("curriculum", self.strategies)
        self.uses_memory = any(strategy.uses_memory for strategy in self.strategies)

    def stage(self, progress: float) -> int:
        """Return the index of the stage at this share of the training."""
        return next((number for number, end in enumerate(self.until) if progress < end), len(self.until) - 1)

    def select(self, inputs: MiningInputs) -> Selection:
        """Select by the strategy of the current stage, and report the stage."""
        stage = self.stage(inputs.progress)
        strategy = self.strategies[stage]
        assert isinstance(strategy, Sampler)
        selection = strategy.select(inputs)
        number = torch.full((), float(stage), device=inputs.z_CD.device)
        return selection._replace(statistics={**selection.statistics, "stage": number})
