"""Batch norm over several processes equals batch norm over the whole batch in one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from processes_of_a_group import run_in_group
from torch import nn

from siamese_lab import distributed
from siamese_lab.networks.dropout import Dropout
from siamese_lab.training.batch_norm import SynchronizeBatchNorm

SHAPES = {"1d": (12, 5), "sequence": (12, 5, 3), "2d": (12, 5, 4, 3), "far from 0": (12, 5, 4, 3)}
STEPS = 3


def inputs(case: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    offset = 100.0 if case == "far from 0" else 0.5
    return [torch.randn(SHAPES[case], generator=generator) * 2 + offset for _ in range(STEPS)]


def outcome(case: str, momentum: float | None, bfloat16: bool) -> dict[str, Any]:
    """What some training steps of a norm come to, on the part of the batch that this process has."""
    kind = nn.BatchNorm2d if len(SHAPES[case]) == 4 else nn.BatchNorm1d
    norm = nn.Sequential(kind(5, momentum=momentum))
    with torch.no_grad():
        norm[0].weight.copy_(torch.arange(1.0, 6.0))
        norm[0].bias.copy_(torch.arange(5.0))
    if distributed.processes() > 1:
        norm = SynchronizeBatchNorm().apply(norm)
    left: dict[str, Any] = {}
    for step, whole in enumerate(inputs(case)):
        x = distributed.own_part(whole)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        x = (x.bfloat16() if bfloat16 else x).requires_grad_()
        y = norm(x)
        assert y.dtype == x.dtype
        assert x.ndim != 4 or y.is_contiguous(memory_format=torch.channels_last)
        weights = torch.linspace(-1, 1, whole.numel()).view_as(whole)
        (y.float() * distributed.own_part(weights)).pow(2).sum().backward()
        left[f"y{step}"], left[f"gradient{step}"] = y.detach(), x.grad
    left["weight"], left["bias"] = norm[0].weight.grad, norm[0].bias.grad
    left["state"] = dict(norm.state_dict())
    norm = SynchronizeBatchNorm().revert(norm)
    assert type(norm[0]) is kind
    left["evaluated"] = norm.eval()(x).detach()
    return left


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ranks", "case", "momentum", "bfloat16"),
    [
        (2, "1d", 0.1, False),
        (3, "2d", 0.1, False),
        (2, "sequence", None, False),
        (2, "far from 0", 0.1, False),
        (2, "2d", 0.1, True),
    ],
)
def test_it_equals_one_process(ranks: int, case: str, momentum: float | None, bfloat16: bool, tmp_path: Path) -> None:
    one = outcome(case, momentum, bfloat16)
    several = run_in_group(outcome, ranks, tmp_path, case, momentum, bfloat16)
    near = {"atol": 0.1, "rtol": 0.02} if bfloat16 else {"atol": 2e-4, "rtol": 1e-4}
    for name in [name for name in one if name.startswith(("y", "gradient", "evaluated"))]:
        torch.testing.assert_close(torch.cat([each[name] for each in several]), one[name], **near)
    for name in ("weight", "bias"):
        torch.testing.assert_close(sum(each[name] for each in several), one[name], **near)
    for each in several:
        assert each["state"].keys() == one["state"].keys()
        for name, tensor in each["state"].items():
            assert torch.equal(tensor, several[0]["state"][name])
            torch.testing.assert_close(tensor, one["state"][name], atol=1e-5, rtol=1e-3 if bfloat16 else 1e-5)


def dropped(steps: int) -> torch.Tensor:
    dropout = Dropout(0.5, seed=3)
    return torch.stack([dropout(distributed.own_part(torch.ones(6, 4))) for _ in range(steps)])


@pytest.mark.slow
def test_dropout_of_two_processes_drops_what_one_drops(tmp_path: Path) -> None:
    assert torch.equal(torch.cat(run_in_group(dropped, 2, tmp_path, 4), 1), dropped(4))
