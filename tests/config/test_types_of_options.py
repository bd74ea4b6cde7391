"""Values are checked against the types that ship for an option, also where an experiment ships another type."""

from pathlib import Path

import hydra
import pytest

from siamese_lab.config.errors import check_types, shipped_options
from siamese_lab.config.schema import config_folder, register_schema
from siamese_lab.errors import UserError


def check(*overrides: str) -> None:
    register_schema()
    with hydra.initialize_config_dir(str(config_folder()), version_base="1.3"):
        check_types(hydra.compose("train", overrides=list(overrides)), shipped_options(overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        ("network=timm", "network.freeze=50"),
        ("experiment=study", "network.dropout=0.1"),
        ("experiment=study", "threads=null"),
        ("experiment=benchmark", "data=cub200", "data.stored_size=null"),
        ("experiment=benchmark", "data=cub200", "trainer.max_epochs=null"),
        ("experiment=benchmark", "data=cub200", "data.augment.rotation=2.5"),
        ("data=omniglot", "data.augment.rotation=2.5"),
        ("experiment=benchmark", "data=cub200", "data.in_memory=auto"),
        ("data=table", "data.in_memory=true"),
        ("network=timm", "network.freeze=true"),
        ("experiment=study", "trainer.val_check_interval=auto"),
    ],
    ids=" ".join,
)
def test_an_option_accepts_the_types_of_its_group(overrides: tuple[str, ...]) -> None:
    check(*overrides)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("network=timm", "network.freeze=long"), "true, false or a whole number"),
        (("network=timm", "network.freeze=2.5"), "true, false or a whole number"),
        (("data.classes_per_batch=null",), "a whole number, like .*, but is null"),
        (("experiment=study", "network.dropout=high"), "a whole number"),
        (("data.images_per_class=2.5",), "a whole number"),
        (("data.classes_per_batch=true",), "a whole number"),
        (("data.classes_per_batch=auto",), "a whole number, like .*, but is 'auto'"),
        (("optimizer.lr=true",), "a number, like .*, but is True"),
        (("optimizer.lr=auto",), "a number, like .*, but is 'auto'"),
        (("loss.margin=true",), "a number"),
        (("loss.margin=auto",), "a number"),
        (("optimizer=sgd", "optimizer.momentum=true"), "a number"),
        (("sampler.num_negatives=true",), "a whole number"),
    ],
    ids=str,
)
def test_other_types_are_refused(overrides: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=f"must be {words}"):
        check(*overrides)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("optimizer: {lr: true}", "optimizer.lr must be a number, like .*, but is True"),
        ("trainer: {max_steps: 2.5}", "trainer.max_steps must be a whole number"),
        ("data: {hold_out: 10}", "data.hold_out.*is called data.validation_fraction since version 0.1.0"),
    ],
)
def test_the_values_of_a_users_experiment_are_checked(tmp_path: Path, options: str, message: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(f"# @package _global_\n{options}\n")
    with pytest.raises(UserError, match=message):
        check("experiment=mine", f"hydra.searchpath=[file://{tmp_path}]")


def test_a_users_experiment_with_values_of_the_right_type_passes(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults: [{override /data: omniglot}, _self_]\noptimizer: {lr: 1}\n"
        "data: {rotations: false, augment: {rotation: 2.5}}\n"
    )
    check("experiment=mine", f"hydra.searchpath=[file://{tmp_path}]")
