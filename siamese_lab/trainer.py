"""The Lightning trainer of a run, with what `auto` means decided and written down."""

from typing import Any

import lightning
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry
from omegaconf import DictConfig, OmegaConf

from siamese_lab import targets
from siamese_lab.errors import UserError

VALIDATIONS = 10


def build_trainer(config: DictConfig, **further: Any) -> lightning.Trainer:
    """A trainer as configured.

    Args:
        config: the group `trainer`. `precision: auto` is bfloat16 autocast where the device computes in it, else
            float32; `val_check_interval: auto` validates ten times, evenly over the run.
        **further: what is known only when a run starts: callbacks, loggers, folders.

    Raises:
        UserError: for an accelerator that is not there, fewer than one step, or no validation within the steps.
    """
    check_accelerator(config.accelerator)
    if config.max_steps < 1:
        raise UserError(f"trainer.max_steps must be at least 1, but is {config.max_steps}.")
    decided = OmegaConf.to_container(config, resolve=True)
    assert isinstance(decided, dict)
    if config.precision == "auto":
        decided["precision"] = best_precision(config.accelerator)
    if config.val_check_interval == "auto":
        decided["val_check_interval"] = max(1, config.max_steps // VALIDATIONS)
    if decided["val_check_interval"] > config.max_steps:
        raise UserError(
            f"trainer.val_check_interval={config.val_check_interval} is more than the {config.max_steps} steps of "
            "trainer.max_steps, so no weights would be validated. Set a smaller one, or auto."
        )
    trainer = targets.build("trainer", OmegaConf.create(decided), **further)
    if not isinstance(trainer, lightning.Trainer):
        raise UserError(f"trainer._target_ must be lightning.Trainer or a subclass, but is {decided['_target_']}.")
    return trainer


def check_accelerator(name: str, option: str = "trainer.accelerator") -> None:
    """Raise UserError, about an option, unless the accelerator that it names is known and there."""
    here = sorted(each for each in AcceleratorRegistry if AcceleratorRegistry[each]["accelerator"].is_available())
    if name not in (*here, "auto") and not (name == "gpu" and {"cuda", "mps"} & set(here)):
        raise UserError(
            f"{option}={name} is not on this machine, which has: {', '.join(here)}. "
            f"Set {option}=auto to take the best there is."
        )


def best_precision(accelerator: str) -> str:
    """The fastest precision with float32's range: bfloat16 where the device computes in it, else float32."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return "32-true"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"
