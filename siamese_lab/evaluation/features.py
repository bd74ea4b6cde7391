"""Embed the data set of a run with its backbone, once, for `data=features`.

The features are the output of the backbone for each image, without augmentation and before the layers on top of it.
They are kept in the cache, in a file that is named after the content of the checkpoint.

Shapes: S stored images, N images of a table, B images at a time, F features.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Fabric
from omegaconf import DictConfig
from rich.console import Console
from torch import Tensor

from siamese_lab import data
from siamese_lab.config import schema
from siamese_lab.data import DataModule, ImageTable
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.io.cache_folder import one_at_a_time
from siamese_lab.data.io.features_file import (
    AboutFeatures,
    StoredFeatures,
    check_finite,
    read_features,
    write_features,
)
from siamese_lab.data.io.messages import announce, writing_to
from siamese_lab.data.sequential_batches import SequentialBatches
from siamese_lab.data.sets.features import Features
from siamese_lab.data.tables.base import BaseTable
from siamese_lab.data.tables.feature_table import FeatureTable
from siamese_lab.errors import UserError
from siamese_lab.evaluation.embed import evaluating
from siamese_lab.evaluation.evaluated_data import describe_form
from siamese_lab.evaluation.stages import Stages
from siamese_lab.evaluation.trained import Trained, load
from siamese_lab.networks import Backbone
from siamese_lab.registry import options_of
from siamese_lab.runs.display import counted
from siamese_lab.runs.options import DATA_FOLDERS
from siamese_lab.runs.plain_values import MAX_NAME, WrongValueError, shortened
from siamese_lab.runs.stored_paths import not_read, unnamed_folder

NAME = "features"
BATCH = 64
"""Images that are embedded at a time. It is fixed, because another number can change the last digits of a feature."""


def prepare_features(config: DictConfig, console: Console | None = None) -> None:
    """Compute the features that `data=features data.from=RUN` reads, unless they are kept; else do nothing.

    If several processes need them, one embeds and the others wait. A damaged file is replaced.

    Args:
        config: the configuration of a run or an evaluation.
        console: console that shows progress; None shows none.

    Raises:
        UserError: if the run cannot be used, its images are not there, or a feature is not finite.
    """
    if config.get("data") is None or config.data.get("name") != NAME:
        return
    datamodule = data.build(**schema.to_plain(config)["data"], seed=config.seed)
    assert isinstance(datamodule, Features)
    place = datamodule.place()
    if place == datamodule.asked or is_whole(place):
        return
    with one_at_a_time(place, "computing features for"):
        if is_whole(place):
            return
        if os.path.lexists(place):
            announce(f"{place} is damaged: embedding again.")
        stored = features_of_run(datamodule, config.paths.data, console)
        with writing_to(place.parent):
            write_features(stored, place)


def is_whole(place: Path) -> bool:
    """Return whether a file holds features that can be used."""
    try:
        read_features(place)
    except UserError:
        return False
    return True


def features_of_run(features: Features, data_folder: str | None, console: Console | None = None) -> StoredFeatures:
    """Embed the data set of a run with the backbone of its checkpoint.

    Args:
        features: names the run, the folder of its images and the cache.
        data_folder: folder of the copies of data sets.
        console: console that shows progress; None shows none.

    Raises:
        UserError: see `prepare_features`.
    """
    assert features.asked is not None
    trained = load(features.asked)
    source = source_of(trained, features, data_folder)
    tables: dict[str, BaseTable] = dict(source.splits._asdict())
    official, roles = source.official_pairs, source.query_gallery
    if official is not None:
        tables["pairs"] = official.table
    if source.gallery is not None:
        tables["gallery"] = source.gallery
    about = about_features(trained, source)
    embedded = embed_tables(trained.network.backbone, tables, about, console)
    try:
        check_finite(embedded["train"].stored_SF)
    except WrongValueError as error:
        raise UserError(f"{trained.checkpoint} gives no usable features: {error}.") from error
    stored = StoredFeatures(about, embedded, roles={} if roles is None else roles._asdict())
    if official is None:
        return stored
    return stored._replace(pairs_name=official.name, choose=official.choose, decide=official.decide)


def source_of(trained: Trained, features: Features, data_folder: str | None) -> DataModule:
    """Build the data set that a network was trained on, without augmentation and with right labels.

    Raises:
        UserError: if it is a set of features, or if its images are in a folder that the user does not name.
    """
    options = trained.choices["data"]
    if options["name"] == NAME:
        raise UserError(
            f"data.from={features.asked} was itself trained on features. Set data.from to the run that they come from."
        )
    known = options_of(data.registry.classes[options["name"]]) if options["name"] in data.registry.classes else []
    unnamed = unnamed_folder(trained.choices, {"paths.data"} if data_folder is not None else ())
    if features.root is None and unnamed is not None:
        raise UserError(not_read(unnamed[1], "data.root"))
    root = data_folder if features.root is None else str(features.root)
    here: dict[str, Any] = {"augment": None, "label_noise": 0.0}
    if "file" in known:
        here |= {"file": root, "root": None}
    elif "root" in known:
        here |= {"root": root}
    if "cache" in known:
        here |= {"cache": str(features.cache)}
    source = data.build(**options | here, seed=trained.choices["seed"])
    if trained.classes is not None:
        source.keep_parts(trained.classes)
    return source


def about_features(trained: Trained, source: DataModule) -> AboutFeatures:
    """Describe the backbone and the source set."""
    choices, backbone = trained.choices, trained.network.backbone
    own = set(options_of(type(source))) - set(options_of(DataModule)) - set(DATA_FOLDERS)
    described = source.describe()
    return AboutFeatures(
        features=backbone.features,
        encoder=fingerprint(backbone),
        network=str(choices["network"].get("model_name") or choices["network"]["name"]),
        images=describe_form(source),
        data={"name": choices["data"]["name"]} | {name: choices["data"].get(name) for name in sorted(own)},
        title=described.title,
        protocol=described.protocol,
        source={
            name: shortened(str(where), MAX_NAME) for name, where in source.provenance().items() if name != "cache"
        },
    )


def fingerprint(backbone: Backbone) -> str:
    """Return the SHA-256 of the weights of a backbone."""
    digest = hashlib.sha256()
    for name, state in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(state.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def embed_tables(
    backbone: Backbone, tables: Mapping[str, BaseTable], about: AboutFeatures, console: Console | None = None
) -> dict[str, FeatureTable]:
    """Embed the images of all tables. Images that tables share are embedded once.

    Args:
        backbone: maps images to features.
        tables: tables of images by part.
        about: names the backbone and the set, for the progress.
        console: console that shows progress; None shows none.
    """
    shared: dict[int, list[str]] = {}
    for part, table in tables.items():
        shared.setdefault(id(table.stored_SCHW if isinstance(table, ImageTable) else table), []).append(part)
    sources: list[BaseTable] = []
    row_of_part: dict[str, Tensor] = {}
    count = 0
    for parts in shared.values():
        source, rows = without_repeats([tables[part] for part in parts])
        row_of_part |= {part: count + row_N for part, row_N in zip(parts, rows, strict=True)}
        sources.append(source)
        count += len(source)
    announce(f"Embedding {counted(count, 'image')} of {about.title} with {about.network}, once.")
    fabric = Fabric(accelerator="auto", devices=1, precision="32-true")
    with Stages(console).running(f"Embedding {about.title}", count) as advance:
        embedded = [rows for source in sources for rows in embed_table(backbone, source, fabric, advance)]
    stored_SF = torch.cat(embedded)
    return {
        part: FeatureTable(stored_SF, table.labels_N, tuple(table.class_names), row_of_part[part])
        for part, table in tables.items()
    }


def without_repeats(tables: list[BaseTable]) -> tuple[BaseTable, list[Tensor]]:
    """Return a table of the images that some tables of the same stored images have, and the row of each image there."""
    first = tables[0]
    if not isinstance(first, ImageTable):
        return first, [torch.arange(len(first))]
    rows = [
        torch.arange(len(table)) if table.row_N is None else table.row_N
        for table in tables
        if isinstance(table, ImageTable)
    ]
    needed_S = torch.cat(rows).unique()
    every = ImageTable(first.stored_SCHW, torch.zeros_like(needed_S), ("",), needed_S)
    return every, [torch.searchsorted(needed_S, row_N) for row_N in rows]


def embed_table(backbone: Backbone, table: BaseTable, fabric: Fabric, advance: Any) -> list[Tensor]:
    """Return the features of a table in batches (float32, B×F), on the CPU."""
    backbone.to(fabric.device)
    found = []
    with evaluating(backbone, fabric):
        for batch in SequentialBatches(table, BATCH):
            images_BCHW = to_float(fabric.to_device(batch.images_BCHW))
            found.append(backbone(images_BCHW.contiguous(memory_format=torch.channels_last)).float().cpu())
            advance(len(batch.labels_B))
    return found
