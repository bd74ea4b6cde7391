"""From the command line to a run: Hydra composes the configuration; mistakes end with one clear message."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from siamese_lab import metrics
from siamese_lab.choices import Choices, check_keys, config_folder, register_schema
from siamese_lab.mistakes import BAD_INPUT, check_types, print_mistake
from siamese_lab.resuming import with_resumed_choices

FULL_ERROR = "HYDRA_FULL_ERROR"


def run(
    job: Callable[[DictConfig], None],
    command: str = "train",
    schema: type = Choices,
    complete: Callable[[Sequence[str]], list[str]] = with_resumed_choices,
) -> None:
    """Compose the configuration that the command line asks for and run the job with it, once or in a sweep.

    A user's mistake ends with one clear message and exit status 2, or with its traceback where HYDRA_FULL_ERROR=1.

    Args:
        job: what to run.
        command: the name of its configuration in `configs/`.
        schema: of that configuration.
        complete: makes of the arguments that were given those that Hydra gets.
    """
    asked = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"  # so that Hydra raises what it would otherwise print
    hush()
    register_schema()
    OmegaConf.register_new_resolver("extra_metrics", extra_metrics, replace=True)

    def checked_job(config: DictConfig) -> None:
        hush()  # in processes of their own, too
        check_keys(config, schema)
        check_types(config, HydraConfig.get().overrides.task, command)
        job(config)

    start = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=command)(checked_job)
    try:
        sys.argv[1:] = complete(sys.argv[1:])
        start()
    except BrokenPipeError:  # of `--help | head`: what else there is to say has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if asked == "1":
            raise
        print_mistake(error, command)
        raise SystemExit(BAD_INPUT) from None
    finally:
        os.environ.pop(FULL_ERROR) if asked is None else os.environ.update({FULL_ERROR: asked})


def extra_metrics() -> str:
    """Return the names of all registered metrics, which `--help` shows."""
    return ", ".join(metrics.available())


def hush() -> None:
    """Leave out what Lightning says about itself; its warnings about training stay."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for noise in (
        "does not have many workers",
        "Checkpoint directory .* exists",
        "GPU available but not used",
        "LeafSpec",
    ):
        warnings.filterwarnings("ignore", f".*{noise}.*")
