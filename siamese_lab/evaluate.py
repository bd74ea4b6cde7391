"""Evaluate a trained network: `python -m siamese_lab.evaluate checkpoint=PATH [data=NAME] [OPTION=VALUE] …`."""

import sys

if __name__ == "__main__":  # before the imports below, which Ctrl-C may interrupt
    from siamese_lab.__main__ import start

    sys.exit(start("evaluate", sys.argv[1:]))


from collections.abc import Sequence

from omegaconf import DictConfig

from siamese_lab.config import hydra_app, schema
from siamese_lab.config.data_options import compose_data_options, store_data_options
from siamese_lab.config.errors import check_groups
from siamese_lab.config.overrides import last_value, option_of
from siamese_lab.errors import interrupted_at_once


def main() -> None:
    """Run the command."""
    hydra_app.run(job, "evaluate", schema.EvaluateConfig, with_data_options)


def with_data_options(arguments: Sequence[str]) -> list[str]:
    """Move the data options of the command line into the configuration, and return the remaining command line.

    Without a checkpoint, for example with --help, nothing is loaded.
    """
    check_groups(arguments)
    if last_value("checkpoint", arguments) is not None:
        with interrupted_at_once():  # PyTorch is loaded only here, so that --help is answered at once
            from siamese_lab.evaluation.evaluated_data import with_evaluated_data

        return with_evaluated_data(arguments)
    name = last_value("data", arguments)
    store_data_options(None if name is None else compose_data_options(name, arguments))
    return [argument for argument in arguments if option_of(argument) != "data"]


def job(config: DictConfig) -> None:
    """Evaluate the checkpoint that the configuration names: see `siamese_lab.evaluation.job`."""
    with interrupted_at_once():
        from siamese_lab.evaluation.job import run

    run(config)
