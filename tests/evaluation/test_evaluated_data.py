"""The evaluated data follow from options, folders and the checkpoint; data seen in training are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Ended
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from untrained import checkpoint

import siamese_lab
from siamese_lab.config.data_options import NODE
from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.errors import UserError
from siamese_lab.evaluation import load
from siamese_lab.evaluation.evaluated_data import with_evaluated_data


def options(*arguments: str) -> dict[str, Any]:
    """Return the data options of the configuration for a command line."""
    with_evaluated_data(arguments)
    node = ConfigStore.instance().load(f"{NODE}.yaml").node
    return OmegaConf.to_container(node.data)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIAMESE_LAB_DATA", raising=False)


def test_options_default_to_those_of_the_training(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, "data=omniglot", "data.image_size=40", "data.rotations=false")
    for named in ([], ["data=omniglot"]):
        chosen = options(f"checkpoint={place}", *named)
        assert (chosen["image_size"], chosen["rotations"]) == (40, False)


def test_another_set_has_its_own_options(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, "data=omniglot", "data.eval_batch_size=7")
    chosen = options(f"checkpoint={place}", "data=mnist")
    assert (chosen["name"], chosen["eval_batch_size"], chosen["root"]) == ("mnist", 512, "${paths.data}")


def test_a_folder_of_data_sets_is_read_only_if_the_user_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "there"
    place = checkpoint(tmp_path, "data=omniglot", f"paths.data={there}")
    argument, read = f"checkpoint={place}", f"checkpoint='{place}'"
    for exists in (False, True):
        with pytest.raises(UserError, match=f"add paths.data={there}. If the images are elsewhere"):
            with_evaluated_data(["--help", argument])
        there.mkdir(exist_ok=exists)
    assert with_evaluated_data([argument, "paths.data=here"]) == [read, "paths.data=here"]
    assert options(argument, "data.root=here")["root"] == "${paths.data}", "the command line replaces it later"
    monkeypatch.setenv("SIAMESE_LAB_DATA", "here")
    assert with_evaluated_data([argument]) == [read]


def test_a_folder_of_images_is_read_only_if_the_user_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIAMESE_LAB_DATA", "here")  # names data sets, not the user's own images
    place = checkpoint(tmp_path, "data=image_folder", "data.root=mine", "paths.data=elsewhere")
    with pytest.raises(UserError, match=r"images from mine.*add data.root=mine"):
        options(f"checkpoint={place}")
    assert options(f"checkpoint={place}", "data.root=mine")["root"] == "mine"


def test_a_run_is_resumed_only_if_the_user_names_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder came from SIAMESE_LAB_DATA, so no override stores it. Without a folder the data is downloaded."""
    monkeypatch.setenv("SIAMESE_LAB_DATA", "there")
    resume = f"resume={checkpoint(tmp_path, 'data=mnist')}"
    assert with_resumed_overrides([resume])
    monkeypatch.delenv("SIAMESE_LAB_DATA")
    with pytest.raises(UserError, match=r"is not resumed\. The training read .* from there.*add paths.data=there"):
        with_resumed_overrides([resume])
    assert with_resumed_overrides([resume, "paths.data=null"])


def test_a_network_reads_the_images_of_its_training_only_from_a_named_folder(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, "data=image_folder", "data.root=mine")
    network = siamese_lab.load(place)
    assert network.embed(np.zeros((16, 16, 3), np.uint8)).shape == (1, 128)
    with pytest.raises(UserError, match=r"The training read its images from mine.*add data=mine"):
        _ = network.threshold
    with pytest.raises(UserError, match=r"data\.root is elsewhere, but"):
        _ = siamese_lab.load(place, data="elsewhere").threshold


def test_data_sets_of_the_user_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "mine/data").mkdir(parents=True)
    (tmp_path / "mine/data/small.yaml").write_text("name: digits\nimage_size: 16\n")
    place = checkpoint(tmp_path, "data=mnist")
    chosen = options("--config-dir", str(tmp_path / "mine"), f"checkpoint={place}", "data=small")
    assert (chosen["name"], chosen["image_size"]) == ("digits", 16)
    assert "protocol" not in chosen  # an option of the training data only


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        ("data.view=1", "data.view=2 data.fold=0"),
        ("data.view=2 data.fold=0", "data.fold=1"),
    ],
)
def test_lfw_networks_are_refused_on_people_they_have_seen(
    trained: str,
    tested: str,
    tmp_path: Path,
    evaluate: Callable[..., Ended],
) -> None:
    place = checkpoint(tmp_path, "data=lfw", *trained.split())
    ended = evaluate(f"checkpoint={place}", *tested.split())
    assert ended.status == 2
    assert "A network trained on " in ended.err and "has seen" in ended.err
    assert "so it cannot be reported there. Train one with data.view=" in ended.err
    assert not list(tmp_path.rglob("evaluation.json"))


def test_nothing_is_loaded_to_rebuild_a_network(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, "data=lfw", f"paths.data={tmp_path}", "network.embedding_dim=24")
    assert load(place).network.embedding_dim == 24
