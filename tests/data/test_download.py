"""Downloads from a real server on loopback give the correct file or one clear message, and never a partial file."""

from pathlib import Path

import pytest
from loopback import cut, stall
from processes import files_of, kill, start, wait_until

from siamese_lab.data.io.download import Remote, download
from siamese_lab.data.sets import fashion_mnist, lfw, mnist, omniglot

CONTENT = bytes(range(256)) * 2_000


def test_the_file_is_fetched_once_and_then_used(server, tmp_path):
    server.answers["/a"] = [CONTENT]
    remote = server.remote("deep/in/it.zip", CONTENT, "/a")
    for _ in range(2):
        assert download(remote, tmp_path / "new").read_bytes() == CONTENT
    assert server.asked == ["/a"]
    assert files_of(tmp_path) == ["new/deep/in/it.zip"]


@pytest.mark.parametrize(
    "answer",
    [404, 503, b"<!DOCTYPE html><title>Log in</title>", b"another file", cut(CONTENT, 70_000)],
    ids=["404", "503", "web page", "wrong checksum", "cut"],
)
def test_the_second_mirror_serves_where_the_first_does_not(server, tmp_path, answer):
    server.answers = {"/first": [answer], "/second": [CONTENT]}
    remote = server.remote("it.zip", CONTENT, "/first", "/second")
    assert download(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["/first", "/second"]


@pytest.mark.parametrize("passing", [503, 429, cut(CONTENT, 100_000), cut(CONTENT, 0)])
def test_what_may_pass_is_tried_again_from_the_start(server, tmp_path, passing):
    server.answers["/a"] = [passing, passing, CONTENT]
    assert download(server.remote("it.zip", CONTENT, "/a"), tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("answer", "reason", "times"),
    [
        (404, "answered 404 Not Found", 1),
        (500, "answered 500 Internal Server Error", 3),
        (b" \n<html><body>Accept our terms</body>", "sent a web page instead of the file", 1),
        (b"another file", r"sent another file \(md5 50e5[0-9a-f]* where [0-9a-f]{32} was expected\)", 1),
        (cut(CONTENT, 1_000), "the connection failed or was cut", 3),
    ],
)
def test_what_no_mirror_has_is_one_sentence_and_leaves_nothing(server, tmp_path, answer, reason, times):
    server.answers["/a"] = [answer]
    with pytest.raises(
        ValueError,
        match=rf"^it\.zip could not be downloaded \(http://127[^ ]*/a: {reason}.*\)\. .* {tmp_path}/it\.zip\.$",
    ):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path)
    assert len(server.asked) == times
    assert files_of(tmp_path) == []


def test_without_a_network(server, tmp_path):
    server.close()
    with pytest.raises(ValueError, match=r"the connection failed or was cut \(ConnectionError\)"):
        download(server.remote("it.zip", CONTENT, "/a", "/b"), tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(server, tmp_path):
    """Make the draft a device that is always full."""
    server.answers["/a"] = [CONTENT]
    (tmp_path / ".it.zip.part").symlink_to("/dev/full")
    with pytest.raises(ValueError, match=rf"^There is no space left to write to {tmp_path}\. .*set paths\.cache"):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path)
    assert files_of(tmp_path) == []


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"in .*/file, but cannot write there \(.*Set paths\.cache to"):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path / "file")


def test_half_a_file_left_by_another_is_not_continued(server, tmp_path):
    server.answers["/a"] = [CONTENT]
    (tmp_path / ".it.zip.part").write_bytes(b"half of something else" * 100_000)
    assert download(server.remote("it.zip", CONTENT, "/a"), tmp_path).read_bytes() == CONTENT


@pytest.mark.slow
def test_of_several_processes_one_fetches_and_the_others_wait(server, tmp_path):
    server.answers["/a"] = [stall(CONTENT, 200_000, seconds=0.5)]
    remote = server.remote("it.zip", CONTENT, "/a")
    processes = [start(lambda: download(remote, tmp_path)) for _ in range(4)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert server.asked == ["/a"]
    assert (tmp_path / "it.zip").read_bytes() == CONTENT


@pytest.mark.slow
def test_a_process_killed_while_it_downloads_leaves_nothing_to_trust(server, tmp_path):
    server.answers["/a"] = [stall(CONTENT, 300_000, seconds=60), CONTENT]
    remote = server.remote("it.zip", CONTENT, "/a")
    process = start(lambda: download(remote, tmp_path))
    draft = tmp_path / ".it.zip.part"
    wait_until(lambda: draft.exists() and draft.stat().st_size > 100_000)
    kill(process)
    assert not (tmp_path / "it.zip").exists()
    assert download(remote, tmp_path).read_bytes() == CONTENT
    assert files_of(tmp_path) == ["it.zip"]


def test_every_remote_of_the_sets_is_complete():
    remotes = [*omniglot.PARTS.values(), omniglot.ONE_SHOT_RUNS, *lfw.PAIRS.values()]
    remotes += [each.remote for each in lfw.ALIGNMENTS.values() if each.remote]
    for idx in (mnist.MNIST, fashion_mnist.FASHION_MNIST):
        assert len(idx.mirrors) == 2 and all(mirror.endswith("/") for mirror in idx.mirrors)
    for remote in remotes:
        assert isinstance(remote, Remote) and len(set(remote.urls)) == 2
        algorithm, digest = remote.digest.split(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[algorithm]
