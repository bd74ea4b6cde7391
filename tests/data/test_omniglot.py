"""Omniglot is read equally from archives and folders, split by whole alphabets, and refused if incomplete."""

import re
import shutil
import tarfile
import zipfile
from collections import Counter

import pytest
import torch
from PIL import Image, ImageDraw
from processes import files_of, tree

from siamese_lab import data
from siamese_lab.data.sets import omniglot
from siamese_lab.data.sets.omniglot import Omniglot

PARTS = {
    "images_background": {"Greek": 2, "Hebrew": 1, "Latin": 3},
    "images_evaluation": {"Angelic": 2, "Tengwar": 2},
}
DRAWINGS = 3


def draw_character(file, seed):
    """Draw a black stroke on white, as in the originals, different for every drawing."""
    image = Image.new("1", (105, 105), 1)
    ImageDraw.Draw(image).line((10 + seed, 10, 90 - seed, 60 + seed), fill=0, width=7)
    image.save(file)


@pytest.fixture(scope="module")
def small_copy(tmp_path_factory):
    """Write the two parts as folders, with a few characters of three drawings each."""
    root = tmp_path_factory.mktemp("small")
    seed = 0
    for part, alphabets in PARTS.items():
        for alphabet, characters in alphabets.items():
            for character in range(1, characters + 1):
                folder = root / "omniglot-py" / part / alphabet / f"character{character:02}"
                folder.mkdir(parents=True)
                for drawing in range(1, DRAWINGS + 1):
                    seed += 1
                    draw_character(folder / f"{seed:04}_{drawing:02}.png", seed)
    return root


@pytest.fixture
def folders(small_copy, tmp_path, monkeypatch):
    monkeypatch.setattr(omniglot, "CHARACTERS", {part: sum(each.values()) for part, each in PARTS.items()})
    monkeypatch.setattr(omniglot, "DRAWINGS", DRAWINGS)
    return shutil.copytree(small_copy, tmp_path / "folders")


@pytest.fixture
def archives(folders, tmp_path):
    """Pack the parts into archives that contain a folder with the part's name, like the originals."""
    target = tmp_path / "archives" / "omniglot-py"
    target.mkdir(parents=True)
    for part in PARTS:
        with zipfile.ZipFile(target / f"{part}.zip", "w") as archive:
            for file in (folders / "omniglot-py" / part).rglob("*"):
                archive.write(file, file.relative_to(folders / "omniglot-py"))
    return target.parent


def load(root, tmp_path, **options):
    options = {"validation_alphabets": ["Hebrew"], "rotations": False} | options
    return Omniglot(root=root, cache=tmp_path / "cache", **options).load()


def test_archives_and_folders_give_equal_tables(archives, folders, tmp_path):
    for left, right in zip(load(archives, tmp_path), load(folders, tmp_path), strict=True):
        assert torch.equal(left.images_NCHW, right.images_NCHW)
        assert torch.equal(left.labels_N, right.labels_N)
        assert left.class_names == right.class_names


def test_whole_alphabets_are_held_out(folders, tmp_path):
    train, validation, test = load(folders, tmp_path)
    assert train.class_names == tuple(
        f"{alphabet}/character{number:02}"
        for alphabet, number in [("Greek", 1), ("Greek", 2), ("Latin", 1), ("Latin", 2), ("Latin", 3)]
    )
    assert validation.class_names == ("Hebrew/character01",)
    assert [len(table) for table in (train, validation, test)] == [15, 3, 12]
    assert {alphabet for alphabet, _ in (name.split("/") for name in test.class_names)} == {"Angelic", "Tengwar"}
    for table in (train, validation, test):
        assert table.labels_N.bincount().tolist() == [DRAWINGS] * len(table.class_names)


def test_each_drawing_has_its_own_label(folders, tmp_path):
    """Without resampling, every image equals its file, with ink at 255."""
    train, _, _ = load(folders, tmp_path, image_size=105)
    files = sorted((folders / "omniglot-py/images_background").rglob("*.png"))
    files = [file for file in files if file.parts[-3] != "Hebrew"]
    for image, label, file in zip(train.images_NCHW, train.labels_N, files, strict=True):
        assert train.class_names[label] == "/".join(file.parts[-3:-1])
        ink = Image.open(file).convert("L").point(lambda value: 255 - value)
        assert image.flatten().tolist() == list(ink.tobytes())


