"""A share of the training labels is wrong, by the seed of the run; validation and test labels never are."""

import pytest
import torch
from conftest import QUICK, compose, quick_run
from hypothesis import given, settings
from hypothesis import strategies as st

from siamese_lab import samplers
from siamese_lab.batch import AllTriplets, NoTriplets, Selection, Triplets
from siamese_lab.data import build
from siamese_lab.data.label_noise import NoisyTable, wrong_labels
from siamese_lab.errors import UserError
from siamese_lab.runs import results
from siamese_lab.samplers.statistics import describe_wrong_labels


def digits(**options):
    return build("digits", classes_per_batch=6, **options)


@settings(max_examples=60, deadline=None)
@given(images=st.integers(2, 300), classes=st.integers(2, 20), share=st.floats(0, 0.99), seed=st.integers(-5, 2**40))
def test_exactly_the_share_is_wrong_and_the_seed_decides(images, classes, share, seed):
    labels_N = torch.arange(images) % classes
    noisy_N = wrong_labels(labels_N, classes, share, seed)
    assert int((noisy_N != labels_N).sum()) == round(share * images)
    assert noisy_N.min() >= 0
    assert noisy_N.max() < classes
    assert torch.equal(noisy_N, wrong_labels(labels_N, classes, share, seed))
    assert torch.equal(labels_N, torch.arange(images) % classes), "the labels passed stay as they are"


def test_every_wrong_class_is_equally_frequent():
    labels_N = torch.arange(40_000) % 5
    noisy_N = wrong_labels(labels_N, 5, 0.4, seed=0)
    count_CC = torch.zeros(5, 5).index_put((labels_N, noisy_N), torch.ones(()), accumulate=True)
    assert (count_CC.diagonal() / 8000 - 0.6).abs().max() < 0.03
    others = count_CC[~torch.eye(5).bool()] / 8000
    assert (others - 0.1).abs().max() < 0.02


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UserError, match=r"data\.label_noise must be at least 0 and below 1, but is"):
        build("digits", label_noise=share)


def test_only_the_training_labels_change():
    clean, noisy, other = (digits(label_noise=share, seed=seed).splits for share, seed in ((0, 3), (0.2, 3), (0.2, 4)))
    changed_N = noisy.train.labels_N != clean.train.labels_N
    assert int(changed_N.sum()) == round(0.2 * len(clean.train))
    assert torch.equal(noisy.train.true_labels_N, clean.train.labels_N)
    assert not torch.equal(noisy.train.labels_N, other.train.labels_N)
    for part in ("validation", "test"):
        assert torch.equal(getattr(noisy, part).labels_N, getattr(clean, part).labels_N)
        assert torch.equal(getattr(noisy, part).images_NCHW, getattr(clean, part).images_NCHW)


def test_batches_have_the_wrong_labels_their_images_and_the_true_labels():
    datamodule = digits(label_noise=0.3, seed=1, images_per_class=8)
    clean = digits(seed=1).splits.train
    table = datamodule.splits.train
    true_of = {
        image.numpy().tobytes(): int(label) for image, label in zip(clean.images_NCHW, clean.labels_N, strict=True)
    }
    wrong = 0
    for batch in list(datamodule.batches)[:5]:
        assert sorted(batch.labels_B.tolist()) == sorted([*range(6)] * 8), "P×K by the labels that the run gets"
        assert batch.true_labels_B.tolist() == [true_of[image.numpy().tobytes()] for image in batch.images_BCHW]
        wrong += int((batch.true_labels_B != batch.labels_B).sum())
    assert 0.2 < wrong / (5 * 48) < 0.4
    assert datamodule.noise_record() == {"share": 0.3, "images": len(table), "changed": round(0.3 * len(table))}
    assert next(iter(digits().batches)).true_labels_B is None
    assert digits().noise_record() is None


def test_a_class_that_keeps_too_few_images_is_left_out():
    table = digits().splits.train
    few = table.classes([0, 1]).rows(torch.arange(12))
    noisy = NoisyTable(few, torch.arange(12), torch.tensor([0] * 11 + [1]), few.class_names)
    kept = noisy.classes([0])
    assert kept.class_names == ("0",)
    assert kept.labels_N.tolist() == [0] * 11
    assert torch.equal(kept.true_labels_N, few.labels_N[:11])
    ((_, images_BCHW),) = kept.fetch([(None, torch.tensor([10, 3]))])
    assert torch.equal(images_BCHW, few.images_NCHW[[10, 3]])
    assert noisy.recorded(0.5)["changed"] == int((few.labels_N != noisy.labels_N).sum())


@pytest.mark.parametrize("strategy", ["random", "all", "memory"])
def test_the_share_of_mislabeled_negatives_agrees_with_the_loops(strategy):
    generator = torch.Generator().manual_seed(0)
    z_BD = torch.nn.functional.normalize(torch.randn(16, 4, generator=generator), dim=1)
    labels_B, true_B = torch.arange(4).repeat_interleave(4), torch.randint(4, (16,), generator=generator) + 7
    sampler = samplers.build(strategy)
    for _ in range(2):  # the second batch has remembered negatives
        selection = sampler.mine(z_BD, labels_B)
    found = describe_wrong_labels(selection, labels_B, true_B)["mislabeled_negatives"]
    labels, true = labels_B.tolist(), true_B.tolist()
    if isinstance(selection.triplets, AllTriplets):
        pairs = [(a, n) for a in range(16) for n in range(16) if labels[a] != labels[n]]
    else:
        anchor_T, _, negative_TM = selection.triplets
        pairs = [(a, n) for a, row in zip(anchor_T.tolist(), negative_TM.tolist(), strict=True) for n in row if n < 16]
    assert float(found) == pytest.approx(sum(true[a] == true[n] for a, n in pairs) / len(pairs))
    assert float(describe_wrong_labels(selection, labels_B, labels_B)["mislabeled_negatives"]) == 0


def test_no_selection_has_no_mislabeled_negatives_and_no_known_negative_gives_0():
    labels_B, z_BD = torch.tensor([0, 0, 1]), torch.eye(3)
    assert describe_wrong_labels(Selection(NoTriplets(), z_BD), labels_B, labels_B) == {}
    remembered = Selection(Triplets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[3]])), torch.eye(4)[:, :3])
    assert float(describe_wrong_labels(remembered, labels_B, labels_B)["mislabeled_negatives"]) == 0


@pytest.mark.slow
def test_a_run_records_its_wrong_labels(tmp_path):
    left = quick_run(tmp_path / "noisy", "data.label_noise=0.2", "sampler=hard")
    read = results.read_results(tmp_path / "noisy")
    images = left.classes["train"]["images"]
    assert read.label_noise == {"share": 0.2, "images": images, "changed": round(0.2 * images)}
    assert 0 < left.history[-1].train["mislabeled_negatives"] < 1
    clean = quick_run(tmp_path / "clean", "sampler=hard")
    assert clean.label_noise is None
    assert "mislabeled_negatives" not in clean.history[-1].train
    assert compose(*QUICK).data.label_noise == 0
