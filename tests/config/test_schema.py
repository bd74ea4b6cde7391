"""A configuration composed from Python equals the configuration of the command line."""

import pytest
from hydra.errors import HydraException

from siamese_lab.config import schema
from siamese_lab.config.schema import compose


def test_compose_equals_the_command_line() -> None:
    config = compose("data=omniglot", "sampler=hard", "trainer.max_steps=7")
    assert (config.data.name, config.loss.name, config.sampler.name) == ("omniglot", "margin", "hard")
    assert config.schedule.steps == 7, "an option that refers to another option follows it"
    assert schema.to_plain(config)["seed"] == 0


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"There is no option 'sed'\. Did you mean 'seed'"):
        compose("+sed=1")
    with pytest.raises(HydraException):
        compose("sampler=hrad")
