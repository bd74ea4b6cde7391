"""Labeled Faces in the Wild is read from any packaging, split by people in both views, and its pairs are resolved."""

import re
import shutil
import statistics
import tarfile
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from processes import files_of

from siamese_lab import data
from siamese_lab.data.sets import lfw
from siamese_lab.data.sets.lfw import Lfw
from siamese_lab.data.sets.lfw_pairs import read_pairs
from siamese_lab.data.sets.lfw_people import FOLDS, Person, people
from siamese_lab.metrics.pairs import ImagePairs
from siamese_lab.metrics.verification import verify

SMALL = (
    Person("Al_A", 3, "train", 0),
    Person("Al_A-B", 2, "train", 1),
    Person("Al_B", 1, "train", 2),
    Person("Bo", 1, "test", 0),
    Person("Cy", 2, "train", 1),
    Person("Di", 4, "test", 1),
    Person("Ed", 5, "train", 2),
)
TOTAL = sum(person.images for person in SMALL)


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """Write images of seven people under the official names: a gray middle, different in each image, in a red frame."""
    monkeypatch.setattr(lfw, "people", lambda: SMALL)
    for row, name in enumerate(name for person in SMALL for name in person.files()):
        file = tmp_path / "root/lfw-py/lfw-deepfunneled" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (250, 250), (255, 0, 0))
        image.paste((10 * row, 10 * row, 10 * row), (48, 48, 202, 202))
        image.save(file, quality=95)
    return tmp_path / "root"


def levels(table):
    """Return the gray levels of the images in a table."""
    return (table.images_NCHW.float().mean((1, 2, 3)) / 10).round().int().tolist()


def test_view_1_is_split_by_people(copy, tmp_path):
    train, validation, test = Lfw(copy, tmp_path / "cache", validation_fraction=1 / 3).load()
    assert test.class_names == ("Bo", "Di")
    assert validation.class_names == ("Al_A-B",), "third by size: Ed has 5, Al_A 3, Al_A-B 2 images"
    assert train.class_names == ("Al_A", "Al_B", "Cy", "Ed")
    assert levels(train) == [0, 1, 2, 5, 7, 8, 13, 14, 15, 16, 17]
    assert (levels(validation), levels(test)) == ([3, 4], [6, 9, 10, 11, 12])


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_view_2_tests_one_fold_and_trains_on_the_others(copy, tmp_path, fold):
    train, validation, test = Lfw(copy, tmp_path / "cache", view=2, fold=fold, validation_fraction=0.25).load()
    assert test.class_names == tuple(person.name for person in SMALL if person.fold == fold)
    names = [*train.class_names, *validation.class_names, *test.class_names]
    assert sorted(names) == [person.name for person in SMALL]
    assert len(validation.class_names) == 1


def test_both_views_and_all_folds_share_one_cached_table(copy, tmp_path):
    for options in ({}, {"view": 2, "fold": 0}, {"view": 2, "fold": 2}, {"validation_fraction": 0.5}):
        Lfw(copy, tmp_path / "cache", **{"validation_fraction": 1 / 3} | options).load()
    assert len(files_of(tmp_path / "cache")) == 3
    Lfw(copy, tmp_path / "cache", validation_fraction=1 / 3, color=False).load()
    assert len(files_of(tmp_path / "cache")) == 6


def test_people_of_one_image_are_not_trained_on(copy, tmp_path):
    module = Lfw(copy, tmp_path / "cache", validation_fraction=1 / 3, min_images_per_class=2)
    assert module.splits.train.class_names == ("Al_A", "Cy", "Ed")
    assert module.splits.test.class_names == ("Bo", "Di"), "they are distractors of the test"


@pytest.mark.parametrize("image_size", [32, 64, 200])
@pytest.mark.parametrize("color", [True, False])
def test_the_middle_is_cropped_resized_and_converted_to_gray(copy, tmp_path, image_size, color):
    module = Lfw(copy, tmp_path / "cache", image_size=image_size, color=color)
    images = module.everyone.images_NCHW
    assert images.shape == (TOTAL, module.channels, image_size, image_size)
    expected = torch.arange(TOTAL)[:, None, None, None] * 10
    assert (images.int() - expected).abs().max() <= 8, "the red frame leaves only JPEG's noise"
    whole = Lfw(copy, tmp_path / "cache", crop=250, image_size=image_size, color=color).everyone.images_NCHW
    corner = whole[:, :, 0, 0].float().mean(0)
    torch.testing.assert_close(corner, torch.tensor([254.0, 0, 0] if color else [76.0]), atol=3, rtol=0)


