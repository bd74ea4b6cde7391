"""A separate random generator on the device of the tensors, with a state that can be stored."""

from typing import Any

import torch


class DeviceGenerator:
    """Creates a generator from a seed, on the device where it is first used.

    Args:
        seed: any integer.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generator: torch.Generator | None = None

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator for tensors on `device`. A change of device restarts it from the seed."""
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)
        return self._generator

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the stream; empty if no number was drawn yet."""
        if self._generator is None:
            return {}
        return {"device": str(self._generator.device), "state": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a stored state, or from the seed if the state is empty or its device is not available."""
        self._generator = None
        if state and (not state["device"].startswith("cuda") or torch.cuda.is_available()):
            self.on(torch.device(state["device"])).set_state(state["state"].cpu())
