"""A run writes curves, histograms, pictures, embeddings and choices into its event files for TensorBoard."""

import itertools
import math
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, compose, last_weights, quick_run
from google.protobuf import text_format
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE, EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from test_resume import interrupt_after

from siamese_lab import samplers
from siamese_lab.batch import AllTriplets, NoTriplets
from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.data import build
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import Interrupted, NonFiniteLossError
from siamese_lab.losses.pairs import selected_distances
from siamese_lab.samplers.base import registry
from siamese_lab.training.build import build_datamodule, build_module
from siamese_lab.training.callbacks import hardest_triplets
from siamese_lab.training.callbacks.embedding_projector import balanced_indices, thumbnail_sheet, thumbnails
from siamese_lab.training.callbacks.hardest_triplets import SHOWN, hardest_of, of_batch
from siamese_lab.training.callbacks.hparams import comparable_options
from siamese_lab.training.callbacks.selected import hardest_negatives, step_distances
from siamese_lab.training.callbacks.triplet_sheet import draw_triplets
from siamese_lab.training.module import SiameseModule, StepOutput
from siamese_lab.training.run import train

SHOWN_IN_BOARD = ("logger=tensorboard", "trainer.val_check_interval=3", "network.width=8", "metrics.floors=false")
SELECTING = [name for name in samplers.available() if registry.classes[name].triplet_type is not NoTriplets]
PAIRS = 6 * 8 * 7
"""Number of (anchor, positive) pairs in a batch of digits."""


def events_of(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), STORE_EVERYTHING_SIZE_GUIDANCE).Reload()


def wait_for_next_second() -> None:
    """Wait, because TensorBoard orders the event files of one folder by the second in their names."""
    time.sleep(1 - time.time() % 1)


def distance(z_CD: torch.Tensor, i: int, j: int) -> float:
    return math.dist(z_CD[i].double().tolist(), z_CD[j].double().tolist())


def stepped(sampler: str, *overrides: str) -> StepOutput:
    """Return the output of the second of two steps, as callbacks get it."""
    config = compose(f"sampler={sampler}", "data.classes_per_batch=3", "data.images_per_class=4", *overrides)
    datamodule = build_datamodule(config)
    module = build_module(config, datamodule).train()
    for batch in itertools.islice(datamodule.batches, 2):
        with torch.no_grad():
            z_BD = module.network(batch.images_BCHW.float() / 255)
        selection = module.sampler.mine(module.network.unit_vectors(z_BD), batch.labels_B, batch.image_ids_B)
        value, statistics, distances = module.loss(selection, z_BD, batch.labels_B)
        distances = distances or selected_distances(selection)
        step = StepOutput(z_BD, batch.labels_B, selection, value.detach(), statistics, distances)
    return step


def listed(step: StepOutput) -> list[tuple[int, int, int]]:
    """Return all triplets of the last step, by plain loops."""
    triplets = step.selection.triplets
    if isinstance(triplets, AllTriplets):
        labels = step.labels_B.tolist()
        places = range(len(labels))
        return [
            (a, p, n)
            for a in places
            for p in places
            for n in places
            if a != p and labels[a] == labels[p] and labels[a] != labels[n]
        ]
    return [
        (a, p, n)
        for a, p, negatives in zip(
            triplets.anchor_T.tolist(), triplets.positive_T.tolist(), triplets.negative_TM.tolist(), strict=True
        )
        for n in negatives
    ]


@pytest.mark.parametrize("strategy", SELECTING)
def test_the_distances_belong_to_the_selected_triplets(strategy: str) -> None:
    step = stepped(strategy)
    z_CD = step.selection.candidates_CD
    assert torch.equal(z_CD[: len(step.z_BD)], step.z_BD)
    d_ap, d_an = (each.flatten() for each in step_distances(step))
    pairs = [(a, p) for a, p, _ in listed(step)]
    negatives = [(a, n) for a, _, n in listed(step)]
    if strategy == "all":  # triplets are not listed, so each pair and each negative of an anchor occurs once
        pairs, negatives = list(set(pairs)), list(set(negatives))
    assert sorted(d_ap.tolist()) == pytest.approx(sorted(distance(z_CD, *pair) for pair in pairs), abs=1e-3)
    assert sorted(d_an.tolist()) == pytest.approx(sorted(distance(z_CD, *pair) for pair in negatives), abs=1e-3)


