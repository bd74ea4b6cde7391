"""Fast ways to find the choice that a strategy's score defines, each tested to agree with the score.

The strategies themselves are in `siamese_lab.samplers`.
"""

import torch


def on_eager_cpu(device: torch.device) -> bool:
    """Return True if reading numbers and keeping tensors between calls costs nothing.

    On a GPU the host would have to wait, and a step under compilation would be cut in two.
    """
    return device.type == "cpu" and not torch.compiler.is_compiling()


def assert_on_device(condition: torch.Tensor, message: str) -> None:
    """Stop the program on the device if a condition does not hold. The host does not wait for the answer."""
    torch._assert_async(condition, message)  # torch has no public assertion that runs on the device
