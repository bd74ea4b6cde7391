"""Folders of images may have many file types, uneven classes and too many images for memory; mistakes are named."""

import hashlib
import io
import os

import numpy as np
import PIL
import pytest
import torch
from conftest import quick_run
from PIL import Image

from siamese_lab import data
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.tables.files_table import FilesTable
from siamese_lab.data.tables.image_table import ImageTable
from siamese_lab.errors import UserError


def picture(number, size=(12, 12), mode="RGB"):
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


@pytest.fixture
def folder(tmp_path):
    """Write seven classes of 2, 3, 4, 5, 6, 1 and 2 images."""
    root = tmp_path / "pets"
    for label, size in enumerate((2, 3, 4, 5, 6, 1, 2)):
        for rank in range(size):
            path = root / f"class {label}" / f"{rank}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(10 * label + rank).save(path)
    return root


def build(folder, **options):
    options = {"image_size": 8, "classes_per_batch": 2, "images_per_class": 2, "workers": 0} | options
    return data.build("image_folder", root=folder, cache=folder.parent / "cache", **options)


def test_whole_classes_are_split_and_classes_of_one_image_separately(folder):
    module = build(folder)
    names = [set(part.class_names) for part in module.load()]
    assert set.union(*names) == {f"class {label}" for label in range(7)}
    assert sum(map(len, names)) == 7
    for part in module.load():
        assert part.labels_N.bincount().max() >= 2
    assert "class 5" in names[0], "a class of one image belongs to the largest part"
    assert "class 5" not in module.splits.train.class_names


def test_the_split_depends_on_its_own_seed_only(folder):
    splits = [build(folder, **options).load() for options in ({}, {"seed": 7}, {"split_seed": 1}, {"split_seed": 2})]
    tested = [part.test.class_names for part in splits]
    assert tested[0] == tested[1]
    assert len(set(tested)) > 1


def test_fractions_count_classes(tmp_path):
    for label in range(40):
        for rank in range(2):
            path = tmp_path / "many" / str(label) / f"{rank}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(label, (3, 3)).save(path)
    parts = build(tmp_path / "many", validation_fraction=0.25, test_fraction=0.3).splits
    assert [len(part.class_names) for part in parts] == [18, 10, 12]


def test_images_equal_their_files(folder):
    module = build(folder)
    for part in module.load():
        for image_CHW, label in zip(part.images_NCHW, part.labels_N, strict=True):
            paths = sorted((folder / part.class_names[label]).iterdir())
            candidates = [np.asarray(PhotoConverter(8, True)(Image.open(path))) for path in paths]
            assert any(np.array_equal(image_CHW.permute(1, 2, 0), each) for each in candidates)


def test_a_second_start_decodes_nothing_and_a_new_image_is_seen(folder, monkeypatch):
    before = build(folder).splits
    with monkeypatch.context() as patch:
        patch.setattr("siamese_lab.data.sets.own_images.decode", None)
        assert torch.equal(build(folder).splits.train.images_NCHW, before.train.images_NCHW)
    picture(99).save(folder / "class 0" / "new.png")
    assert sum(len(part) for part in build(folder).load()) == 24


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_do_not_fit_into_memory_give_the_same_batches(folder, workers):
    options = {"repeats": True, "images_per_class": 4, "classes_per_batch": 2, "batches_per_epoch": 6}
    in_memory = build(folder, **options)
    on_the_fly = build(folder, memory_limit=0.001, workers=workers, **options)
    assert isinstance(in_memory.splits.train, ImageTable)
    assert isinstance(on_the_fly.splits.train, FilesTable)
    before = torch.get_rng_state()
    for one, other in zip(in_memory.batches, on_the_fly.batches, strict=True):
        assert torch.equal(one.images_BCHW, other.images_BCHW)
        assert torch.equal(one.labels_B, other.labels_B)
        assert torch.equal(one.image_ids_B, other.image_ids_B)
    for one, other in zip(in_memory.val_dataloader(), on_the_fly.val_dataloader(), strict=True):
        assert torch.equal(one.images_BCHW, other.images_BCHW)
        assert torch.equal(one.labels_B, other.labels_B)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stream_decoded_by_workers_is_resumed_at_any_batch(folder):
    options = {"in_memory": False, "workers": 2, "batches_per_epoch": 9}
    expected = [batch.images_BCHW for batch in build(folder, **options).batches]
    module = build(folder, **options)
    stream = iter(module.batches)
    seen = [next(stream).images_BCHW for _ in range(4)]
    resumed = build(folder, **options, seed=3)
    resumed.load_state_dict(module.state_dict())
    seen += [batch.images_BCHW for batch in resumed.batches]
    assert all(torch.equal(one, other) for one, other in zip(seen, expected, strict=True))


