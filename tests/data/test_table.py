"""Tables of images divide images, give them roles and cut boxes; each mistake is one sentence with its place."""

import csv
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from siamese_lab import data, networks
from siamese_lab.data.convert.photo import PhotoConverter
from siamese_lab.data.tables.files_table import FilesTable
from siamese_lab.errors import ResourceError, UserError
from siamese_lab.evaluation import evaluate

HEADER = ("path", "label", "split")


def picture(number, size=(12, 12)):
    noise = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Write 40 images: 4 for each of the labels a to j."""
    folder = tmp_path_factory.mktemp("birds")
    for number in range(40):
        picture(number).save(folder / f"{number:02}.png")
    return folder


def rows_of(labels="abcdefghij", split=None):
    """Return a row for each image: its path, its label and, if `split` is given, split(label, rank)."""
    return [
        (f"{4 * number + rank:02}.png", label, *([] if split is None else [split(label, rank)]))
        for number, label in enumerate(labels)
        for rank in range(4)
    ]


def by_label(label, rank):
    return "train" if label < "g" else "test"


def with_queries(label, rank):
    return "train" if label < "g" else "query" if rank == 0 else "gallery"


def write(images, rows, header=HEADER, name="birds.csv", delimiter=","):
    with (images / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header[: len(rows[0])] if rows else header)
        writer.writerows(rows)
    return images / name


def build(file, tmp_path, **options):
    options = {"image_size": 8, "classes_per_batch": 2, "images_per_class": 2, "workers": 0} | options
    return data.build("table", file=file, cache=tmp_path / "cache", **options)


def names(module):
    return ["".join(part.class_names) for part in module.splits]


def refused(file, tmp_path, match, error=UserError, **options):
    with pytest.raises(error, match=match):
        _ = build(file, tmp_path, **options).splits


# What a table says.


def test_images_have_the_pixels_and_labels_of_their_rows(images, tmp_path):
    rows = rows_of(split=by_label)
    module = build(write(images, rows[::-1]), tmp_path)
    assert module.query_gallery is None
    found = {}
    for part in module.load():
        for image_CHW, label in zip(part.images_NCHW, part.labels_N.tolist(), strict=True):
            found[image_CHW.numpy().tobytes()] = part.class_names[label]
    for path, label, _ in rows:
        expected = np.asarray(PhotoConverter(8, True)(Image.open(images / path))).transpose(2, 0, 1)
        assert found[np.ascontiguousarray(expected).tobytes()] == label


def test_the_split_column_divides_and_training_classes_are_held_out(images, tmp_path):
    module = build(write(images, rows_of(split=by_label)), tmp_path)
    train, validation, test = names(module)
    assert test == "ghij"
    assert sorted(train + validation) == list("abcdef")
    assert len(validation) == 2, "a tenth of six classes, but at least two"
    assert names(build(images / "birds.csv", tmp_path, seed=5)) == [train, validation, test]
    assert names(build(images / "birds.csv", tmp_path, validation_fraction=0.5))[1] != validation


def test_validation_images_of_the_table_validate(images, tmp_path):
    rows = rows_of(
        split=lambda label, rank: {"a": "Val", "b": "valid", "c": "test", "d": "TEST"}.get(label, "training")
    )
    assert names(build(write(images, rows), tmp_path)) == ["efghij", "ab", "cd"]


def test_validation_images_are_tested_if_there_are_no_test_images(images, tmp_path, capsys):
    rows = rows_of(split=lambda label, rank: "train" if label < "g" else "validation")
    assert names(build(write(images, rows), tmp_path))[2] == "ghij"
    assert "birds.csv has no test images: its validation images are tested" in capsys.readouterr().err


def test_without_a_split_column_the_classes_are_divided(images, tmp_path):
    module = build(write(images, rows_of()), tmp_path, test_fraction=0.4)
    assert sorted("".join(names(module))) == list("abcdefghij")
    assert [len(part) for part in names(module)] == [4, 2, 4]
    of_split = build(write(images, rows_of(split=by_label)), tmp_path, split_column=None, test_fraction=0.4)
    assert names(of_split) == names(module)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_other_column_names_and_delimiters(images, tmp_path, delimiter):
    rows = [(split, f"./{path}", label, "x") for path, label, split in rows_of(split=by_label)]
    file = write(images, rows, ("part", "file", "species", "note"), f"{ord(delimiter)}.csv", delimiter)
    module = build(file, tmp_path, path_column="file", label_column="species", split_column="part")
    assert names(module)[2] == "ghij"


def test_parquet_and_csv_hold_the_same_images(images, tmp_path):
    arrow, parquet = (
        pytest.importorskip(name, reason="the extra parquet is not installed")
        for name in ("pyarrow", "pyarrow.parquet")
    )
    rows = rows_of(split=with_queries)
    columns = dict(zip(HEADER, map(list, zip(*rows, strict=True)), strict=True)) | {"x_1": [None] * 40}
    boxes = {name: [None] * 40 for name in ("y_1", "x_2", "y_2")} | {"sequence": [1.0, None] * 20}
    parquet.write_table(arrow.table(columns | boxes), images / "birds.parquet")
    groups = [(*row, "1" if number % 2 == 0 else "") for number, row in enumerate(rows)]
    one = build(images / "birds.parquet", tmp_path)
    other = build(write(images, groups, (*HEADER, "sequence")), tmp_path)
    for part, same in zip(one.splits, other.splits, strict=True):
        assert torch.equal(part.images_NCHW, same.images_NCHW)
        assert torch.equal(part.labels_N, same.labels_N)
    for part, same in zip(one.query_gallery, other.query_gallery, strict=True):
        assert all(map(torch.equal, part, same))


def test_new_labels_and_splits_need_no_new_decoding_but_another_image_does(images, tmp_path, monkeypatch):
    _ = build(write(images, rows_of(split=by_label)), tmp_path).splits
    with monkeypatch.context() as patch:
        patch.setattr("siamese_lab.data.sets.own_images.decode", None)
        renamed = [(path, label.upper(), split) for path, label, split in rows_of(split=with_queries)]
        assert names(build(write(images, renamed), tmp_path))[2] == "GHIJ"
        with pytest.raises(TypeError, match="not callable"):
            _ = build(write(images, renamed[:-1]), tmp_path).splits
    assert len(list((tmp_path / "cache").glob("table-8px-color-*"))) == 1


def test_images_that_do_not_fit_into_memory_are_decoded_on_request(images, tmp_path):
    boxes = [(*row, 2, 0, 9, 11) for row in rows_of(split=by_label)]
    file = write(images, boxes, (*HEADER, "x_1", "y_1", "x_2", "y_2"))
    stored, on_request = build(file, tmp_path), build(file, tmp_path, in_memory=False)
    for part, of_files in zip(stored.splits, on_request.splits, strict=True):
        assert isinstance(of_files, FilesTable)
        rows = torch.arange(len(part) - 1, -1, -2)
        ((_, images_BCHW),) = of_files.fetch([(0, rows)])
        assert torch.equal(images_BCHW, part.images_NCHW[rows])
        assert torch.equal(of_files.labels_N, part.labels_N)


def test_a_box_is_cut_from_the_upright_image(images, tmp_path):
    photo = picture(99, (30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90°: 20 pixels wide and 30 high
    photo.save(images / "turned.png", exif=exif)
    boxes = [(*row, "", "", "", "") for row in rows_of(split=by_label)]
    boxes += [("turned.png", "g", "test", 1, 2, 20, 30), ("turned.png", "h", "test", "0", "0", "10.0", "10")]
    module = build(write(images, boxes, (*HEADER, "x_1", "y_1", "x_2", "y_2")), tmp_path)
    upright = photo.transpose(Image.Transpose.ROTATE_270)
    test = module.splits.test
    found = [each.tobytes() for each in test.images_NCHW[test.labels_N <= 1].numpy()]
    for box in ((1, 2, 20, 30), (0, 0, 10, 10)):
        expected = np.asarray(PhotoConverter(8, True)(upright.crop(box))).transpose(2, 0, 1)
        assert np.ascontiguousarray(expected).tobytes() in found


def test_a_closed_table_tests_known_classes_and_validates_on_their_images(images, tmp_path):
    rows = rows_of(split=lambda label, rank: "test" if rank == 3 else "train")
    module = build(write(images, [row for row in rows if row[1] < "e"]), tmp_path, closed=True, validation_fraction=0.5)
    with pytest.raises(UserError, match=r"validation part of Table needs at least 2 classes of 2 images"):
        module.setup("fit")  # half of the images of each class are one image
    rows = rows_of(split=lambda label, rank: "train" if rank < 2 else "query" if rank == 2 else "gallery")
    module = build(write(images, rows), tmp_path, closed=True, validation_fraction=0.5, min_images_per_class=1)
    assert names(module) == ["abcdefghij"] * 3
    assert [len(part) for part in module.splits] == [10, 10, 20]
    described = module.describe()
    assert described.protocol == "closed, query and gallery"
    assert "classes of training are tested" in described.notes[0]


def test_labels_change_with_the_table_and_classes_keep_their_parts(images, tmp_path):
    file = write(images, rows_of("abcdefghi", by_label))
    trained = build(file, tmp_path)
    parts = trained.class_parts()
    grown = build(write(images, rows_of(split=lambda label, rank: by_label(label, rank))), tmp_path)
    assert grown.current_classes() == frozenset("abcdefghij")
    grown.keep_parts(parts)
    assert names(grown) == names(trained)


def test_absolute_paths_below_the_root_are_read(images, tmp_path):
    rows = [(images / path, label, split) for path, label, split in rows_of(split=by_label)]
    (images / "lists").mkdir(exist_ok=True)
    file = write(images / "lists", rows)
    refused(file, tmp_path, r"birds\.csv, line 2, column path: .*00\.png is not inside of .*lists.*data\.root=FOLDER")
    assert names(build(file, tmp_path, root=images))[2] == "ghij"
    with pytest.raises(UserError, match=r"line 2, column path: \.\./00\.png is not inside of"):
        _ = build(
            write(images / "lists", [(f"../{row[0]}", *row[1:]) for row in rows_of(split=by_label)]), tmp_path
        ).splits


# Queries, gallery and groups.


def test_split_values_and_flags_state_the_same_roles(images, tmp_path, capsys):
    by_split = build(write(images, rows_of(split=with_queries)), tmp_path)
    flags = [
        (*row, *(("", "") if row[2] == "train" else (rank == 0, int(rank > 0))))
        for row, rank in zip(rows_of(split=by_label), [0, 1, 2, 3] * 10, strict=True)
    ]
    by_flags = build(write(images, flags, (*HEADER, "is_query", "is_gallery")), tmp_path)
    only_query = build(write(images, [row[:4] for row in flags], (*HEADER, "is_query")), tmp_path)
    for module in (by_split, by_flags, only_query):
        roles = module.query_gallery.test
        assert roles.query_N.tolist() == [True, False, False, False] * 4
        assert torch.equal(roles.gallery_N, ~roles.query_N)
        assert roles.group_N is None
        validated = module.query_gallery.validation
        assert validated.query_N.all() and validated.gallery_N.all(), "held-out training classes have no roles"
        assert module.describe().protocol == "query and gallery"
        assert module.provenance()["tested"] == "4 queries against a gallery of 12, without groups"
    assert capsys.readouterr().err == ""


def test_groups_alone_make_every_image_a_query_and_hold_for_validation(images, tmp_path):
    rows = [(*row, f"camera {number % 2}") for number, row in enumerate(rows_of(split=by_label))]
    roles = build(write(images, rows, (*HEADER, "sequence")), tmp_path).query_gallery
    for part in roles:
        assert part.query_N.all() and part.gallery_N.all()
        assert part.group_N.unique().tolist() == [0, 1]
    assert build(images / "birds.csv", tmp_path, group_column=None).query_gallery is None


def test_queries_without_a_match_after_exclusion_are_counted_and_said(images, tmp_path, capsys):
    rows = [
        (*row, f"burst {row[1]}" if row[1] == "h" else number) for number, row in enumerate(rows_of(split=with_queries))
    ]
    module = build(write(images, rows, (*HEADER, "sequence")), tmp_path)
    assert module.provenance()["tested"].endswith("; 1 query has no match and is left out")
    said = capsys.readouterr().err
    assert "1 of 4 queries of birds.csv have no match in the gallery" in said
    assert "birds.csv, line 30. They are left out." in said
    assert module.query_gallery.test.unmatched(module.splits.test.labels_N).tolist() == [4]


def test_no_query_with_a_match_is_refused(images, tmp_path):
    rows = [(*row, row[1]) for row in rows_of(split=with_queries)]
    refused(write(images, rows, (*HEADER, "sequence")), tmp_path, "4 of 4 queries.*line 26.*nothing can be found")
    only_gallery = [(*row[:2], "gallery" if row[2] == "query" else row[2]) for row in rows_of(split=with_queries)]
    refused(write(images, only_gallery), tmp_path, "None of the 16 test images of .* is a query image")


# Mistakes.


def changed(number, *values):
    """Return the rows with one changed row. Row `number` is in line `number` + 2."""
    rows = rows_of(split=by_label)
    rows[number] = tuple(value if value is not None else old for value, old in zip(values, rows[number], strict=True))
    return rows


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (("gone.png", None, None), r"birds\.csv, line 7, column path: there is no file gone\.png in .*birds"),
        (("", None, None), r"line 7, column path: the path is missing"),
        ((None, "", None), r"line 7, column label: the label is missing \(''\)"),
        ((None, "NaN", None), r"line 7, column label: the label is missing \('NaN'\)"),
        (("02.png", None, None), r"line 7, column path: 02\.png is listed a second time, after line 4"),
        ((None, None, "tset"), r"line 7, column split: the split must be one of train, .*, but is 'tset'"),
        ((None, "g", None), r"label 'g' is in train \(.*line 7\) and in test \(.*line 26\).*data\.closed=true"),
        (("../outside.png", None, None), r"line 7, column path: \.\./outside\.png is not inside of"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(images, tmp_path, values, match):
    refused(write(images, changed(5, *values)), tmp_path, match)


def test_further_rows_with_the_same_mistake_are_counted(images, tmp_path):
    rows = [(path, "" if label == "c" else label, split) for path, label, split in rows_of(split=by_label)]
    refused(write(images, rows), tmp_path, r"line 10, column label.*true of 3 further lines")


@pytest.mark.parametrize(
    ("box", "match"),
    [
        ((0, 0, 13, 12), r"holds 05\.png.*birds\.csv, line 7, columns x_1, y_1, x_2, y_2.*\(13, 12\).*12×12 pixels"),
        ((-1, 0, 5, 5), r"line 7, columns x_1, y_1, x_2, y_2: .*from \(-1, 0\).*outside of the image or is empty"),
        ((5, 0, 5, 5), r"line 7.*outside of the image or is empty"),
        ((0, 0, "", 5), r"line 7, column x_2: .*whole number of pixels.*but is ''"),
        ((0, 0, 5, "2.5"), r"line 7, column y_2: .*whole number of pixels.*but is '2\.5'"),
        ((0, "inf", 5, 5), r"line 7, column y_1: .*but is 'inf'"),
    ],
)
def test_a_wrong_box_is_refused_with_its_place(images, tmp_path, box, match):
    rows = [(*row, *(box if number == 5 else ("", "", "", ""))) for number, row in enumerate(rows_of(split=by_label))]
    file = write(images, rows, (*HEADER, "x_1", "y_1", "x_2", "y_2"))
    refused(file, tmp_path, match)
    assert len(build(file, tmp_path).verify()) == 1


def test_verify_lists_every_kind_of_fault(images, tmp_path):
    rows = [[*row, "", "", "", "", "0"] for row in rows_of(split=by_label)]
    rows[3][1], rows[5][0], rows[7][3], rows[9][2], rows[11][7] = "nan", "gone.png", "1", "?", "perhaps"
    found = build(write(images, rows, (*HEADER, "x_1", "y_1", "x_2", "y_2", "is_query")), tmp_path).verify()
    places = ("line 5, column label", "line 7, column path", "line 9, column y_1", "line 11, column split", "line 13")
    assert len(found) == len(places)
    assert all(place in sentence for place, sentence in zip(places, found, strict=True))


def test_a_box_outside_of_its_image_is_skipped_like_an_unreadable_image(images, tmp_path):
    (images / "broken.png").write_bytes(b"no image")
    rows = [
        (*row, *((0, 0, 99, 99) if number == 39 else ("",) * 4)) for number, row in enumerate(rows_of(split=by_label))
    ]
    rows[38] = ("broken.png", *rows[38][1:])
    file = write(images, rows, (*HEADER, "x_1", "y_1", "x_2", "y_2"))
    assert len(build(file, tmp_path).verify()) == 2
    refused(file, tmp_path, r"data\.skip_unreadable=true", ResourceError)
    module = build(file, tmp_path, skip_unreadable=True)
    assert [len(part) for part in module.splits][2] == 14
    assert module.splits.test.labels_N.bincount().tolist() == [4, 4, 4, 2]


def test_a_missing_column_is_refused_with_the_columns_that_exist(images, tmp_path):
    file = write(images, rows_of(split=by_label), ("path", "species", "split"))
    refused(file, tmp_path, r"no column label\. Its columns are path, species, split\. Set data\.label_column to")
    file = write(images, rows_of(split=by_label))
    refused(file, tmp_path, "no column camera.*Set data.group_column", group_column="camera")
    refused(file, tmp_path, "column label has two meanings", path_column="label")
    boxes = write(images, [(*row, 1) for row in rows_of(split=by_label)], (*HEADER, "x_1"))
    refused(boxes, tmp_path, "has the columns x_1 of a box, but not y_1, x_2, y_2")
    refused(file, tmp_path, "box_columns must name four columns.*names 2", box_columns=["a", "b"])


def test_roles_that_are_stated_twice_or_unclear_are_refused(images, tmp_path):
    twice = [(*row, "true") for row in rows_of(split=with_queries)]
    refused(write(images, twice, (*HEADER, "is_query")), tmp_path, "states queries twice: in split and in is_query")
    unclear = [(*row, "maybe") for row in rows_of(split=by_label)]
    file = write(images, unclear, (*HEADER, "is_query"))
    refused(file, tmp_path, r"line 2, column is_query: .*true or false.*'maybe'.*39 further lines")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty. The first line of a table names its columns"),
        (b"path,label\n", "has no rows"),
        (b"path,label\n00.png,a,b\n", r"birds\.csv, line 2, has 3 values, but the header has 2"),
        ("path,label\n00.png,bär\n".encode("latin-1"), r"line 2: the bytes are not utf-8 .*data\.encoding.*latin-1"),
        ("path,label\n00.png,bär\n".encode("utf-16"), r"line 1: the bytes are not utf-8 .*utf-16"),
        (b'path,label\n00.png,"a\n', "line 2, cannot be read as CSV"),
        (b"path,label,label\n00.png,a,b\n", "has 2 columns called label"),
    ],
)
def test_a_damaged_csv_file_is_refused(images, tmp_path, content, match):
    (images / "birds.csv").write_bytes(content)
    refused(images / "birds.csv", tmp_path, match)


def test_other_encodings_are_read_if_they_are_named(images, tmp_path):
    text = "path,label,split\r\n" + "".join(f"{a},{b}ä,{c}\r\n" for a, b, c in rows_of(split=by_label))
    for encoding in ("latin-1", "utf-16", "utf-8-sig"):
        (images / "birds.csv").write_bytes(text.encode(encoding))
        named = {} if encoding == "utf-8-sig" else {"encoding": encoding}
        assert build(images / "birds.csv", tmp_path, **named).splits.test.class_names == ("gä", "hä", "iä", "jä")
    refused(images / "birds.csv", tmp_path, "data.encoding=klingon is no encoding", encoding="klingon")


def test_a_parquet_file_without_pyarrow_or_damaged_is_refused(images, tmp_path, monkeypatch):
    (images / "bad.parquet").write_bytes(b"PAR1 no")
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    refused(images / "bad.parquet", tmp_path, r"bad\.parquet cannot be read as a Parquet file", ResourceError)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    refused(images / "bad.parquet", tmp_path, r"needs pyarrow.*siamese_lab\[parquet\].*\.csv", ResourceError)


def test_a_table_that_is_missing_or_of_another_type_is_refused(images, tmp_path):
    refused(images / "gone.csv", tmp_path, r"gone\.csv, but this file is missing", ResourceError)
    refused(images, tmp_path, r"a table is a \.csv")
    refused(None, tmp_path, r"set data\.file=FILE to a \.csv or \.parquet file")
    assert build(images / "gone.csv", tmp_path).absent() == [f"There is no table data.file={images / 'gone.csv'}."]
    assert "this file is missing" in build(images / "gone.csv", tmp_path).verify()[0]


@pytest.mark.parametrize(
    ("split", "match"),
    [
        (lambda label, rank: "train", "no image with split test or validation"),
        (lambda label, rank: "train" if label < "d" else "test", r"has 3 training classes.*2 of them.*at least 2 must"),
    ],
)
def test_a_table_that_lacks_a_part_is_refused(images, tmp_path, split, match):
    refused(write(images, rows_of(split=split)), tmp_path, match)


def test_a_table_of_test_images_is_for_evaluation_only(images, tmp_path):
    module = build(write(images, rows_of(split=lambda label, rank: "query" if rank == 0 else "gallery")), tmp_path)
    assert [len(part) for part in module.splits] == [0, 0, 40]
    with pytest.raises(UserError, match=r"Images of birds\.csv: there are no training images.*siamese_lab\.evaluate"):
        module.setup("fit")
    network = networks.build("mlp", channels=3, image_size=8, width=8, seed=0)
    found = evaluate(network, module, episodes=0)
    assert found.protocols["retrieval"].facts["queries"] == 10
    assert "no validation images" in found.left_out["verification_sampled"]
    assert module.provenance().keys() == {"from", "cache", "tested"}


def test_a_closed_table_must_divide_its_images(images, tmp_path):
    refused(write(images, rows_of()), tmp_path, "data.closed=true .* does not say which", closed=True)


def with_categories(category):
    return [(*row, category(row[1], rank % 4)) for rank, row in enumerate(rows_of(split=by_label))]


def test_batches_are_balanced_by_the_category_column(images, tmp_path):
    rows = with_categories(lambda label, rank: "seabird" if label in "ace" else "songbird")
    file = write(images, rows, (*HEADER, "category"), "kinds.csv")
    options = {"classes_per_batch": 2, "validation_fraction": 0.2, "split_seed": 1}
    module = build(file, tmp_path, categories_per_batch=2, **options)
    named = dict(zip(module.splits.train.class_names, module.categories.tolist(), strict=True))
    assert {name for name, number in named.items() if number == 0} == set("ace") & set(named)
    module.setup("fit")
    for batch in module.train_dataloader():
        assert sorted(module.categories[batch.labels_B[::2]].tolist()) == [0, 1]
    assert build(file, tmp_path, **options).batches.order is None
    other = write(images, rows, (*HEADER, "family"), "families.csv")
    named = build(other, tmp_path, categories_per_batch=2, category_column="family", **options)
    assert named.categories.equal(module.categories)


def test_a_label_of_two_categories_or_none_is_refused_if_categories_are_used(images, tmp_path):
    two = write(
        images,
        with_categories(lambda label, rank: "sea" if label == "b" and rank == 2 else "song"),
        (*HEADER, "category"),
        "two.csv",
    )
    match = r"two\.csv, line 8, column category: the label 'b' has the category 'sea', but 'song' in line 6"
    options = {"categories_per_batch": 1, "validation_fraction": 0.2}
    assert any(match in fault or "column category" in fault for fault in build(two, tmp_path, **options).verify())
    whole = {"split_seed": next(seed for seed in range(9) if "b" in names(build(two, tmp_path, split_seed=seed))[0])}
    with pytest.raises(UserError, match=match):
        build(two, tmp_path, **options, **whole).setup("fit")
    build(two, tmp_path, **whole).setup("fit")
    none = write(images, with_categories(lambda label, rank: ""), (*HEADER, "category"), "none.csv")
    with pytest.raises(UserError, match=r"none\.csv, line \d+, column category: the category is missing"):
        build(none, tmp_path, **options).setup("fit")
    refused(two, tmp_path, r"no column.*kind", category_column="kind")


# Tables as other programs write them.


@pytest.mark.parametrize("name", ["Split", " SPLIT", "s-p-lit"])
def test_an_optional_column_in_another_spelling_is_not_ignored(images, tmp_path, name):
    file = write(images, rows_of(split=by_label), ("path", "label", name))
    refused(file, tmp_path, rf"no column split, but a column {name.strip()}\..*data\.split_column")
    assert names(build(file, tmp_path, split_column=name.strip()))[2] == "ghij"
    assert len("".join(names(build(file, tmp_path, split_column=None)))) == 10


def test_empty_lines_before_the_header_are_skipped(images, tmp_path):
    file = write(images, rows_of(split=by_label), delimiter=";")
    file.write_text("\n \n" + file.read_text("utf-8"), "utf-8")
    assert names(build(file, tmp_path))[2] == "ghij"


@pytest.mark.parametrize("text", ["#N/A", "n/a", "NaN", "<NA>"])
def test_texts_of_spreadsheets_for_a_missing_value_are_no_label(images, tmp_path, text):
    rows = rows_of(split=by_label)
    refused(
        write(images, [(rows[0][0], text, "train"), *rows[1:]]), tmp_path, rf"line 2, column label.*missing.*{text}"
    )


@pytest.mark.parametrize("values", [[b"a"], [["a", "b"]], [{"bytes": "a"}]], ids=["bytes", "list", "structure"])
@pytest.mark.parametrize("column", ["path", "label"])
def test_a_parquet_column_of_another_type_than_text_is_refused(images, tmp_path, values, column):
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    file = images / "types.parquet"
    parquet.write_table(pyarrow.table({"path": ["00.png"], "label": ["a"]} | {column: values}), file)
    refused(file, tmp_path, rf"types\.parquet, column {column}.*the type (binary|list|struct).*as text")


def test_an_image_that_a_link_lists_a_second_time_is_refused(images, tmp_path):
    (tmp_path / "birds").symlink_to(images)
    (tmp_path / "copy.png").symlink_to(images / "00.png")
    rows = [(f"birds/{path}", *rest) for path, *rest in rows_of(split=by_label)]
    assert len(build(write(tmp_path, rows), tmp_path).splits.test) == 16
    again = write(tmp_path, [*rows, ("copy.png", "a", "train")])
    refused(again, tmp_path, r"line 42, column path: copy\.png .*after line 2 as birds/00\.png")


def test_messages_show_the_beginning_of_a_long_value(images, tmp_path):
    with pytest.raises(UserError, match=r"no file aaa.*…") as raised:
        _ = build(write(images, [("a" * 5000, "a")]), tmp_path).splits
    assert len(str(raised.value)) < 600


def test_a_folder_with_braces_in_its_name_is_named(tmp_path):
    folder = tmp_path / "my {0} {birds}"
    folder.mkdir()
    refused(write(folder, [("a.png", "a")]), tmp_path, r"no file a\.png in .*my \{0\} \{birds\}")


def test_paths_of_windows_get_advice(images, tmp_path):
    refused(write(images, [("birds\\a.png", "a")]), tmp_path, r"no file birds\\a\.png.*Write / in place of \\")


@pytest.mark.parametrize("end", ["1e300", "inf", "1000001"])
def test_an_end_of_a_box_beyond_every_image_is_refused(images, tmp_path, end):
    file = write(images, [("00.png", "a", 0, 0, end, 1)], ("path", "label", "x_1", "y_1", "x_2", "y_2"))
    refused(file, tmp_path, rf"line 2, column x_2.*1,000,000.*'{end}'")


def test_messages_about_queries_name_groups_only_if_there_are_some(images, tmp_path):
    rows = rows_of(split=lambda label, _: "train" if label < "g" else "query" if label < "i" else "gallery")
    with pytest.raises(UserError, match=r"8 of 8 queries.*no match in the gallery, such as") as raised:
        _ = build(write(images, rows), tmp_path).splits
    assert "group" not in str(raised.value)
    grouped = [(*row, row[1]) for row in rows_of(split=with_queries)]
    refused(
        write(images, grouped, (*HEADER, "sequence")), tmp_path, "own class and group are excluded.*in other groups"
    )
    queries = rows_of(split=lambda label, _: "train" if label < "g" else "query")
    refused(write(images, queries), tmp_path, "None of the 16 test images.*gallery.*Give some of them this role")


def test_training_classes_that_are_too_small_are_named_as_the_cause(images, tmp_path):
    rows = [
        (path, label if label > "d" else path, split)
        for path, label, split in rows_of(
            split=lambda label, _: "train" if label <= "d" else "validation" if label < "g" else "test"
        )
    ]
    with pytest.raises(UserError, match=r"no training images in classes of at least data\.min_images_per_class=2"):
        build(write(images, rows), tmp_path).setup("fit")