def test_an_archive_of_any_packaging_gives_the_table_of_the_folder(copy, tmp_path):
    expected = Lfw(copy, tmp_path / "cache").everyone
    for name, top in (("lfw-deepfunneled.tgz", "lfw-deepfunneled"), ("lfw-deepfunneled.tar", "else/where")):
        target = tmp_path / name / "lfw-py"
        target.mkdir(parents=True)
        with tarfile.open(target / name, "w:gz" if name.endswith("gz") else "w") as archive:
            archive.add(copy / "lfw-py/lfw-deepfunneled", top)
        table = Lfw(target.parent, tmp_path / "cache").everyone
        assert torch.equal(table.images_NCHW, expected.images_NCHW)
        assert table.class_names == expected.class_names


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_archive_is_refused_and_verify_names_it(copy, tmp_path, damage):
    """JPEG has no checksum: a flipped bit in a photograph is found only by the checksum of the archive."""
    file = tmp_path / "packed/lfw-py/lfw-deepfunneled.tgz"
    file.parent.mkdir(parents=True)
    with tarfile.open(file, "w:gz", compresslevel=0) as archive:
        archive.add(copy / "lfw-py/lfw-deepfunneled", "lfw-deepfunneled")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[content.index(b"Ed_0005.jpg") + 1_500] ^= 4
    else:
        del content[-9:]
    file.write_bytes(content)
    reason = {"flip": "CRC check failed", "cut": "ended before the end-of-stream marker"}[damage]
    message = rf"^{file} cannot be read \(.*{reason}.*\)\. It is damaged or incomplete: replace it\.$"
    with pytest.raises(ValueError, match=message):
        Lfw(tmp_path / "packed", tmp_path / "cache", validation_fraction=1 / 3).load()
    assert files_of(tmp_path / "cache") == []
    assert re.match(message, Lfw(tmp_path / "packed", tmp_path / "cache").verify()[0])


def test_funneled_is_used_without_a_deep_funneled_copy(copy, tmp_path):
    shutil.move(copy / "lfw-py/lfw-deepfunneled", copy / "lfw-py/lfw_funneled")
    module = Lfw(copy, tmp_path / "cache")
    assert module.provenance()["alignment"] == "funneled"
    with pytest.raises(
        ValueError, match=r"neither in paths\.data .*can no longer be downloaded: put that archive, or a"
    ):
        Lfw(copy, tmp_path / "cache", alignment="deepfunneled", validation_fraction=1 / 3).load()


def test_deep_funneled_is_preferred(copy, tmp_path):
    shutil.copytree(copy / "lfw-py/lfw-deepfunneled", copy / "lfw-py/lfw_funneled")
    assert Lfw(copy, tmp_path / "cache").provenance()["alignment"] == "deepfunneled"
    assert Lfw(copy, tmp_path / "cache", alignment="funneled").provenance()["alignment"] == "funneled"


def test_absent_funneled_images_and_pairs_are_downloaded(copy, server, tmp_path, monkeypatch):
    archive_file = tmp_path / "lfw-funneled.tgz"
    with tarfile.open(archive_file, "w:gz") as archive:
        archive.add(copy / "lfw-py/lfw-deepfunneled", "lfw_funneled")
    content, pairs = archive_file.read_bytes(), b"1\nAl_A\t1\t2\nBo\t1\tCy\t2\n"
    server.answers = {"/5976015": [content], "/pairs": [pairs]}
    each = lfw.ALIGNMENTS["funneled"]._replace(remote=server.remote("lfw-funneled.tgz", content, "/5976015"))
    monkeypatch.setitem(lfw.ALIGNMENTS, "funneled", each)
    monkeypatch.setitem(lfw.PAIRS, "view_1_test", server.remote("pairsDevTest.txt", pairs, "/pairs"))
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        module = Lfw(tmp_path / "empty", tmp_path / "cache")
        assert len(module.everyone) == TOTAL
        assert module.pairs("view_1_test").second_M.tolist() == [1, 8]
    assert server.asked == ["/5976015", "/pairs"]
    assert module.provenance() == {
        "files": "lfw-funneled.tgz",
        "from": f"downloaded into {tmp_path}/cache/downloads/lfw-py",
        "cache": str(tmp_path / "cache"),
        "alignment": "funneled",
    }


