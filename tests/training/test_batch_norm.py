"""Batch norm over several processes equals batch norm over the whole batch in one process."""

from typing import Any

import pytest
import torch
from processes_of_a_group import run_in_group
from torch import nn

from siamese_lab.devices import processes
from siamese_lab.networks.dropout import Dropout
from siamese_lab.training.batch_norm import SynchronizeBatchNorm, check_dimensions

SHAPES = {"1d": (12, 5), "sequence": (12, 5, 3), "2d": (12, 5, 4, 3), "far from 0": (12, 5, 4, 3)}
STEPS = 3


def inputs(case: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    offset = 100.0 if case == "far from 0" else 0.5
    return [torch.randn(SHAPES[case], generator=generator) * 2 + offset for _ in range(STEPS)]


def outcome(case: str, momentum: float | None, dtype: torch.dtype) -> dict[str, Any]:
    """Return the results of some training steps of a norm, on this process's part of the batch."""
    kind = nn.BatchNorm2d if len(SHAPES[case]) == 4 else nn.BatchNorm1d
    norm = nn.Sequential(kind(5, momentum=momentum)).to(torch.float64 if dtype == torch.float64 else torch.float32)
    with torch.no_grad():
        norm[0].weight.copy_(torch.arange(1.0, 6.0))
        norm[0].bias.copy_(torch.arange(5.0))
    if processes.count() > 1:
        norm = SynchronizeBatchNorm().apply(norm)
    left: dict[str, Any] = {}
    for step, whole in enumerate(inputs(case)):
        x = processes.own_part(whole)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        x = x.to(dtype).requires_grad_()
        y = norm(x)
        assert y.dtype == x.dtype
        assert x.ndim != 4 or y.is_contiguous(memory_format=torch.channels_last)
        weights = torch.linspace(-1, 1, whole.numel(), dtype=torch.float64).view_as(whole)
        (y.double() * processes.own_part(weights)).pow(2).sum().backward()
        left[f"y{step}"], left[f"gradient{step}"] = y.detach(), x.grad
    left["weight"], left["bias"] = norm[0].weight.grad, norm[0].bias.grad
    left["state"] = dict(norm.state_dict())
    norm = SynchronizeBatchNorm().revert(norm)
    assert type(norm[0]) is kind
    left["evaluated"] = norm.eval()(x).detach()
    return left


def joined(several: list[dict[str, Any]], name: str) -> torch.Tensor:
    """Return the results for the whole batch: features in order, gradients of weights summed."""
    parts = [each[name] for each in several]
    return sum(parts[1:], parts[0]) if name in ("weight", "bias") else torch.cat(parts)


CASES = (
    (2, "1d", 0.1, torch.float64),
    (3, "2d", 0.1, torch.float64),
    (2, "sequence", None, torch.float64),
    (2, "2d", 0.1, torch.bfloat16),
    (2, "far from 0", 0.1, torch.float32),
)


def dropped(steps: int) -> torch.Tensor:
    dropout = Dropout(0.5, seed=3)
    return torch.stack([dropout(processes.own_part(torch.ones(6, 4))) for _ in range(steps)])


def outcomes(cases: list[Any]) -> list[Any]:
    """Return the results of several cases, and the results of dropout."""
    return [*(outcome(*case) for case in cases), dropped(4)]


@pytest.fixture(scope="module")
def by_group(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, list[Any]]:
    """Return the results of every process for each case, from one group of two and one group of three processes."""
    found: dict[Any, list[Any]] = {}
    for ranks in (2, 3):
        cases = [case for number, *case in CASES if number == ranks]
        several = run_in_group(outcomes, ranks, tmp_path_factory.mktemp("group"), cases)
        for key, *results in zip([*((ranks, *case) for case in cases), (ranks, "dropout")], *several, strict=True):
            found[key] = results
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "case", "momentum", "dtype"), CASES[:4])
def test_several_processes_equal_one(
    ranks: int, case: str, momentum: float | None, dtype: torch.dtype, by_group: dict[Any, list[Any]]
) -> None:
    one = outcome(case, momentum, dtype)
    several = by_group[ranks, case, momentum, dtype]
    near = {"atol": 1e-9, "rtol": 1e-9} if dtype == torch.float64 else {"atol": 0.1, "rtol": 0.02}
    for name in one.keys() - {"state"}:
        torch.testing.assert_close(joined(several, name), one[name], **near)
    for each in several:
        assert each["state"].keys() == one["state"].keys()
        for name, tensor in each["state"].items():
            assert torch.equal(tensor, several[0]["state"][name])
            torch.testing.assert_close(tensor, one["state"][name], **near)


@pytest.mark.slow
def test_in_float32_the_norm_is_as_precise_as_torchs_far_from_zero(by_group: dict[Any, list[Any]]) -> None:
    """Means of 100 and deviations of 2 lose digits in float32, in torch as well; float64 shows how many."""
    exact = outcome("far from 0", 0.1, torch.float64)
    one = outcome("far from 0", 0.1, torch.float32)
    several = by_group[CASES[4]]
    for name in exact.keys() - {"state"}:
        ours, theirs = (float((each - exact[name]).abs().max()) for each in (joined(several, name), one[name]))
        assert ours <= 1.5 * theirs, (name, ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
def test_dropout_of_several_processes_equals_that_of_one(ranks: int, by_group: dict[Any, list[Any]]) -> None:
    assert torch.equal(torch.cat(by_group[ranks, "dropout"], 1), dropped(4))


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
@pytest.mark.parametrize("dimensions", range(1, 7))
def test_dimensions_are_refused_as_torch_refuses_them(kind: type[nn.Module], dimensions: int) -> None:
    norm, features = kind(2), torch.zeros(2, *[2] * (dimensions - 1))
    try:
        norm(features)
    except ValueError:
        with pytest.raises(ValueError, match=rf"{kind.__name__}.*{dimensions}"):
            check_dimensions(norm, features)
    else:
        check_dimensions(norm, features)
