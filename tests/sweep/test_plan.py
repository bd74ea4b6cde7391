"""The runs of a sweep are planned as Hydra's own sweeper starts them."""

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # the oracle; Hydra has no public API for it
from hydra.core.override_parser.overrides_parser import OverridesParser

from siamese_lab.errors import UserError
from siamese_lab.sweep.plan import combinations

COMMAND_LINES = [
    [],
    ["seed=1"],
    ["seed=range(0,3)", "sampler=hard,random", "optimizer.lr=0.1"],
    ["seed=0,1", "sampler=hard", "seed=5"],
    ["sampler=hard", "seed=2,3", "sampler=random,hard"],
    ["+a.b='x,y','z'", "~logger", "loss.margin=choice(0.1,0.2)", "c=[1,2]", "d=null"],
]


@pytest.mark.parametrize("line", COMMAND_LINES, ids=" ".join)
def test_the_combinations_equal_those_of_hydras_sweeper(line: list[str]) -> None:
    overrides = OverridesParser.create().parse_overrides(line)
    (expected,) = BasicSweeper.split_arguments(overrides, None)
    assert combinations(overrides) == expected


def test_an_interval_is_refused() -> None:
    overrides = OverridesParser.create().parse_overrides(["optimizer.lr=interval(0.1,0.2)"])
    with pytest.raises(UserError, match=r"optimizer\.lr=interval\(0\.1,0\.2\).*optimizer\.lr=0\.1,0\.2"):
        combinations(overrides)
