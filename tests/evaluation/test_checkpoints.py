"""A network is loaded from a checkpoint, faulty checkpoints are refused, and code in a checkpoint is not executed."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quick_run

from siamese_lab.evaluation import load
from siamese_lab.runs import checkpoints


class CreatesAFolder:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.place),)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    quick_run(folder, "network.embedding_dim=16", "network.dropout=0.1", "seed=3")
    return folder


def last(run: Path) -> Any:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


def changed(run: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """Write a changed copy of the run's checkpoint outside of the run folder."""
    content = last(run)
    change(content)
    torch.save(content, folder / "changed.ckpt")
    return folder / "changed.ckpt"


def test_the_network_is_the_one_that_was_trained(run: Path, tmp_path: Path) -> None:
    trained = load(changed(run, tmp_path, lambda content: None))
    weights = last(run)["state_dict"]
    assert trained.step == 6
    assert trained.choices["seed"] == 3
    assert trained.network.embedding_dim == 16
    for name, tensor in trained.network.state_dict().items():
        if isinstance(tensor, torch.Tensor):
            assert torch.equal(tensor, weights[f"network.{name}"]), name


@pytest.mark.parametrize("named", [".", "checkpoints", "checkpoints/last.ckpt"])
def test_a_checkpoint_may_be_named_by_the_folder_of_its_run(named: str, run: Path) -> None:
    assert load(run / named).checkpoint == run / "checkpoints/last.ckpt"


@pytest.mark.slow
def test_the_folder_of_a_run_means_its_reported_weights(tmp_path: Path) -> None:
    quick_run(tmp_path, "trainer.val_check_interval=2", "report_checkpoint=best")
    assert load(tmp_path).checkpoint == tmp_path / "checkpoints/best.ckpt"


def test_choices_absent_from_the_checkpoint_are_taken_from_its_run(run: Path, tmp_path: Path) -> None:
    def forget(content: Any) -> None:
        del content["callbacks"]["StoredChoices"]["choices"]

    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "results.json").write_bytes((run / "results.json").read_bytes())
    place = changed(run, tmp_path / "checkpoints", forget)
    assert load(place).choices == load(run).choices
    (tmp_path / "results.json").unlink()
    with pytest.raises(ValueError, match=r"holds weights but not the configuration .* no results\.json"):
        load(place)


def set_format(content: Any) -> None:
    content["callbacks"]["StoredChoices"]["format"] = checkpoints.CONFIG_FORMAT + 1


def widen(content: Any) -> None:
    content["state_dict"]["network.embed.weight"] = torch.zeros(32, 128)


def drop_layer(content: Any) -> None:
    del content["state_dict"]["network.embed.weight"]


def choose_another_network(content: Any) -> None:
    content["callbacks"]["StoredChoices"]["choices"]["network"] = {"name": "mlp", "embedding_dim": 16}


def choose_unknown_data(content: Any) -> None:
    content["callbacks"]["StoredChoices"]["choices"]["data"]["name"] = "digitz"


def choose_nothing(content: Any) -> None:
    content["callbacks"]["StoredChoices"]["choices"] = {}


def diverge(content: Any) -> None:
    content["state_dict"]["network.embed.bias"][0] = torch.nan


def forget_the_run(content: Any) -> None:
    del content["callbacks"]


def forget_the_weights(content: Any) -> None:
    del content["state_dict"]


WRONG = {
    set_format: f"its configuration has format {checkpoints.CONFIG_FORMAT + 1}, but this version",
    widen: r"do not fit the network .*: embed.weight is 32×128 instead of 16×\d+\.",
    drop_layer: r"do not fit the network .*: embed.weight is missing\.",
    choose_another_network: r"do not fit .*: backbone\S+ is not in this network; .* and [0-9]+ more\. ",
    choose_unknown_data: "There is no data set 'digitz'. Did you mean 'digits'?",
    choose_nothing: "is incomplete: .* lacks data, network, paths, seed",
    diverge: "1 of [0-9]+ weight tensors .* not finite, such as embed.bias.* optimizer.lr",
    forget_the_run: "was not written by a run of siamese_lab",
    forget_the_weights: "is incomplete: it lacks 'state_dict'",
}


@pytest.mark.parametrize("change", WRONG, ids=lambda change: change.__name__)
def test_faulty_checkpoints_are_explained(change: Callable[[Any], None], run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=WRONG[change]):
        load(changed(run, tmp_path, change))


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file_is_refused(kept: float, run: Path, tmp_path: Path) -> None:
    whole = (run / "checkpoints/last.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"cut.ckpt is not a readable checkpoint: the file is truncated, damaged or"):
        load(tmp_path / "cut.ckpt")


def test_damaged_bytes_are_noticed(run: Path, tmp_path: Path) -> None:
    whole = (run / "checkpoints/last.ckpt").read_bytes()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        start = int(torch.randint(len(whole) - 200, (), generator=generator))
        noise = bytes(torch.randint(256, (200,), generator=generator).tolist())
        (tmp_path / "damaged.ckpt").write_bytes(whole[:start] + noise + whole[start + 200 :])
        with pytest.raises(ValueError, match=r"damaged\.ckpt"):
            load(tmp_path / "damaged.ckpt")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_program_is_not_executed(zipped: bool, run: Path, tmp_path: Path) -> None:
    harm = CreatesAFolder(tmp_path / "harm")
    content = last(run) | {"harm": harm}
    torch.save(content, tmp_path / "program.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"loading it would execute [a-z]+.mkdir, so it was not loaded"):
        load(tmp_path / "program.ckpt")
    assert not (tmp_path / "harm").exists()


def test_a_plain_pickle_is_not_executed(tmp_path: Path) -> None:
    (tmp_path / "program.ckpt").write_bytes(pickle.dumps(CreatesAFolder(tmp_path / "harm")))
    with pytest.raises(ValueError, match=r"program.ckpt"):
        load(tmp_path / "program.ckpt")
    assert not (tmp_path / "harm").exists()
    pickle.loads((tmp_path / "program.ckpt").read_bytes())
    assert (tmp_path / "harm").exists()  # the pickle does run a program


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.ckpt")
    with pytest.raises(ValueError, match="holds a Tensor, not the checkpoint of a run of siamese_lab"):
        load(tmp_path / "tensor.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="was not written by a run of siamese_lab"):
        load(tmp_path / "other.ckpt")


def test_missing_checkpoints_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no checkpoint .*none.ckpt. A run writes checkpoints/last"):
        checkpoints.find_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(ValueError, match=r"holds no checkpoints/\*.ckpt, so it is not the folder of a run"):
        checkpoints.find_checkpoint(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/best.ckpt").touch()
    with pytest.raises(ValueError, match=r"reports last.ckpt, but only has best. Name the file, such as .*best"):
        checkpoints.find_checkpoint(tmp_path)
