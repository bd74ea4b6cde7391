"""The threshold is the best one on its pairs, has error rates on other pairs, and is stored in the run folder."""

import json
from pathlib import Path

import pytest
import torch

import siamese_lab as sl
from siamese_lab.inference import threshold as thresholds
from siamese_lab.metrics.pairs import sampled_pairs


def test_it_is_the_best_of_half_of_the_pairs_and_its_rates_are_those_of_the_others(own_run: Path) -> None:
    network = sl.load(own_run)
    table = network.datamodule.splits.validation
    z_ND = network.embed(table.images_NCHW).double()
    size_C = table.labels_N.bincount()
    of_one = int((size_C * (size_C - 1) // 2).sum())
    pairs = sampled_pairs(table.labels_N, 2 * min(thresholds.NUM_PAIRS // 2, of_one), seed=0)
    d_M = (z_ND[pairs.left_N] - z_ND[pairs.right_N]).norm(dim=1)
    chosen, measured = slice(0, None, 2), slice(1, None, 2)

    def right(part: slice, threshold: float) -> int:
        return int(((d_M[part] <= threshold) == pairs.same_N[part]).sum())

    found = network.threshold
    best = max(right(chosen, float(candidate)) for candidate in d_M[chosen])
    assert abs(right(chosen, found.threshold) - best) <= 1  # distances are rounded
    same_M, accepted_M = pairs.same_N[measured], d_M[measured] <= found.threshold
    assert found.far == pytest.approx(float(accepted_M[~same_M].double().mean()), abs=1e-3)
    assert found.frr == pytest.approx(float((~accepted_M[same_M]).double().mean()), abs=1e-3)
    assert found.accuracy == pytest.approx(right(measured, found.threshold) / len(same_M), abs=1e-3)
    assert (found.positives, found.negatives) == (int(same_M.sum()), int((~same_M).sum()))
    assert found.chosen_pairs + found.positives + found.negatives == len(pairs.same_N)
    assert found.step == 6


def test_it_says_whether_the_network_knew_the_classes(own_run: Path) -> None:
    network = sl.load(own_run)
    assert network.threshold.chosen_on == "pairs of validation images of Digits (classes seen in training)"
    validation = network.datamodule.splits.validation
    others = type(validation)(validation.images_NCHW, validation.labels_N, tuple("abcdef"))
    network.datamodule.splits = network.datamodule.splits._replace(validation=others)
    assert thresholds.describe_pairs(network.datamodule) == "pairs of validation images of Digits"


def test_test_images_have_no_part_in_it(own_run: Path) -> None:
    network = sl.load(own_run)
    test = network.datamodule.splits.test
    blank = type(test)(torch.zeros_like(test.images_NCHW), test.labels_N, test.class_names)
    network.datamodule.splits = network.datamodule.splits._replace(test=blank)
    assert network.threshold == sl.load(own_run).threshold


def test_it_is_kept_beside_the_run_and_taken_from_there(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = sl.load(own_run).threshold
    stored = json.loads((own_run / "threshold.json").read_text())
    assert (stored["threshold"], stored["far"]) == (chosen.threshold, chosen.far)
    monkeypatch.setattr(thresholds, "choose_threshold", None)
    assert sl.load(own_run).threshold == chosen
    assert not list(own_run.glob("*.draft"))


def test_other_weights_have_another(own_run: Path) -> None:
    network = sl.load(own_run / "checkpoints/best.ckpt")
    first = network.threshold
    assert {path.name for path in own_run.rglob("*threshold.json")} == {"best.threshold.json"}
    with torch.no_grad():
        network.network.embed.weight.mul_(-1)
    del network.threshold
    assert network.threshold.weights != first.weights


@pytest.mark.parametrize("content", ["{", "{}", '{"schema_version": 2}', '{"schema_version": 1, "foo": 1}', "[]"])
def test_a_damaged_one_is_named(own_run: Path, content: str) -> None:
    (own_run / "threshold.json").write_text(content)
    with pytest.raises(ValueError, match=r"threshold.json is damaged, or another version .* Delete the file"):
        _ = sl.load(own_run).threshold


def test_images_that_make_no_pairs_give_none(own_run: Path) -> None:
    network = sl.load(own_run)
    splits = network.datamodule.splits
    network.datamodule.splits = splits._replace(validation=splits.validation.classes([0]))
    with pytest.raises(ValueError, match=r"at least 2 pairs of one class .*Digits give fewer\. Set threshold=0.8"):
        _ = network.threshold


def test_a_folder_that_cannot_be_written_costs_only_the_next_time(own_run: Path, monkeypatch, capsys) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(thresholds, "write_threshold", refuse)
    assert 0 < sl.load(own_run).threshold.threshold < 2
    assert "could not be stored in" in capsys.readouterr().err
