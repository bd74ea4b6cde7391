"""Build the Lightning trainer of a run, and replace each option `auto` by a definite value."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from siamese_lab.config import targets
from siamese_lab.config.overrides import option_of
from siamese_lab.config.trainer_options import OWN, PROFILERS, check_values_of_trainer
from siamese_lab.data import DataModule
from siamese_lab.errors import UserError
from siamese_lab.training.batch_norm import SynchronizeBatchNorm
from siamese_lab.training.checkpoint_io import WholeCheckpointIO
from siamese_lab.training.module import tests_all_pairs
from siamese_lab.training.placement import Placement
from siamese_lab.training.validation_plan import MOST


def build_trainer(
    config: DictConfig, placement: Placement | None = None, validations: int = MOST, **further: Any
) -> lightning.Trainer:
    """Build the trainer that the configuration describes.

    Args:
        config: the options of the group `trainer`. `precision: auto` is bfloat16 autocast if the device supports it,
            else float32. `val_check_interval: auto` validates `validations` times, evenly over the run.
        placement: the processes that train; None is only this process.
        validations: number of validations, if the configuration leaves it open.
        **further: arguments that are known only when a run starts: callbacks, loggers, folders.

    Raises:
        UserError: if the accelerator is not available, there is no step, or no validation within the steps.
    """
    check_accelerator(config.accelerator)
    check_values_of_trainer(config)
    accumulated = config.get("accumulate_grad_batches", 1)
    decided = OmegaConf.to_container(config, resolve=True)
    assert isinstance(decided, dict)
    for own in OWN:
        decided.pop(own, None)
    decided["max_epochs"] = None  # `set_steps_of_epochs` has turned epochs into steps
    if config.precision == "auto":
        decided["precision"] = best_precision(config.accelerator)
    if config.val_check_interval == "auto":
        decided["val_check_interval"] = max(1, config.max_steps // validations)
    if decided["val_check_interval"] > max(1, config.max_steps):  # without a step, only the end is validated
        raise UserError(
            f"trainer.val_check_interval={config.val_check_interval} is more than trainer.max_steps="
            f"{config.max_steps}, so no weights would be validated. Set a smaller interval, or auto."
        )
    if isinstance(decided["val_check_interval"], int):
        decided["val_check_interval"] *= accumulated  # Lightning counts batches here, and a step takes several batches
    placement = placement or Placement.alone()
    if decided.pop("sync_batchnorm", True) is False and placement.processes > 1:
        raise UserError(
            "trainer.sync_batchnorm=false is not supported: several processes always synchronize batch norms, so that "
            "any number of them runs the same experiment. Remove the option, or set trainer.devices=1."
        )
    if isinstance(decided.get("max_time"), dict):
        further["max_time"] = timedelta(**decided.pop("max_time"))
    arguments = placed(placement, config.accelerator) | further
    trainer = targets.build("trainer", OmegaConf.create(decided), **arguments)
    if not isinstance(trainer, lightning.Trainer):
        raise UserError(f"trainer._target_ must be lightning.Trainer or a subclass, but is {decided['_target_']}.")
    return trainer


def set_steps_of_epochs(config: DictConfig, batches: int, overrides: Sequence[str] = ()) -> None:
    """Set the number of steps, of training and of the schedule, from `trainer.max_epochs`, if it is given.

    Args:
        config: the whole configuration, which is changed.
        batches: number of batches of an epoch.
        overrides: the command line.

    Raises:
        UserError: if the number of epochs is less than 1, or the command line sets `trainer.max_steps` after it.
    """
    epochs = config.trainer.get("max_epochs")
    if epochs is None:
        return
    named = [option_of(each) for each in overrides]
    counted = [name for name in named if name in ("trainer.max_steps", "trainer.max_epochs")]
    if counted and counted[-1] == "trainer.max_steps":
        raise UserError(
            f"trainer.max_epochs={epochs} decides the number of steps, so trainer.max_steps={config.trainer.max_steps} "
            "would have no effect. Set trainer.max_epochs=null, too, to count steps."
        )
    check_values_of_trainer(config.trainer)
    limit = config.trainer.get("limit_train_batches")
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else max(1, int(batches * limit))
    steps = epochs * -(-batches // config.trainer.get("accumulate_grad_batches", 1))
    config.trainer.max_steps = steps
    if "steps" in config.schedule:
        config.schedule.steps = steps


def build_profiler(name: Any, folder: Path) -> Any:
    """Build the profiler that writes `profile` files into the folder of a run; pass on what is no name."""
    classes = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    return classes[name](dirpath=folder, filename="profile") if name in PROFILERS else name


def reason_of_shortening(trainer: lightning.Trainer, config: DictConfig, datamodule: DataModule) -> str | None:
    """Return a sentence if an option of the trainer cut training, validation or test short; else None.

    Args:
        trainer: after training and evaluation.
        config: the options of the group `trainer`.
        datamodule: the data of the run.
    """
    if config.get("fast_dev_run"):
        return f"trainer.fast_dev_run={config.fast_dev_run} only tries a run."
    steps, asked = trainer.global_step, config.max_steps
    timers = [each for each in trainer.callbacks if isinstance(each, Timer)]  # type: ignore[attr-defined]
    if steps < asked and any((each.time_remaining() or 0) <= 0 for each in timers if each.time_remaining() is not None):
        return f"trainer.max_time={config.get('max_time')} ended training after {steps:,} of {asked:,} steps."
    whole = {"val": [datamodule.val_dataloader()], "test": datamodule.test_dataloader()}
    for part, loaders in whole.items():
        done = getattr(trainer, f"num_{part}_batches")
        if config.get(f"limit_{part}_batches") is not None and done and sum(done) < sum(map(len, loaders)):
            reason = f"trainer.limit_{part}_batches={config[f'limit_{part}_batches']} evaluated a part of the images."
            if part == "test" and not tests_all_pairs(trainer):
                reason += " The official pairs were not evaluated, because images of them are missing."
            return reason
    return None


def placed(placement: Placement, accelerator: str) -> dict[str, Any]:
    """Return the trainer's arguments for its processes and for the synchronization of batch norms."""
    assert placement.environment is not None
    if placement.processes == 1:
        # Lightning has read the rank from the environment, where a job scheduler may have set it.
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
        return {"strategy": "auto", "plugins": [placement.environment, WholeCheckpointIO()]}
    on_cpu = accelerator == "cpu" or not torch.cuda.is_available()
    return {
        "strategy": DDPStrategy(forward_sync_buffers=False),
        "plugins": [
            placement.environment,
            WholeCheckpointIO(),
            SynchronizeBatchNorm() if on_cpu else TorchSyncBatchNorm(),
        ],
        "use_distributed_sampler": False,
    }


def check_accelerator(name: str, option: str = "trainer.accelerator") -> None:
    """Raise UserError unless the accelerator that an option names is available on this machine."""
    here = sorted(each for each in AcceleratorRegistry if AcceleratorRegistry[each]["accelerator"].is_available())
    if name not in (*here, "auto") and not (name == "gpu" and {"cuda", "mps"} & set(here)):
        raise UserError(
            f"{option}={name} is not available on this machine, which has: {', '.join(here)}. "
            f"Set {option}=auto to use the best available one."
        )


def best_precision(accelerator: str) -> str:
    """Return the fastest precision with float32's range: bfloat16 if the device supports it, else float32."""
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available()):
        return "32-true"
    return "bf16-mixed" if has_bfloat16_instructions() else "32-true"


def has_bfloat16_instructions() -> bool:
    """Return whether the CPU multiplies bfloat16. Older versions of PyTorch cannot say so, which counts as no."""
    return hasattr(torch.cpu, "get_capabilities") and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
