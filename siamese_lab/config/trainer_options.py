"""Check the options of the group `trainer` against the signature of Lightning's Trainer."""

from collections.abc import Mapping

from hydra.utils import get_class
from omegaconf import DictConfig

from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean, options_of

TRAINER = "lightning.Trainer"
GIVEN: Mapping[str, str] = {
    "accelerator": "the device that trains",
    "benchmark": "whether cuDNN searches for the fastest algorithms",
    "detect_anomaly": "whether a backward pass that gives NaN stops the run",
    "deterministic": "whether torch takes deterministic algorithms only",
    "gradient_clip_algorithm": "norm or value",
    "gradient_clip_val": "the limit of the gradient; 0 or null sets none",
    "inference_mode": "whether validation and test run in inference mode",
    "limit_train_batches": "the batches of an epoch, also where max_epochs counts them",
    "log_every_n_steps": "steps between two points of the training curves; 0 logs none",
    "max_steps": "the optimizer steps of the run",
    "min_epochs": "the epochs before which a callback such as early_stopping does not end the run",
    "min_steps": "the steps before which a callback such as early_stopping does not end the run",
    "num_nodes": "the machines, on which torchrun or srun has started the processes",
}
"""The Trainer's arguments that mean what Lightning's documentation says, with this meaning."""

INTERPRETED: Mapping[str, str] = {
    "accumulate_grad_batches": "Batches per step. Validations are still counted in steps.",
    "devices": "The processes of this machine, which share every batch.",
    "fast_dev_run": "Tries a run with 1 or N batches. Its status is 'shortened', so studies and reports leave it out.",
    "limit_test_batches": "Tests a part of the images. The status is then 'shortened'.",
    "limit_val_batches": "Validates a part of the images. The status is then 'shortened'.",
    "max_epochs": "Sets max_steps, and the steps of the schedule.",
    "max_time": "Ends training in time. The status is 'shortened' if steps are left; `resume=` or a study continues.",
    "precision": "auto chooses by device. Mining and losses compute in float32 at least.",
    "profiler": "simple, advanced and pytorch write into the folder of the run.",
    "strategy": "auto, ddp and ddp_spawn mean the same: the lab starts processes that share every batch.",
    "sync_batchnorm": "Several processes always synchronize batch norms, so false is refused with trainer.devices=2.",
    "val_check_interval": "A number of steps, or auto for four to ten validations.",
}
"""The Trainer's arguments that have a meaning of the lab, with this meaning."""

OWN: Mapping[str, tuple[type, ...]] = {"compile": (bool,)}
"""Options of the group `trainer` that Lightning's Trainer does not have, with their plain types."""

DECIDED: Mapping[str, str] = {
    "barebones": "The lab needs callbacks and metrics, which barebones switches off.",
    "callbacks": "Choose callbacks with the group: callbacks=NAME, or callbacks=[NAME,NAME].",
    "check_val_every_n_epoch": "The lab counts steps between validations: trainer.val_check_interval=STEPS.",
    "default_root_dir": "A run writes into its own folder: hydra.run.dir=FOLDER, or paths.outputs=FOLDER.",
    "enable_autolog_hparams": "The lab writes the options of a run itself: results.json, and HPARAMS in TensorBoard.",
    "enable_checkpointing": "Every run keeps last.ckpt and best.ckpt, which are tested and resumed.",
    "enable_model_summary": "Choose the callback instead: callbacks=model_summary.",
    "enable_progress_bar": "The lab draws its own progress bar, on a terminal only.",
    "limit_predict_batches": "No command predicts with the Trainer. To embed images: python -m siamese_lab.embed.",
    "logger": "Choose a logger with the group: logger=NAME, logger=[NAME,NAME], or logger=null for none.",
    "model_registry": "The lab uploads nothing. The checkpoints are in the folder of the run.",
    "num_sanity_val_steps": "To try a run: trainer.fast_dev_run=true. The lab validates at trainer.val_check_interval.",
    "overfit_batches": "P×K batches are drawn anew in each epoch, so no batch repeats. To try a run: "
    "trainer.fast_dev_run=true.",
    "plugins": "The lab starts the processes: trainer.devices, trainer.num_nodes and trainer.precision describe them.",
    "reload_dataloaders_every_n_epochs": "The stream of batches never ends, and every epoch draws new ones from it.",
    "use_distributed_sampler": "The lab divides P×K batches between processes itself: trainer.devices=N.",
}
"""The Trainer's arguments that the lab refuses, with the reason and what to set instead."""

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a dictionary"}
KINDS: Mapping[str, tuple[type, ...]] = {
    "accelerator": (str,),
    "accumulate_grad_batches": (int,),
    "benchmark": (bool,),
    "detect_anomaly": (bool,),
    "deterministic": (bool, str),
    "devices": (int, str),
    "fast_dev_run": (bool, int),
    "gradient_clip_algorithm": (str,),
    "gradient_clip_val": (int, float),
    "inference_mode": (bool,),
    "limit_test_batches": (int, float),
    "limit_train_batches": (int, float),
    "limit_val_batches": (int, float),
    "log_every_n_steps": (int,),
    "max_epochs": (int,),
    "max_steps": (int,),
    "max_time": (str, dict),
    "min_epochs": (int,),
    "min_steps": (int,),
    "num_nodes": (int,),
    "precision": (int, str),
    "profiler": (str,),
    "strategy": (str,),
    "sync_batchnorm": (bool,),
    "val_check_interval": (int, float, str, dict),
}
"""The plain types of the Trainer's arguments, known without importing Lightning, which takes seconds."""
AT_LEAST = {
    "max_steps": 0,
    "max_epochs": 1,
    "accumulate_grad_batches": 1,
    "val_check_interval": 1,
    "log_every_n_steps": 0,
    "gradient_clip_val": 0,
    "fast_dev_run": 0,
}
"""The smallest value of numbers that Lightning accepts below it, too."""
NEVER_NULL = ("max_steps", "accumulate_grad_batches", "val_check_interval")
LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches")
"""Options that may not be 0, because a run trains, validates and tests."""
PROFILERS = ("simple", "advanced", "pytorch")


