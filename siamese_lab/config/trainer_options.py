"""Check the options of the group `trainer` against the signature of Lightning's Trainer."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_class
from omegaconf import DictConfig

from siamese_lab.errors import UserError
from siamese_lab.registry import did_you_mean, options_of

DECIDED: Mapping[str, str] = {
    "barebones": "The lab needs callbacks and metrics, which barebones switches off.",
    "callbacks": "Choose callbacks with the group: callbacks=NAME, or callbacks=[NAME,NAME].",
    "check_val_every_n_epoch": "The lab counts steps between validations: trainer.val_check_interval=STEPS.",
    "default_root_dir": "A run writes into its own folder: hydra.run.dir=FOLDER, or paths.outputs=FOLDER.",
    "enable_checkpointing": "Every run keeps last.ckpt and best.ckpt, which are tested and resumed.",
    "enable_model_summary": "Choose the callback instead: callbacks=model_summary.",
    "enable_progress_bar": "The lab draws its own progress bar, on a terminal only.",
    "limit_predict_batches": "No command predicts with the Trainer. To embed images: python -m siamese_lab.embed.",
    "logger": "Choose a logger with the group: logger=NAME, or logger=null for none.",
    "num_sanity_val_steps": "To try a run: trainer.fast_dev_run=true. The lab validates at trainer.val_check_interval.",
    "plugins": "The lab starts the processes: trainer.devices, trainer.num_nodes and trainer.precision describe them.",
    "use_distributed_sampler": "The lab divides P×K batches between processes itself: trainer.devices=N.",
}
"""The Trainer's arguments that the lab passes itself, with the reason and what to set instead."""

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a dictionary"}
LIMITS = ("limit_train_batches", "limit_val_batches", "limit_test_batches")
"""Options that may not be 0, because a run trains, validates and tests."""


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
    for option in LIMITS:
        if config.get(option) == 0:
            raise UserError(f"trainer.{option} must be above 0, because a run trains, validates and tests, but is 0.")


def check_types_of_trainer(config: DictConfig) -> None:
    """Raise UserError for a plain value that the annotations of Lightning's Trainer do not allow."""
    import lightning  # see below

    allowed = get_type_hints(lightning.Trainer.__init__)
    for option, value in config.items():
        if option in allowed and value != "auto" and isinstance(value, (bool, int, float, str)):
            kinds = plain_kinds(allowed[option])
            if not isinstance(value, kinds):
                words = " or ".join(WORDS[kind] for kind in WORDS if kind in kinds)
                raise UserError(f"trainer.{option} must be {words}, but is {value!r}.")


def plain_kinds(annotation: Any) -> tuple[type, ...]:
    """Return the plain types that an annotation allows; a float may also be an integer.

    >>> plain_kinds(float | None), plain_kinds(Literal["warn"] | bool)
    ((<class 'float'>, <class 'int'>, <class 'NoneType'>), (<class 'str'>, <class 'bool'>))
    """
    origin, members = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return tuple({type(member) for member in members})
    if origin in (Union, UnionType):
        return tuple(kind for member in members for kind in plain_kinds(member))
    kind = origin or annotation
    return (float, int) if kind is float else (kind,)


def trainer_options(config: DictConfig) -> list[str]:
    """Return the options of the class that `_target_` names; empty if it cannot be imported or is no Trainer."""
    import lightning  # takes seconds, which completion in a shell need not wait for

    try:
        cls = get_class(config.get("_target_", "lightning.Trainer"))
    except Exception:  # also an error of the imported module, which `targets.build` explains
        return []
    return options_of(cls) if issubclass(cls, lightning.Trainer) else []