def test_a_missing_and_an_unknown_photograph_are_named(copy, tmp_path):
    folder = copy / "lfw-py/lfw-deepfunneled"
    (folder / "Cy/Cy_0002.jpg").rename(folder / "Cy/Cy_0003.jpg")
    message = (
        r"should hold the 18 photographs of 7 people, but holds 18 \(1 missing, such as Cy/Cy_0002\.jpg; 1 unknown,"
    )
    with pytest.raises(ValueError, match=message):
        Lfw(copy, tmp_path / "cache", validation_fraction=1 / 3).load()
    assert files_of(tmp_path / "cache") == []
    found = Lfw(copy, tmp_path / "cache").verify()
    assert len(found) == 4 and "Cy_0002" in found[0]
    assert all("pairs" in fault and "neither" in fault for fault in found[1:])


@pytest.mark.parametrize("broken", ["cut", "small"])
def test_an_unreadable_photograph_is_named(copy, tmp_path, broken):
    file = copy / "lfw-py/lfw-deepfunneled/Di/Di_0003.jpg"
    if broken == "cut":
        file.write_bytes(file.read_bytes()[:900])
    else:
        Image.new("RGB", (64, 64)).save(file)
    reason = {"cut": ".*truncated.*", "small": "it has 64×64 pixels, not 250×250"}[broken]
    with pytest.raises(ValueError, match=rf"holds Di/Di_0003\.jpg, which cannot be read as an image \({reason}\)"):
        Lfw(copy, tmp_path / "cache", validation_fraction=1 / 3).load()
    assert files_of(tmp_path / "cache") == []


def test_pairs_are_rows_of_the_table(tmp_path):
    file = tmp_path / "pairs.txt"
    file.write_text("2\t1\nAl_A\t1\t3\nAl_A\t2\tBo\t1\nCy\t1\t2\nDi\t4\tEd\t5\n", encoding="utf-8")
    first, second, same, fold = (each.tolist() for each in read_pairs(file, SMALL))
    assert first == [0, 1, 7, 12]
    assert second == [2, 6, 8, 17]
    assert same == [True, False, True, False]
    assert fold == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html>\n", "should begin with the number of its pairs, but begins with '<html>'"),
        ("1 2 3\n", "should begin with the number of its pairs"),
        ("2\nAl_A\t1\t2\n", r"should hold 4 pairs by its first line, but holds 1\. It is incomplete"),
        ("1\nAl_A\t1\t4\nBo\t1\tCy\t2\n", r"names image '4' of 'Al_A' in the line 'Al_A\\t1\\t4', but there is none"),
        ("1\nAl_A\t1\t2\nZoe\t1\tCy\t2\n", "names image '1' of 'Zoe' in the line"),
        ("1\nAl_A\t1\t2\nCy\t2\n", "should have 3 or 4 words in a line"),
    ],
)
def test_invalid_lists_of_pairs_are_refused(tmp_path, content, message):
    file = tmp_path / "pairs.txt"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_pairs(file, SMALL)


PAIR_FILES = {
    "pairsDevTrain.txt": "1\nAl_A\t1\t3\nAl_A\t2\tCy\t1\n",
    "pairsDevTest.txt": "1\nDi\t2\t4\nBo\t1\tDi\t2\n",
    "pairs.txt": "3\t1\nAl_A\t1\t2\nAl_A\t3\tBo\t1\nDi\t1\t4\nAl_A-B\t2\tCy\t1\nEd\t5\t1\nAl_B\t1\tEd\t1\n",
}


@pytest.fixture
def with_pairs(copy):
    for name, content in PAIR_FILES.items():
        (copy / "lfw-py" / name).write_text(content, encoding="utf-8")
    return copy


def named(official, pairs):
    """Return the pairs as gray levels of their images in the protocol's table."""
    of_row = levels(official.table)
    sides = (pairs.first_M.tolist(), pairs.second_M.tolist(), pairs.same_M.tolist())
    return [(of_row[left], of_row[right], same) for left, right, same in zip(*sides, strict=True)]


def test_view_1_chooses_on_its_training_pairs_and_decides_its_test_pairs(with_pairs, tmp_path):
    official = Lfw(with_pairs, tmp_path / "cache", validation_fraction=1 / 3).official_pairs
    assert official.name == "view_1"
    assert named(official, official.choose) == [(0, 2, True), (1, 7, False)]
    assert named(official, official.decide) == [(10, 12, True), (6, 10, False)]
    assert levels(official.table) == [0, 1, 2, 6, 7, 10, 12], "each image once, and no other"


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_view_2_chooses_on_the_other_folds(with_pairs, tmp_path, fold):
    pairs = [[(0, 1, True), (2, 6, False)], [(9, 12, True), (4, 7, False)], [(17, 13, True), (5, 13, False)]]
    official = Lfw(with_pairs, tmp_path / "cache", view=2, fold=fold, validation_fraction=0.25).official_pairs
    assert official.name == "view_2"
    assert named(official, official.decide) == pairs.pop(fold)
    assert named(official, official.choose) == [each for others in pairs for each in others]


