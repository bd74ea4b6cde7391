"""The state of an optimizer is compared with that of a new one, before torch restores it without a check of shapes."""

import copy
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from conftest import compose
from torch import Tensor, nn
from torch.optim import Optimizer

from siamese_lab import losses, networks, samplers
from siamese_lab.config import targets
from siamese_lab.runs.plain_values import WrongValueError
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.optimizer_state import check_optimizer_state
from siamese_lab.training.schedules import cosine


class Lion(Optimizer):
    """A user's own optimizer, with an entry that it creates in the second step, and a count in the group."""

    def __init__(self, params: Any, lr: float = 1e-3) -> None:
        super().__init__(params, {"lr": lr, "calls": 0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["calls"] += 1
            for parameter in group["params"]:
                state = self.state[parameter]
                if state:
                    state.setdefault("late", torch.zeros_like(parameter))
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 0.1)
                parameter.sub_(average.sign(), alpha=group["lr"])


def shipped(name: str) -> Callable[[Any], Optimizer]:
    return targets.Deferred("optimizer", compose("data=digits", f"optimizer={name}").optimizer)


OPTIMIZERS: dict[str, Callable[[], Callable[[Any], Optimizer]]] = {
    **{name: partial(shipped, name) for name in ("adam", "adamw", "sgd", "adagrad")},
    **{
        each.__name__: partial(partial, each)  # type: ignore[call-arg]
        for each in (torch.optim.Adafactor, torch.optim.NAdam, torch.optim.RMSprop, torch.optim.ASGD, torch.optim.Rprop)
    },
    "amsgrad": lambda: partial(torch.optim.AdamW, amsgrad=True),
    "sgd_without_momentum": lambda: partial(torch.optim.SGD, lr=0.1),
    "lion": lambda: Lion,
}


def build_module(name: str) -> SiameseModule:
    return SiameseModule(
        networks.build("conv4", width=4, embedding_dim=8, channels=1, image_size=16, seed=0),
        samplers.build("random", seed=0),
        losses.build("margin", beta_per_class=True, classes=3),
        OPTIMIZERS[name](),
        partial(cosine, steps=10, warmup_fraction=0.2),
    )


def states(module: SiameseModule, steps: int = 3) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train with random gradients; return the states of the optimizer and of the schedule, as read from a file."""
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    for _ in range(steps):
        for parameter in module.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        schedule.step()
    file = io.BytesIO()
    torch.save((optimizer.state_dict(), schedule.state_dict()), file)
    file.seek(0)
    return torch.load(file, weights_only=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_of_every_optimizer_is_accepted_and_nothing_changes(name: str) -> None:
    module = build_module(name)
    optimizer, schedule = states(module)
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(5)
    check_optimizer_state(module, optimizer, schedule)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_tensor_of_another_shape_is_refused(name: str) -> None:
    module = build_module(name)
    optimizer, schedule = states(module)
    changed = 0
    for number, state in optimizer["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                broken = copy.deepcopy(optimizer)
                broken["state"][number][key] = torch.zeros(2, 2, 2, 2, 2)
                with pytest.raises(WrongValueError, match=rf"\[{number}\]\.{key} is 2×2×2×2×2, expected"):
                    check_optimizer_state(module, broken, schedule)
                changed += 1
            if changed > 5:
                return
    assert changed or name == "sgd_without_momentum"


def test_a_network_with_a_frozen_part_has_no_state_for_it() -> None:
    module = build_module("adamw")
    nn.Module.requires_grad_(module.network.backbone, False)
    check_optimizer_state(module, *states(module))


def test_a_count_of_steps_of_an_earlier_torch_is_accepted() -> None:
    module = build_module("adam")
    optimizer, schedule = states(module)
    for state in optimizer["state"].values():
        state["step"] = 3
    check_optimizer_state(module, optimizer, schedule)


def test_options_that_an_earlier_torch_did_not_store_may_be_missing() -> None:
    module = build_module("adamw")
    optimizer, schedule = states(module)
    for state, option in ((optimizer["param_groups"][0], "decoupled_weight_decay"), (schedule, "_is_initial")):
        state.pop(option, None)  # PyTorch 2.6 has neither
    check_optimizer_state(module, optimizer, schedule)


@pytest.mark.parametrize("name", ["lr", "betas", "params"])
def test_a_missing_option_is_refused(name: str) -> None:
    module = build_module("adamw")
    optimizer, schedule = states(module)
    del optimizer["param_groups"][1][name]
    with pytest.raises((WrongValueError, KeyError), match=name):
        check_optimizer_state(module, optimizer, schedule)
