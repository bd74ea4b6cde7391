"""Downloads from a real server on loopback give the correct file or one clear message, and never a partial file."""

import os
import resource
import time
from pathlib import Path

import pytest
from loopback import cut, drip, endless, stall
from processes import files_of, kill, start, wait_until

from siamese_lab.data.io import download as module
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
def test_temporary_failures_are_retried_from_the_start(server, tmp_path, passing):
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
def test_a_file_on_no_mirror_is_one_sentence_and_leaves_no_file(server, tmp_path, answer, reason, times):
    server.answers["/a"] = [answer]
    with pytest.raises(
        ValueError,
        match=rf"^it\.zip could not be downloaded \(http://127[^ ]*/a: {reason}.*\)\. .* {tmp_path}/it\.zip\.$",
    ):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path)
    assert len(server.asked) == times
    assert files_of(tmp_path) == []


@pytest.mark.parametrize("where", ["status", "headers", "content"])
def test_a_server_that_drips_bytes_is_abandoned(server, tmp_path, monkeypatch, where):
    """Every byte comes in time, but all bytes would take hours."""
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    server.answers["/a"] = [drip(CONTENT, 0.05, where)]
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"sent less than 1,000 bytes a second for 0\.3 seconds"):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path)
    assert time.monotonic() - started < 3
    assert files_of(tmp_path) == []


def test_a_slow_server_is_not_abandoned(server, tmp_path, monkeypatch):
    """The server sends 40,000 bytes per second, in pieces."""
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    content = CONTENT[:40_000]

    def answer(handler):
        cut(content, 0)(handler)
        for place in range(0, len(content), 2_000):
            handler.wfile.write(content[place : place + 2_000])
            time.sleep(0.05)

    server.answers["/a"] = [answer]
    assert download(server.remote("it.zip", content, "/a"), tmp_path).read_bytes() == content
    assert server.asked == ["/a"]


OK = b"HTTP/1.1 200 OK\r\n\r\n"


def test_an_endless_answer_ends_at_the_size_of_the_file(server, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(module, "_is_web_page", lambda draft: written.append(draft.stat().st_size))
    server.answers["/a"] = [endless(OK)]
    with pytest.raises(ValueError, match=r"/a: sent another file, which has more than 512,000 bytes\)"):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path)
    assert 512_000 < written[0] <= 512_000 + module.CHUNK
    assert server.asked == ["/a"] and files_of(tmp_path) == []


@pytest.mark.parametrize("status", [b"302 Found", b"404 Not Found"])
def test_an_endless_body_that_is_not_the_file_is_not_read(server, tmp_path, status):
    location = server.url("/b").encode()
    server.answers["/a"] = [endless(b"HTTP/1.1 " + status + b"\r\nLocation: " + location + b"\r\n\r\n")]
    server.answers["/b"] = [CONTENT]
    remote = server.remote("it.zip", CONTENT, "/a", "/b")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert download(remote, tmp_path).read_bytes() == CONTENT
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kilobytes of memory"


def test_a_login_page_larger_than_the_file_is_called_a_web_page(server, tmp_path):
    server.answers["/a"] = [b"<html>" + bytes(10_000)]
    with pytest.raises(ValueError, match="/a: sent a web page instead of the file"):
        download(server.remote("labels.gz", b"1" * 5_000, "/a"), tmp_path)


def test_a_link_in_place_of_the_draft_is_not_followed(server, tmp_path):
    (tmp_path / "outside").write_bytes(b"precious")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.it.zip.part").symlink_to(tmp_path / "outside")
    server.answers["/a"] = [CONTENT]
    assert download(server.remote("it.zip", CONTENT, "/a"), tmp_path / "cache").read_bytes() == CONTENT
    assert (tmp_path / "outside").read_bytes() == b"precious"


def partial(content, cut_after=None):
    """Answer requests for a part as servers of files do: 206 from the asked byte on, cut after some bytes."""

    def answer(handler):
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        rest = content[start:]
        if asked and not rest:
            handler.send_error(416)
            return
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(rest)))
        handler.end_headers()
        sent.append((start, handler.wfile.write(rest if cut_after is None else rest[:cut_after])))

    sent = answer.sent = []
    return answer


@pytest.fixture
def large(monkeypatch):
    """Treat every file as a large one."""
    monkeypatch.setattr(module, "RESUMED", 0)


