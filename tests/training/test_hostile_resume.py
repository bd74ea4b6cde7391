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


def set_in(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change that sets one value in the checkpoint."""

    def change(content: dict[str, Any]) -> None:
        inner: Any = content
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    change.__name__ = f"{'.'.join(map(str, keys[-2:]))}={value}"
    return change


def shrink_moments(content: dict[str, Any]) -> None:
    for state in content["optimizer_states"][0]["state"].values():
        state["exp_avg"] = torch.zeros(1)


def lose_moment(content: dict[str, Any]) -> None:
    del content["optimizer_states"][0]["state"][0]["exp_avg"]


def set_best_score(content: dict[str, Any]) -> None:
    callback(content, "BestCheckpoint")["best_model_score"] = "x"


OPTIMIZER = "optimizer_states", 0
GROUP = *OPTIMIZER, "param_groups", 0
SCHEDULE = "lr_schedulers", 0
HISTORY = "callbacks", "History"
FIELDS: dict[Callable[[dict[str, Any]], None], str] = {
    shrink_moments: r"the state of the optimizer\[0\]\.exp_avg is 1, expected 32×1×3×3",
    lose_moment: r"the state of the optimizer\[0\] lacks exp_avg",
    set_in(*OPTIMIZER, "state", 0, "step", value=torch.zeros(3)): r"\[0\]\.step is 3, expected a number",
    set_in(
        *OPTIMIZER, "state", 0, "step", value=torch.tensor(-1.0)
    ): r"\[0\]\.step is .*, expected a number of at least",
    set_in(*OPTIMIZER, "state", 0, "step", value=torch.tensor(torch.nan)): r"\[0\]\.step is not finite",
    set_in(*OPTIMIZER, "state", 0, "other", value=torch.zeros(9, 9)): r"\[0\]\.other is 9×9, expected 32×1×3×3",
    set_in(*OPTIMIZER, "state", 0, "exp_avg", value="x"): r"\[0\]\.exp_avg is no tensor",
    set_in(*OPTIMIZER, "state", 99, value={}): "has an entry 99, but there are 14 parameters",
    set_in(*OPTIMIZER, "state", value=[1]): "the state of the optimizer is \\[1\\], expected a dictionary",
    set_in(*GROUP, "lr", value="x"): r"\[0\]\.lr is 'x', expected a number",
    set_in(*GROUP, "lr", value=float("nan")): r"\[0\]\.lr is nan, expected a finite number",
    set_in(*GROUP, "betas", value=5): r"\[0\]\.betas is 5, expected a list of 2",
    set_in(*GROUP, "fused", value=False): r"\[0\]\.fused is False, expected True",
    set_in(*GROUP, "step", value=5): r"the field .*\[0\]\.step is unknown",
    set_in(*SCHEDULE, "get_lr", value=5): r"the field lr_schedulers\[0\]\.get_lr is unknown",
    set_in(*SCHEDULE, "optimizer", value="o"): r"the field lr_schedulers\[0\]\.optimizer is unknown",
    set_in(*SCHEDULE, "base_lrs", value=["a", "b"]): r"base_lrs\[0\] is 'a', expected a number",
    set_in(*SCHEDULE, "base_lrs", value=[float("nan")] * 2): r"base_lrs\[0\] is nan, expected a finite number",
    set_in(*SCHEDULE, "base_lrs", value=[0.1]): r"base_lrs is \[0\.1\], expected a list of 2",
    set_in("global_step", value="four"): "global_step is 'four', expected a whole number",
    set_in("global_step", value=[1]): r"global_step is \[1\], expected a whole number",
    set_in("global_step", value=float("nan")): "global_step is nan, expected a whole number",
    set_in("global_step", value=-1): "global_step is -1, expected a number of at least 0",
    set_in(
        "loops", "fit_loop", "epoch_progress", "total", "ready", value="x"
    ): r"total\.ready is 'x', expected a number",
    set_in(*HISTORY, "points", 0, "step", value=float("nan")): r"points\[0\]\.step is nan, expected a whole number",
    set_in(*HISTORY, "seconds", value=[]): "points, but 0 seconds",
    set_in(*HISTORY, "logged", value=[{"loss": torch.zeros(2)}]): "logged.loss is",
    set_in("before_averaging", value={"steps": "x", "weights": {}}): "is missing",
    set_in("callbacks", "TrainingClock", "seconds", value=float("nan")): "seconds is nan, expected a finite number",
    set_in("mining_seconds", value=float("inf")): "mining_seconds is inf, expected a finite number",
    set_best_score: "best_model_score is 'x', expected a number",
    set_in("Digits", value=5): "cannot be resumed",
    set_in("Digits", "batches", "queue", value=torch.tensor([99])): "queue",
    set_in("Digits", "batches", "batches", value=-3): "batches is -3",
    set_in("Digits", "batches", "position", value="x"): "position is 'x', expected a whole number",
}


def refusal_of(change: Callable[[dict[str, Any]], None], run: Path, folder: Path, message: str, *options: str) -> str:
    """Resume from a changed checkpoint of a run, check that it is refused by name, and return the message."""
    given = folder / "given.ckpt"
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    change(content)
    torch.save(content, given)
    with pytest.raises(UserError, match=message) as refused:
        train(compose(*OPTIONS, f"resume={given}", *options), folder / "run", OPTIONS, Console(quiet=True))
    assert str(given) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("change", FIELDS, ids=lambda change: change.__name__)
def test_a_field_of_another_form_is_refused_before_anything_is_restored(
    change: Callable[[dict[str, Any]], None], digits_run: Path, tmp_path: Path
) -> None:
    message = refusal_of(change, digits_run, tmp_path, FIELDS[change], "trainer.max_steps=6")
    assert message.isprintable() and not list(tmp_path.rglob("run/checkpoints/*"))


@pytest.mark.parametrize("change", STATES, ids=lambda change: change.__name__)
def test_a_state_of_another_form_is_one_message(
    change: Callable[[dict[str, Any]], None], digits_run: Path, tmp_path: Path
) -> None:
    refusal_of(change, digits_run, tmp_path, STATES[change])
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
