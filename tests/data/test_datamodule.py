"""The data module works under Lightning: complete epochs, bit-exact resumption, augmentation in training only."""

import re

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from siamese_lab.batch import Batch
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.datamodule import DataModule, Splits
from siamese_lab.data.sequential_batches import SequentialBatches
from siamese_lab.data.tables.image_table import ImageTable

BATCHES = 3
"""Batches per epoch of the data below: 18 images in batches of 3 × 2."""


def numbered(classes, per_class, first=0):
    count = classes * per_class
    images_NCHW = torch.arange(first, first + count, dtype=torch.uint8).reshape(-1, 1, 1, 1).repeat(1, 1, 4, 4)
    return ImageTable(images_NCHW, torch.arange(count) // per_class, tuple(map(str, range(classes))))


class Numbers(DataModule):
    channels = 1
    image_size = 4

    def load(self):
        return Splits(numbered(6, 3), numbered(2, 2, 50), numbered(2, 2, 100))


class Recorder(lightning.LightningModule):
    """Records the input of each step."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []
        self.evaluated = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, batch.images_BCHW.tolist(), batch.labels_B.tolist()))
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.evaluated.append(batch.images_BCHW)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def fit(folder, resume_from=None, every=None, augment=None, **trainer_options):
    model = Recorder()
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, "{epoch}-{step}", save_top_k=-1, **(every or {}))],
        num_sanity_val_steps=0,
        **trainer_options,
    )
    data = Numbers(classes_per_batch=3, images_per_class=2, augment=augment)
    trainer.fit(model, data, ckpt_path=resume_from, weights_only=False)
    return model


@pytest.mark.parametrize("limit", [{"max_epochs": 4}, {"max_steps": 4 * BATCHES, "max_epochs": -1}])
def test_every_epoch_is_complete(tmp_path, limit):
    steps = [(epoch, index) for epoch, index, *_ in fit(tmp_path, **limit).seen]
    assert steps == [(epoch, index) for epoch in range(4) for index in range(BATCHES)]


def test_every_epoch_has_the_limited_length(tmp_path):
    steps = [(epoch, index) for epoch, index, *_ in fit(tmp_path, max_epochs=4, limit_train_batches=2).seen]
    assert steps == [(epoch, index) for epoch in range(4) for index in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("every", [{"every_n_train_steps": 1}, {"every_n_epochs": 1}], ids=["steps", "epochs"])
@pytest.mark.parametrize(
    "limit", [{"max_epochs": 3}, {"max_steps": 3 * BATCHES, "max_epochs": -1}], ids=["max_epochs", "max_steps"]
)
def test_training_resumed_anywhere_sees_the_same_images(tmp_path, limit, every):
    options = {**limit, "augment": {"translation": 0.3}}
    uninterrupted = fit(tmp_path / "all", every=every, **options).seen
    checkpoints = sorted((tmp_path / "all").iterdir())
    assert len(checkpoints) == (3 if "every_n_epochs" in every else 3 * BATCHES)
    for checkpoint in checkpoints:
        done = int(checkpoint.stem.split("step=")[1])
        resumed = fit(tmp_path / checkpoint.stem, checkpoint, every, **options).seen
        assert resumed == uninterrupted[done:], checkpoint.name


def test_only_training_images_are_augmented(tmp_path):
    model = fit(tmp_path, max_epochs=1, augment={"translation": 0.4})
    expected = to_float(numbered(2, 2, 50).images_NCHW)
    assert torch.equal(torch.cat(model.evaluated), expected)
    trained = torch.tensor([image for _, _, images, _ in model.seen for image in images])
    assert (trained.flatten(1).std(1) > 0).any(), "a shifted image has black pixels"


def test_without_augmentation_images_become_float_and_keep_their_values(tmp_path):
    for _, _, images, labels in fit(tmp_path, max_epochs=1).seen:
        for image, label in zip(images, labels, strict=True):
            value = image[0][0][0]
            assert image == [[[value] * 4] * 4]
            assert round(value * 255) // 3 == label
            assert value == pytest.approx(round(value * 255) / 255)


def test_classes_with_too_few_images_are_excluded_from_training():
    class Uneven(Numbers):
        def load(self):
            train = numbered(4, 3)
            return super().load()._replace(train=train.rows(torch.tensor([0, 1, 2, 3, 6, 7, 9, 10, 11])))

    assert Uneven(min_images_per_class=3).splits.train.class_names == ("0", "3")
    assert Uneven(min_images_per_class=2).splits.train.class_names == ("0", "2", "3")
    with pytest.raises(ValueError, match=r"such as class 1 \('1'\) with 1\. Set data\.min_images_per_class=2"):
        Uneven(classes_per_batch=2, images_per_class=2, min_images_per_class=1).setup("fit")


def test_classes_excluded_from_training_are_reported(capsys):
    class Lonely(Numbers):
        def load(self):
            return super().load()._replace(train=numbered(4, 3).rows(torch.tensor([0, 1, 2, 3, 4, 6, 9, 10, 11])))

    module = Lonely(classes_per_batch=3, images_per_class=3)
    assert module.splits.train.class_names == ("0", "1", "3"), "two images are needed"
    assert re.search(r"1 of 4 classes.*fewer than 2 images.*data\.min_images_per_class", capsys.readouterr().err)
    assert any(batch.image_ids_B is not None for batch in module.batches), "images are repeated to reach K"


def test_images_in_order_are_all_images_in_order():
    table = numbered(5, 2)
    batches = SequentialBatches(table, 4)
    assert [len(batch.labels_B) for batch in batches] == [4, 4, 2]
    assert len(batches) == 3
    assert torch.equal(torch.cat([batch.images_BCHW for batch in batches]), table.images_NCHW)
    assert torch.equal(torch.cat([batch.labels_B for batch in batches]), table.labels_N)
    assert all(isinstance(batch, Batch) for batch in batches)


def test_processes_evaluate_every_image_once():
    table = numbered(5, 3)
    parts = [SequentialBatches(table, 4, rank, 4) for rank in range(4)]
    assert torch.equal(torch.cat([batch.images_BCHW for part in parts for batch in part]), table.images_NCHW)
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]


class Gathering(Recorder):
    """Writes the batches of each process to a file.

    It trains nothing: a forked process cannot compute gradients if a test with tensors of a GPU, even fake ones, ran
    before it.
    """

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def on_train_end(self):
        torch.save((self.seen, self.evaluated), f"{self.trainer.default_root_dir}/{self.global_rank}.pt")


def test_two_processes_see_the_images_of_one(tmp_path):
    """Compare batches, augmentation and evaluation under DDP with gloo to one process."""
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "num_sanity_val_steps": 0}
    options |= {"enable_progress_bar": False, "enable_model_summary": False, "max_epochs": 2}
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        several = {"devices": 2, "strategy": "ddp_fork"} if processes == 2 else {}
        trainer = lightning.Trainer(default_root_dir=folder, **options, **several)
        trainer.fit(Gathering(), Numbers(classes_per_batch=4, images_per_class=2, augment={"translation": 0.3}))
    alone, alone_evaluated = torch.load(tmp_path / "1/0.pt")
    (first, first_evaluated), (second, second_evaluated) = (torch.load(tmp_path / f"2/{rank}.pt") for rank in (0, 1))
    together = [(*one[:2], one[2] + two[2], one[3] + two[3]) for one, two in zip(first, second, strict=True)]
    assert together == alone
    assert torch.equal(torch.cat([*first_evaluated[:1], *second_evaluated[:1]]), alone_evaluated[0])


def test_a_batch_of_no_images_is_refused():
    with pytest.raises(ValueError, match=r"data\.eval_batch_size must be at least 1, but is 0\."):
        SequentialBatches(numbered(2, 2), 0)


def test_a_misspelt_augmentation_is_refused():
    with pytest.raises(ValueError, match=r"has no option 'rotaton'\. Did you mean 'rotation'\?"):
        Numbers(augment={"rotaton": 10.0})
