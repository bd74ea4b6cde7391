"""The contracts of extensions: checks that every registered strategy, loss, network, data set and metric passes.

    pytest --pyargs siamese_lab.contracts            every part, those of installed packages too
    pytest --pyargs siamese_lab.contracts -k NAME    one part

A failing check names the part, the value it returned and what the contract expects.
"""

from collections.abc import Collection
from copy import deepcopy
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from siamese_lab.config.schema import compose


def composed(group: str, name: str) -> dict[str, Any]:
    """Return the options that `GROUP=NAME` composes, with interpolations resolved."""
    return deepcopy(_composed(group, name))


@cache
def _composed(group: str, name: str) -> dict[str, Any]:
    options = OmegaConf.to_container(compose(f"{group}={name}")[group], resolve=True)
    assert isinstance(options, dict)
    return {str(option): value for option, value in options.items()}


def check_config(group: str, name: str, known: Collection[str]) -> None:
    """Check that `configs/GROUP/NAME.yaml` chooses the part and that it has every option that is composed.

    Args:
        group: such as "sampler".
        name: of the part.
        known: options that the part can be built with.
    """
    options = composed(group, name)
    assert options["name"] == name, f"configs/{group}/{name}.yaml chooses {options['name']!r}, expected {name!r}"
    unknown = sorted(set(options) - set(known) - {"name"})
    assert not unknown, f"configs/{group}/{name}.yaml sets {unknown}, but the options of {name} are {sorted(known)}"
