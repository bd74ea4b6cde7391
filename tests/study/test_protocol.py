"""The report lists fixed options and options of strategies, and names differences that make a comparison unfair."""

import copy
import json

from synthetic import run, study, written

from siamese_lab.study import runs
from siamese_lab.study.analysis import analyze
from siamese_lab.study.conclusions import caveats
from siamese_lab.study.page import describe_comparison
from siamese_lab.study.protocol import protocol
from siamese_lab.study.tables import tabulate
from siamese_lab.sweep.resume_state import check_same


def changed(each, group, **options):
    each = copy.deepcopy(each)
    each.choices[group] |= options
    return each


def reserved(folder):
    return " ".join(caveats(analyze(runs.read_study(folder), [0.5])))


def test_a_fair_study_has_no_differences(tmp_path):
    found = protocol(runs.read_study(study(tmp_path, seeds=2)))
    assert found.differing == []
    assert found.fixed["loss.margin"]["Omniglot"] == "0.2"
    assert found.fixed["optimizer.name"]["Omniglot"] == "adamw"
    assert found.fixed["data.view"] == {"LFW, View 1": "1"}
    assert found.of_strategies["Omniglot", "hard"] == {"sampler.num_negatives": "1"}
    assert not {name for name in found.fixed if name.startswith(("paths", "seed", "data.root"))}
    assert reserved(tmp_path) == ""


def test_options_of_a_strategy_are_its_own(tmp_path):
    written(tmp_path, run(), changed(run(strategy="semi_hard"), "sampler", choice="nearest", num_negatives=4))
    found = protocol(runs.read_study(tmp_path))
    assert found.differing == []
    assert found.of_strategies["Omniglot", "semi_hard"] == {"sampler.num_negatives": "4", "sampler.choice": "nearest"}
    assert found.of_strategies["Omniglot", "random"] == {"sampler.num_negatives": "1"}


def test_other_differences_are_named_with_their_runs(tmp_path):
    written(tmp_path, run(), changed(run(strategy="hard"), "optimizer", lr=0.01), run(strategy="hard", seed=1))
    (differing,) = protocol(runs.read_study(tmp_path)).differing
    assert (differing.data, differing.option) == ("Omniglot", "optimizer.lr")
    assert differing.folders == {
        "0.01": ["omniglot/hard/seed=0"],
        "0.003": ["omniglot/hard/seed=1", "omniglot/random/seed=0"],
    }
    expected = (
        "On Omniglot more than the strategy differs: optimizer.lr is 0.01 in omniglot/hard/seed=0; 0.003 in omniglot/h"
    )
    assert expected in reserved(tmp_path)


def test_options_that_differ_between_seeds_are_no_options_of_the_strategy(tmp_path):
    written(tmp_path, run(strategy="hard"), changed(run(strategy="hard", seed=1), "sampler", num_negatives=2), run())
    assert [each.option for each in protocol(runs.read_study(tmp_path)).differing] == ["sampler.num_negatives"]


def test_a_class_split_of_each_seed_is_no_unfair_difference(tmp_path):
    of_seeds = [  # seed 0 has split 0, the value of runs without the option
        changed(run(strategy=strategy, seed=seed), "data", split=seed)
        for strategy in ("random", "hard")
        for seed in (0, 1)
    ]
    written(tmp_path, *of_seeds)
    found = protocol(runs.read_study(tmp_path))
    assert found.differing == []
    assert found.fixed["data.split"] == {"Omniglot": "by seed: 0, 1"}


def test_class_splits_that_differ_within_a_seed_are_a_difference(tmp_path):
    written(tmp_path, changed(run(), "data", split=1), changed(run(strategy="hard"), "data", split=2))
    assert [each.option for each in protocol(runs.read_study(tmp_path)).differing] == ["data.split"]


def test_data_sets_may_have_different_options(tmp_path):
    written(tmp_path, run(), changed(run("digits"), "optimizer", lr=0.01))
    assert protocol(runs.read_study(tmp_path)).differing == []


def test_images_and_precision_belong_to_the_protocol(tmp_path):
    written(
        tmp_path,
        run("lfw", images={"alignment": "funneled"}),
        run("lfw", "hard", images={"alignment": "deepfunneled"}, hardware={"precision": "32-true"}),
    )
    options = [each.option for each in protocol(runs.read_study(tmp_path)).differing]
    assert options == ["images.alignment", "hardware.precision"]


def test_a_tuned_study_describes_the_tuned_options_of_each_strategy(tmp_path):
    for strategy, lr in (("random", 0.003), ("hard", 0.001)):
        for seed in (0, 1):
            each = changed(run(strategy=strategy, seed=seed), "optimizer", lr=lr)
            each.choices["tuned"] = {"trials": 20, "steps": 100, "options": {"optimizer.lr": lr}}
            written(tmp_path, each)
    found = analyze(runs.read_study(tmp_path), [0.5])
    assert found.protocol.differing == []
    assert found.protocol.of_strategies["Omniglot", "hard"]["optimizer.lr"] == "0.001"
    assert describe_comparison(found).startswith("Tuned options: ")
    assert "the same tuning budget (Omniglot: 20 trials of 100 steps)" in describe_comparison(found)
    assert "tuned" not in found.protocol.fixed
    written(tmp_path, run(strategy="semi_hard"))
    mixed = analyze(runs.read_study(tmp_path), [0.5])
    assert describe_comparison(mixed).startswith("Some runs use tuned options")
    assert "does not compare strategies" in " ".join(caveats(mixed))