def test_in_memory_chooses_the_kind_of_table(folder):
    def kind(**options):
        return type(build(folder, **options).splits.train)

    bytes_of_all = 23 * 3 * 8 * 8
    assert kind(memory_limit=bytes_of_all / 1e6) is ImageTable
    assert kind(memory_limit=(bytes_of_all - 1) / 1e6) is FilesTable
    assert kind(memory_limit=0, in_memory=True) is ImageTable
    assert kind(in_memory="false") is FilesTable


@pytest.mark.slow
@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_a_run_ends_with_results(folder, tmp_path, in_memory):
    left = quick_run(
        tmp_path / "run",
        "data=image_folder",
        f"data.root={folder}",
        f"paths.cache={tmp_path / 'cache'}",
        f"data.in_memory={in_memory}",
        "data.image_size=16",
        "data.classes_per_batch=2",
        "data.images_per_class=2",
        "data.workers=1",
    )
    assert left.status == "finished"
    assert 0 <= left.test["recall@1"] <= 1
    assert left.validation["recall@8"] is None, "there are too few images"


# --- every kind of image


def through_file(image, suffix, **options):
    file = io.BytesIO()
    image.save(file, suffix, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def plain(image, size=4, color=True):
    return np.asarray(PhotoConverter(size, color)(image))


QUARTERS = np.zeros((8, 8, 3), dtype=np.uint8)
QUARTERS[:4, 4:], QUARTERS[4:, :4], QUARTERS[4:, 4:] = (255, 0, 0), (0, 255, 0), (40, 80, 160)


def corners(pixels):
    return [pixels[row, column].tolist() for row in (0, -1) for column in (0, -1)]


AS_THEY_ARE = [[0, 0, 0], [255, 0, 0], [0, 255, 0], [40, 80, 160]]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm"])
def test_plain_color_is_unchanged(suffix):
    assert corners(plain(through_file(Image.fromarray(QUARTERS), suffix))) == AS_THEY_ARE


@pytest.mark.parametrize(
    ("suffix", "options"), [("jpeg", {"quality": 98, "subsampling": 0}), ("webp", {"quality": 98})]
)
def test_lossy_color_is_nearly_unchanged(suffix, options):
    large = Image.fromarray(QUARTERS).resize((64, 64), Image.Resampling.NEAREST)
    pixels = plain(through_file(large, suffix, **options), 8)
    assert np.abs(np.array(corners(pixels)) - AS_THEY_ARE).max() <= 8


def test_palettes_are_looked_up():
    image = Image.fromarray(QUARTERS).quantize(4)
    assert through_file(image, "png").mode == "P"
    assert corners(plain(through_file(image, "png"))) == AS_THEY_ARE
    assert corners(plain(through_file(image, "gif"))) == AS_THEY_ARE


def test_transparent_pixels_are_black():
    image = Image.fromarray(QUARTERS).convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([[255] * 8, [0] * 8], 4, 0).astype(np.uint8)))
    assert corners(plain(through_file(image, "png"))) == [*AS_THEY_ARE[:2], [0, 0, 0], [0, 0, 0]]
    half = Image.new("LA", (8, 8), (200, 128))
    assert abs(int(plain(through_file(half, "png"), color=False)[0, 0]) - 100) <= 1


def test_a_transparent_color_of_a_palette_is_black():
    image = Image.fromarray(QUARTERS).quantize(4)
    red = image.getpixel((7, 0))
    assert corners(plain(through_file(image, "png", transparency=red)))[:2] == [[0, 0, 0], [0, 0, 0]]


def test_sixteen_bits_keep_the_upper_eight():
    values = np.repeat(np.arange(0, 65536, 8192, dtype=np.uint16)[None], 8, 0)
    image = through_file(Image.fromarray(values), "png")
    assert image.mode.startswith("I")
    assert plain(image, 8, color=False)[0].tolist() == [0, 32, 64, 96, 128, 160, 192, 224]
    assert plain(image, 8)[0, :, 2].tolist() == [0, 32, 64, 96, 128, 160, 192, 224]


def test_floating_point_is_0_to_1_or_0_to_255():
    ramp = np.repeat(np.linspace(0, 1, 8, dtype=np.float32)[None], 8, 0)
    expected = np.round(np.linspace(0, 255, 8))
    assert np.abs(plain(through_file(Image.fromarray(ramp), "tiff"), 8, color=False)[0] - expected).max() <= 1
    assert np.abs(plain(through_file(Image.fromarray(ramp * 255), "tiff"), 8, color=False)[0] - expected).max() <= 1