def test_missing_pairs_are_reported_before_training(with_pairs, tmp_path, server, monkeypatch):
    (with_pairs / "lfw-py/pairsDevTest.txt").unlink()
    server.answers = {}
    monkeypatch.setitem(lfw.PAIRS, "view_1_test", server.remote("pairsDevTest.txt", b"", "/nothing"))
    module = Lfw(with_pairs, tmp_path / "cache", validation_fraction=1 / 3, classes_per_batch=2, images_per_class=2)
    with pytest.raises(ValueError, match=r"pairsDevTest\.txt"):
        module.setup("fit")


def test_the_images_of_the_pairs_are_tested_after_the_others(with_pairs, tmp_path):
    module = Lfw(with_pairs, tmp_path / "cache", validation_fraction=1 / 3, eval_batch_size=2)
    others, of_pairs = module.test_dataloader()
    assert torch.cat([batch.images_BCHW for batch in of_pairs]).equal(module.official_pairs.table.images_NCHW)
    assert sum(len(batch.labels_B) for batch in others) == len(module.splits.test)


@pytest.mark.parametrize(
    ("learnt", "tested", "message"),
    [
        (
            (1, None),
            (2, 0),
            r"trained on View 1 of LFW has seen \d+ of the people that fold 0 of View 2 tests, so it can",
        ),
        ((2, 3), (2, 4), r"trained on fold 3 of View 2 of LFW has seen 567 of the people that fold 4 of View 2 tests"),
        ((2, 3), (1, None), r"trained on fold 3 of View 2 of LFW has seen \d+ of the people that View 1 tests"),
        ((1, None), (1, None), None),
        ((2, 3), (2, 3), None),
    ],
)
def test_a_network_is_refused_on_people_that_it_has_seen(learnt, tested, message):
    choices = {"name": "lfw", "view": learnt[0], "fold": learnt[1]}
    module = Lfw(view=tested[0], fold=tested[1])
    if message is None:
        module.check_unseen(choices)
        return
    with pytest.raises(ValueError, match=message):
        module.check_unseen(choices)


def test_training_on_other_sets_is_allowed():
    Lfw(view=2, fold=1).check_unseen({"name": "omniglot", "rotations": True})


def test_the_state_records_the_people_of_the_training(with_pairs, tmp_path):
    def module(**options):
        options = {"validation_fraction": 1 / 3, "classes_per_batch": 2, "images_per_class": 2} | options
        return Lfw(with_pairs, tmp_path / "cache", **options)

    learnt = module().state_dict()[data.TRAINED_CLASSES]
    module().check_unseen(learnt)
    with pytest.raises(ValueError, match=r"has seen 2 of the people that fold 1 of View 2 tests"):
        module(view=2, fold=1).check_unseen(learnt)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alignment": "deepfunelled"}, r"must be null or one of deepfunneled, .*Did you mean 'deepfunneled'\?"),
        ({"view": 3}, r"has the views 1 and 2, but data\.view is 3\."),
        ({"view": 2}, r"ten folds: data\.fold must be 0…9, but is None\."),
        ({"view": 2, "fold": 10}, r"data\.fold must be 0…9, but is 10\."),
        ({"fold": 0}, r"View 1 of LFW has no folds, but data\.fold is 0\."),
        ({"crop": 251}, r"250×250 pixels; data\.crop must be 1…250, not 251\."),
        ({"image_size": 0}, r"data\.image_size must be at least 1 pixel"),
        ({"validation_fraction": 1}, r"data\.validation_fraction must be above 0 and below 1, but is 1\."),
    ],
)
def test_inconsistent_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Lfw(**options)


def test_an_unknown_name_of_pairs_is_refused():
    with pytest.raises(
        ValueError, match=r"LFW has no pairs 'view2'\. Did you mean 'view_2'\? Available: view_1_train,"
    ):
        Lfw().pairs("view2")


def test_the_shipped_people_equal_the_published_ones():
    assert (len(people()), sum(person.images for person in people())) == (5_749, 13_233)
    parts = Counter(person.view_1 for person in people())
    assert parts == {"train": 4_038, "test": 1_711}
    assert Counter(person.fold for person in people()) == dict(
        enumerate([601, 555, 552, 560, 567, 527, 597, 601, 580, 609])
    )
    assert [person.name for person in people()] == sorted({person.name for person in people()})
    assert sum(person.images for person in people() if person.view_1 == "train") == 9_525


