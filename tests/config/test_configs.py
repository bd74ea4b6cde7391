"""Every shipped configuration composes and builds, and each registry and its folder hold the same names."""

from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
import torch
import yaml
from conftest import compose, compose_once
from features_files import write_random
from PIL import Image
from shipped import BY_GROUP, LABEL_LOSSES, PUBLISHED
from synthetic_sets import WRITERS

from siamese_lab import data, losses, networks, samplers
from siamese_lab.config.schema import EvaluateConfig, config_folder, to_plain
from siamese_lab.registry import options_of
from siamese_lab.training.build import build_module
from siamese_lab.training.trackers import build_loggers
from siamese_lab.training.trainer import build_trainer

FOLDER = config_folder()
DOWNLOADED = (
    "data=fashion_mnist",
    "data=fashion_mnist_closed",
    "data=lfw",
    "data=lfw_closed",
    "data=mnist",
    "data=mnist_closed",
    "data=omniglot",
    "experiment=lfw_view2",
)
BENCHMARKS = ("experiment=benchmark", "experiment=benchmark_study")
"""Experiments on photographs, from weights that are downloaded."""
OVERRIDES = [
    pytest.param(override, marks=[pytest.mark.slow] if override in DOWNLOADED else [])
    for override in sorted(f"{path.parent.name}={path.stem}" for path in FOLDER.glob("*/*.yaml"))
]
REGISTRIES = {
    "sampler": samplers.registry,
    "loss": losses.registry,
    "data": data.registry,
    "network": networks.registry,
}


TOGETHER = {
    "sampler=none": ("sampler=none", "loss=softmax"),
    **{f"loss={loss}": ("sampler=none", f"loss={loss}") for loss in LABEL_LOSSES},
    "loss=pml": ("loss=pml", "loss.name=TripletMarginLoss"),
    "sampler=pml": ("sampler=pml", "sampler.name=BatchHardMiner"),
}
"""Parts that can only be built together, and parts of a library, which need a name."""


