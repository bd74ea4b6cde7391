"""The options of a run: how they are recorded, and which of them two runs are compared by.

A record names each part, such as `optimizer.name: adamw`, and holds no path of a class. Otherwise the results of a run
could not be compared with earlier ones after a class has moved.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

TARGET, PARTIAL = "_target_", "_partial_"
"""Hydra's keys for the path of a class, and for a call that gets further arguments later."""
REGISTERED_NAMES = {
    "Adagrad": "adagrad",
    "Adam": "adam",
    "AdamW": "adamw",
    "SGD": "sgd",
    "Trainer": "default",
    "CSVLogger": "csv",
    "RunCSVLogger": "csv",
    "RunTensorBoardLogger": "tensorboard",
    "TensorBoardLogger": "tensorboard",
    "WandbLogger": "wandb",
    "DeviceStatsMonitor": "device_stats",
    "EarlyStopping": "early_stopping",
    "MlflowLogger": "mlflow",
    "RichModelSummary": "model_summary",
}
"""Name on the command line of each shipped class with another name. An entry stays when its class is renamed."""
DATA_FOLDERS = ("root", "cache", "file")
"""Options of the group `data` that say where the data is, not which data it is."""
WITHOUT_EFFECT = (
    *(f"data.{folder}" for folder in DATA_FOLDERS),
    "budget",
    "logger",
    "metrics.floors",
    "study_name",
    "paths",
    "recipe",
    "resume",
    "threads",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
)
"""Options that change no result: file locations, loggers, further figures, how runs start, and groups of other options.

The number of processes and threads changes results only by rounding.
"""
OUTSIDE_A_STUDY = ("metrics", "tuned", "tuning")
"""Further options that a study does not compare: additional metrics, and the origin of tuned options."""
DEFAULTS_OF_EARLIER_RUNS = {"trainer.accumulate_grad_batches": 1}
"""Options that are missing in earlier runs, with the value that these runs used."""
NEUTRAL: Mapping[str, Any] = {
    "data.augment.crop_ratio": [0.75, 1.3333],
    "data.augment.crop_scale": None,
    "data.augment.hue": 0.0,
    "data.augment.saturation": 0.0,
    "data.categories_per_batch": None,
    "data.category_column": "category",
    "data.closed": False,
    "data.label_noise": 0.0,
    "data.split": 0,
    "data.stored_size": None,
    "loss.expansion": 0,
    "start_from": None,
    "trainer.compile": False,
}
"""Options that are compared only if they differ from these values, which runs without the option also used."""


def recorded(config_values: Any) -> Any:
    """Return a configuration in the form that a record holds: the path of each class becomes the name of the part.

    If the class has an argument called `name`, the argument is recorded as `own_name`. A configuration that has this
    form already stays the same, so a reader also accepts records that still hold paths.

    >>> recorded({"optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.003}})
    {'optimizer': {'name': 'adamw', 'lr': 0.003}}
    """
    if isinstance(config_values, list):
        return [recorded(each) for each in config_values]
    if not isinstance(config_values, Mapping):
        return config_values
    options = {key: recorded(value) for key, value in config_values.items() if key not in (TARGET, PARTIAL)}
    if TARGET not in config_values:
        return options
    own_name = {"own_name": options.pop("name")} if "name" in options else {}
    return {"name": part_name(str(config_values[TARGET])), **options, **own_name}


def part_name(target: str) -> str:
    """Return the registered name of a class, or the name of the class if it is not registered.

    >>> part_name("torch.optim.SGD"), part_name("my_package.optimizers.Lion")
    ('sgd', 'Lion')
    """
    class_name = target.rsplit(".", 1)[-1]
    return REGISTERED_NAMES.get(class_name, class_name)


def flatten(tree: Mapping[Any, Any], branches: bool = False) -> dict[str, Any]:
    """Return the values of a nested dictionary by dotted names; an empty dictionary is a value.

    Args:
        tree: the nested dictionary.
        branches: if True, also return the dictionaries inside, each before its values.

    >>> flatten({"optimizer": {"lr": 0.1}, "seed": 0})
    {'optimizer.lr': 0.1, 'seed': 0}
    """
    return dict(_named_values(tree, branches, ""))


def _named_values(tree: Mapping[Any, Any], branches: bool, prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        inner = isinstance(value, Mapping) and bool(value)
        if branches or not inner:
            yield f"{prefix}{key}", value
        if inner:
            yield from _named_values(value, branches, f"{prefix}{key}.")


def compared_options(config_values: Mapping[str, Any], without: Sequence[str] = ()) -> dict[str, Any]:
    """Return the options that the results of a run depend on, such as `loss.margin: 0.2`, by dotted names.

    Args:
        config_values: the whole configuration of the run.
        without: names, or beginnings of dotted names, of further options to leave out.
    """
    left_out = {*WITHOUT_EFFECT, *without}
    options = {
        name: value
        for name, value in flatten(recorded(config_values)).items()
        if left_out.isdisjoint(_beginnings(name)) and not (name in NEUTRAL and value == NEUTRAL[name])
    }
    return options | {name: value for name, value in DEFAULTS_OF_EARLIER_RUNS.items() if name not in options}


def _beginnings(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:number]) for number in range(1, len(parts) + 1))
