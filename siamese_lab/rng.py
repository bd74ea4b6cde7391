"""A random generator of one's own, on whatever device the tensors are, whose state can be stored."""

from typing import Any

import torch


class DeviceGenerator:
    """Starts from its seed on the device where it is first used.

    Args:
        seed: any integer.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generator: torch.Generator | None = None

    def on(self, device: torch.device) -> torch.Generator:
        """The generator for tensors on `device`; on another one than before it starts anew."""
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)
        return self._generator

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands; empty if it has not begun."""
        if self._generator is None:
            return {}
        return {"device": str(self._generator.device), "state": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored state; from the seed if it is empty, or of a kind of device that is not here."""
        self._generator = None
        if state and (not state["device"].startswith("cuda") or torch.cuda.is_available()):
            self.on(torch.device(state["device"])).set_state(state["state"].cpu())
