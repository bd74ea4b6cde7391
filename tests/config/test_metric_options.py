"""The K's of Recall@K are ascending whole numbers with 1, and anything else is refused in one sentence."""

import re

import pytest
from conftest import compose

from siamese_lab.config.metric_options import MOST_KS, check_ks
from siamese_lab.errors import UserError


@pytest.mark.parametrize("ks", [None, [1], [1, 10, 100, 1000], (1, 5)])
def test_null_and_ascending_numbers_from_1_are_accepted(ks: object) -> None:
    check_ks(ks)


@pytest.mark.parametrize(
    "ks", [[], [2, 4], [1, 1], [1, 4, 2], [0, 1], [-1], [1, 2.5], [True], "1", 1, {}, [*range(1, MOST_KS + 2)], [[1]]]
)
def test_everything_else_is_refused(ks: object) -> None:
    with pytest.raises(UserError, match=rf"metrics\.k must be null.*begin with 1.*{re.escape(str(ks))[:40]}.*Recall@1"):
        check_ks(ks)


@pytest.mark.parametrize("value", ["[2,4]", "[1,1]", "[]", "[1,8,4]", "5", "[1,a]", "{a: 1}", "true"])
def test_a_wrong_option_is_refused_before_anything_is_built(value: str) -> None:
    with pytest.raises(UserError, match=r"metrics\.k must be"):
        compose(f"metrics.k={value}")
