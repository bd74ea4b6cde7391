"""Read the plan of the study: its hypotheses with their rules, standard options, and control arms."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

FILE = Path(__file__).with_name("hypotheses.yaml")


@cache
def hypotheses() -> Mapping[str, Any]:
    """Return the content of `hypotheses.yaml`."""
    content = OmegaConf.to_container(OmegaConf.load(FILE))
    assert isinstance(content, dict)
    return {str(name): value for name, value in content.items()}
