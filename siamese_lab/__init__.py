"""siamese_lab compares strategies that select training samples for a Siamese network.

The interface for programs: `data`, `networks`, `samplers` and `losses` build parts by name, such as
`siamese_lab.samplers.build("semi_hard", margin=0.2)`. `fit` trains a network on such parts, also on images of your own.
`evaluation` and `metrics` measure. `load` returns a trained network that accepts images of any format. Each name is
imported at its first use, because PyTorch takes seconds to start.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from siamese_lab import data, evaluation, losses, metrics, networks, samplers
    from siamese_lab.batch import Batch, Triplets
    from siamese_lab.data.labeled_images import LabeledImages
    from siamese_lab.inference.model import TrainedNetwork, load
    from siamese_lab.training.fit import Fitted, fit

    __version__: str

_PACKAGES = ("data", "evaluation", "losses", "metrics", "networks", "samplers")
_HOMES = {
    "Batch": "siamese_lab.batch",
    "Fitted": "siamese_lab.training.fit",
    "LabeledImages": "siamese_lab.data.labeled_images",
    "TrainedNetwork": "siamese_lab.inference.model",
    "Triplets": "siamese_lab.batch",
    "fit": "siamese_lab.training.fit",
    "load": "siamese_lab.inference.model",
}

__all__ = [
    "Batch",
    "Fitted",
    "LabeledImages",
    "TrainedNetwork",
    "Triplets",
    "__version__",
    "data",
    "evaluation",
    "fit",
    "load",
    "losses",
    "metrics",
    "networks",
    "samplers",
]


def __getattr__(name: str) -> Any:
    """Import a package or a name at its first use."""
    if name in _PACKAGES:
        return import_module(f"siamese_lab.{name}")
    if name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
    elif name == "__version__":
        found = import_module("importlib.metadata").version("siamese_lab")
    else:
        raise AttributeError(f"module 'siamese_lab' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
