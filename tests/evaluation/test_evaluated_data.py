"""The evaluated data follow from options, folders and the checkpoint; data seen in training are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Ended
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from untrained import checkpoint

from siamese_lab.config.data_options import NODE
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


def test_folders_of_this_machine_override_those_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    place = checkpoint(tmp_path, "data=omniglot", f"paths.data={tmp_path / 'there'}")
    argument, read = f"checkpoint={place}", f"checkpoint='{place}'"
    assert options(argument)["root"] == "${paths.data}"
    assert with_evaluated_data(["--help", argument]) == ["--help", f"paths.data='{tmp_path / 'there'}'", read]
    assert with_evaluated_data([argument, "paths.data=here"]) == [read, "paths.data=here"]
    monkeypatch.setenv("SIAMESE_LAB_DATA", "here")
    assert with_evaluated_data([argument]) == [read]
    monkeypatch.delenv("SIAMESE_LAB_DATA")
    (tmp_path / "there").rmdir()
    assert with_evaluated_data([argument]) == [read]


def test_the_root_of_an_image_folder_is_taken_from_the_training(tmp_path: Path) -> None:
    place = checkpoint(tmp_path, "data=image_folder", "data.root=mine", "paths.data=elsewhere")
    assert options(f"checkpoint={place}")["root"] == "mine"


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