@pytest.mark.parametrize("override", [each.values[0] for each in OVERRIDES])
def test_every_config_composes(override: str) -> None:
    root = ["data.root=images"] if override == "data=image_folder" else []
    assert to_plain(compose(override, *root))["seed"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("override", OVERRIDES)
def test_every_config_composes_and_builds(override: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if override in ("logger=wandb", "logger=mlflow"):
        pytest.importorskip(override.removeprefix("logger="), reason="the extra is not installed")
    config = compose(*TOGETHER.get(override, (override,)), *options_that_locate_images(override, tmp_path, request))
    images = data.build(**config.data, seed=config.seed)
    module = build_module(config, images)
    trainer = build_trainer(config.trainer, logger=build_loggers(config.logger, tmp_path))

    optimizer = module.configure_optimizers()["optimizer"]
    z_BD = module.network(torch.rand(2, images.channels, images.image_size, images.image_size))

    assert z_BD.shape == (2, config.network.embedding_dim)
    assert optimizer.param_groups[0]["initial_lr"] == config.optimizer.lr
    assert trainer.max_steps == config.trainer.max_steps


def options_that_locate_images(override: str, folder: Path, request: pytest.FixtureRequest) -> list[str]:
    """Return the options that locate the images of a data set; skip the test if the data set is absent."""
    if override in DOWNLOADED:
        root, cache = request.getfixturevalue("real_root"), request.getfixturevalue("real_cache")
        fold = ["data.fold=0"] if override == "experiment=lfw_view2" else []
        return [f"paths.data={root}", f"paths.cache={cache}", *fold]
    name = "cub200" if override in BENCHMARKS else override.removeprefix("data=")
    if name in PUBLISHED:
        WRITERS[name](folder).publish(request.getfixturevalue("monkeypatch"))
        chosen = ["data=cub200", "network.pretrained=false"] if override in BENCHMARKS else []
        return [*chosen, f"paths.data={folder}", f"paths.cache={folder / 'cache'}"]
    if override == "data=image_folder":
        for number in range(24 * 4):
            place = folder / "images" / f"class{number // 4}" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (70, 70), (number, 0, 0)).save(place)
        return [f"data.root={folder / 'images'}", f"paths.cache={folder / 'cache'}"]
    if override == "data=features":
        return [f"data.from={write_random(folder / 'features.npz')}"]
    if override == "data=table":
        rows = ["path,label"]
        for number in range(24 * 4):
            Image.new("RGB", (70, 70), (number, 0, 0)).save(folder / f"{number}.png")
            rows.append(f"{number}.png,{number // 4}")
        (folder / "images.csv").write_text("\n".join(rows))
        return [f"data.file={folder / 'images.csv'}", f"paths.cache={folder / 'cache'}"]
    return []


def test_the_options_of_an_evaluation_are_those_of_its_schema() -> None:
    shipped = yaml.safe_load((FOLDER / "evaluate.yaml").read_text(encoding="utf-8"))
    shown = set(shipped) - {"defaults", "hydra"}
    assert shown | {"data"} == {field.name for field in fields(EvaluateConfig)}


@pytest.mark.slow
@pytest.mark.parametrize("group", REGISTRIES)
def test_registry_and_folder_hold_the_same_names(group: str) -> None:
    """The folder may also hold variants of a registered part, such as mnist_closed, and libraries of parts."""
    composed = {path.stem: compose_once(f"{group}={path.stem}")[group] for path in (FOLDER / group).glob("*.yaml")}
    assert {name for name, part in composed.items() if "library" in part} == set(REGISTRIES[group].libraries)
    chosen = {name: part.name for name, part in composed.items() if "library" not in part}
    assert set(BY_GROUP[group]) <= set(chosen.values()) <= set(REGISTRIES[group].available())
    assert all(chosen[name] == name for name in BY_GROUP[group])


def test_options_of_every_part_have_the_defaults_of_their_classes() -> None:
    for file, cls, own in (
        ("every_network", networks.SiameseNetwork, {"backbone", "seed"}),
        ("every_sampler", samplers.Sampler, {"seed", "images_per_class", "finite_only"}),
        ("every_data", data.DataModule, {"seed"}),
    ):
        parameters = signature(cls.__init__).parameters.values()
        defaults = {each.name: each.default for each in parameters if each.name not in {"self", *own}}
        shown = yaml.safe_load((FOLDER / f"{file}.yaml").read_text(encoding="utf-8"))
        assert {name: tuple(value) if isinstance(value, list) else value for name, value in shown.items()} == defaults


@pytest.mark.parametrize("group", ["network", "sampler"])
def test_a_part_needs_only_its_own_options(group: str) -> None:
    for name in BY_GROUP[group]:
        shown = yaml.safe_load((FOLDER / group / f"{name}.yaml").read_text(encoding="utf-8"))
        every = yaml.safe_load((FOLDER / f"every_{group}.yaml").read_text(encoding="utf-8"))
        assert not [option for option in shown if option in every and shown[option] == every[option]]


@pytest.mark.slow
@pytest.mark.parametrize("group", REGISTRIES)
def test_every_option_can_be_overridden_without_plus(group: str) -> None:
    for name in BY_GROUP[group]:
        shown = set(compose_once(f"{group}={name}")[group])
        given_by_train = {
            "sampler": {"seed", "images_per_class", "finite_only"},
            "loss": {"classes", "dimensions", "seed"},
            "data": {"seed"},
            "network": {"channels", "image_size"},
        }[group]
        options = set(options_of(REGISTRIES[group].classes[name])) - given_by_train
        if group == "network":
            options |= set(networks.OPTIONS)
        options -= {"about"} if name == "features" else set()  # only checkpoints have it
        assert shown == options | {"name"}, f"{group}/{name}.yaml"


def test_margin_and_distance_of_the_sampler_are_those_of_the_loss() -> None:
    config = compose("loss.margin=0.35", "loss.distance=squared")
    assert (config.sampler.margin, config.sampler.distance) == (0.35, "squared")


@pytest.mark.parametrize("name", BY_GROUP["data"])
def test_a_data_set_chooses_and_prints_its_recipe(name: str) -> None:
    assert compose_once(f"data={name}").recipe.name == name
    text = (FOLDER / "recipe" / f"{name}.yaml").read_text(encoding="utf-8")
    assert f"# python -m siamese_lab.train data={name}" in text


@pytest.mark.slow
def test_without_a_recipe_every_data_set_has_the_same_training_options() -> None:
    images = [name for name in BY_GROUP["data"] if name != "features"]  # features need a network of their own
    composed = {name: compose(f"data={name}", "recipe=none") for name in images}
    for config in composed.values():
        assert config.recipe.name == "none"
        for group in ("network", "loss", "sampler", "optimizer", "schedule", "trainer"):
            assert config[group] == composed["digits"][group]


def test_the_command_line_wins_over_the_recipe() -> None:
    config = compose("data=lfw", "loss=triplet", "network.dropout=0", "trainer.max_steps=7")
    assert (config.loss.name, config.network.name, config.network.dropout) == ("triplet", "resnet10", 0)
    assert (config.trainer.max_steps, config.sampler.num_negatives, config.optimizer.weight_decay) == (7, 64, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "glyphs", "mnist", "omniglot", "lfw"])
def test_budgets_multiply_the_steps_of_the_recipe(name: str) -> None:
    budgets = ("half", "standard", "double", "quadruple")
    own = compose_once(f"data={name}").trainer.max_steps
    assert [compose(f"data={name}", f"budget={each}").trainer.max_steps for each in budgets] == [
        own / 2,
        own,
        2 * own,
        4 * own,
    ]


def test_a_budget_without_a_recipe_multiplies_the_steps_that_all_sets_share_and_the_command_line_wins() -> None:
    plain = ("data=omniglot", "recipe=none")
    assert compose(*plain).trainer.max_steps == 1000
    double = compose(*plain, "budget=double")
    assert (double.trainer.max_steps, double.schedule.steps, double.budget.of_recipe) == (2000, 2000, 2)
    assert compose(*plain, "budget=double", "trainer.max_steps=7").trainer.max_steps == 7
    assert compose(*plain, "budget=half", "recipe.steps=1").trainer.max_steps == 1


def test_automatic_precision_and_validation_are_decided_and_recorded(tmp_path: Path) -> None:
    config = compose("trainer.max_steps=250", "trainer.accelerator=cpu")
    trainer = build_trainer(config.trainer, default_root_dir=tmp_path, logger=False)
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    processor = "bf16-mixed" if known.get("avx512_bf16") else "32-true"
    assert trainer.precision == processor
    assert trainer.val_check_interval == 25
    assert build_trainer(compose("trainer.precision=32-true").trainer, logger=False).precision == "32-true"
