"""Cross-batch memory (Wang et al. 2020, arXiv:1912.06798): past embeddings as additional negatives of any strategy."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from siamese_lab import distances
from siamese_lab.batch import Selection
from siamese_lab.errors import UserError
from siamese_lab.registry import options_of
from siamese_lab.samplers.base import Sampler, build, check_listed, register, registry
from siamese_lab.samplers.kernels.tiles import EMPTY_LABEL, MiningInputs


@register("memory")
class MemorySampler(Sampler):
    """Applies a strategy to the negatives of the batch and of the last `size` embeddings before it.

    Remembered embeddings take no gradient and are never anchors or positives. Checkpoints hold them.

    Args:
        strategy: name of the strategy that chooses.
        size: Q, the number of remembered embeddings.
        margin: the margin, for a strategy that has this option.
        distance: the distance, for a strategy that has this option.
        options: further options of the strategy.
        **base: see `Sampler`.

    Raises:
        UserError: if the strategy does not list its triplets.

    >>> sampler, labels_B = MemorySampler("hard", size=4), torch.tensor([0, 0, 1, 1])
    >>> batches = [torch.nn.functional.normalize(torch.randn(4, 8), dim=1) for _ in range(2)]
    >>> [len(sampler.mine(z_BD, labels_B).candidates_CD) for z_BD in batches]  # 4 images and 4 places of memory
    [8, 8]
    """

    uses_memory = True
    remembered_QD: Tensor
    labels_Q: Tensor
    pointer: Tensor

    def __init__(
        self,
        strategy: str = "semi_hard",
        size: int = 1024,
        margin: float = 0.2,
        distance: distances.Kind = "plain",
        options: Mapping[str, Any] | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if size < 1:
            raise UserError(f"sampler.size, the number of remembered embeddings, must be at least 1, but got {size}.")
        has = options_of(registry.classes[strategy]) if strategy in registry.classes else []
        window = {key: value for key, value in (("margin", margin), ("distance", distance)) if key in has}
        self.strategy = build(strategy, **(base | window | dict(options or {})))
        check_listed("memory", [self.strategy])
        self.size = size
        self.register_buffer("remembered_QD", torch.zeros(size, 0))
        self.register_buffer("labels_Q", torch.full((size,), EMPTY_LABEL))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    def select(self, inputs: MiningInputs) -> Selection:
        """Select among the batch and the memory, then store the batch in place of the oldest entries."""
        self._allocate(inputs.z_CD)
        z_CD = torch.cat([inputs.z_CD, self.remembered_QD])
        labels_C = torch.cat([inputs.labels_C, self.labels_Q])
        selection = self.strategy.select(inputs._replace(z_CD=z_CD, labels_C=labels_C))
        self._remember(inputs.z_CD, inputs.labels_C)
        return selection

    def _allocate(self, z_BD: Tensor) -> None:
        dimensions = z_BD.shape[1]
        if self.remembered_QD.shape[1] == 0:
            self.remembered_QD = z_BD.new_zeros(self.size, dimensions)
        if self.remembered_QD.dtype != z_BD.dtype:  # trainer.precision=64-true converts every buffer
            self.remembered_QD = self.remembered_QD.to(z_BD.dtype)
        if self.remembered_QD.shape[1] != dimensions:
            raise UserError(
                f"The memory holds embeddings of {self.remembered_QD.shape[1]} dimensions, but got {dimensions}. "
                "Build one sampler for each network."
            )
        if self.pointer.device != z_BD.device:
            self.to(z_BD.device)

    def _remember(self, z_BD: Tensor, labels_B: Tensor) -> None:
        z_BD, labels_B = z_BD[-self.size :], labels_B[-self.size :]
        place_B = self.pointer + torch.arange(len(z_BD), device=z_BD.device)
        place_B = place_B - self.size * (place_B >= self.size)
        self.remembered_QD.index_copy_(0, place_B, z_BD)
        self.labels_Q.index_copy_(0, place_B, labels_B.long())
        self.pointer.copy_(place_B[-1] + 1)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Store copies, because later steps overwrite the ring buffer."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in ("remembered_QD", "labels_Q", "pointer"):
            destination[prefix + name] = destination[prefix + name].clone()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        stored_QD = state_dict.get(prefix + "remembered_QD", self.remembered_QD)
        if len(stored_QD) == self.size:
            self.remembered_QD = stored_QD.new_zeros(stored_QD.shape, device=self.pointer.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if not 0 <= int(self.pointer) <= self.size:
            raise ValueError(f"{prefix}pointer is {int(self.pointer)}, expected 0 to {self.size}.")