@pytest.mark.parametrize("image_size", [16, 28])
def test_images_are_white_on_black_and_have_the_chosen_size(folders, tmp_path, image_size):
    for table in load(folders, tmp_path, image_size=image_size):
        assert table.images_NCHW.shape[1:] == (1, image_size, image_size)
        assert table.images_NCHW.float().mean() < 60
        assert (table.images_NCHW.amax((1, 2, 3)) > 128).all()


def test_rotations_make_four_classes_of_each_training_class_only(folders, tmp_path):
    plain, turned = load(folders, tmp_path), load(folders, tmp_path, rotations=True)
    assert len(turned.train.class_names) == 4 * len(plain.train.class_names)
    assert turned.validation.class_names == plain.validation.class_names
    assert turned.test.class_names == plain.test.class_names


def test_a_second_load_decodes_nothing(folders, tmp_path, monkeypatch):
    first = load(folders, tmp_path)
    monkeypatch.setattr(Omniglot, "_decode", None)
    second = load(folders, tmp_path)
    assert all(torch.equal(a.images_NCHW, b.images_NCHW) for a, b in zip(first, second, strict=True))


def test_another_size_is_decoded_again(folders, tmp_path):
    assert load(folders, tmp_path, image_size=20).train.images_NCHW.shape[-1] == 20
    assert load(folders, tmp_path, image_size=28).train.images_NCHW.shape[-1] == 28


def test_a_changed_copy_is_decoded_again(folders, tmp_path):
    before = load(folders, tmp_path).test
    first = min((folders / "omniglot-py/images_evaluation").rglob("*.png"))
    Image.new("L", (105, 105), 0).save(first)
    after = load(folders, tmp_path).test
    assert (after.images_NCHW[0] == 255).all()
    assert torch.equal(after.images_NCHW[1:], before.images_NCHW[1:])


@pytest.fixture
def offered(server, archives, monkeypatch):
    """Serve the two archives, as the authors' repository serves the real ones."""
    for part in PARTS:
        content = (archives / f"omniglot-py/{part}.zip").read_bytes()
        server.answers[f"/{part}.zip"] = [content]
        monkeypatch.setitem(omniglot.PARTS, part, server.remote(f"{part}.zip", content, f"/{part}.zip"))
    return server


def test_absent_parts_are_downloaded_into_the_cache(offered, folders, tmp_path, capsys):
    for _ in range(2):
        module = Omniglot(None, tmp_path / "cache", validation_alphabets=["Hebrew"], rotations=False)
        for left, right in zip(module.load(), load(folders, tmp_path / "other"), strict=True):
            assert torch.equal(left.images_NCHW, right.images_NCHW)
    assert offered.asked == ["/images_background.zip", "/images_evaluation.zip"], "once each"
    downloads = tmp_path / "cache/downloads/omniglot-py"
    assert f"downloading images_background.zip into {downloads}." in capsys.readouterr().err
    assert module.provenance() == {
        "files": "images_background.zip, images_evaluation.zip",
        "from": f"downloaded into {downloads}",
        "cache": str(tmp_path / "cache"),
    }


def test_an_incomplete_copy_is_used_and_the_rest_is_downloaded(offered, archives, tmp_path, capsys):
    (archives / "omniglot-py/images_evaluation.zip").unlink()
    before = tree(archives)
    load(archives, tmp_path)
    assert offered.asked == ["/images_evaluation.zip"]
    announced = (
        rf"^{archives} holds no omniglot-py/images_evaluation\.zip: downloading images_evaluation\.zip into .*\.$"
    )
    assert re.match(announced, capsys.readouterr().err)
    assert tree(archives) == before


