"""The contract of a data set: a declaration, three tables of classes, and images converted as its own are.

If the files of a set are neither in SIAMESE_LAB_DATA nor downloaded, only its declaration is checked.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from siamese_lab import data
from siamese_lab.contracts import check_config, composed
from siamese_lab.data import DataModule, registry
from siamese_lab.metrics import retrieval
from siamese_lab.registry import options_of

NAMES = data.available()
every_data_set = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one cache for all tests, shared by the processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real_cache/siamese_lab"


def build(name: str, cache: Path) -> DataModule:
    """Build a data set with the options of its YAML."""
    options = composed("data", name)
    return data.build(**options | ({"cache": cache} if "cache" in options else {}))


def loaded(name: str, cache: Path) -> DataModule:
    """Return the data set; skip the test where its files are absent."""
    images = build(name, cache)
    if absent := images.absent():
        pytest.skip(absent[0])
    return images


@every_data_set
def test_its_config_chooses_it_by_name(name: str) -> None:
    check_config("data", name, set(options_of(registry.classes[name])) - {"seed"})


@every_data_set
def test_its_declaration_is_complete_and_plain(name: str, cache: Path) -> None:
    images = build(name, cache)
    described = images.describe()
    assert described.title and described.title != DataModule.title, "a data set states its title"
    assert isinstance(described.order, int)
    assert all(isinstance(each, str) for each in (*described.notes, *described.compared, *images.limitations))
    recorded = described.recorded()
    assert json.loads(json.dumps(recorded)) == recorded


@every_data_set
def test_its_tables_fit_its_form_and_can_be_trained_on_and_evaluated(name: str, cache: Path) -> None:
    images = loaded(name, cache)
    images.setup("fit")
    for table in images.splits:
        labels_N = table.labels_N
        assert labels_N.dtype == torch.int64 and len(labels_N) == len(table)
        assert 0 <= int(labels_N.min()) <= int(labels_N.max()) < len(table.class_names)
        ((_, images_BCHW),) = table.fetch([(0, torch.tensor([0, len(table) - 1]))])
        assert images_BCHW.dtype == (torch.uint8 if images.holds_pixels else torch.float32)
        assert images_BCHW.shape[1:] == (images.channels, images.image_size, images.image_size)
    for table in images.splits[1:]:
        retrieval.check_labels(table.labels_N)
    batch = next(iter(images.train_dataloader()))
    assert len(batch.labels_B) == images.classes_per_batch * images.images_per_class
    assert set(images.describe().compared) <= set(images.provenance())


@every_data_set
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_any_image_is_converted_to_its_form(name: str, mode: str, cache: Path) -> None:
    images = build(name, cache)
    if not images.holds_pixels:
        pytest.skip("it holds features, and only their backbone converts images")
    converted = images.converted(Image.new(mode, (57, 91))).image
    assert converted.size == (images.image_size, images.image_size)
    assert converted.mode == {1: "L", 3: "RGB"}[images.channels]


@every_data_set
def test_its_own_protocols_are_whole(name: str, cache: Path) -> None:
    images = loaded(name, cache)
    if (official := images.official_pairs) is not None:
        assert official.name == official.name.lower() and "/" not in official.name
        for pairs in (official.choose, official.decide):
            assert pairs.same_M.any() and not pairs.same_M.all()
            assert max(int(pairs.first_M.max()), int(pairs.second_M.max())) < len(official.table)