def test_embeddings_of_any_length_are_compared_by_direction() -> None:
    step = stepped("hard", "loss=n_pair", "loss.l2_penalty=0.001", "network.normalize=false")
    assert not torch.allclose(step.z_BD.norm(dim=1), torch.ones(()), atol=0.1)
    d_ap, d_an = (each.flatten() for each in step_distances(step))
    unit_BD = torch.nn.functional.normalize(step.z_BD, dim=1)
    assert d_ap.tolist() == pytest.approx([distance(unit_BD, a, p) for a, p, _ in listed(step)], abs=1e-3)
    assert d_an.tolist() == pytest.approx([distance(unit_BD, a, n) for a, _, n in listed(step)], abs=1e-3)


@pytest.mark.parametrize("strategy", [*SELECTING, "random sampler.num_negatives=3"])
def test_the_hardest_of_a_batch_agree_with_loops(strategy: str) -> None:
    step = stepped(*strategy.split())
    batch = len(step.labels_B)
    z_CD = step.selection.candidates_CD
    images_BCHW = torch.arange(batch).float().view(-1, 1, 1, 1)
    kept = of_batch(hardest_negatives(step), images_BCHW)

    excess = {(a, p, n): distance(z_CD, a, p) - distance(z_CD, a, n) for a, p, n in listed(step) if n < batch}
    of_anchor = [max(e for (a, _, _), e in excess.items() if a == anchor) for anchor in {a for a, _, _ in excess}]
    wanted = sorted(of_anchor, reverse=True)[:SHOWN]
    there = (kept.d_ap_K - kept.d_an_K).isfinite()
    assert (kept.d_ap_K - kept.d_an_K)[there].tolist() == pytest.approx(wanted, abs=1e-3)
    shown = [tuple(row) for row in kept.images_K3CHW[there].flatten(1).int().tolist()]
    assert len({a for a, _, _ in shown}) == len(shown) == len(wanted)
    assert [excess[row] for row in shown] == pytest.approx(wanted, abs=1e-3)
    assert kept.d_ap_K[there].tolist() == pytest.approx([distance(z_CD, a, p) for a, p, _ in shown], abs=1e-3)


def test_remembered_negatives_have_no_picture() -> None:
    step = stepped("memory", "sampler.strategy=random", "sampler.size=12")
    triplets, labels_B = step.selection.listed(), step.labels_B
    negative_TM = torch.full_like(triplets.negative_TM, 13)
    negative_TM[5] = int((labels_B != labels_B[triplets.anchor_T[5]]).int().argmax())
    selection = step.selection._replace(triplets=triplets._replace(negative_TM=negative_TM))
    step = step._replace(selection=selection, distances=selected_distances(selection))
    kept = of_batch(hardest_negatives(step), torch.zeros(12, 1, 2, 2))
    assert (kept.d_ap_K - kept.d_an_K).isfinite().tolist() == [True] + [False] * (SHOWN - 1)


def test_two_batches_give_the_hardest_of_both() -> None:
    kept, found = (of_batch(hardest_negatives(stepped(name)), torch.rand(12, 1, 2, 2)) for name in ("hard", "random"))
    both = hardest_of(kept, found)
    every = torch.cat([kept.d_ap_K - kept.d_an_K, found.d_ap_K - found.d_an_K])
    assert torch.equal(both.d_ap_K - both.d_an_K, every.sort(descending=True).values[:SHOWN])