def test_a_large_file_goes_on_where_it_was_cut(server, tmp_path, large):
    first, second = partial(CONTENT, cut_after=100_000), partial(CONTENT)
    server.answers["/a"] = [first, second]
    assert download(server.remote("it.zip", CONTENT, "/a"), tmp_path).read_bytes() == CONTENT
    assert first.sent == [(0, 100_000)]
    ((start, length),) = second.sent
    assert 0 < start <= 100_000 and start + length == len(CONTENT)
    assert files_of(tmp_path) == ["it.zip"]


def test_a_large_file_goes_on_in_the_next_call(server, tmp_path, large, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 1)
    server.answers["/a"] = [partial(CONTENT, cut_after=100_000)]
    remote = server.remote("it.zip", CONTENT, "/a")
    with pytest.raises(ValueError, match="the connection failed or was cut"):
        download(remote, tmp_path)
    assert files_of(tmp_path) == [".it.zip.part"]
    rest = partial(CONTENT)
    server.answers["/a"] = [rest]
    assert download(remote, tmp_path).read_bytes() == CONTENT
    assert rest.sent[0][0] > 0


def test_a_server_without_parts_sends_the_whole_large_file(server, tmp_path, large):
    server.answers["/a"] = [cut(CONTENT, 100_000), CONTENT]
    assert download(server.remote("it.zip", CONTENT, "/a"), tmp_path).read_bytes() == CONTENT


def test_a_wrong_beginning_of_a_large_file_is_sent_again(server, tmp_path, large):
    (tmp_path / ".it.zip.part").write_bytes(b"something else")
    answer = partial(CONTENT)
    server.answers["/a"] = [answer]
    assert download(server.remote("it.zip", CONTENT, "/a"), tmp_path).read_bytes() == CONTENT
    assert [start for start, _ in answer.sent] == [14, 0]


def test_a_wrong_large_file_is_not_kept(server, tmp_path, large):
    server.answers["/a"] = [b"another file"]
    with pytest.raises(ValueError, match=r"sent another file \(md5"):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path)
    assert files_of(tmp_path) == []


def test_a_link_in_place_of_a_large_draft_is_not_followed(server, tmp_path, large):
    (tmp_path / "outside").write_bytes(CONTENT[:1_000])
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.it.zip.part").symlink_to(tmp_path / "outside")
    server.answers["/a"] = [partial(CONTENT)]
    assert download(server.remote("it.zip", CONTENT, "/a"), tmp_path / "cache").read_bytes() == CONTENT
    assert (tmp_path / "outside").read_bytes() == CONTENT[:1_000]


def test_without_a_network(server, tmp_path):
    server.close()
    with pytest.raises(ValueError, match=r"the connection failed or was cut \(ConnectionError\)"):
        download(server.remote("it.zip", CONTENT, "/a", "/b"), tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(server, tmp_path, monkeypatch):
    """Make the temporary file a device that is always full."""
    server.answers["/a"] = [CONTENT]
    monkeypatch.setattr(module, "create_draft", lambda path: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb"))
    with pytest.raises(ValueError, match=rf"^There is no space left to write to {tmp_path}\. .*set paths\.cache"):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path)
    assert files_of(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"in .*/file, but cannot write there \(.*Set paths\.cache to"):
        download(server.remote("it.zip", CONTENT, "/a"), tmp_path / "file")


def test_a_partial_file_of_another_process_is_not_continued(server, tmp_path):
    server.answers["/a"] = [CONTENT]
    (tmp_path / ".it.zip.part").write_bytes(b"half of something else" * 100_000)
    assert download(server.remote("it.zip", CONTENT, "/a"), tmp_path).read_bytes() == CONTENT


@pytest.mark.slow
def test_one_of_several_processes_downloads_and_the_others_wait(server, tmp_path):
    server.answers["/a"] = [stall(CONTENT, 200_000, seconds=0.5)]
    remote = server.remote("it.zip", CONTENT, "/a")
    processes = [start(lambda: download(remote, tmp_path)) for _ in range(4)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert server.asked == ["/a"]
    assert (tmp_path / "it.zip").read_bytes() == CONTENT


@pytest.mark.slow
def test_a_process_killed_during_a_download_leaves_no_usable_file(server, tmp_path):
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
