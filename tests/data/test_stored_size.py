"""Images are stored larger than the network sees them; everything but training crops uses the same middle of them."""

from itertools import chain

import numpy as np
import pytest
import torch
from conftest import quick_run
from PIL import Image
from torchvision.transforms import v2

import siamese_lab as sl
from siamese_lab import data
from siamese_lab.data import preview
from siamese_lab.data.augment.pipeline import to_float
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.tables.files_table import FilesTable
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError
from siamese_lab.inference.inputs import prepare_images
from siamese_lab.inference.model_card import model_card

SIZES = {"stored_size": 13, "image_size": 8}


def picture(number, size=(30, 30)):
    noise = np.random.default_rng(number).integers(0, 256, (size[1] // 2, size[0] // 2, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write seven classes of three square images."""
    root = tmp_path_factory.mktemp("stored") / "photos"
    for label in range(7):
        (root / f"class{label}").mkdir(parents=True)
        for rank in range(3):
            picture(10 * label + rank).save(root / f"class{label}" / f"{rank}.png")
    return root


def build(folder, **options):
    options = SIZES | {"classes_per_batch": 2, "images_per_class": 2, "workers": 0} | options
    return data.build("image_folder", root=folder, cache=folder.parent / "cache", **options)


def fetched(table):
    ((_, images_BCHW),) = table.fetch([(None, torch.arange(len(table)))])
    return images_BCHW


def test_training_images_have_the_stored_size_and_the_others_are_their_middle(folder):
    module, stored = build(folder), build(folder, image_size=13, stored_size=None)
    assert fetched(module.splits.train).equal(fetched(stored.splits.train))
    for part in ("validation", "test"):
        whole, middle = fetched(getattr(stored.splits, part)), fetched(getattr(module.splits, part))
        assert middle.shape[2:] == (8, 8)
        assert middle.equal(whole[:, :, 2:10, 2:10])
        assert getattr(module.splits, part).images_NCHW.equal(middle)
    assert len(list((folder.parent / "cache").glob("image_folder-13px-*"))) >= 1
    assert not list((folder.parent / "cache").glob("image_folder-8px-*")), "one table serves all sizes of the network"


def test_images_in_files_and_in_memory_are_equal(folder):
    in_memory, in_files = build(folder, in_memory="true"), build(folder, in_memory="false")
    for one, other, kind in zip(in_memory.splits, in_files.splits, ("train", "validation", "test"), strict=True):
        assert isinstance(one, ImageTable) and isinstance(other, FilesTable), kind
        assert fetched(one).equal(fetched(other)), kind


def test_the_middle_is_that_of_torchvisions_resize_and_center_crop():
    published = v2.Compose([v2.Resize(26, interpolation=v2.InterpolationMode.BILINEAR), v2.CenterCrop(22)])
    for size in ((30, 30), (61, 61), (20, 20)):
        ours = np.asarray(PhotoConverter(22, True, 26)(picture(1, size)))
        assert np.array_equal(ours, np.asarray(published(picture(1, size)))), size
    wide = np.asarray(PhotoConverter(22, True, 26)(picture(1, (120, 60)))).astype(int)
    theirs = np.asarray(published(picture(1, (120, 60)))).astype(int)
    assert np.abs(wide - theirs).max() <= 1, "the square is cut before it is resized"


def test_other_images_are_converted_like_those_of_the_test(folder):
    module = build(folder)
    files = module.own.table(module.files, module._labels, module._key(module.files))
    assert len(files) == 21
    paths = [folder / name / f"{rank}.png" for name in module.splits.test.class_names for rank in range(3)]
    prepared = prepare_images(paths, module)
    torch.testing.assert_close(prepared.images_NCHW, to_float(module.splits.test.images_NCHW), atol=0, rtol=0)
    assert prepared.changes[0] == ("30×30 to 8×8 pixels",)


def test_training_uses_the_middle_or_random_crops_of_the_stored_images(folder):
    batch = fetched(build(folder).splits.train)
    middle = to_float(batch[:, :, 2:10, 2:10])
    assert build(folder).training_images(batch).equal(middle)
    assert build(folder, augment={"rotation": 0}).training_images(batch).equal(middle)
    corners = torch.zeros_like(batch)
    corners[..., 0, 0] = corners[..., -1, -1] = 255
    assert build(folder).training_images(corners).max() == 0
    crops = build(folder, augment={"crop_scale": [0.9, 1.0]}).training_images(corners)
    assert crops.shape[2:] == (8, 8) and crops.max() > 0, "a crop reaches beyond the middle"


def test_the_sheets_show_images_as_the_network_sees_them(folder, monkeypatch):
    shown = []
    monkeypatch.setattr(preview, "_rows_figure", lambda columns, title: shown.extend(chain(*columns)))
    module = build(folder, augment={"crop_scale": [0.5, 1.0]})
    preview.draw_classes(module)
    preview.draw_batch(module)
    assert {row.images_KCHW.shape[2:] for row in shown} == {(8, 8)}
    first = to_float(fetched(module.splits.train)[:, :, 2:10, 2:10])
    assert any(first[0].equal(row.images_KCHW[0]) for row in shown)


def test_the_memory_limit_counts_stored_pixels(folder):
    limit = 21 * 3 * 10**2 / 1e6
    assert isinstance(build(folder, stored_size=10, memory_limit=limit).splits.train, ImageTable)
    assert isinstance(build(folder, stored_size=11, memory_limit=limit).splits.train, FilesTable)


def test_a_table_of_images_stores_them_too(folder):
    rows = [f"class{label}/{rank}.png,{label}" for label in range(7) for rank in range(3)]
    (folder / "photos.csv").write_text("path,label\n" + "\n".join(rows))
    options = SIZES | {"classes_per_batch": 2, "images_per_class": 2}
    module = data.build("table", file=folder / "photos.csv", cache=folder.parent / "cache", **options)
    assert [fetched(part).shape[2] for part in module.splits] == [13, 8, 8]
    assert module.converted(picture(1)).image.size == (8, 8)


@pytest.mark.parametrize("size", [7, 0, -1, 12.5, "large"])
def test_a_stored_size_below_the_size_of_the_network_is_refused(folder, size):
    with pytest.raises(UserError, match=rf"stored_size must be a whole number.*image_size=8.*is {size}"):
        build(folder, stored_size=size)


@pytest.mark.parametrize("name", ["digits", "glyphs", "mnist", "omniglot", "lfw", "lfw_closed"])
def test_sets_that_do_not_resize_photographs_refuse_a_stored_size(name):
    with pytest.raises(UserError, match=r"data\.stored_size is for sets that resize photographs.*instead of 256"):
        data.build(name, stored_size=256)


def test_crops_of_much_larger_images_are_refused(folder):
    augment = {"crop_scale": [0.5, 1.0]}
    build(folder, stored_size=16, augment=augment).setup("fit")
    build(folder, stored_size=17).setup("fit")
    with pytest.raises(UserError, match=r"stored_size must be at most 2 × data\.image_size=8.*is 17"):
        build(folder, stored_size=17, augment=augment).setup("fit")


@pytest.mark.slow
def test_a_run_trains_on_crops_and_its_network_embeds_other_images_like_those_of_the_test(folder, tmp_path):
    left = quick_run(
        tmp_path / "run",
        "data=image_folder",
        f"data.root={folder}",
        f"paths.cache={tmp_path / 'cache'}",
        "data.stored_size=24",
        "data.image_size=16",
        "data.augment.crop_scale=[0.2,1.0]",
        "data.augment.hue=0.1",
        "data.augment.saturation=0.2",
        "data.classes_per_batch=2",
        "data.images_per_class=2",
        "metrics.floors=true",
    )
    assert left.status == "finished"
    network = sl.load(tmp_path / "run")
    assert network.datamodule.converted(picture(1)).image.size == (16, 16)
    table = build(folder, stored_size=24, image_size=16).splits.test
    paths = [folder / table.class_names[0] / f"{rank}.png" for rank in range(3)]
    torch.testing.assert_close(network.embed(paths), network.embed(table.images_NCHW[:3]))
    assert "resized to 24 pixels, and its middle is kept" in model_card(network, "network.onnx", 0.0, None)