def test_a_copy_is_only_read(archives, tmp_path):
    before = tree(archives)
    for path in [archives, *archives.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    load(archives, tmp_path)
    for path in [archives, *archives.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert tree(archives) == before


def test_an_incomplete_download_is_not_cached(offered, tmp_path, monkeypatch):
    """The content is checked even if the checksum of an incomplete archive is right."""
    offered.answers["/images_background.zip"] = offered.answers["/images_evaluation.zip"]
    content = offered.answers["/images_evaluation.zip"][0]
    monkeypatch.setitem(
        omniglot.PARTS,
        "images_background",
        offered.remote("images_background.zip", content, "/images_background.zip"),
    )
    with pytest.raises(ValueError, match=r"should hold 6 characters .* but holds 4 characters and 12 images"):
        load(None, tmp_path)


def test_archives_with_other_folders_are_read(folders, tmp_path):
    """Zips and tars are packed without the part's folder or under other folders, with hidden system files."""
    for number, (suffix, top) in enumerate([(".zip", ""), (".zip", "my/copy/of/it/"), (".tgz", "x/"), (".tar", "")]):
        target = tmp_path / f"foreign{number}" / "omniglot-py"
        target.mkdir(parents=True)
        for part in PARTS:
            source = folders / "omniglot-py" / part
            names = {file: f"{top}{file.relative_to(source)}" for file in source.rglob("*.png")}
            if suffix == ".zip":
                with zipfile.ZipFile(target / f"{part}.zip", "w") as archive:
                    archive.writestr("__MACOSX/Greek/character01/._0001_01.png", b"hidden")
                    for file, name in names.items():
                        archive.write(file, name)
            else:
                with tarfile.open(target / f"{part}{suffix}", "w:gz" if suffix == ".tgz" else "w") as archive:
                    for file, name in names.items():
                        archive.add(file, name)
        for left, right in zip(load(target.parent, tmp_path), load(folders, tmp_path), strict=True):
            assert torch.equal(left.images_NCHW, right.images_NCHW)
            assert left.class_names == right.class_names


def test_verify_names_every_fault(archives, folders, tmp_path):
    assert Omniglot(archives, tmp_path / "cache").verify() == []
    assert Omniglot(None, tmp_path / "cache").verify() == [
        f"omniglot-py/{part}.zip is neither in paths.data (not set) nor downloaded yet." for part in PARTS
    ]
    broken = sorted((folders / "omniglot-py/images_background").rglob("*.png"))[3:5]
    for file in broken:
        file.write_bytes(b"not an image")
    max((folders / "omniglot-py/images_evaluation").rglob("*.png")).unlink()
    found = Omniglot(folders, tmp_path / "cache").verify()
    assert len(found) == 3
    assert all(file.name in fault for file, fault in zip(broken, found, strict=False))
    assert "but holds 4 characters and 11 images" in found[2]


def test_verify_continues_after_an_unreadable_archive(archives, tmp_path):
    background, evaluation = (archives / f"omniglot-py/{part}.zip" for part in PARTS)
    background.unlink()
    background.symlink_to("/dev/zero")
    content = bytearray(evaluation.read_bytes())
    content[len(content) // 3] ^= 1
    evaluation.write_bytes(content)
    (archives / "omniglot-py/one-shot-classification").mkdir()
    (archives / "omniglot-py/one-shot-classification/all_runs.zip").write_bytes(b"<html>")
    found = Omniglot(archives, tmp_path / "cache").verify()
    assert f"{background} should be a file, but is a pipe or a device: replace it." in found
    assert any(fault.startswith(f"{evaluation} ") for fault in found)
    assert any("all_runs.zip should be a zip or tar archive" in fault for fault in found)


def test_verify_names_a_download_that_has_changed(offered, tmp_path):
    """The archive has more content than the downloaded one, and is readable."""
    module = Omniglot(None, tmp_path / "cache", validation_alphabets=["Hebrew"])
    module.load()
    assert module.verify() == []
    archive = tmp_path / "cache/downloads/omniglot-py/images_background.zip"
    with zipfile.ZipFile(archive, "a") as content:
        content.writestr("notes.txt", "")
    found = module.verify()
    assert len(found) == 1 and found[0].startswith(f"{archive} has changed since it was downloaded (md5 ")


def test_an_unreadable_drawing_is_named_and_nothing_is_cached(folders, tmp_path):
    file = sorted((folders / "omniglot-py/images_background").rglob("*.png"))[7]
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(ValueError, match=rf"images_background holds .*{file.name}, which cannot be read as an image"):
        load(folders, tmp_path)
    assert files_of(tmp_path / "cache") == []


def test_the_one_shot_runs_are_found_or_downloaded(server, archives, tmp_path, monkeypatch):
    name = "one-shot-classification/all_runs.zip"
    monkeypatch.setattr(omniglot, "ONE_SHOT_RUNS", server.remote(name, b"the runs", "/all_runs.zip"))
    server.answers["/all_runs.zip"] = [b"the runs"]
    module = Omniglot(archives, tmp_path / "cache")
    assert module.one_shot_runs() == tmp_path / "cache/downloads/omniglot-py" / name
    assert module.one_shot_runs().read_bytes() == b"the runs"
    (archives / "omniglot-py/one-shot-classification/all_runs").mkdir(parents=True)
    assert module.one_shot_runs() == archives / "omniglot-py/one-shot-classification/all_runs"


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"absent, but there is no such folder\. It should hold omniglot-py/images_b.*z"
    ):
        load(tmp_path / "absent", tmp_path)


def test_an_empty_folder_of_a_part(folders, tmp_path):
    shutil.rmtree(folders / "omniglot-py/images_background")
    (folders / "omniglot-py/images_background").mkdir()
    message = r"should hold 6 characters of 3 drawings \(18 images\), but holds 0 characters and 0 images\."
    with pytest.raises(ValueError, match=message):
        load(folders, tmp_path)


def test_a_missing_drawing(folders, tmp_path):
    next((folders / "omniglot-py/images_evaluation").rglob("*.png")).unlink()
    with pytest.raises(ValueError, match=r"but holds 4 characters and 11 images\. It is incomplete"):
        load(folders, tmp_path)


def test_the_wrong_part_under_the_right_name(folders, tmp_path):
    shutil.rmtree(folders / "omniglot-py/images_background")
    shutil.copytree(folders / "omniglot-py/images_evaluation", folders / "omniglot-py/images_background")
    with pytest.raises(ValueError, match=r"should hold 6 characters .* but holds 4 characters and 12 images"):
        load(folders, tmp_path)


def test_a_file_that_is_no_archive_is_refused(archives, tmp_path):
    (archives / "omniglot-py/images_evaluation.zip").write_bytes(b"<html>404</html>")
    with pytest.raises(
        ValueError, match=r"images_evaluation\.zip should be a zip or tar archive, but cannot be read as one"
    ):
        load(archives, tmp_path)


def test_an_unknown_alphabet_is_refused(folders, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"no background alphabet 'Hebraw'\. Did you mean 'Hebrew'\? Available: Greek, Hebrew, Latin\.",
    ):
        load(folders, tmp_path, validation_alphabets=["Hebraw"])


@pytest.mark.parametrize("alphabets", [[], ["Greek", "Hebrew", "Latin"]])
def test_training_and_validation_need_alphabets(folders, tmp_path, alphabets):
    with pytest.raises(ValueError, match=rf"must name between 1 and 2 alphabets, but has {len(alphabets)}\."):
        load(folders, tmp_path, validation_alphabets=alphabets)


def test_any_size_of_at_least_one_pixel(folders, tmp_path):
    assert load(folders, tmp_path, image_size=128).test.images_NCHW.shape == (12, 1, 128, 128)
    with pytest.raises(ValueError, match=r"data\.image_size must be at least 1 pixel, but is 0\."):
        Omniglot(image_size=0)


def test_the_set_is_built_by_its_name():
    assert "omniglot" in data.available()
    with pytest.raises(ValueError, match=r"has no option 'rotation'\. Did you mean 'rotations'\?"):
        data.build("omniglot", rotation=True)


def test_the_real_counts(omniglot_root, real_cache):
    module = Omniglot(omniglot_root, real_cache, rotations=False)
    train, validation, test = module.load()
    assert (len(test), len(test.class_names)) == (13_180, 659)
    assert len(train) + len(validation) == 19_280
    assert len(train.class_names) + len(validation.class_names) == 964
    assert [count for table in (train, validation, test) for count in set(table.labels_N.bincount().tolist())] == [
        20
    ] * 3
    alphabets = [{name.split("/")[0] for name in table.class_names} for table in (train, validation, test)]
    assert [len(each) for each in alphabets] == [25, 5, 20]
    assert Counter(alphabet for each in alphabets for alphabet in each).most_common(1)[0][1] == 1
    assert alphabets[1] == {"Balinese", "Early_Aramaic", "Hebrew", "Korean", "Latin"}
    assert module.one_shot_runs() == omniglot_root / "omniglot-py/one-shot-classification/all_runs.zip"
