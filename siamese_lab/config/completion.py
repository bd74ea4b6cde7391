"""Complete words of a command line in a shell, without importing PyTorch, which takes seconds."""

from typing import Any

import hydra

from siamese_lab.config.data_options import store_data_options
from siamese_lab.config.schema import config_folder, register_schema


def answer(command: str) -> None:
    """Let Hydra answer a command line with the flag --shell-completion: install completion, or complete a word."""

    def nothing(config: Any) -> None:
        """Run no job: Hydra only completes."""

    register_schema()
    store_data_options(None)
    hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=command)(nothing)()
