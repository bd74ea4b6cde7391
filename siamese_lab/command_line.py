"""Between the command line and a run: Hydra's composition, with errors that say what to do, and resuming."""

import argparse
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import hydra
import torch
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from siamese_lab.callbacks.stored_choices import stored_overrides
from siamese_lab.choices import Choices, Paths, register_schema
from siamese_lab.registry import did_you_mean
from siamese_lab.study.results import FILE_NAME

BAD_INPUT = 2
FULL_ERROR = "HYDRA_FULL_ERROR"


def config_folder() -> Path:
    """The YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def run(job: Callable[[DictConfig], None]) -> None:
    """Compose the configuration that the command line asks for and run the job with it, once or in a sweep.

    A user's mistake ends with one clear message and exit status 2, or with its traceback where HYDRA_FULL_ERROR=1.
    """
    asked = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"  # so that Hydra raises what it would otherwise print
    hush()
    register_schema()

    def checked_job(config: DictConfig) -> None:
        check_keys(config)
        job(config)

    start = hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="train")(checked_job)
    try:
        sys.argv[1:] = with_resumed_choices(sys.argv[1:])
        start()
    except Exception as error:
        if asked == "1" or not is_users_mistake(error):
            raise
        Console(stderr=True, soft_wrap=True).print(
            f"Error: {explain(error)}", markup=False, highlight=False, style="red"
        )
        raise SystemExit(BAD_INPUT) from None
    finally:
        os.environ.pop(FULL_ERROR) if asked is None else os.environ.update({FULL_ERROR: asked})


def check_keys(config: DictConfig) -> None:
    """Raise ValueError for what was added by + where nothing would ever read it.

    Inside of a group the part that is built from it does the same.
    """
    for added, schema in ((config, Choices), (config.paths, Paths)):
        known = [field.name for field in fields(schema)]
        for key in added:
            if key not in known:
                raise ValueError(
                    f"There is no option {key!r}.{did_you_mean(str(key), known)} Options: {', '.join(known)}."
                )


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


def choices(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, without where a run was taken up from."""
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "resume"}


def with_resumed_choices(arguments: Sequence[str]) -> list[str]:
    """The command line, preceded by that of the run it resumes.

    What is said now comes before what was said then. The run goes on in its own folder, if the checkpoint lies in one.

    Raises:
        ValueError: if the checkpoint is not there or not the lab's.
    """
    given = [argument for argument in arguments if argument.startswith("resume=")]
    if not given or given[-1] in ("resume=null", "resume="):
        return list(arguments)
    checkpoint = Path(given[-1].removeprefix("resume=").strip("'\"")).expanduser()
    if not checkpoint.is_file():
        raise ValueError(f"There is no checkpoint {checkpoint} to resume. A run leaves one at checkpoints/last.ckpt.")
    try:
        stored = stored_overrides(torch.load(checkpoint, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, UnpicklingError) as error:
        raise ValueError(f"{checkpoint} cannot be resumed, as it is not a checkpoint that can be read.") from error
    said_now = {option_of(argument) for argument in arguments}
    stored = [override for override in stored if option_of(override) not in {*said_now, "resume"}]
    folder = checkpoint.absolute().parent.parent
    if (folder / FILE_NAME).is_file() and "hydra.run.dir" not in said_now:
        stored.append(f"hydra.run.dir={quoted(str(folder))}")
    others = [argument for argument in arguments if argument not in given]
    return [*others, *stored, f"resume={quoted(str(checkpoint.absolute()))}"]


def option_of(override: str) -> str:
    """What an override is about: 'seed' of '+seed=1'."""
    return override.split("=", 1)[0].lstrip("+~")


def quoted(text: str) -> str:
    """A value that Hydra's grammar takes as it is."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_users_mistake(error: BaseException) -> bool:
    """Whether the error says by itself what is wrong: raised by Hydra about the choices, or by the lab's own code."""
    if isinstance(error, (HydraException, OmegaConfBaseException, FloatingPointError)):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    return isinstance(error, ValueError) and frames[-1][0].f_globals.get("__name__", "").startswith("siamese_lab")


def explain(error: BaseException) -> str:
    """The error's message; of Hydra's, with the nearest name that there is."""
    message = str(error)
    if match := re.search(r"Could not find '(\w+)/([^']*)'\s+Available options in '\w+':\n((?:\t.*\n)*)", message):
        group, name, listed = match.groups()
        return unknown_name(group, name, listed.split())
    if match := re.search(r"Could not override '([^']+)'", message):
        return unknown_option(match.group(1))
    if message.startswith("Error merging override") and error.__cause__ is not None:
        return f"{message}: {str(error.__cause__).splitlines()[0]}"
    return message


def unknown_name(group: str, name: str, known: Sequence[str]) -> str:
    """What to say to sampler=semihard."""
    return f"There is no {group} {name!r}.{did_you_mean(name, known)} Available: {', '.join(known)}."


def unknown_option(option: str) -> str:
    """What to say to data.classes_per_bach=4."""
    known = known_options()
    siblings = [each for each in known if each.rpartition(".")[0] == option.rpartition(".")[0]]
    listed = f" Options there: {', '.join(siblings)}." if siblings else ""
    return f"There is no option {option!r}.{did_you_mean(option, known)}{listed} See --help."


def known_options() -> list[str]:
    """All options of the groups chosen on the command line, as they are written there."""
    groups = {path.name for path in config_folder().iterdir() if path.is_dir()}
    chosen = [
        argument for argument in sys.argv[1:] if option_of(argument) in groups and not re.search(r"[,(*]", argument)
    ]
    chosen += [f"hydra.searchpath=[{quoted(f'file://{own.absolute()}')}]" for own in folders_of_the_users(sys.argv[1:])]
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = hydra.compose("train", overrides=chosen)
    return list(flattened(OmegaConf.to_container(config)))


def folders_of_the_users(arguments: Sequence[str]) -> list[Path]:
    """What follows --config-dir."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path, action="append", default=[])
    folders: list[Path] = parser.parse_known_args(arguments)[0].config_dir
    return folders


def flattened(tree: Any, prefix: str = "") -> Iterable[str]:
    """The dotted names of a nested dictionary, of branches too."""
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
