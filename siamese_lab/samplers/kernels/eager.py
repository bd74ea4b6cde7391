"""Where a strategy may look at numbers and keep what it made."""

import torch


def on_eager_cpu(device: torch.device) -> bool:
    """Whether that costs nothing: a GPU would be waited for, and a step that is being compiled would be cut in two."""
    return device.type == "cpu" and not torch.compiler.is_compiling()