def test_cmyk_images_become_rgb():
    image = Image.fromarray(QUARTERS).resize((64, 64), Image.Resampling.NEAREST).convert("CMYK")
    pixels = plain(through_file(image, "jpeg", quality=98), 8)
    assert np.abs(np.array(corners(pixels)) - AS_THEY_ARE).max() <= 12


def test_one_bit_becomes_black_and_white():
    image = Image.fromarray(np.where(QUARTERS[:, :, 0] > 99, 255, 0).astype(np.uint8)).convert("1")
    assert corners(plain(through_file(image, "png"), color=False)) == [0, 255, 0, 0]


def test_photographs_are_rotated_upright_by_their_exif_data():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera's note: rotate clockwise
    image = through_file(Image.fromarray(QUARTERS), "png", exif=exif)
    assert corners(plain(image)) == [AS_THEY_ARE[2], AS_THEY_ARE[0], AS_THEY_ARE[3], AS_THEY_ARE[1]]


@pytest.mark.parametrize("turned", [False, True])
def test_the_middle_and_its_proportions_are_kept(turned):
    wide = np.zeros((20, 60), dtype=np.uint8)
    wide[:, 18:42] = 255  # resizing also uses neighboring pixels
    pixels = plain(Image.fromarray(wide.T if turned else wide), 10, color=False)
    assert (pixels == 255).all()


def test_grey_is_one_channel_and_color_three(folder):
    assert build(folder, color=False).splits.train.images_NCHW.shape[1:] == (1, 8, 8)
    assert build(folder).splits.train.images_NCHW.shape[1:] == (3, 8, 8)


# --- mistakes


def broken(folder):
    path = folder / "class 3" / "2.png"
    path.write_bytes(path.read_bytes()[:60])
    return path


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_an_unreadable_image_is_named(folder, in_memory):
    broken(folder)
    with pytest.raises(ValueError, match=r"class 3/2\.png, which cannot be read .*set data\.skip_unreadable=true"):
        module = build(folder, in_memory=in_memory, workers=1)
        for loader in (module.val_dataloader(), *module.test_dataloader(), InAll(module)):
            list(loader)


class InAll:
    """Return all training images."""

    def __init__(self, module):
        self.table = module.splits.train

    def __iter__(self):
        return self.table.fetch([(None, torch.arange(len(self.table)))])


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_an_unreadable_image_is_skipped_on_request_and_reported(folder, in_memory, capsys):
    path = broken(folder)
    module = build(folder, in_memory=in_memory, skip_unreadable=True)
    assert sum(len(part) for part in module.load()) == 22
    assert f"Skipped: {folder} holds class 3/2.png, which cannot be read" in capsys.readouterr().err
    list(module.train_dataloader())
    assert path.exists()


def test_verify_names_unreadable_images(folder):
    assert build(folder).verify() == []
    broken(folder)
    (complaint,) = build(folder).verify()
    assert "class 3/2.png" in complaint


def test_an_image_that_vanishes_is_named(folder):
    module = build(folder, in_memory=False)
    table = module.splits.train
    (folder / table.names[0]).unlink()
    with pytest.raises(ValueError, match=r"0\.png cannot be read: it does not exist any more"):
        list(table.fetch([(None, torch.tensor([0]))]))


def only(tmp_path, **sizes):
    root = tmp_path / "own"
    root.mkdir()
    for name, size in sizes.items():
        for rank in range(size):
            (root / name).mkdir(exist_ok=True)
            picture(rank).save(root / name / f"{rank}.jpg")
    return root


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {},
            r"own should hold a folder of images for each class \(own/CLASS/NAME\.jpg, .*, but holds no images",
        ),
        ({"cat": 3}, r"own holds 1 class, but at least 6 are needed: 2 to train on, 2 to validate on and 2 to test on"),
        (dict.fromkeys("abcdef", 1), r"Of the 6 classes in .*own, none have two images or more, but at least 6"),
        (dict.fromkeys("abcde", 2) | {"f": 1}, r"Of the 6 classes in .*own, 5 have two images or more"),
    ],
)
def test_folders_that_cannot_be_trained_on_are_refused(tmp_path, sizes, message):
    with pytest.raises(ValueError, match=message):
        build(only(tmp_path, **sizes)).setup("fit")


@pytest.mark.parametrize(
    "names",
    [("train", "gallery"), ("Train", "Query", "Gallery"), ("train", "val", "test"), ("train", "test")],
    ids=" ".join,
)
def test_folders_of_parts_without_queries_or_a_gallery_are_no_classes(tmp_path, names):
    with pytest.raises(UserError, match=rf"own holds {sorted(names)[0]}/.*parts instead of classes.*query/CLASS/"):
        build(only(tmp_path, **dict.fromkeys(names, 4))).setup("fit")


