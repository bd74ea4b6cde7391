"""Files of an earlier version are migrated, or refused with one sentence; so are files of a later version.

`old_versions/README.md` says how each file was made.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from siamese_lab.config.resume import with_resumed_overrides
from siamese_lab.config.tuned_options import find_tuned_options
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.tables import image_table
from siamese_lab.data.tables.image_table import ImageTable, cached
from siamese_lab.errors import UserError
from siamese_lab.evaluation.trained import load
from siamese_lab.inference.embeddings_file import read_embeddings
from siamese_lab.inference.threshold import fingerprint, read_threshold
from siamese_lab.metrics.retrieval import map_at_r, recall_at_k
from siamese_lab.runs import checkpoints, migrations, packed, results, tuned
from siamese_lab.runs.packed import run_records
from siamese_lab.study.runs import read_study
from siamese_lab.sweep.resume_state import remaining_work

OLD = Path(__file__).parent / "old_versions"
TABLE = "image_folder-8px-colour-c71c1c27c6541d6f-4f53cda1-v2"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_the_files_are_small_and_name_no_folder_of_a_person() -> None:
    for path in OLD.rglob("*"):
        if path.is_file():
            assert path.stat().st_size < 200_000
            assert not re.search(rb"/(root|home|work|Users)/", path.read_bytes())


# --- results.json


def test_results_keep_their_values_and_get_the_names_of_today(old: Path) -> None:
    stored = json.loads((old / "run/results.json").read_text(encoding="utf-8"))
    assert stored["schema_version"] == 1
    run = results.read_results(old / "run")
    assert (run.test, run.validation, run.commit) == (stored["test"], stored["validation"], stored["commit"])
    assert [point.validation for point in run.history] == [point["validation"] for point in stored["history"]]
    assert (run.sampler, run.seed, run.status, run.schema_version) == ("semi_hard", 0, "finished", 2)
    assert run.choices["sampler"]["num_negatives"] == 1
    assert run.choices["network"]["tta"] == [] and run.choices["network"]["double_width"] is True
    assert run.choices["schedule"]["warmup_fraction"] == 0.05
    assert run.choices["report_checkpoint"] == "last" and run.choices["study_name"] is None
    assert not {"tested", "name"} & run.choices.keys()


def test_a_study_of_old_results_can_be_read_and_packed(old: Path, tmp_path: Path) -> None:
    study = read_study(old)
    assert [(run.data, run.strategy, run.finished) for run in study.runs] == [
        ("Digits", "semi_hard", True),
        ("Digits", "random", True),
    ]
    assert study.excluded == []
    written = packed.pack(old, run_records(old))
    assert (written.runs, written.left_out) == (2, [])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(written.path, elsewhere)
    assert [record.read() for record in run_records(elsewhere)] == [record.read() for record in run_records(old)]


def test_a_sweep_does_not_start_in_a_folder_of_an_earlier_version(old: Path) -> None:
    from siamese_lab.config import schema

    choices = schema.to_plain(schema.compose("data=digits", "network.width=2"))
    with pytest.raises(UserError, match=r"another configuration.*study_name=ANOTHER"):
        remaining_work(old / "run", choices, Console(quiet=True))
    assert (old / "run/results.json").is_file(), "it is no damaged file"


# --- checkpoints


def test_a_network_embeds_as_it_was_tested(old: Path) -> None:
    trained = load(old / "run")
    assert trained.choices["network"]["ceil_mode"] is True and trained.step == 20
    table = trained.build_datamodule().splits.test
    assert isinstance(table, ImageTable)
    with torch.no_grad():
        z_ND = trained.network.eval()(to_float(table.images_NCHW))
    stored = results.read_results(old / "run").test
    assert float(recall_at_k(z_ND, table.labels_N, [1])[1]) == pytest.approx(stored["recall@1"], abs=1.01 / len(table))
    assert float(map_at_r(z_ND, table.labels_N)) == pytest.approx(stored["map@r"], abs=1e-4)


def test_training_is_not_continued(old: Path) -> None:
    with pytest.raises(UserError, match=r"earlier version.*format 1.*evaluate.*new run without resume="):
        with_resumed_overrides([f"resume={old / 'run'}"])


def test_a_threshold_and_embeddings_belong_to_the_network_of_the_checkpoint(old: Path) -> None:
    network = load(old / "run").network
    threshold = read_threshold(old / "run/threshold.json")
    assert threshold is not None and threshold.weights == fingerprint(network)
    stored = read_embeddings(old / "embeddings.npz")
    assert stored.about["weights"] == fingerprint(network)
    assert stored.names == ("d0.png", "d1.png", "d10.png") and stored.z_ND.shape == (3, 8)


def test_tuned_options_keep_their_values(old: Path, tmp_path: Path) -> None:
    place = tmp_path / "tune/digits/semi_hard"
    place.mkdir(parents=True)
    shutil.copy(old / tuned.FILE_NAME, place)
    winner = find_tuned_options(tmp_path / "tune", "digits", "semi_hard")
    assert winner.options["optimizer.lr"] == pytest.approx(0.0094, abs=1e-4)
    assert winner.choices["sampler"]["num_negatives"] == 1 and len(winner.every_trial) == 2


# --- caches


@pytest.mark.parametrize("today", [False, True], ids=["its own name", "the name of today"])
def test_a_cached_table_is_decoded_again(
    today: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = TABLE.replace("-v2", f"-v{image_table.FORMAT}")
    shutil.copytree(OLD / TABLE, tmp_path / (key if today else TABLE))
    decoded = ImageTable(torch.full((4, 3, 8, 8), 7, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), ("a", "b"))
    table = cached(tmp_path, key, lambda: decoded)
    assert torch.equal(table.images_NCHW, decoded.images_NCHW), "no pixel of the earlier version is used"
    assert ("is not a complete table of siamese_lab: decoding it again" in capsys.readouterr().err) == today
    assert (tmp_path / TABLE).exists() != today


def test_a_cached_table_of_an_earlier_version_is_a_fault(tmp_path: Path) -> None:
    key = TABLE.replace("-v2", f"-v{image_table.FORMAT}")
    shutil.copytree(OLD / TABLE, tmp_path / key)
    (fault,) = image_table.check_stored(tmp_path / key)
    assert "Delete it; it will be decoded again." in fault


# --- later versions


def write_changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("version", [0, 3, "2", True, None, 1.0])
def test_results_of_another_version_are_refused_with_what_wrote_them(version: object, old: Path) -> None:
    write_changed(old / "run/results.json", lambda content: content.update(schema_version=version))
    with pytest.raises(UserError, match=r"schema version .* reads 2 and migrates 1\. Read it with siamese_lab 0\.1\.0"):
        results.read_results(old / "run")


def test_a_number_of_another_type_is_named_with_its_type(old: Path) -> None:
    write_changed(old / "run/results.json", lambda content: content.update(schema_version="2"))
    with pytest.raises(UserError, match=r"schema version 2 of type str, but .* reads 2"):
        results.read_results(old / "run")


def test_tuned_options_of_a_later_version_are_refused(old: Path) -> None:
    write_changed(old / tuned.FILE_NAME, lambda content: content.update(schema_version=3))
    with pytest.raises(UserError, match=r"another version.*Tune again.*3, but.*reads 2 and migrates 1"):
        tuned.read_tuned(old)


def test_a_checkpoint_of_a_later_version_is_refused_with_what_wrote_it(old: Path) -> None:
    place = old / "run/checkpoints/last.ckpt"
    content = torch.load(place, weights_only=True)
    content["callbacks"][checkpoints.CONFIG_KEY] |= {"format": 3, checkpoints.VERSION_KEY: "0.9.0"}
    torch.save(content, place)
    with pytest.raises(UserError, match=r"format 3, but .* reads 2 and migrates 1\. Use it with siamese_lab 0\.9\.0\."):
        load(place)


def test_embeddings_of_a_later_version_are_refused(old: Path) -> None:
    with np.load(old / "embeddings.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    about = json.loads(str(arrays["about"])) | {"format": 2}
    np.savez(old / "embeddings.npz", **arrays | {"about": json.dumps(about)})
    with pytest.raises(UserError, match=r"format 2.*reads 1.*again with python -m siamese_lab\.embed"):
        read_embeddings(old / "embeddings.npz")


# --- migrations


@pytest.mark.parametrize(
    ("steps", "current"),
    [
        (migrations.RESULTS, results.SCHEMA_VERSION),
        (migrations.CONFIGURATION, checkpoints.CONFIG_FORMAT),
        (migrations.TUNED, tuned.SCHEMA_VERSION),
    ],
    ids=["results", "configuration", "tuned"],
)
def test_a_step_leads_from_every_version_to_the_next(steps: dict[int, migrations.Step], current: int) -> None:
    assert sorted(steps) == list(range(1, current))


def test_steps_run_one_after_the_other_and_change_no_argument() -> None:
    steps = {
        number: lambda content, number=number: {**content, "path": [*content["path"], number]} for number in (1, 2)
    }
    content = {"path": []}
    assert migrations.migrate(content, 1, 3, steps) == {"path": [1, 2]}
    assert migrations.migrate(content, 3, 3, steps) == content == {"path": []}


@pytest.mark.parametrize("choices", [None, [], "x", {"data": []}, {"data": {"hold_out": "x", "colour": True}}])
def test_a_strange_configuration_is_migrated_without_a_traceback(choices: object) -> None:
    renamed = migrations.rename_options({"choices": choices})["choices"]
    expected = {"data": {"hold_out": "x", "color": True}} if isinstance(choices, dict) and choices["data"] else choices
    assert renamed == expected
