"""Repeated cells are compared with the cells of the study, and their spread with the noise of seeds."""

import zlib

import numpy as np
import processors
import pytest
from project import ROOT
from synthetic import run, written

from siamese_lab.study.runs import read_study

STRATEGIES = ("random", "hard")


def filled(folder, noise, shift=0.0, device="one", seeds=10):
    """Write seeds of two strategies; the noise of a run depends on the folder."""
    draws = np.random.default_rng(zlib.crc32(folder.name.encode()))
    for strategy in STRATEGIES:
        for seed in range(seeds):
            recall = 0.6 + 0.01 * seed + draws.normal(0, noise) + shift
            written(folder, run("omniglot", strategy, seed, recall=recall, hardware={"device": device}))
    return folder


def test_equal_cells_differ_by_nothing(tmp_path):
    study = read_study(filled(tmp_path / "a", 0.004))
    found = processors.compared(study, study)
    assert found["cells"].tolist() == [10, 10, 20]
    assert found["difference"].tolist() == ["+0.00 ± 0.00"] * 3
    assert found["spread of cells"].tolist() == [0, 0, 0]


def test_independent_noise_has_the_spread_of_seeds_and_a_shift_is_seen(tmp_path):
    study = read_study(filled(tmp_path / "a", 0.004, seeds=40))
    repeated = read_study(filled(tmp_path / "b", 0.004, shift=0.02, seeds=40))
    total = processors.compared(study, repeated).iloc[-1]
    assert float(total["difference"].split(" ")[0]) == pytest.approx(2, abs=0.2)
    assert total["spread of cells"] == pytest.approx(np.sqrt(2) * 0.4, rel=0.25)
    assert total["spread of seeds"] == pytest.approx(np.sqrt(2) * 0.4, rel=0.25)


def test_a_cell_that_the_study_lacks_is_left_out_and_one_strategy_has_no_spread_of_seeds(tmp_path):
    study = filled(tmp_path / "a", 0.004)
    repeated = written(filled(tmp_path / "b", 0.004), *(run("lfw", "hard", seed) for seed in range(3)))
    found = processors.compared(read_study(study), read_study(repeated))
    assert found["data"].tolist() == ["Omniglot", "Omniglot", "all"]
    alone = written(tmp_path / "c", *(run(seed=seed) for seed in range(3)))
    assert processors.compared(read_study(alone), read_study(repeated))["spread of seeds"].isna().all()


def test_the_script_names_the_processors(tmp_path, capsys):
    filled(tmp_path / "a", 0.004, device="Xeon")
    filled(tmp_path / "b", 0.004, device="EPYC")
    processors.main([str(tmp_path / "a"), str(tmp_path / "b")])
    first, header, *rows = capsys.readouterr().out.splitlines()
    assert first == "study: Xeon; repeated: EPYC"
    assert header.split()[:3] == ["data", "strategy", "cells"]
    assert [each.split()[0] for each in rows] == ["Omniglot", "Omniglot", "all"]


@pytest.mark.slow
def test_the_readme_of_the_study_gives_the_figures_of_the_shipped_runs():
    if not (ROOT / "outputs/study").exists():
        pytest.skip("outputs/study holds no study: an sdist and a wheel leave it out")
    shipped = [read_study(ROOT / "outputs" / name) for name in ("study", "other_processor")]
    total = processors.compared(processors.of_the_same_data(*shipped), shipped[1]).iloc[-1]
    text = " ".join((ROOT / "outputs/study/README.md").read_text(encoding="utf-8").split())
    assert f"{total['difference'].replace('-', '−')} points" in text
    assert f"{total['spread of cells']} points" in text
    assert f"{total['spread of seeds']} points" in text


def test_a_wrong_call_says_how_to_call_it():
    with pytest.raises(SystemExit, match=r"usage: python tests/study/processors\.py"):
        processors.main([])
