"""A checkpoint whose state has another form is one message when a run resumes, and its paths are not used."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, compose
from rich.console import Console

from siamese_lab.errors import UserError
from siamese_lab.runs import results
from siamese_lab.training.callbacks import BestCheckpoint
from siamese_lab.training.run import train

pytestmark = pytest.mark.slow

OPTIONS = (*QUICK, "network.embedding_dim=16", "trainer.val_check_interval=2", "metrics.floors=false")


def callback(content: dict[str, Any], name: str) -> dict[str, Any]:
    (state,) = (state for key, state in content["callbacks"].items() if key.startswith(name))
    return dict(state) if not isinstance(state, dict) else state


def set_optimizer(content: dict[str, Any]) -> None:
    content["optimizer_states"][0]["param_groups"][0]["params"] = [1, 2]


def set_loops(content: dict[str, Any]) -> None:
    content["loops"] = {"fit_loop": "x"}


def set_clock(content: dict[str, Any]) -> None:
    callback(content, "TrainingClock")["seconds"] = "x"


def set_mining(content: dict[str, Any]) -> None:
    content["mining_seconds"] = [1]


def set_step_of_history(content: dict[str, Any]) -> None:
    callback(content, "History")["points"][0]["step"] = "x"


def set_points(content: dict[str, Any]) -> None:
    callback(content, "History")["points"] = [{"step": 1}]


def set_logged(content: dict[str, Any]) -> None:
    callback(content, "History")["logged"] = [{"loss": "x"}]


def set_batches(content: dict[str, Any]) -> None:
    content["Digits"] = {"batches": 3}


def set_schedule(content: dict[str, Any]) -> None:
    content["lr_schedulers"] = []


def widen(content: dict[str, Any]) -> None:
    content["state_dict"]["network.embed.weight"] = torch.zeros(1).expand(10**5, 10**5)


def lose_weights(content: dict[str, Any]) -> None:
    del content["state_dict"]


def diverge(content: dict[str, Any]) -> None:
    content["state_dict"]["network.embed.bias"][0] = torch.nan


STATES: dict[Callable[[dict[str, Any]], None], str] = {
    set_optimizer: "cannot be resumed, because its state does not fit this run",
    set_loops: "cannot be resumed",
    set_clock: "cannot be resumed",
    set_mining: "cannot be resumed",
    set_step_of_history: r"cannot be resumed.*points\[0\]\.step is 'x', expected a whole number",
    set_points: r"cannot be resumed.*the field points\[0\]\.triplets is missing",
    set_logged: "cannot be resumed",
    set_batches: "cannot be resumed",
    set_schedule: "is incomplete: lr_schedulers must hold one state",
    widen: "a tensor of 100000×100000, which needs more bytes than the file has",
    lose_weights: "holds no weights",
    diverge: "not finite, such as embed.bias",
}


@pytest.mark.parametrize("change", STATES, ids=lambda change: change.__name__)
def test_a_state_of_another_form_is_one_message(
    change: Callable[[dict[str, Any]], None], digits_run: Path, tmp_path: Path
) -> None:
    content = torch.load(digits_run / "checkpoints/last.ckpt", weights_only=True)
    change(content)
    torch.save(content, tmp_path / "given.ckpt")
    config = compose(*OPTIONS, f"resume={tmp_path / 'given.ckpt'}")
    with pytest.raises(UserError, match=STATES[change]) as refused:
        train(config, tmp_path / "run", OPTIONS, Console(quiet=True))
    assert str(tmp_path / "given.ckpt") in str(refused.value)
    assert not list(tmp_path.rglob("run/checkpoints/*"))
    if (tmp_path / "run/results.json").exists():
        assert results.read_results(tmp_path / "run").fault == "options"


def test_the_best_checkpoint_is_that_of_the_own_folder(digits_run: Path, tmp_path: Path) -> None:
    content = torch.load(digits_run / "checkpoints/last.ckpt", weights_only=True)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    state = callback(content, "BestCheckpoint")
    score = state["best_model_score"]
    stolen = {"best_model_path": str(precious), "kth_best_model_path": str(precious), "dirpath": str(tmp_path)}
    moved = state | stolen | {"best_k_models": {str(precious): score}, "last_model_path": str(precious)}
    best = BestCheckpoint(tmp_path / "checkpoints", "validation/recall@1")
    best.load_state_dict(dict(moved))
    assert (best.best_model_path, best.best_k_models, best.last_model_path) == ("", {}, "")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/best.ckpt").touch()
    best.load_state_dict(dict(moved))
    assert best.best_model_path == best.kth_best_model_path == str(tmp_path / "checkpoints/best.ckpt")
    assert best.best_k_models == {best.best_model_path: score} and best.best_model_score == score
    assert precious.read_text() == "precious"
