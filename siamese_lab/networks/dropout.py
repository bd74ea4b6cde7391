"""Dropout (Srivastava et al. 2014, JMLR) from its own generator, so that a resumed run continues exactly."""

from typing import Any

import torch
from torch import Tensor, nn

from siamese_lab.devices import processes
from siamese_lab.devices.generator import DeviceGenerator
from siamese_lab.errors import UserError


class Dropout(nn.Module):
    """Sets features to 0 during training, and scales the others so that the mean stays the same.

    Args:
        share: share of features that are dropped, 0 < share < 1.
        seed: seed of the generator. Checkpoints hold its state.
    """

    def __init__(self, share: float, seed: int = 0) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise UserError(f"dropout is a share of the features, at least 0 and below 1, but is {share}.")
        self.share = share
        self.generator = DeviceGenerator(seed)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features that are kept.

        Every process draws for the whole batch and takes its own part, so the dropped features do not depend on the
        number of processes.
        """
        if not self.training:
            return features
        whole = len(features) * processes.count(), *features.shape[1:]
        noise = processes.own_part(
            torch.rand(whole, device=features.device, generator=self.generator.on(features.device))
        )
        return features * (noise >= self.share) / (1 - self.share)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of the generator, for checkpoints."""
        return self.generator.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore a stored state of the generator."""
        self.generator.load_state_dict(state)
