"""Run the benchmark of the recipes' steps for an embedded data set, with bounds that hold on every machine."""

import sys

import pytest

from tests.benchmarks.recipe_steps import ROOT, measure

pytestmark = pytest.mark.benchmark


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc keeps large blocks on Linux only")
def test_a_step_of_glyphs_returns_no_memory_to_the_system():
    step = measure(ROOT, "glyphs", threads=1, options=["metrics.floors=false"])
    assert step.faults < 5000
    assert 0.005 < step.seconds < 10
    assert 2e8 < step.peak_bytes < 2e9
