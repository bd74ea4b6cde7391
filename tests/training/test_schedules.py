"""Learning rates over a run equal torch's own schedules, joined by hand here, for all groups of the optimizer."""

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR

from siamese_lab.training import schedules

STEPS, LR = 40, 0.5


def optimizer(*rates):
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates])


def rates_of(schedule, of, steps=STEPS):
    rates = []
    for _ in range(steps):
        rates.append([group["lr"] for group in of.param_groups])
        of.step()
        schedule.step()
    return rates


def torchs(after, warm):
    """Return the rates of a warm-up of `warm` steps, then of `after`, with torch's classes."""
    of = optimizer(LR)
    before = LinearLR(of, 1 / (warm + 1), 1.0, warm)
    return rates_of(SequentialLR(of, [before, after(of)], [warm]), of)


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("constant", lambda of: ConstantLR(of, 1.0)),
        ("cosine", lambda of: CosineAnnealingLR(of, STEPS - 10)),
        ("step", lambda of: MultiStepLR(of, [20 - 10, 30 - 10], 0.1)),
    ],
)
def test_warmup_and_schedule_equal_torchs(name, after):
    of = optimizer(LR)
    rates = rates_of(getattr(schedules, name)(of, STEPS, warmup_fraction=0.25), of)
    assert rates == [[pytest.approx(rate)] for (rate,) in torchs(after, 10)]
    assert max(rates) == [LR]


def test_without_warmup_cosine_equals_torchs():
    ours, theirs = optimizer(LR), optimizer(LR)
    expected = rates_of(CosineAnnealingLR(theirs, STEPS), theirs)
    assert rates_of(schedules.cosine(ours, STEPS), ours) == [pytest.approx(rate) for rate in expected]
    assert ours.param_groups[0]["lr"] == pytest.approx(0), "the last step should reduce it to 0"


def test_every_group_keeps_its_own_rate():
    of = optimizer(LR, LR / 50)
    assert all(one == pytest.approx(50 * other) for one, other in rates_of(schedules.cosine(of, STEPS, 0.1), of))


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_a_resumed_schedule_continues(name):
    make = getattr(schedules, name)
    whole, parts = optimizer(LR), optimizer(LR)
    expected = rates_of(make(whole, STEPS, 0.2), whole)
    schedule = make(parts, STEPS, 0.2)
    before = rates_of(schedule, parts, 13)
    resumed = optimizer(LR)
    again = make(resumed, STEPS, 0.2)
    again.load_state_dict(schedule.state_dict())
    resumed.load_state_dict(parts.state_dict())
    assert before + rates_of(again, resumed, STEPS - 13) == expected


@pytest.mark.parametrize("warmup_fraction", [0.0, 0.05, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
def test_runs_of_a_few_steps_learn_in_each_step(name, steps, warmup_fraction):
    of = optimizer(LR)
    rates = rates_of(getattr(schedules, name)(of, steps, warmup_fraction), of, steps)
    assert all(0 < rate <= LR for (rate,) in rates)


def test_fractions_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"schedule\.warmup_fraction.*below 1.*1\.5"):
        schedules.cosine(optimizer(LR), STEPS, warmup_fraction=1.5)
    with pytest.raises(ValueError, match=r"schedule\.milestones.*below 1.*\[0\.5, 30\]"):
        schedules.step(optimizer(LR), STEPS, milestones=[0.5, 30])
