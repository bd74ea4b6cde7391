"""Values are checked against the types that ship for an option, also where an experiment ships another type."""

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