def test_the_real_people_lists_agree_with_the_shipped_people(real_root):
    folder = real_root / "lfw-py"
    for part in ("train", "test"):
        lines = (folder / f"peopleDev{part.capitalize()}.txt").read_text().splitlines()[1:]
        assert {tuple(line.split("\t")) for line in lines} == {
            (person.name, str(person.images)) for person in people() if person.view_1 == part
        }
    lines = (folder / "people.txt").read_text().splitlines()[1:]
    fold, read = -1, {}
    for line in lines:
        name, _, images = line.partition("\t")
        fold += not images
        if images:
            read[name] = fold
    assert read == {person.name: person.fold for person in people()}


def test_the_real_counts(real_root, real_cache):
    module = data.build("lfw", root=real_root, cache=real_cache)
    everyone = module.everyone
    assert (len(everyone), len(everyone.class_names)) == (13_233, 5_749)
    assert everyone.images_NCHW.shape[1:] == (3, 64, 64)
    train, validation, test = module.load()
    assert (len(test), len(test.class_names)) == (3_708, 1_711)
    assert len(train) + len(validation) == 9_525
    assert len(train.class_names) + len(validation.class_names) == 4_038
    names = [*train.class_names, *validation.class_names, *test.class_names]
    assert len(set(names)) == 5_749, "no person is in two parts"


def test_every_real_pair_resolves(real_root, real_cache):
    module = data.build("lfw", root=real_root, cache=real_cache)
    for which, count in (("view_1_train", 2_200), ("view_1_test", 1_000), ("view_2", 6_000)):
        pairs = module.pairs(which)
        assert len(pairs.same_M) == count and int(pairs.same_M.sum()) == count // 2
        label_of = module.everyone.labels_N
        assert torch.equal(label_of[pairs.first_M] == label_of[pairs.second_M], pairs.same_M)
        assert (pairs.first_M != pairs.second_M).all()
    fold_C = torch.tensor([person.fold for person in people()])
    for row_M in (pairs.first_M, pairs.second_M):
        assert torch.equal(fold_C[label_of[row_M]], pairs.fold_M), "the people of a pair belong to its fold"
    parts = np.array([person.view_1 for person in people()])
    for which in ("train", "test"):
        pairs = module.pairs(f"view_1_{which}")
        assert set(parts[label_of[torch.cat([pairs.first_M, pairs.second_M])]]) == {which}


@pytest.mark.parametrize("fold", [0, 9])
def test_no_person_of_a_real_fold_is_trained_on(real_root, real_cache, fold):
    module = data.build("lfw", root=real_root, cache=real_cache, view=2, fold=fold)
    train, validation, test = module.load()
    tested = {person.name for person in people() if person.fold == fold}
    assert set(test.class_names) == tested
    assert tested.isdisjoint(train.class_names) and tested.isdisjoint(validation.class_names)
    assert len(train) + len(validation) + len(test) == 13_233


def test_view_2_of_raw_pixels_is_near_the_published_accuracy_of_eigenfaces(real_root, real_cache):
    """Turk & Pentland's eigenfaces reach 60.02 ± 0.79% (LFW results page) and use little more than pixels.

    This test trains nothing: the embeddings are the images, normalized to unit norm.
    """
    accuracies = []
    table = data.build("lfw", root=real_root, cache=real_cache, view=2, fold=0).official_pairs.table
    smaller_NCHW = F.avg_pool2d(table.images_NCHW.float(), 4)  # changes the mean accuracy by 0.0005
    z_MD = F.normalize(smaller_NCHW.flatten(1), dim=1)
    for fold in range(FOLDS):
        official = data.build("lfw", root=real_root, cache=real_cache, view=2, fold=fold).official_pairs
        assert len(official.decide.same_M) == 600 and len(official.choose.same_M) == 5_400
        assert torch.equal(official.table.images_NCHW, table.images_NCHW)
        choose, decide = (ImagePairs(*pairs[:3]) for pairs in (official.choose, official.decide))
        accuracies.append(verify(z_MD, choose, decide).accuracy)
    assert statistics.mean(accuracies) == pytest.approx(0.6065, abs=0.01)
    assert statistics.stdev(accuracies) / 10**0.5 == pytest.approx(0.0076, abs=0.003)
    assert abs(statistics.mean(accuracies) - 0.6002) < 2 * 0.0079