def test_images_outside_of_class_folders_are_skipped_and_alone_refused(tmp_path, capsys):
    root = only(tmp_path, **dict.fromkeys("abcdef", 2))
    picture(0).save(root / "stray.png")
    assert sum(len(part) for part in build(root).load()) == 12
    assert "own: 1 image in no class folder (stray.png). Move images into" in capsys.readouterr().err
    (tmp_path / "flat").mkdir()
    picture(0).save(tmp_path / "flat" / "cat.png")
    with pytest.raises(ValueError, match="but holds only images outside of such folders"):
        build(tmp_path / "flat").setup("fit")


def test_skipped_files_are_counted_in_one_line_with_a_suggestion(folder, capsys):
    before = build(folder).splits
    (folder / "class 1/.ipynb_checkpoints").mkdir()
    picture(1).save(folder / "class 1/.ipynb_checkpoints/1-checkpoint.png")
    (folder / "@eaDir").mkdir()
    picture(2).save(folder / "@eaDir/2.png")
    (folder / "phone").mkdir()
    (folder / "phone/3.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "all").symlink_to(".")
    picture(4).save(folder / "stray.png")
    capsys.readouterr()
    after = build(folder).splits
    for one, other in zip(before, after, strict=True):
        assert one.class_names == other.class_names
        assert torch.equal(one.images_NCHW, other.images_NCHW)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Left out of")]
    for fact in (
        "1 file of another type (.heic: 1)",
        "2 hidden or system files and folders (@eaDir, class 1/.ipynb_checkpoints)",
        "1 link to a folder that is read anyway or contains this folder (all)",
        "1 image in no class folder (stray.png)",
        "1 class folder without images (phone)",
        "Convert photographs to",
        "Move images into the folder of their class.",
    ):
        assert fact in line


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_every_kind_of_unreadable_file_is_skipped_on_request(folder, in_memory, capsys):
    before = build(folder).load()
    place = folder / "class 4"
    (place / "cut.png").write_bytes((place / "0.png").read_bytes()[:60])
    (place / "link.png").symlink_to("nowhere")
    os.mkfifo(place / "pipe.png")
    Image.fromarray(np.full((4, 4), -7, np.int32)).save(place / "range.tif")
    (place / "text.jpg").write_text("<html>404</html>")
    (place / "empty.bmp").write_bytes(b"")
    module = build(folder, in_memory=in_memory, skip_unreadable=True)
    assert sum(map(len, module.load())) == sum(map(len, before))
    for loader in (module.val_dataloader(), *module.test_dataloader(), InAll(module)):
        list(loader)
    said = capsys.readouterr().err
    assert said.count("Skipped: ") == 5, "only the first files are listed"
    assert "6 of 29 images are skipped (skip_unreadable), because they cannot be read." in said


NOT_UTF8 = ("caf\udce9", "na\udcefve", "\udcfcber", "ma\udcf1ana", "line\nbreak", "=1+1")


@pytest.mark.slow
@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_names_that_are_not_utf8_are_trained_evaluated_embedded_and_found(tmp_path, in_memory, evaluate, call):
    from siamese_lab import embed, search
    from siamese_lab.inference.embeddings_file import read_embeddings
    from siamese_lab.runs.escapes import escape_csv

    for label, name in enumerate(NOT_UTF8):
        (tmp_path / "old" / name).mkdir(parents=True)
        for rank in range(5):
            picture(10 * label + rank).save(tmp_path / "old" / name / f"b\udcfcld {rank}.png")
    left = quick_run(
        tmp_path / "run",
        "data=image_folder",
        f"data.root={tmp_path / 'old'}",
        f"paths.cache={tmp_path / 'cache'}",
        f"data.in_memory={in_memory}",
        "data.image_size=16",
        "data.classes_per_batch=2",
        "data.images_per_class=2",
        "data.workers=0",
        "logger=tensorboard",
    )
    assert left.status == "finished"
    named = (f"checkpoint={tmp_path / 'run'}", f"data.root={tmp_path / 'old'}")
    ended = evaluate(*named, f"folder={tmp_path / 'evaluation'}", "pairs=20", "episodes=2")
    assert ended.status == 0, ended.err
    escaped = {r"caf\xe9", r"na\xefve", r"\xfcber", r"ma\xf1ana", r"line\x0abreak", "=1+1"}
    table = (tmp_path / "evaluation/per_class.csv").read_text(encoding="utf-8").splitlines()[1:]
    cells = {line.split(",")[0] for line in table}
    assert len(table) == 2 and cells <= {escape_csv(name) for name in escaped}
    query = tmp_path / "old" / NOT_UTF8[0] / "b\udcfcld 1.png"
    for kind in ("npz", "parquet"):
        stored = tmp_path / f"stored.{kind}"
        embedded = call(embed, f"checkpoint={tmp_path / 'run'}", f"images={tmp_path / 'old'}", f"out={stored}")
        assert embedded.status == 0, embedded.err
        assert {name.split("/")[0] for name in read_embeddings(stored).names} == escaped
        found = call(search, query, f"in={stored}", f"checkpoint={tmp_path / 'run'}", f"out={tmp_path / kind}.png")
        assert found.status == 0, found.err
        assert r"caf\xe9/b\xfcld 2.png" in found.out
        assert r"caf\xe9/b\xfcld 1.png" not in found.out, "the query itself is excluded"


def test_the_table_of_a_folder_is_pinned(tmp_path):
    """The pinned content of a table shows changes of the walk and of the conversions. All formats are lossless."""
    kinds = [
        ("png", "RGB"),
        ("bmp", "L"),
        ("tif", "CMYK"),
        ("png", "RGBA"),
        ("ppm", "RGB"),
        ("png", "LA"),
        ("png", "1"),
    ]
    for label in range(16):
        for rank in range(2 + label % 4):
            suffix, mode = kinds[(label * 5 + rank) % len(kinds)]
            path = tmp_path / "set" / f"class {label}" / ("deep" if rank % 2 else ".") / f"{rank}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(10 * label + rank, (30 + label, 50 - rank), mode).save(path)
    values = np.random.default_rng(0).integers(0, 65536, (20, 20)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "set/class 3/16.png")
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "set/class 4/32.tif")
    Image.fromarray((values / 65535).astype(np.float32)).save(tmp_path / "set/class 4/float.tif")
    (tmp_path / "set/class 5/16.pgm").write_bytes(b"P5 20 20 65535\n" + values.astype(">u2").tobytes())
    digest = hashlib.sha256()
    for part in build(tmp_path / "set", image_size=16).splits:
        digest.update(part.images_NCHW.contiguous().numpy().tobytes())
        digest.update(part.labels_N.numpy().tobytes())
        digest.update(repr(part.class_names).encode())
    rounds_as_pillow_13 = int(PIL.__version__.split(".")[0]) >= 13  # before, some pixels are one level higher or lower
    assert digest.hexdigest() == (
        "76fba39963fc710156002e2285bb02a9075a4ccf3ae94122f4e3d53e2dd54f25"
        if rounds_as_pillow_13
        else "914aa2f763a077f069850589a0dffd908620855de3bd4caf63f4ff9fc524db3b"
    )


