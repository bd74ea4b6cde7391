"""Write checkpoints of untrained networks, in the form that runs write."""

from pathlib import Path

import torch
from conftest import compose

from siamese_lab.config import schema
from siamese_lab.evaluation.trained import network_of
from siamese_lab.training.callbacks import StoredConfig


def checkpoint(folder: Path, *overrides: str) -> Path:
    chosen = schema.to_plain(compose(*overrides))
    torch.manual_seed(0)
    network = network_of(chosen)
    content = {
        "global_step": 0,
        "state_dict": {f"network.{name}": each for name, each in network.state_dict().items()},
        "callbacks": {"StoredChoices": StoredConfig(overrides, chosen).state_dict()},
    }
    torch.save(content, folder / "untrained.ckpt")
    return folder / "untrained.ckpt"
