"""Validation and test cost at most 15% of the training of the embedded recipes. Run alone: other load adds noise."""

import pytest
import torch

from siamese_lab.config.schema import compose
from tests.benchmarks.evaluation_share import KINDS, measure, share

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize(("data", "kind"), [("digits", "recipe"), ("glyphs", "recipe"), ("glyphs", "study")])
def test_validation_and_test_take_at_most_15_percent_of_the_training(data: str, kind: str) -> None:
    config = compose(f"data={data}", "trainer.accelerator=cpu", *KINDS[kind])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        costs, plan = measure(config, repeats=3)
    finally:
        torch.set_num_threads(before)
    of_run = share(costs, config.trainer.max_steps, plan)
    assert of_run.total < 0.15, of_run