@pytest.mark.slow
def test_a_run_writes_histograms_pictures_and_choices_with_its_curves(tmp_path: Path) -> None:
    quick_run(tmp_path, *SHOWN_IN_BOARD, "sampler=hard", "seed=3", "loss.margin=0.3")
    events = events_of(tmp_path)
    for name in ("train/d_ap", "train/d_an"):
        found = events.Histograms(name)
        assert [each.step for each in found] == [3, 6]
        assert all(each.histogram_value.num == PAIRS for each in found)
        assert all(0 <= each.histogram_value.min < each.histogram_value.max <= 2 for each in found)
    pictures = events.Images("hardest triplets")
    assert [each.step for each in pictures] == [3, 6]
    assert all(each.encoded_image_string.startswith(b"\x89PNG") for each in pictures)
    assert events.Scalars("test/recall@1")[0].step == 6

    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    values = {name: value.string_value or value.number_value for name, value in start.hparams.items()}
    assert values == {
        "data": "digits",
        "sampler": "hard",
        "loss": "triplet",
        "margin": 0.3,
        "network": "conv4",
        "optimizer": "adamw",
        "lr": 0.003,
        "steps": 6,
        "seed": 3,
    }
    assert start.group_name == "/".join(tmp_path.parts[-3:])
    content = events.summary_metadata["_hparams_/session_end_info"].plugin_data.content
    assert plugin_data_pb2.HParamsPluginData.FromString(content).session_end_info.status == 1  # success

    # Training, validation of the reported weights and test share one file, which is closed at the end.
    (file,) = tmp_path.rglob("*tfevents*")
    tags = EventAccumulator(str(file)).Reload().Tags()["scalars"]
    assert {"train/loss", "validation/recall@1", "test/recall@1"} <= set(tags)
    assert min(tags).startswith("test/")  # the HPARAMS tab sorts metrics by name
    assert (tmp_path / "hparams.yaml").is_file()


@pytest.mark.slow
def test_a_run_that_fails_closes_its_event_file(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError):
        quick_run(
            tmp_path,
            *SHOWN_IN_BOARD,
            "optimizer=sgd",
            "optimizer.lr=1e38",
            "trainer.max_steps=20",
            "trainer.log_every_n_steps=1",
        )
    (file,) = tmp_path.rglob("*tfevents*")
    assert "train/loss" in EventAccumulator(str(file)).Reload().Tags()["scalars"]


