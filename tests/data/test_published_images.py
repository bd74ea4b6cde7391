"""The published image sets are read from small copies of their layouts, and `--verify` names every planted fault."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic_sets
import torch
from conftest import quick_run
from PIL import Image
from synthetic_sets import WRITERS, Written, pack, write_cars196, write_cars196_apart

from siamese_lab import data
from siamese_lab.config.schema import compose
from siamese_lab.data import __main__ as command
from siamese_lab.data.sets import cars196
from siamese_lab.data.sets.market1501 import Market1501
from siamese_lab.data.sets.published_images import PublishedImages
from siamese_lab.errors import UserError

Plant = Callable[[Path], object]
"""Damages a copy."""
NAMES = tuple(WRITERS)
ROLES = ("inshop", "market1501")
SMALL: dict[str, Any] = {"image_size": 16, "classes_per_batch": 2, "images_per_class": 2, "workers": 0}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    """Write one copy of each set. Tests must not write into them."""
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in WRITERS.items()}


@pytest.fixture
def copied(written: dict[str, Written], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Written]:
    """Return a function that copies a set for one test and makes its counts the published ones."""

    def copy(name: str) -> Written:
        small = written[name]._replace(root=shutil.copytree(written[name].root, tmp_path / "root"))
        small.publish(monkeypatch)
        return small

    return copy


def build(small: Written, **options: Any) -> PublishedImages:
    module = data.build(small.name, root=small.root, cache=small.root.parent / "cache", **SMALL | options)
    assert isinstance(module, PublishedImages)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_the_classes_are_split_as_published_and_training_classes_validate(
    name: str, copied: Callable[[str], Written]
) -> None:
    small = copied(name)
    module = build(small)
    train, validation, test = (set(part.class_names) for part in module.splits)
    assert len(train | validation) == len(train) + len(validation) == small.counts["train"].classes == 5
    assert len(validation) == 2
    assert not test & (train | validation)
    images = [len(part) for part in module.splits]
    tested = sum(count.images for part, count in small.counts.items() if part != "train")
    assert (images[0] + images[1], images[2]) == (small.counts["train"].images, tested)
    assert [part.class_names for part in build(small, seed=7).splits] == [part.class_names for part in module.splits]
    module.setup("fit")
    assert next(iter(module.train_dataloader())).images_BCHW.shape == (4, 3, 16, 16)


@pytest.mark.parametrize("name", NAMES)
def test_images_in_files_are_those_in_memory(name: str, copied: Callable[[str], Written]) -> None:
    small = copied(name)
    stored, read = build(small).splits, build(small, in_memory=False).splits
    for left, right in zip(stored, read, strict=True):
        assert left.class_names == right.class_names
        assert torch.equal(left.labels_N, right.labels_N)
        ((_, images_BCHW),) = right.fetch([(0, torch.arange(len(right)))])
        assert torch.equal(left.images_NCHW, images_BCHW)


def remove(place: str) -> Plant:
    """Return a fault: a file or folder is missing."""

    def plant(root: Path) -> None:
        path = root / place
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return plant


def damage(place: str) -> Plant:
    """Return a fault: a file has another content."""
    return lambda root: (root / place).write_bytes(b"not what it should be")


def edit(place: str, pattern: str, by: str) -> Plant:
    """Return a fault: the first match in a list is replaced."""

    def plant(root: Path) -> None:
        text = (root / place).read_text()
        changed = re.sub(pattern, by, text, count=1, flags=re.MULTILINE)
        assert changed != text
        (root / place).write_text(changed)

    return plant


def move(place: str, to: str) -> Plant:
    """Return a fault: a file has another name."""
    return lambda root: (root / place).rename(root / to)


def several(*faults: Plant) -> Plant:
    def plant(root: Path) -> None:
        for each in faults:
            each(root)

    return plant


CUB, SOP, SHOP, MARKET = "CUB_200_2011", "Stanford_Online_Products", "inshop", "Market-1501-v15.09.15"
BIRD = f"{CUB}/images/007.Bird_7/Bird_7_0002_702.jpg"
LIST = f"{SHOP}/list_eval_partition.txt"
FAULTS: dict[str, dict[str, tuple[Plant, str]]] = {
    "cub200": {
        "missing list": (remove(f"{CUB}/images.txt"), r"no list .*CUB_200_2011/images\.txt"),
        "wrong counts": (
            several(edit(f"{CUB}/images.txt", r"^40 .*\n", ""), edit(f"{CUB}/image_class_labels.txt", r"^40 .*\n", "")),
            r"has 19 test images of 5 classes, but 20 images of 5 classes are published",
        ),
        "missing image": (remove(BIRD), r"lacks 1 of the 40 files .*Bird_7_0002_702\.jpg"),
        "unreadable image": (damage(BIRD), r"Bird_7_0002_702\.jpg, which cannot be read as an image"),
        "class of another part": (
            edit(f"{CUB}/image_class_labels.txt", "^1 1$", "1 7"),
            r"puts image 1 \(001\.Bird_1/.*\) into class 7, but its folder belongs to another class",
        ),
        "unknown file": (edit(f"{CUB}/images.txt", "Bird_1_0000", "Bird_1_9999"), r"lacks 1 of .*Bird_1_9999_100\.jpg"),
        "lists that disagree": (
            edit(f"{CUB}/images.txt", r"^3 .*\n", ""),
            r"1 are in one of them only, such as image 3",
        ),
        "a file outside": (edit(f"{CUB}/images.txt", "001.Bird_1/Bird", "001.Bird_1/../../../x"), r"lacks 1 of the 40"),
    },
    "cars196": {
        "missing list": (
            remove("stanford_cars/cars_annos.mat"),
            r"holds car_ims/ of Cars-196, but not cars_annos\.mat",
        ),
        "wrong counts": (
            lambda root: write_cars196(root, images=3),
            r"has 15 train images of 5 classes, but 20 images of 5 classes are published",
        ),
        "missing image": (remove("stanford_cars/car_ims/000031.jpg"), r"lacks 1 of the 40 files .*000031\.jpg"),
        "unreadable image": (
            damage("stanford_cars/car_ims/000031.jpg"),
            r"000031\.jpg, which cannot be read as an image",
        ),
        "both packagings": (
            write_cars196_apart,
            r"two packagings of Cars-196, car_ims/ and cars_train/.* Keep either car_ims/ and cars_annos\.mat or",
        ),
        "unreadable list": (damage("stanford_cars/cars_annos.mat"), r"annos\.mat cannot be read as a MATLAB file"),
        "missing second list": (
            several(
                remove("stanford_cars"), write_cars196_apart, remove("stanford_cars/cars_test_annos_withlabels.mat")
            ),
            r"cars_train/ and cars_test/ and devkit/ of Cars-196, but not cars_test_annos_withlabels\.mat",
        ),
    },
    "sop": {
        "missing list": (remove(f"{SOP}/Ebay_test.txt"), r"no list .*Ebay_test\.txt"),
        "wrong counts": (edit(f"{SOP}/Ebay_train.txt", r"^15 .*\n", ""), r"has 14 train images of 5 classes, but 15"),
        "missing image": (remove(f"{SOP}/chair_final/110001_1.JPG"), r"lacks 1 of the 30 files .*110001_1\.JPG"),
        "unreadable image": (
            damage(f"{SOP}/chair_final/110001_1.JPG"),
            r"110001_1\.JPG, which cannot be read as an image",
        ),
        "class of another part": (
            edit(f"{SOP}/Ebay_test.txt", "^28 10 ", "28 1 "),
            r"1 class is in training and test, such as '00001 chair'",
        ),
        "unknown file": (
            edit(f"{SOP}/Ebay_train.txt", "110002_0", "unknown"),
            r"lacks 1 of the 30 files .*unknown\.JPG",
        ),
        "damaged list": (edit(f"{SOP}/Ebay_train.txt", "^4 2 3 ", "4 2 "), r"line 5, has 3 values, but 4 are expected"),
        "image twice": (
            edit(f"{SOP}/Ebay_train.txt", "110002_1", "110002_0"),
            r"1 image is listed twice.*110002_0\.JPG",
        ),
    },
    "inshop": {
        "missing list": (remove(LIST), r"holds img/ of In-Shop, but not list_eval_partition\.txt"),
        "wrong counts": (edit(LIST, r"^img.*id_00000010/04.*\n", ""), r"has 9 gallery images of 5 classes, but 10"),
        "missing image": (
            remove(f"{SHOP}/img/MEN/Denim/id_00000003/02_1_front.jpg"),
            r"lacks 1 of the 40 files .*id_00000003/02_1_front\.jpg",
        ),
        "unreadable image": (
            damage(f"{SHOP}/img/MEN/Denim/id_00000003/02_1_front.jpg"),
            r"id_00000003/02_1_front\.jpg, which cannot be read as an image",
        ),
        "class of another part": (
            edit(LIST, "id_00000009 query", "id_00000009 train"),
            r"1 class is in training and test, such as 'id_00000009'",
        ),
        "unknown file": (
            edit(LIST, "id_00000002/01", "id_00000002/99"),
            r"lacks 1 of the 40 files .*02/99_1_front\.jpg",
        ),
        "unknown part": (
            edit(LIST, "query", "probe"),
            r"evaluation_status 'probe', but .* one of train, query, gallery",
        ),
    },
    "market1501": {
        "missing folder": (remove(f"{MARKET}/query"), r"no folder .*Market-1501-v15\.09\.15/query"),
        "missing image": (
            remove(f"{MARKET}/bounding_box_train/0002_c1s1_000010_02.jpg"),
            r"has 19 train images of 5 classes, but 20 images of 5 classes are published",
        ),
        "missing distractor": (
            remove(f"{MARKET}/bounding_box_test/0000_c2s1_000001_01.jpg"),
            r"has 22 gallery images of 7 classes, but 23 images are published",
        ),
        "unreadable image": (
            damage(f"{MARKET}/bounding_box_train/0002_c1s1_000010_02.jpg"),
            r"0002_c1s1_000010_02\.jpg, which cannot be read as an image",
        ),
        "class of another part": (
            lambda root: (
                (root / MARKET / "query/0006_c1s1_000010_02.jpg").rename(
                    root / MARKET / "query/0001_c1s1_000010_02.jpg"
                )
                and None
            ),
            r"1 class is in training and test, such as '0001'",
        ),
        "unknown file": (
            lambda root: synthetic_sets.draw(root / MARKET / "query/me.jpg", 1, 1),
            r"query/me\.jpg has another name than images of Market-1501",
        ),
    },
}


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, every in FAULTS.items() for fault in every])
def test_verify_names_a_planted_fault_and_the_copy_is_not_used(
    name: str, fault: str, copied: Callable[[str], Written]
) -> None:
    small = copied(name)
    plant, message = FAULTS[name][fault]
    plant(small.root)
    found = build(small).verify()
    assert any(re.search(message, each) for each in found), found
    with pytest.raises(UserError):
        _ = build(small).splits


@pytest.mark.parametrize("name", NAMES)
def test_a_faultless_copy_has_no_faults(name: str, copied: Callable[[str], Written]) -> None:
    small = copied(name)
    _ = build(small).splits
    assert build(small).verify() == []


@pytest.mark.parametrize("name", NAMES)
def test_the_published_counts_and_checksums_are_required(name: str, written: dict[str, Written]) -> None:
    found = build(written[name]).verify()
    train = data.registry.classes[name].counts["train"]
    assert any(f"but {train.images:,} images of {train.classes:,} classes are published" in each for each in found)
    changed = [each for each in found if "differs from the published list" in each]
    assert len(changed) == (1 if name == "cars196" else 0)


def test_both_packagings_of_cars_hold_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for write in (write_cars196, write_cars196_apart):
        small = write(tmp_path / write.__name__)
        small.publish(monkeypatch)
        parts.append(
            [
                sorted(
                    (part.class_names[label], image.numpy().tobytes())
                    for image, label in zip(part.images_NCHW, part.labels_N.tolist(), strict=True)
                )
                for part in build(small).splits
            ]
        )
    assert parts[0] == parts[1]
    assert parts[0][2][0][0] == "006 Maker Model 6/S 2012"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"class_names": "a"}, "holds no annotations with relative_im_path"),
        ({"annotations": 3.0, "class_names": ["a"]}, "holds no annotations with relative_im_path"),
        ({}, r"holds no names of classes \(class_names\)"),
    ],
)
def test_other_matlab_files_are_refused(
    content: dict[str, object], message: str, copied: Callable[[str], Written]
) -> None:
    small = copied("cars196")
    synthetic_sets.savemat(small.root / "stanford_cars/cars_annos.mat", content)
    with pytest.raises(UserError, match=message):
        _ = build(small).splits


def test_annotations_without_labels_are_refused(copied: Callable[[str], Written]) -> None:
    small = copied("cars196")
    path = small.root / "stanford_cars/cars_annos.mat"
    synthetic_sets.annotate(path, ("relative_im_path",), [("car_ims/000001.jpg",)] * 3, class_names=["a", "b"])
    with pytest.raises(UserError, match=r"cars_annos\.mat holds no labels \(class\)"):
        _ = build(small).splits
    synthetic_sets.annotate(
        path, ("relative_im_path", "class"), [("car_ims/000001.jpg", 5)] * 3, class_names=["a", "b"]
    )
    with pytest.raises(UserError, match=r"into class 5, but there are classes 1 to 2"):
        _ = build(small).splits


def test_products_have_the_category_of_their_list(copied: Callable[[str], Written]) -> None:
    small = copied("sop")
    module = build(small)
    names = ("bicycle", "chair", "kettle")
    train = module.splits.train
    assert module.categories is not None
    assert [names[category] for category in module.categories.tolist()] == [
        name.split()[1] for name in train.class_names
    ]
    assert set(build(small, label_noise=0.3).categories.tolist()) <= {0, 1, 2}


def test_sets_without_categories_have_none(copied: Callable[[str], Written]) -> None:
    assert build(copied("cub200")).categories is None


@pytest.mark.parametrize("name", NAMES)
def test_larger_images_are_stored_for_random_crops(name: str, copied: Callable[[str], Written]) -> None:
    small = copied(name)
    module = build(small, stored_size=20)
    sizes = [part.images_NCHW.shape[-1] for part in module.splits]
    assert sizes == [20, 16, 16]
    plain = build(small, image_size=20)
    assert torch.equal(module.splits.test.images_NCHW, plain.splits.test.images_NCHW[:, :, 2:18, 2:18])


def test_items_of_inshop_are_queries_or_gallery_and_validation_images_are_both(
    copied: Callable[[str], Written],
) -> None:
    module = build(copied("inshop"))
    assert module.query_gallery is not None
    validated, tested = module.query_gallery
    assert tested.group_N is None and validated.group_N is None
    assert torch.equal(tested.query_N, ~tested.gallery_N)
    assert int(tested.query_N.sum()) == 10
    assert bool((validated.query_N & validated.gallery_N).all())
    assert len(tested.unmatched(module.splits.test.labels_N)) == 0


def test_queries_of_market_ignore_their_camera_and_distractors_match_nothing(
    copied: Callable[[str], Written],
) -> None:
    module = build(copied("market1501"))
    assert module.query_gallery is not None
    validated, tested = module.query_gallery
    test = module.splits.test
    names = [test.class_names[label] for label in test.labels_N.tolist()]
    assert not any(name.startswith("-1") for name in names)
    distractors = [name for name in names if name.startswith("distractor")]
    assert len(distractors) == len(set(distractors)) == 3
    assert tested.group_N is not None
    # Of the four gallery images of a person, one is from the camera of the query.
    assert tested.matches(test.labels_N)[tested.query_N].tolist() == [3] * 5
    assert validated.group_N is not None and bool((validated.query_N & validated.gallery_N).all())
    assert (
        module.provenance()["tested"] == "5 queries against a gallery of 23, ignoring the query's own class and group"
    )


def test_the_whole_image_of_a_person_is_kept() -> None:
    module = Market1501(image_size=8)
    image = Image.new("RGB", (64, 128))
    image.paste((255, 0, 0), (0, 0, 64, 16))
    image.paste((0, 255, 0), (0, 112, 64, 128))
    converted = module.converted(image).image
    assert converted.size == (8, 8)
    assert converted.getpixel((4, 0))[0] > 200 and converted.getpixel((4, 7))[1] > 200


PACKED = {
    "cub200": [("CUB_200_2011", "CUB_200_2011.tgz")],
    "cars196": [("stanford_cars/car_ims", "stanford_cars/car_ims.tgz")],
    "sop": [("Stanford_Online_Products", "Stanford_Online_Products.zip")],
    "inshop": [("inshop/img", "inshop/img.zip")],
    "market1501": [("Market-1501-v15.09.15", "Market-1501-v15.09.15.zip")],
}


def pack_all(small: Written) -> None:
    for folder, archive in PACKED[small.name]:
        pack(small.root / folder, small.root / archive)
        shutil.rmtree(small.root / folder)


@pytest.mark.parametrize("name", NAMES)
def test_archives_are_unpacked_once_and_equal_the_folders(
    name: str, copied: Callable[[str], Written], capsys: pytest.CaptureFixture[str]
) -> None:
    small = copied(name)
    expected = build(small).splits
    pack_all(small)
    for _ in range(2):
        for left, right in zip(expected, build(small).splits, strict=True):
            assert torch.equal(left.images_NCHW, right.images_NCHW)
            assert torch.equal(left.labels_N, right.labels_N)
    assert capsys.readouterr().err.count("Unpacking ") == 1
    assert build(small).verify() == []


def test_the_three_archives_of_cars_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = write_cars196_apart(tmp_path / "root")
    small.publish(monkeypatch)
    folder = small.root / "stanford_cars"
    expected = build(small).splits
    for each in cars196.APART.packs:
        pack(folder / each.folder, folder / each.archive)
    shutil.rmtree(folder / "cars_train")
    with pytest.raises(
        UserError, match=r"holds cars_test/ and the archive cars_train\.tgz\. Unpack cars_train\.tgz there"
    ):
        _ = build(small).splits
    for each in cars196.APART.packs:
        shutil.rmtree(folder / each.folder, ignore_errors=True)
    for left, right in zip(expected, build(small).splits, strict=True):
        assert torch.equal(left.images_NCHW, right.images_NCHW)


def test_an_archive_that_is_not_the_published_one_is_refused(
    copied: Callable[[str], Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = copied("market1501")
    pack_all(small)
    monkeypatch.setattr(Market1501, "digests", {"Market-1501-v15.09.15.zip": f"md5:{32 * '0'}"})
    (fault,) = build(small).verify()
    assert re.search(r"v15\.09\.15\.zip is not the published archive \(md5 \w+ where 0{32} was expected\)", fault)
    assert not (small.root.parent / "cache/unpacked").exists(), "--verify only compares the checksum"
    with pytest.raises(UserError, match="is not the published archive"):
        _ = build(small).splits


def test_a_damaged_archive_leaves_no_folder(copied: Callable[[str], Written]) -> None:
    small = copied("cub200")
    pack_all(small)
    archive = small.root / "CUB_200_2011.tgz"
    archive.write_bytes(archive.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"CUB_200_2011\.tgz"):
        _ = build(small).splits
    assert not [path for path in (small.root.parent / "cache/unpacked").iterdir() if not path.name.startswith(".")]


def test_an_archive_without_its_folder_is_refused(copied: Callable[[str], Written]) -> None:
    small = copied("inshop")
    (small.root / "inshop/img").rename(small.root / "inshop/other")
    pack(small.root / "inshop/other", small.root / "inshop/img.zip")
    with pytest.raises(UserError, match=r"img\.zip holds no folder img/"):
        _ = build(small).splits


@pytest.mark.parametrize("name", ["cub200", "sop"])
def test_an_absent_set_is_downloaded(
    name: str, copied: Callable[[str], Written], server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = copied(name)
    expected = build(small).splits
    pack_all(small)
    ((_, archive),) = PACKED[name]
    content = (small.root / archive).read_bytes()
    (small.root / archive).unlink()
    cls = data.registry.classes[name]
    remote = server.remote(archive, content, f"/{archive}")
    server.answers[f"/{archive}"] = [content]
    ((packaging,), (folder,)) = cls.packagings, cls.packagings[0].packs
    served = folder._replace(size=len(content), urls=remote.urls)
    monkeypatch.setattr(cls, "packagings", (packaging._replace(packs=(served,)),))
    monkeypatch.setattr(cls, "digests", {archive: remote.digest})
    (absent,) = build(small).absent()
    assert f"{len(content):,} bytes, md5 " in absent and "nor downloaded yet" in absent
    for _ in range(2):
        for left, right in zip(expected, build(small).splits, strict=True):
            assert torch.equal(left.images_NCHW, right.images_NCHW)
    assert server.asked == [f"/{archive}"]


@pytest.mark.parametrize("name", ["cars196", "inshop", "market1501"])
def test_a_set_without_a_public_link_says_where_its_files_belong(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    module = build(Written(tmp_path / "data", name, {}))
    (absent,) = module.absent()
    assert module.verify() == [absent]
    with pytest.raises(UserError) as refused:
        _ = module.splits
    assert str(refused.value) == absent
    assert f"not in {tmp_path / 'data'}/" in absent
    for packaging in module.packagings:
        for each in packaging.packs:
            assert f"{each.folder}/ or {each.archive}" in absent
        assert all(each in absent for each in packaging.lists)
    assert all(digest.split(":")[1] in absent for digest in module.digests.values())


def test_the_command_leaves_sets_without_a_copy_out_of_all_and_verifies_the_others(
    copied: Callable[[str], Written], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = copied("sop")
    monkeypatch.setattr(command.data, "available", lambda: ("inshop", "sop"))

    def run(*arguments: str) -> tuple[object, str]:
        options = (f"paths.data={small.root}", f"paths.cache={small.root.parent / 'cache'}", "data.image_size=16")
        monkeypatch.setattr(sys, "argv", ["siamese_lab.data", *arguments, *options])
        with pytest.raises(SystemExit) as ended:
            command.main()
        return ended.value.code, capsys.readouterr().out

    status, out = run("all", "--verify")
    lines = out.splitlines()
    assert (status, lines[-1]) == (0, "sop: no faults found.")
    left_out = [line.split(":")[0] for line in lines if "there is no copy of it" in line]
    assert left_out == ["inshop"]
    (small.root / "inshop/img").mkdir(parents=True)
    status, out = run("all", "--verify")
    assert status == 1 and "inshop holds img/ of In-Shop, but not list_eval_partition.txt" in out, "a copy was begun"
    (small.root / "Stanford_Online_Products/Ebay_test.txt").unlink()
    status, out = run("sop", "--verify")
    assert status == 1 and re.search(r"^sop: There is no list .*Ebay_test\.txt", out)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_small_copy_trains_validates_and_tests(name: str, copied: Callable[[str], Written], tmp_path: Path) -> None:
    small = copied(name)
    run = quick_run(
        tmp_path / "run",
        f"data={name}",
        f"paths.data={small.root}",
        f"paths.cache={tmp_path / 'cache'}",
        "recipe=none",
        "network=mlp",
        "network.width=16",
        "data.image_size=16",
        "data.stored_size=20",
        "data.classes_per_batch=3",
        "data.images_per_class=2",
        "trainer.max_steps=2",
        "trainer.precision=32-true",
        "trainer.val_check_interval=2",
    )
    assert run.status == "finished" and run.steps == 2
    assert run.data_set["title"] == data.registry.classes[name].title
    assert ("map" in run.test) == (name in ROLES) == ("tested" in run.images)
    assert run.validation.keys() == run.test.keys()
    # Raw pixels find colors of classes: chance is far below.
    assert run.floors["pixels"]["recall@1"] > 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_options_are_those_of_the_class(name: str) -> None:
    config = compose(f"data={name}")
    assert config.recipe.name == name and config.network.name == "resnet18"
    images = config.data.classes_per_batch * config.data.images_per_class
    assert images == 112