def test_tuning_by_unequal_budgets_gives_a_caveat(tmp_path):
    for strategy, trials in (("random", 20), ("hard", 30)):
        each = run(strategy=strategy)
        each.choices["tuned"] = {"trials": trials, "steps": 100, "options": {}}
        written(tmp_path, each)
    assert "different budgets" in describe_comparison(analyze(runs.read_study(tmp_path), [0.5]))
    assert "budgets on Omniglot differ (20 trials of 100 steps and 30 trials of 100 steps)" in reserved(tmp_path)


def test_data_sets_may_have_different_tuning_budgets(tmp_path):
    for data, steps in (("digits", 100), ("omniglot", 500)):
        each = run(data)
        each.choices["tuned"] = {"trials": 20, "steps": steps, "options": {}}
        written(tmp_path, each)
    assert "(Digits: 20 trials of 100 steps; Omniglot: 20 trials of 500 steps)" in describe_comparison(
        analyze(runs.read_study(tmp_path), [0.5])
    )
    assert reserved(tmp_path) == ""


def test_other_code_other_machines_and_uncommitted_changes_give_caveats(tmp_path):
    written(
        tmp_path,
        run(),
        run(strategy="hard", commit="b" * 40 + "-dirty", hardware={"device": "Another", "precision": "bf16-mixed"}),
    )
    found = reserved(tmp_path)
    assert "2 versions of the code" in found
    assert "1 runs used code with uncommitted changes" in found
    assert "their seconds cannot be compared" in found


def test_several_processes_count_as_another_machine(tmp_path):
    hardware = {"device": "A processor", "precision": "bf16-mixed", "cores": 2, "threads": 1}
    written(tmp_path, run(hardware=hardware), run(seed=1, hardware=hardware | {"processes": 1}))
    assert reserved(tmp_path) == ""
    written(tmp_path, run(seed=2, hardware=hardware | {"processes": 2}))
    assert "their seconds cannot be compared" in reserved(tmp_path)


OPTIMIZERS = [
    {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.003},
    {"_target_": "torch.optim.adamw.AdamW", "_partial_": True, "lr": 0.003},
    {"name": "adamw", "lr": 0.003},
]
SCHEDULES = [
    {"_target_": "siamese_lab.schedules.cosine", "_partial_": True, "steps": 1000},
    {"_target_": "siamese_lab.training.schedules.cosine", "_partial_": True, "steps": 1000},
    {"name": "cosine", "steps": 1000},
]


def test_runs_that_differ_only_in_the_module_of_a_class_are_comparable(tmp_path):
    """Such runs are equal in a study, and in the check whether a folder holds the requested run."""
    for seed, (optimizer, schedule) in enumerate(zip(OPTIMIZERS, SCHEDULES, strict=True)):
        each = run(seed=seed)
        each.choices |= {"optimizer": optimizer, "schedule": schedule}
        written(tmp_path, each)
    study = runs.read_study(tmp_path)
    assert len(study.runs) == 3
    assert protocol(study).differing == []
    first, second, third = (each.results.choices for each in study.runs)
    for other in (second, third):
        check_same(tmp_path, first, {**other, "seed": 0})
    stored = json.loads((tmp_path / study.runs[0].folder / "results.json").read_text(encoding="utf-8"))
    check_same(tmp_path, stored["choices"], {**third, "seed": 0})


def test_runs_with_another_class_differ(tmp_path):
    written(tmp_path, run(), run(strategy="hard"))
    place = tmp_path / "omniglot/hard/seed=0/results.json"
    place.write_text(place.read_text(encoding="utf-8").replace("torch.optim.AdamW", "torch.optim.Adam"))
    (differing,) = protocol(runs.read_study(tmp_path)).differing
    assert (differing.option, set(differing.folders)) == ("optimizer.name", {"adamw", "adam"})


def test_runs_with_different_ks_are_reported_with_a_caveat(tmp_path):
    """The tables of a K take the runs that measured it."""
    same, other = run(seed=0), run(seed=1)
    other.test = {"recall@1": 0.7, "recall@10": 0.9, "recall@1000": None, "map@r": 0.4}
    assert "different K's" not in reserved(written(tmp_path / "same", same, run(seed=1)))
    folder = written(tmp_path / "mixed", same, other)
    assert "different K's of Recall@K (metrics.k)" in reserved(folder)
    analysis = analyze(runs.read_study(folder), [0.5])
    assert {name: int(values.notna().sum().sum()) for name, values in analysis.values.items() if "recall" in name} == {
        "recall@1": 2,
        "recall@10": 1,
        "recall@2": 1,
        "recall@4": 1,
        "recall@8": 1,
    }
    tables = tabulate(analysis)
    assert {"recall_at_1", "recall_at_2", "recall_at_10"} <= {each.name for each in tables.every()}
