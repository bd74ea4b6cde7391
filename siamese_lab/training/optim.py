"""What the optimizer is told of the parameters: which of them decay, and which have a learning rate of their own.

Weight decay is for weights: a bias, the scale and shift of a norm, or a boundary that a loss learns are no better for
being small (He et al. 2019, arXiv:1812.01187, §3.1).
"""

from typing import Any

from torch import nn


def parameter_groups(network: nn.Module, loss: nn.Module, loss_lr: float | None = None) -> list[dict[str, Any]]:
    """Groups for an optimizer: weights first, then what does not decay, then what the loss learns, if anything.

    Args:
        network: whose parameters of two dimensions and more decay.
        loss: whose parameters do not.
        loss_lr: learning rate of the loss's parameters; None is that of the others.
    """
    learnt = [each for each in network.parameters() if each.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [each for each in learnt if each.ndim >= 2]},
        {"params": [each for each in learnt if each.ndim < 2], "weight_decay": 0.0},
    ]
    of_loss: dict[str, Any] = {"params": list(loss.parameters()), "weight_decay": 0.0}
    groups.append(of_loss if loss_lr is None else of_loss | {"lr": loss_lr})
    return [group for group in groups if group["params"]]
