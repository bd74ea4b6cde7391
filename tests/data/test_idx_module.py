"""Official files of MNIST and Fashion-MNIST are recognized by content, packed or unpacked, under both protocols."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch
from processes import files_of, tree

from siamese_lab import data
from siamese_lab.data.io.idx_files import IdxFile, IdxPart, classes_of_split
from siamese_lab.data.sets import fashion_mnist
from siamese_lab.data.sets.fashion_mnist import FashionMnist
from siamese_lab.data.sets.mnist import Mnist
from siamese_lab.errors import UserError

SIZES = {"train": 200, "test": 60}


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def md5(content):
    return hashlib.md5(content).hexdigest()


class Small:
    """Write the four files of a small set, and return their arrays."""

    def __init__(self):
        generator = np.random.default_rng(0)
        self.images = {part: generator.integers(0, 256, (n, 28, 28), np.uint8) for part, n in SIZES.items()}
        self.labels = {part: generator.permutation(np.arange(n, dtype=np.uint8) % 10) for part, n in SIZES.items()}
        self.contents = {}
        for part, name in (("train", "train"), ("test", "t10k")):
            self.contents[f"{name}-images-idx3-ubyte"] = idx(self.images[part])
            self.contents[f"{name}-labels-idx1-ubyte"] = idx(self.labels[part])

    def write(self, root, suffix=".gz"):
        folder = root / "MNIST/raw"
        folder.mkdir(parents=True)
        for name, content in self.contents.items():
            (folder / f"{name}{suffix}").write_bytes(gzip.compress(content, 1) if suffix else content)
        return root


@pytest.fixture
def small(monkeypatch):
    """Replace MNIST by the small set, without a reachable mirror."""
    small = Small()
    files = [
        IdxFile(name, md5(packed := gzip.compress(content, mtime=0)), md5(content), len(packed), len(content))
        for name, content in small.contents.items()
    ]
    changed = Mnist.official._replace(train=IdxPart(*files[:2]), test=IdxPart(*files[2:]), mirrors=())
    monkeypatch.setattr(Mnist, "official", changed)
    return small


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_closed_trains_and_tests_on_all_ten_classes(small, tmp_path, suffix):
    root = small.write(tmp_path / "root", suffix)
    before = tree(root)
    train, validation, test = Mnist(root, tmp_path / "cache", protocol="closed", validation_fraction=0.25).load()
    assert tree(root) == before
    assert [len(part) for part in (train, validation, test)] == [150, 50, 60]
    assert train.class_names == validation.class_names == test.class_names == tuple("0123456789")
    assert np.array_equal(test.images_NCHW[:, 0].numpy(), small.images["test"])
    assert test.labels_N.tolist() == small.labels["test"].tolist()
    held = [row for digit in range(10) for row in np.flatnonzero(small.labels["train"] == digit)[3::4]]
    assert np.array_equal(validation.images_NCHW[:, 0].numpy(), small.images["train"][sorted(held)])
    assert validation.labels_N.tolist() == small.labels["train"][sorted(held)].tolist()


def test_disjoint_trains_on_the_first_five_and_tests_on_the_others(small, tmp_path):
    train, validation, test = Mnist(small.write(tmp_path / "root"), tmp_path / "cache", validation_fraction=0.25).load()
    assert train.class_names == validation.class_names == tuple("01234")
    assert test.class_names == tuple("56789")
    assert [len(part) for part in (train, validation, test)] == [75, 25, 30]
    unseen = small.labels["test"] >= 5
    assert np.array_equal(test.images_NCHW[:, 0].numpy(), small.images["test"][unseen])
    assert (test.labels_N + 5).tolist() == small.labels["test"][unseen].tolist()


@pytest.mark.parametrize("split", [1, 2, 7])
def test_a_split_takes_five_other_classes_for_training(small, tmp_path, split):
    module = Mnist(small.write(tmp_path / "root"), tmp_path / "cache", validation_fraction=0.25, split=split)
    train, validation, test = module.load()
    trained = [label for label in range(10) if str(label) in train.class_names]
    assert len(trained) == 5 and trained != [0, 1, 2, 3, 4]
    assert sorted((*train.class_names, *test.class_names)) == sorted("0123456789")
    assert validation.class_names == train.class_names
    for table, part in ((test, "test"),):
        wanted = np.isin(small.labels[part], [int(name) for name in table.class_names])
        assert np.array_equal(table.images_NCHW[:, 0].numpy(), small.images[part][wanted])
        assert [int(table.class_names[label]) for label in table.labels_N] == small.labels[part][wanted].tolist()
    summary = module.class_parts().summary()
    assert summary["train"]["names"] == list(train.class_names), "results.json names the classes"
    assert summary["test"]["names"] == list(test.class_names)


def test_splits_differ_and_follow_from_their_number_alone():
    splits = [classes_of_split(number) for number in range(30)]
    assert splits[0] == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    assert splits[1] == ([2, 3, 6, 7, 8], [0, 1, 4, 5, 9]), "the same on every machine"
    assert len({tuple(split.kept) for split in splits}) > 25
    share_C = np.bincount([label for number in range(2000) for label in classes_of_split(number).kept]) / 2000
    assert np.abs(share_C - 0.5).max() < 0.05, "every class trains in about half of the splits"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": -1}, r"data\.split must be 0 or more, but is -1"),
        ({"split": 2, "protocol": "closed"}, r"data\.split=2 .*data\.protocol=closed trains on all.*data\.split=0"),
    ],
)
def test_a_split_that_means_nothing_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Mnist(**options)


def test_a_network_is_refused_on_classes_that_it_was_trained_on(tmp_path):
    module = Mnist(None, tmp_path, split=1)
    module.check_unseen({"name": "mnist", "protocol": "disjoint", "split": 1})
    module.check_unseen({"name": "fashion_mnist", "protocol": "disjoint", "split": 2})
    for other in ({"protocol": "disjoint"}, {"protocol": "disjoint", "split": 2}, {"protocol": "closed"}):
        with pytest.raises(UserError, match=r"has seen .*data\.split=1 tests as unseen"):
            module.check_unseen({"name": "mnist", **other})
    Mnist(None, tmp_path, protocol="closed").check_unseen({"name": "mnist", "protocol": "disjoint", "split": 2})


def test_a_second_load_reads_no_file_of_the_set_again(small, tmp_path, monkeypatch):
    root = small.write(tmp_path / "root")
    first = Mnist(root, tmp_path / "cache").load()
    monkeypatch.setattr("siamese_lab.data.io.idx_files.parse_idx", None)
    second = Mnist(root, tmp_path / "cache", protocol="closed").load()
    assert torch.equal(second.test.classes(range(5, 10)).images_NCHW, first.test.images_NCHW)


def test_missing_files_are_downloaded(small, server, tmp_path, monkeypatch):
    for name, content in small.contents.items():
        server.answers[f"/mirror/{name}.gz"] = [gzip.compress(content, mtime=0)]
    mirrors = (server.url("/none/"), server.url("/mirror/"))
    monkeypatch.setattr(Mnist, "official", Mnist.official._replace(mirrors=mirrors))
    module = Mnist(None, tmp_path / "cache", protocol="closed")
    assert np.array_equal(module.load().test.images_NCHW[:, 0].numpy(), small.images["test"])
    assert len(server.asked) == 8, "both mirrors for each of four files"
    assert module.verify() == []


def test_a_wrong_file_under_the_right_name_is_refused_and_kept(small, tmp_path):
    root = small.write(tmp_path / "root")
    file = root / "MNIST/raw/train-labels-idx1-ubyte.gz"
    file.write_bytes(gzip.compress(idx(small.labels["train"][::-1].copy())))
    before = tree(root)
    message = (
        rf"^{file} should hold the official train-labels-idx1-ubyte \(MD5 [0-9a-f]+ when decompressed\), but holds"
    )
    with pytest.raises(ValueError, match=message):
        Mnist(root, tmp_path / "cache").load()
    assert files_of(tmp_path / "cache") == [] and tree(root) == before


CUT_OFF = gzip.compress(bytes(10_000), mtime=0)[:20]


@pytest.mark.parametrize("content", [b"<html>", b"", CUT_OFF], ids=["html", "empty", "cut off"])
def test_a_file_that_cannot_be_read_is_named(small, tmp_path, content):
    root = small.write(tmp_path / "root")
    (root / "MNIST/raw/t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz (cannot be read|should hold the official)"):
        Mnist(root, tmp_path / "cache").load()


def test_verify_names_every_file_that_is_wrong_or_missing(small, tmp_path):
    root = small.write(tmp_path / "root")
    raw = root / "MNIST/raw"
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"broken")
    (raw / "t10k-labels-idx1-ubyte.gz").unlink()
    found = Mnist(root, tmp_path / "cache").verify()
    assert len(found) == 2
    assert found[0].startswith(f"{raw}/train-images-idx3-ubyte.gz cannot be read")
    assert found[1].startswith("MNIST/raw/t10k-labels-idx1-ubyte.gz is neither in paths.data")


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match=r"data\.protocol must be one of closed, disjoint, but is 'open'\."):
        Mnist(protocol="open")


@pytest.mark.parametrize(
    ("name", "folder", "disjoint"),
    [("mnist", "MNIST", [27_538, 3_058, 4_861]), ("fashion_mnist", "FashionMNIST", [27_000, 3_000, 5_000])],
)
def test_the_real_counts(real_root, real_cache, name, folder, disjoint):
    closed = data.build(name, root=real_root, cache=real_cache, protocol="closed")
    train, validation, test = closed.load()
    assert len(train) + len(validation) == 60_000
    assert abs(len(validation) - 6_000) < 10
    assert len(test) == 10_000
    assert closed.provenance()["from"] == str(real_root / folder / "raw")
    assert closed.verify() == []
    parts = data.build(name, root=real_root, cache=real_cache).load()
    assert [len(part) for part in parts] == disjoint
    assert set(parts.train.class_names).isdisjoint(parts.test.class_names)


def test_the_classes_of_fashion_mnist_equal_those_of_its_paper():
    assert fashion_mnist.FASHION_MNIST.class_names[::3] == ("T-shirt/top", "Dress", "Shirt", "Ankle boot")
    assert FashionMnist().channels == 1 and FashionMnist().image_size == 28
