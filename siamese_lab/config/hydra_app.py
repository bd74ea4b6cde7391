"""Run a job from the command line: Hydra composes the configuration, and a user's error becomes one message."""

import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from siamese_lab.config.arguments import for_hydra
from siamese_lab.config.errors import (
    FULL_ERROR,
    check_groups,
    check_option_names,
    check_types,
    choices_of_groups,
    explain,
    is_user_error,
    print_error,
    shipped_options,
    user_errors_as_messages,
    wants_tracebacks,
)
from siamese_lab.config.help_page import asks_for_help, print_help
from siamese_lab.config.process import end_with_parent, return_free_memory, wait_for_another_parent
from siamese_lab.config.renamed import with_new_option_names
from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.config.run_folder import removed_if_unused
from siamese_lab.config.schema import TrainConfig, check_keys, config_folder, register_schema
from siamese_lab.errors import USER_ERROR_STATUS, ResourceError
from siamese_lab.errors.packages import unusable_package
from siamese_lab.runs.disk import FULL, REFUSED
from siamese_lab.runs.lost import lost_process
from siamese_lab.runs.output import make_output_last

JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
"""The launcher with worker processes that are children of the command; jobs of SLURM outlive it on purpose."""


def run(
    job: Callable[[DictConfig], None],
    command: str = "train",
    schema: type = TrainConfig,
    complete: Callable[[Sequence[str]], list[str]] = with_resumed_overrides,
    keeps_failures: Callable[[DictConfig], bool] = lambda config: False,
) -> None:
    """Compose the configuration that the command line asks for and run the job with it, once or in a sweep.

    A user's error ends with one message and exit status 2, or with its traceback if HYDRA_FULL_ERROR=1. Every other
    error keeps its traceback and ends with exit status 1.

    Args:
        job: the function to run with the composed configuration.
        command: name of its configuration in `configs/`.
        schema: the dataclass that lists the options of this configuration.
        complete: translates the given arguments into the arguments that Hydra gets.
        keeps_failures: returns whether a job of a sweep records its own failure, so that the sweep goes on after a
            message and a callback decides the exit status.
    """
    before, tracebacks = os.environ.get(FULL_ERROR), wants_tracebacks()
    os.environ[FULL_ERROR] = "1"  # Hydra then raises errors instead of printing them
    silence_lightning()
    register_schema()

    jobs, failed, main_process, started = 0, 0, os.getpid(), time.time()
    shipped: dict[tuple[str, ...], dict[str, Any]] = {}  # composed once for all jobs of the same groups

    def checked_job(config: DictConfig) -> None:
        nonlocal jobs, failed
        jobs += 1
        silence_lightning()  # also in the processes of a parallel sweep
        make_output_last()
        asked = HydraConfig.get()
        if os.getpid() != main_process and asked.launcher._target_ == JOBLIB:
            end_with_parent(partial(wait_for_another_parent, main_process))
        # When one of several jobs fails, the others continue. Hydra raises the first error at the end, below a line of
        # its own, so it gets only errors that nothing else reports.
        several = asked.mode != RunMode.RUN
        try:
            with user_errors_as_messages(command, tracebacks or several), removed_if_unused(config):
                check_and_run(config, asked.overrides.task)
        except Exception as error:
            shown = not tracebacks and is_user_error(error)
            if not several or not (keeps_failures(config) or (shown and os.getpid() == main_process)):
                raise
            failed += 1
            name = " ".join(asked.overrides.task)
            print_error(f"{name}: {explain(error, command)}" if shown else f"{name}:\n{traceback.format_exc()}")
        finally:
            if several:
                return_free_memory()

    def check_and_run(config: DictConfig, overrides: Sequence[str]) -> None:
        check_keys(config, schema)
        groups = tuple(choices_of_groups(overrides))
        if groups not in shipped:
            shipped[groups] = shipped_options(groups, command)
        check_types(config, shipped[groups])
        OmegaConf.to_container(config, resolve=True)  # here, a failing interpolation still counts as a user's error
        try:
            job(config)
        except (ImportError, OSError) as error:
            if (message := unusable_package(error)) is None:
                raise
            raise ResourceError(message) from error
        except OmegaConfBaseException as error:
            raise RuntimeError(f"The code read an option that does not exist, which is a bug: {error}") from error

    start = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=command)(checked_job)
    try:
        with user_errors_as_messages(command, tracebacks):
            sys.argv[1:] = for_hydra(complete(with_new_option_names(sys.argv[1:])), command)
            check_groups(sys.argv[1:])
            if command == "train":
                check_option_names(sys.argv[1:])
            if asks_for_help(sys.argv[1:]):
                print_help(command, sys.argv[1:])
                return
            try:
                start()
                if failed:
                    raise SystemExit(USER_ERROR_STATUS)
            except BrokenProcessPool as error:  # of launcher=joblib
                raise lost_process(Path(HydraConfig.get().sweep.dir), started) from error
            except OSError as error:
                if error.errno in FULL:
                    raise ResourceError(
                        f"There is no space left for the outputs ({error.strerror}). Free some, or set paths.outputs "
                        "to a folder on another disk."
                    ) from error
                if jobs or error.errno not in REFUSED:
                    raise
                raise ResourceError(  # Hydra makes the folder of a run before it starts the job
                    f"{error.filename} cannot be written ({error.strerror}). Set paths.outputs to a folder that can."
                ) from error
    finally:
        os.environ.pop(FULL_ERROR) if before is None else os.environ.update({FULL_ERROR: before})


def silence_lightning() -> None:
    """Silence Lightning's messages about itself. Its warnings about training stay."""
    for package in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(package).setLevel(logging.WARNING)
    for noise in (
        "does not have many workers",
        "Checkpoint directory .* exists",
        "GPU available but not used",
        "LeafSpec",
        "Experiment logs directory .* exists",  # a resumed run keeps its rows
        "smaller than the logging interval",  # points are counted over all steps, not in each epoch
        "sync_dist=True",  # every process logs metrics of the whole batch
        r"devices=1, num_nodes=1",  # the padding images are never evaluated
        r"torch\.distributed\.nn\.functional\.\w+ is deprecated",
    ):
        warnings.filterwarnings("ignore", f".*{noise}.*")
