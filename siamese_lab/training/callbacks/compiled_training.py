"""Compile the backbone for training steps by `torch.compile`, which fuses operations (Ansel et al. 2024).

`nn.Module.compile` keeps the module and the names of its weights, so checkpoints are those of a run without it.
Validation and test are computed without compilation, as `siamese_lab.evaluate` computes them.
"""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from siamese_lab.errors import ResourceError
from siamese_lab.runs.plain_values import shortened
from siamese_lab.training.module import SiameseModule


class CompiledTraining(Callback):
    """Compiles the backbone when training starts, and turns compiled code off during validation and test."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compile the backbone. The code is built in the first step.

        Raises:
            ResourceError: if there is no compiler for the device.
        """
        assert isinstance(pl_module, SiameseModule)
        check_compiler(pl_module.device)
        pl_module.network.backbone.compile()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn compiled code off."""
        torch.compiler.set_stance("force_eager")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn compiled code on."""
        torch.compiler.set_stance("default")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn compiled code off."""
        torch.compiler.set_stance("force_eager")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Turn compiled code on."""
        torch.compiler.set_stance("default")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Turn compiled code on for later runs of the process."""
        torch.compiler.set_stance("default")


def check_compiler(device: torch.device) -> None:
    """Raise ResourceError if a small function cannot be compiled for a device."""

    def double(x_N: Tensor) -> Tensor:
        return x_N.sin() * 2

    try:
        compiled: Any = torch.compile(double)
        compiled(torch.zeros(8, device=device))
    except Exception as error:  # whatever the backend raises; its errors share no public base class
        needed = "a C++ compiler, such as g++" if device.type == "cpu" else "Triton, and a C compiler such as gcc"
        first_line = str(error).strip().split("\n")[0]
        raise ResourceError(
            f"trainer.compile=true needs {needed}, but a first function could not be compiled for {device.type} "
            f"({type(error).__name__}: {shortened(first_line, 200)}). Install one, or set trainer.compile=false."
        ) from error
