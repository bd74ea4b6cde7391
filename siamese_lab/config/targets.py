"""Instantiate the `_target_` of an option group, with errors that name the group."""

from dataclasses import dataclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from siamese_lab.errors import UserError

REFUSED = (TypeError, ValueError, ImportError, MisconfigurationException)
"""Errors that a class raises for wrong arguments. All arguments come from the configuration."""


def build(group: str, config: DictConfig, **further: Any) -> Any:
    """Instantiate the target of an option group.

    Args:
        group: name of the group, such as `trainer`.
        config: options of the group, with `_target_`.
        **further: arguments that are known only when a run starts.

    Raises:
        UserError: if the target does not exist or rejects its arguments.
        InstantiationException: for any other error, which is a bug of the target.
    """
    try:
        return instantiate(config, **further)
    except InstantiationException as error:
        raise _named(group, config, error) from error


@dataclass(frozen=True)
class Deferred:
    """A target of an option group that is called later with further arguments, such as an optimizer's parameters.

    Args:
        group: name of the group.
        config: options of the group, with `_target_` and `_partial_`.
    """

    group: str
    config: DictConfig

    def __call__(self, *further: Any) -> Any:
        """Instantiate the target.

        Raises:
            UserError: if the target does not exist or rejects its arguments.
        """
        partial = build(self.group, self.config)
        try:
            return partial(*further)
        except (*REFUSED, InstantiationException) as error:
            raise _named(self.group, self.config, error) from error


def _named(group: str, config: DictConfig, error: Exception) -> Exception:
    cause = error.__cause__ if isinstance(error, InstantiationException) else error
    if isinstance(cause, UserError):
        return cause
    if cause is None or isinstance(cause, REFUSED):
        reason = str(cause or error).strip().rstrip(".")
        return UserError(f"{group}: {config['_target_']} rejects its options: {reason}. Change the options {group}.*")
    return error