def test_a_root_whose_name_is_not_utf8_is_refused_before_training(tmp_path):
    (tmp_path / "caf\udce9").mkdir()
    with pytest.raises(
        ValueError, match=r"data\.root is .*caf\\xe9, which has bytes that are not UTF-8 .* make a link"
    ):
        build(tmp_path / "caf\udce9").setup("fit")


@pytest.mark.parametrize("classes", [*range(6, 21), 40])
def test_every_part_has_two_classes_of_two_images(tmp_path, classes):
    module = build(only(tmp_path, **{f"c{label:02}": 2 for label in range(classes)} | {"z": 1}))
    module.setup("fit")
    counts = [int((part.labels_N.bincount() >= 2).sum()) for part in module.load()]
    assert min(counts) >= 2 and sum(counts) == classes
    if classes >= 15:
        assert counts[1:] == [round(classes * 0.1), round(classes * 0.2)]


def test_fractions_that_leave_no_training_classes_are_refused(folder):
    with pytest.raises(ValueError, match=r"Of the 6 classes .* 0 would remain for training, .*data\.test_fraction"):
        build(folder, test_fraction=0.6).setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": None}, r"set data\.root=FOLDER .* one folder of images for each class"),
        ({"root": "nowhere"}, r"data\.root is nowhere, but there is no such folder"),
        ({"image_size": 0}, r"data\.image_size must be at least 1 pixel, but is 0"),
        ({"test_fraction": 0.95}, r"sum below 1, but they are 0\.1 and 0\.95"),
        ({"in_memory": "maybe"}, r"data\.in_memory must be one of auto, true, false, but is 'maybe'"),
        ({"workers": -1}, r"data\.workers must be 0 or more, but is -1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        data.build("image_folder", **options).setup("fit")
