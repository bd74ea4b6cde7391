"""The threshold is the best one on its pairs, has error rates on other pairs, and is stored in the run folder."""

import json
from pathlib import Path

import pytest
import torch

import siamese_lab as sl
from siamese_lab.inference import threshold as thresholds
from siamese_lab.metrics.pairs import sampled_pairs


def test_the_threshold_is_best_on_half_of_the_pairs_and_measured_on_the_others(own_run: Path) -> None:
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


def test_the_threshold_records_whether_its_classes_were_seen_in_training(own_run: Path) -> None:
    network = sl.load(own_run)
    assert network.threshold.chosen_on == "pairs of validation images of Digits (classes seen in training)"
    validation = network.datamodule.splits.validation
    others = type(validation)(validation.images_NCHW, validation.labels_N, tuple("abcdef"))
    network.datamodule.splits = network.datamodule.splits._replace(validation=others)
    assert thresholds.describe_pairs(network.datamodule) == "pairs of validation images of Digits"


def test_test_images_do_not_affect_the_threshold(own_run: Path) -> None:
    network = sl.load(own_run)
    test = network.datamodule.splits.test
    blank = type(test)(torch.zeros_like(test.images_NCHW), test.labels_N, test.class_names)
    network.datamodule.splits = network.datamodule.splits._replace(test=blank)
    assert network.threshold == sl.load(own_run).threshold


def test_the_threshold_is_stored_in_the_run_folder_and_reused(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = sl.load(own_run).threshold
    stored = json.loads((own_run / "threshold.json").read_text())
    assert (stored["threshold"], stored["far"]) == (chosen.threshold, chosen.far)
    monkeypatch.setattr(thresholds, "choose_threshold", None)
    assert sl.load(own_run).threshold == chosen
    assert not list(own_run.glob("*.draft"))


def test_other_weights_have_another_threshold(own_run: Path) -> None:
    network = sl.load(own_run / "checkpoints/best.ckpt")
    first = network.threshold
    assert {path.name for path in own_run.rglob("*threshold.json")} == {"best.threshold.json"}
    with torch.no_grad():
        network.network.embed.weight.mul_(-1)
    del network.threshold
    assert network.threshold.weights != first.weights


@pytest.mark.parametrize("content", ["{", "{}", '{"schema_version": 2}', '{"schema_version": 1, "foo": 1}', "[]"])
def test_a_damaged_threshold_file_is_named(own_run: Path, content: str) -> None:
    (own_run / "threshold.json").write_text(content)
    with pytest.raises(ValueError, match=r"threshold.json is damaged, or another version .* Delete the file"):
        _ = sl.load(own_run).threshold


def test_without_pairs_there_is_no_threshold(own_run: Path) -> None:
    network = sl.load(own_run)
    splits = network.datamodule.splits
    network.datamodule.splits = splits._replace(validation=splits.validation.classes([0]))
    with pytest.raises(ValueError, match=r"at least 2 pairs of one class .*Digits give fewer\. Set threshold=0.8"):
        _ = network.threshold


def test_a_threshold_that_cannot_be_stored_is_still_returned(own_run: Path, monkeypatch, capsys) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(thresholds, "write_threshold", refuse)
    assert 0 < sl.load(own_run).threshold.threshold < 2
    assert "could not be stored in" in capsys.readouterr().err