def check_trainer(config: DictConfig) -> None:
    """Raise UserError for an option that the Trainer does not have, or that the lab decides.

    A class of the user's own, which `_target_` names, may have further options. A `_target_` that cannot be imported is
    left to `siamese_lab.config.targets`.
    """
    known = trainer_options(config)
    for option in map(str, config):
        if option in DECIDED:
            raise UserError(f"trainer.{option} cannot be set. {DECIDED[option]}")
        if known and option not in known and not option.startswith("_"):
            listed = ", ".join(each for each in known if each not in DECIDED)
            raise UserError(
                f"There is no option {f'trainer.{option}'!r}.{did_you_mean(option, known)} Options there: {listed}."
            )
    check_types_of_trainer(config)
    check_values_of_trainer(config)


def check_types_of_trainer(config: DictConfig) -> None:
    """Raise UserError for a plain value of a type that Lightning's Trainer does not take."""
    for name, value in config.items():
        option = str(name)
        kinds = {**KINDS, **OWN}.get(option, (bool, int, float, str))
        accepted = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))  # true is an int
        if isinstance(value, (bool, int, float, str)) and value != "auto" and not accepted:
            words = " or ".join(WORDS[kind] for kind in WORDS if kind in kinds)
            raise UserError(f"trainer.{option} must be {words}, but is {value!r}.")


def check_values_of_trainer(config: DictConfig) -> None:
    """Raise UserError for a value that Lightning accepts and that no run of the lab can honor."""
    for option in LIMITS:
        if config.get(option) == 0:
            raise UserError(f"trainer.{option} must be above 0, because a run trains, validates and tests, but is 0.")
    for option in NEVER_NULL:
        if option in config and config[option] is None:
            raise UserError(f"trainer.{option} must be a whole number, but is null.")
    interval = config.get("val_check_interval", "auto")
    if interval != "auto" and not isinstance(interval, int):
        raise UserError(
            f"trainer.val_check_interval must be a whole number of steps, or auto, but is {interval!r}. The lab "
            "validates after equal numbers of steps, so that the curves of strategies can be compared."
        )
    for option, least in AT_LEAST.items():
        value = config.get(option)
        if isinstance(value, (int, float)) and not value >= least:
            raise UserError(f"trainer.{option} must be at least {least}, but is {value}.")
    if (config.get("min_steps") or 0) > config.get("max_steps", float("inf")) and config.get("max_epochs") is None:
        raise UserError(
            f"trainer.min_steps={config.min_steps} is more than trainer.max_steps={config.max_steps}. Set more steps."
        )
    profiler = config.get("profiler")
    if isinstance(profiler, str) and profiler not in PROFILERS:
        raise UserError(f"trainer.profiler must be one of {', '.join(PROFILERS)}, or null, but is {profiler!r}.")


def trainer_options(config: DictConfig) -> list[str]:
    """Return the options of the class that `_target_` names; empty if it cannot be imported or is no Trainer.

    The options of Lightning's Trainer are known without importing it, so that a wrong one is answered at once.
    """
    target = config.get("_target_", TRAINER)
    if target == TRAINER:
        return sorted({*GIVEN, *INTERPRETED, *DECIDED, *OWN})
    import lightning  # takes seconds

    try:
        cls = get_class(target)
    except Exception:  # also an error of the imported module, which `targets.build` explains
        return []
    return [*options_of(cls), *OWN] if issubclass(cls, lightning.Trainer) else []
