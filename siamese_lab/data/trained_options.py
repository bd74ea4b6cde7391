"""Complete the data options that another run stored, so that a data set can compare them with its own."""

import inspect
from typing import Any

from siamese_lab.data.datamodule import registry
from siamese_lab.errors import UserError
from siamese_lab.registry import option_name
from siamese_lab.runs.constructor_types import check_arguments
from siamese_lab.runs.plain_values import WrongValueError, check_name, of_type


def trained_options(stored: Any) -> dict[str, Any]:
    """Return the config group `data` of another run, in which missing options have the defaults of the data set.

    Args:
        stored: the group, as a checkpoint holds it.

    Raises:
        UserError: if it is no group of options, has no name, or has an option of another type than the data set takes.
    """
    try:
        options = of_type(stored, dict[str, Any], "data")
        cls = registry.classes.get(check_name(options.get("name"), "data.name"))
        if cls is None:
            return dict(options)
        check_arguments("data", [cls], options)
    except WrongValueError as error:
        raise UserError(
            f"The data options that the checkpoint stores cannot come from a run of siamese_lab: {error}. "
            "Use another checkpoint."
        ) from error
    return defaults_of(cls) | options


def defaults_of(cls: type) -> dict[str, Any]:
    """Return the defaults of the options of a data set, in the form of a stored configuration."""
    defaults: dict[str, Any] = {}
    for ancestor in reversed(inspect.getmro(cls)):
        if "__init__" in vars(ancestor) and ancestor is not object:
            parameters = inspect.signature(vars(ancestor)["__init__"]).parameters.values()
            defaults |= {option_name(each.name): each.default for each in parameters if each.default is not each.empty}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
