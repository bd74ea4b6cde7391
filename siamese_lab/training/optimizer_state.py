"""Check the state of an optimizer and of its schedule before a run resumes from it.

torch compares only the number of parameters, and its fused kernels read and write beyond the end of a tensor that is
smaller than its parameter. The expected form is that of a new optimizer after one step.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from siamese_lab.runs.plain_values import WrongValueError, joined, wrong
from siamese_lab.runs.weights import is_other_kind, shape_of
from siamese_lab.training.module import SiameseModule
from siamese_lab.training.state_form import check_finite, check_form

FIXED = ("capturable", "differentiable", "foreach", "fused", "maximize")
"""Options of torch's optimizers that choose an implementation, so a checkpoint must not change them."""

GROUPS = "param_groups of the optimizer"


def check_optimizer_state(module: SiameseModule, optimizer: Any, schedule: Any) -> None:
    """Raise WrongValueError unless the states fit the optimizer and the schedule of a run.

    Args:
        module: the module of the run; it is not changed.
        optimizer: the stored state of its optimizer.
        schedule: the stored state of its schedule.
    """
    module = copy.deepcopy(module)
    configured = module.configure_optimizers()
    check_form(schedule, configured["lr_scheduler"]["scheduler"].state_dict(), "lr_schedulers[0]")
    fresh = configured["optimizer"]
    wanted = state_after_a_step(fresh)
    if not isinstance(optimizer, Mapping) or optimizer.keys() != wanted.keys():
        raise wrong("optimizer_states[0]", optimizer, f"a dictionary of {' and '.join(wanted)}")
    check_groups(optimizer["param_groups"], wanted["param_groups"])
    numbers = [number for group in wanted["param_groups"] for number in group["params"]]
    parameters = [parameter for group in fresh.param_groups for parameter in group["params"]]
    check_tensors(optimizer["state"], wanted["state"], dict(zip(numbers, parameters, strict=True)))
    fresh.load_state_dict(dict(optimizer))  # adds the options that earlier versions of torch lack
    for number, (group, new) in enumerate(zip(fresh.param_groups, wanted["param_groups"], strict=True)):
        for name in new.keys() - group.keys():
            raise WrongValueError(f"{GROUPS}[{number}] lacks {name}")


def state_after_a_step(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer after one step, because optimizers create their tensors in it."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    with torch.random.fork_rng(devices=[]):  # the random numbers of the run stay the same
        optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type, return-value]
    state: dict[str, Any] = optimizer.state_dict()
    return state


def check_groups(groups: Any, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Raise WrongValueError unless the groups hold the same parameters, with options of the same kinds."""
    check_form(groups, wanted, GROUPS)
    for number, (group, fresh) in enumerate(zip(groups, wanted, strict=True)):
        for name in ("params", *FIXED):
            if name in fresh and group.get(name, fresh[name]) != fresh[name]:
                raise wrong(f"{GROUPS}[{number}].{name}", group[name], str(fresh[name]))


def check_tensors(states: Any, wanted: Mapping[int, Any], parameters: Mapping[int, Tensor]) -> None:
    """Raise WrongValueError unless the state of each parameter has the shapes of a new optimizer.

    A parameter that got no gradient has no state. An entry that no new optimizer has must have the shape of its
    parameter, or be a number.
    """
    place = "the state of the optimizer"
    if not isinstance(states, Mapping):
        raise wrong(place, states, "a dictionary")
    for number, state in states.items():
        here = joined(place, number)
        if number not in parameters or type(number) is not int:
            raise WrongValueError(f"{place} has an entry {number!r:.60}, but there are {len(parameters)} parameters")
        if not isinstance(state, Mapping):
            raise wrong(here, state, "a dictionary")
        fresh = wanted.get(number, {})
        for name in fresh.keys() - state.keys():
            raise WrongValueError(f"{here} lacks {name}")
        for name, value in state.items():
            if name in fresh:
                check_form(value, fresh[name], joined(here, str(name)))
            else:
                check_unknown(value, parameters[number], joined(here, str(name)))
            if name == "step" and float(value) < 0:
                raise wrong(joined(here, name), value, "a number of at least 0")


def check_unknown(value: Any, parameter: Tensor, place: str) -> None:
    """Raise WrongValueError unless a value is null, a number, or a tensor of the shape of its parameter."""
    if isinstance(value, Tensor):
        if value.ndim and (value.shape != parameter.shape or is_other_kind(value, parameter)):
            raise WrongValueError(f"{place} is {shape_of(value)}, expected {shape_of(parameter)}")
        check_finite(value, place)
    elif value is not None:
        check_form(value, 0.0, place)
