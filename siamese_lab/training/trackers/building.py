"""Build the loggers that the option group `logger` names."""

from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from siamese_lab.config import targets
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.runs.options import TARGET


def build_loggers(config: DictConfig | None, folder: Path) -> list[Logger]:
    """Build the loggers of a run; none if the group is null. Nothing is written or connected yet.

    Args:
        config: one logger, or a dictionary of loggers by name. A logger names its class by `_target_`.
        folder: the folder of the run, which every class gets as `save_dir`.

    Raises:
        UserError: if an entry is no logger, or a class rejects its options.
    """
    if not config:
        return []
    if TARGET in config:
        return [build_logger("logger", config, folder)]
    return [build_logger(f"logger.{name!s}", each, folder) for name, each in config.items()]


def build_logger(option: str, config: DictConfig, folder: Path) -> Logger:
    """Build one logger.

    Raises:
        UserError: if the option is no logger, or the class rejects its options.
    """
    if not isinstance(config, DictConfig) or TARGET not in config:
        raise UserError(f"{option} must name the class of a logger by {TARGET}, but is {config!r}.")
    logger = targets.build(option, config, save_dir=folder)
    if not isinstance(logger, Logger):
        raise UserError(f"{option}.{TARGET} must be a logger of Lightning, but is {config[TARGET]}.")
    return logger


def check_extra(name: str, package: str) -> None:
    """Raise ResourceError if the package of a tracker is not installed. The package is not imported.

    Args:
        name: name of the logger on the command line, which is also the name of the extra.
        package: the package that the tracker imports.
    """
    if find_spec(package) is None:
        raise ResourceError(
            f"logger={name} needs {package}, which is not installed. Run `pip install 'siamese_lab[{name}]'`, or set "
            "logger=tensorboard."
        )