@pytest.mark.slow
def test_the_histogram_and_the_picture_show_the_steps_before_the_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 2, 4 and 6 of six are logged, and validations follow 3 and 6.

    The pictures show step 2, then 4 and 6. The histograms show step 3, then 6.
    """
    seen: list[float] = []
    ranges: list[tuple[float, float]] = []
    drawn: list[list[float]] = []
    training_step = SiameseModule.training_step

    def watched(self: SiameseModule, batch, batch_idx: int) -> dict:
        outputs = training_step(self, batch, batch_idx)
        step = outputs["step"]
        seen.append(max(distance(step.z_BD, a, p) - distance(step.z_BD, a, n) for a, p, n in listed(step)))
        d = [distance(step.z_BD, a, n) for a, _, n in listed(step)]
        ranges.append((min(d), max(d)))
        return outputs

    def watched_draw(d_ap_K, d_an_K, images_K3CHW):
        drawn.append((d_ap_K - d_an_K).tolist())
        return draw_triplets(d_ap_K, d_an_K, images_K3CHW)

    monkeypatch.setattr(SiameseModule, "training_step", watched)
    monkeypatch.setattr(hardest_triplets, "draw_triplets", watched_draw)
    quick_run(tmp_path, *SHOWN_IN_BOARD)
    assert [len(each) for each in drawn] == [SHOWN, SHOWN]
    assert [max(each) for each in drawn] == pytest.approx([seen[1], max(seen[3], seen[5])], abs=1e-3)
    assert all(each == sorted(each, reverse=True) for each in drawn)
    for each, (least, most) in zip(events_of(tmp_path).Histograms("train/d_an"), (ranges[2], ranges[5]), strict=True):
        assert (each.histogram_value.min, each.histogram_value.max) == pytest.approx((least, most), abs=1e-3)


@pytest.mark.parametrize("size", [16, 64, 105])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_every_image_of_a_triplet_in_its_place(channels: int, size: int) -> None:
    grey_K3 = torch.tensor([[0.0, 0.2, 0.4], [0.6, 0.8, 1.0]])
    picture = draw_triplets(torch.tensor([0.5, 0.25]), torch.tensor([1.0, 1.5]), grey_K3[..., None, None, None].expand(
        -1, -1, channels, size, size
    ))  # fmt: skip
    for column, row in itertools.product(range(2), range(3)):
        cell = picture[6 + row * 88 : 6 + row * 88 + 64, 80 + column * 70 : 80 + column * 70 + 64]
        assert (cell == round(255 * float(grey_K3[column, row]))).all()
    assert (picture[70:88, 80:] == 255).all()  # nothing below the anchors
    assert (picture[158:176, 80:150] < 128).any()  # but below positives
    assert (picture[246:264, 80:150] < 128).any()  # and negatives


@pytest.mark.slow
def test_the_projector_gets_the_validation_images_by_the_tested_weights(tmp_path: Path) -> None:
    quick_run(tmp_path, "logger=tensorboard", "trainer.precision=32-true")
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (embedding,) = config.embeddings
    z_ND = torch.from_numpy(np.loadtxt(tmp_path / embedding.tensor_path, delimiter="\t", dtype=np.float32))
    header, *rows = [row.split("\t") for row in (tmp_path / embedding.metadata_path).read_text().splitlines()]

    datamodule = build(**compose().data)
    table = datamodule.splits.validation
    index_N = balanced_indices(table, 1000)
    module = build_module(compose(), datamodule)
    module.load_state_dict(torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    with torch.no_grad():
        wanted_ND = module.eval().network(table.images_NCHW[index_N].float() / 255)
    assert len(rows) == len(table)
    assert torch.allclose(z_ND, wanted_ND, atol=1e-4)
    assert header == ["class", "class number"]
    assert rows == [[table.class_names[label], str(label)] for label in table.labels_N[index_N].tolist()]

    with Image.open(tmp_path / embedding.sprite.image_path) as opened:
        sprite = np.asarray(opened)
    width, height = embedding.sprite.single_image_dim
    across = sprite.shape[1] // width
    assert sprite.shape == (across * height, across * width, 3)
    for place in (0, 1, across, len(table) - 1):
        upper, left = place // across * height, place % across * width
        cell = sprite[upper : upper + height, left : left + width, 0]
        assert np.array_equal(cell, table.images_NCHW[index_N[place], 0].numpy())


def table_of(sizes: list[int]) -> ImageTable:
    labels_N = torch.tensor([label for label, size in enumerate(sizes) for _ in range(size)])
    labels_N = labels_N[torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(0))]
    images = torch.zeros(len(labels_N), 1, 1, 1, dtype=torch.uint8)
    return ImageTable(images, labels_N, tuple(str(label) for label in range(len(sizes))))


@pytest.mark.parametrize(
    ("sizes", "most", "shown"),
    [
        ([5, 5, 5], 1000, [5, 5, 5]),
        ([9, 2, 9], 12, [5, 2, 5]),
        ([9, 9, 9], 3, [1, 1, 1]),
        ([1] * 20, 7, [1] * 7 + [0] * 13),
        ([0, 3, 0], 2, [0, 2, 0]),
    ],
)
def test_all_classes_are_shown_evenly(sizes: list[int], most: int, shown: list[int]) -> None:
    table = table_of(sizes)
    index_N = balanced_indices(table, most)
    assert len(set(index_N.tolist())) == len(index_N)
    assert table.labels_N[index_N].bincount(minlength=len(sizes)).tolist() == shown


def test_large_images_become_thumbnails() -> None:
    images_NCHW = torch.full((1000, 1, 105, 105), 51, dtype=torch.uint8)
    sprite = thumbnail_sheet(thumbnails(images_NCHW))
    assert sprite.size == (32 * 64, 32 * 64)
    assert sprite.getpixel((0, 0)) == (51, 51, 51)
    assert sprite.getpixel((2047, 2047)) == (0, 0, 0)


def test_names_with_tabs_and_line_breaks_take_one_line_each(tmp_path: Path) -> None:
    from siamese_lab.training.callbacks.embedding_projector import write_projector_files

    images_NCHW = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    write_projector_files(tmp_path, torch.eye(2), torch.tensor([1, 0]), ["ß", "one\ttwo\nthree"], images_NCHW)
    written = (tmp_path / "projector/classes.tsv").read_text(encoding="utf-8")
    assert written == "class\tclass number\none two three\t1\nß\t0\n"


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["semi_hard", "memory", "all"])
def test_tensorboard_does_not_change_training(strategy: str, tmp_path: Path) -> None:
    quick_run(tmp_path / "with", f"sampler={strategy}", *SHOWN_IN_BOARD)
    one = last_weights(tmp_path / "with")
    for logger in ("logger=csv", "~logger") if strategy == "semi_hard" else ("~logger",):
        quick_run(tmp_path / logger, f"sampler={strategy}", *SHOWN_IN_BOARD, logger)
        other = last_weights(tmp_path / logger)
        assert all(torch.equal(one[name], other[name]) for name in one)
        left = {path.name for path in (tmp_path / logger).rglob("*")}
        assert not [name for name in left if "tfevents" in name or "projector" in name]


@pytest.mark.slow
def test_a_resumed_run_continues_its_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = [*QUICK, *SHOWN_IN_BOARD, "trainer.max_steps=9"]
    with monkeypatch.context() as patch:
        interrupt_after(5, signal.SIGINT, patch)
        with pytest.raises(Interrupted):
            train(compose(*overrides), tmp_path, overrides, Console(quiet=True))
    assert "_hparams_/session_end_info" not in events_of(tmp_path).summary_metadata
    wait_for_next_second()
    said = with_resumed_overrides([f"resume={tmp_path / 'checkpoints/last.ckpt'}"])
    train(compose(*[each for each in said if not each.startswith("hydra.")]), tmp_path, said, Console(quiet=True))
    events = events_of(tmp_path)
    assert [each.step for each in events.Histograms("train/d_ap")] == [3, 6, 9]
    assert [each.step for each in events.Images("hardest triplets")] == [3, 6, 9]
    assert [each.step for each in events.Scalars("train/loss")] == [1, 3, 5, 7]
    assert "_hparams_/session_end_info" in events.summary_metadata


@pytest.mark.slow
def test_events_after_the_checkpoint_are_not_shown_twice(tmp_path: Path) -> None:
    """A run is killed at step 9 with a checkpoint of step 6; then a run starts again, as after a failure."""
    overrides = [*QUICK, *SHOWN_IN_BOARD]
    train(compose(*overrides), tmp_path, overrides, Console(quiet=True))
    last = tmp_path / "checkpoints/last.ckpt"
    at_6 = last.read_bytes()
    longer = [*overrides, "trainer.max_steps=9", f"resume='{last}'"]
    for _ in range(2):
        last.write_bytes(at_6)
        wait_for_next_second()
        train(compose(*longer), tmp_path, longer, Console(quiet=True))
    events = events_of(tmp_path)
    for shown in (
        events.Histograms("train/d_ap"),
        events.Images("hardest triplets"),
        events.Scalars("train/d_ap_mean"),
    ):
        steps = [each.step for each in shown]
        assert steps == sorted(set(steps))
    assert [each.step for each in events.Histograms("train/d_ap")] == [3, 6, 9]

    wait_for_next_second()
    train(compose(*overrides), tmp_path, overrides, Console(quiet=True))
    assert [each.step for each in events_of(tmp_path).Histograms("train/d_ap")] == [3, 6]


@pytest.mark.slow
def test_a_failed_run_is_not_marked_successful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NonFiniteLossError):
        quick_run(tmp_path, "logger=tensorboard", "optimizer=sgd", "optimizer.lr=1e38", "trainer.max_steps=20")
    assert "_hparams_/session_end_info" not in events_of(tmp_path).summary_metadata


def choices_of(*overrides: str) -> dict:
    from siamese_lab.config import schema

    config = compose(*overrides)
    return comparable_options(schema.to_plain(config), build(**config.data).protocol)


def test_compared_options_include_those_of_the_strategy() -> None:
    found = choices_of("sampler=distance_weighted", "sampler.cutoff=1.3")
    assert {name: value for name, value in found.items() if "." in name} == {
        "sampler.nearest": 0.5,
        "sampler.cutoff": 1.3,
    }
    assert not [name for name in choices_of("sampler=curriculum") if "." in name]  # stages are no number or word


def test_compared_options_include_the_protocol() -> None:
    assert choices_of("data=mnist")["protocol"] == "disjoint"
    assert choices_of("data=lfw")["protocol"] == "View 1"
    assert not {"protocol", "margin"} & set(choices_of("data=omniglot", "loss=n_pair"))


@pytest.mark.slow
def test_tensorboard_names_the_runs_of_a_sweep_by_their_folders(tmp_path: Path) -> None:
    """TensorBoard's own reader of a folder finds the names."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    for name in ("digits/hard/seed=0", "digits/hard/seed=1"):
        quick_run(tmp_path / name, "logger=tensorboard", "trainer.max_steps=1", f"seed={name[-1]}")
    found = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Runs()
    assert set(found) == {"digits/hard/seed=0", "digits/hard/seed=1"}
