"""Download files: try each mirror in turn, and verify the checksum before the file gets its final name.

requests transfers and pooch hashes. This module adds mirrors, retries, a lock between processes, a largest size and a
least rate: a server can send too much, or a byte now and then.
"""

import io
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pooch
import requests
import urllib3
from requests.adapters import HTTPAdapter
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from siamese_lab.data.io.cache_folder import one_at_a_time
from siamese_lab.data.io.messages import console, writing_to
from siamese_lab.errors import ResourceError
from siamese_lab.runs.files import flush_to_disk

ROUNDS = 3
"""Number of attempts for each mirror that did not fail permanently."""
PAUSE = 2.0
"""Seconds between the first two rounds. Each further pause is twice as long."""
TIMEOUT = 30
"""Seconds after which a mirror has failed in this round if it sent nothing, or less than `LEAST_RATE`."""
LEAST_RATE = 1000
"""Bytes per second, as the mean of `TIMEOUT` seconds."""
TOO_BUSY = (408, 425, 429)
"""HTTP status codes 4xx that are worth a retry."""
PARTIAL = 206
"""HTTP status code of an answer that holds a part of the file."""
BEYOND_THE_END = 416
"""HTTP status code of a server that has no bytes at the place where a transfer would go on."""
GRACE = 1.0
"""Seconds that an abandoned transfer of a large file has to end, so that another one can go on with its file."""
RESUMED = 100_000_000
"""Size from which on an interrupted transfer goes on where it stopped, in bytes."""
CHUNK = 1 << 13
"""Bytes that are received at once. A larger number would hide for long that a slow mirror sends at all."""


class Remote(NamedTuple):
    """A file that its publishers offer for download."""

    name: str
    """Path relative to the folder of its data set, with / between folders."""
    urls: tuple[str, ...]
    """URLs of the same file on all mirrors, the best first."""
    digest: str
    """Checksum of the file: `md5:…` or `sha256:…`."""
    largest: int
    """Size of the file in bytes, or a bound of it. A transfer ends there."""


class MirrorError(Exception):
    """Raised if a mirror did not deliver the file. `for_good` is True if a retry is pointless."""

    def __init__(self, reason: str, for_good: bool) -> None:
        super().__init__(reason)
        self.for_good = for_good


def download(remote: Remote, folder: Path) -> Path:
    """Return the path of the file under `folder`. Download the file if it is missing.

    An interrupted transfer starts again from the beginning; that of a file of `RESUMED` bytes or more goes on where it
    stopped, in the next call too. If several processes need the file, one downloads it and the others wait.

    Raises:
        UserError: if no mirror has the correct file, or if `folder` is not writable.
    """
    target = folder / remote.name
    draft = target.with_name(f".{target.name}.part")
    with one_at_a_time(target, "downloading"):
        if not target.exists():
            try:
                with writing_to(target.parent), _removed_if_it_cannot_grow(draft):
                    _fetch_from_any(remote, draft, target)
                    flush_to_disk(draft)
                    draft.replace(target)
            finally:
                if not resumes(remote):
                    draft.unlink(missing_ok=True)
    return target


def resumes(remote: Remote) -> bool:
    """Return whether an interrupted transfer goes on where it stopped."""
    return remote.largest >= RESUMED


def describe_wrong_checksum(path: Path, digest: str) -> str | None:
    """Return in words how the checksum of a file differs from `md5:…` or `sha256:…`; None if it is the expected one.

    Raises:
        OSError: if the file cannot be read.
    """
    algorithm, expected = digest.split(":")
    found = pooch.file_hash(str(path), alg=algorithm)
    return None if found == expected else f"{algorithm} {found} where {expected} was expected"


@contextmanager
def _removed_if_it_cannot_grow(draft: Path) -> Iterator[None]:
    """Remove the draft if the disk refuses it. A full disk needs its space."""
    try:
        yield
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _fetch_from_any(remote: Remote, draft: Path, target: Path) -> None:
    """Try the mirrors in turn, in rounds with growing pauses."""
    reasons: dict[str, MirrorError] = {}
    for number in range(ROUNDS):
        asked = [url for url in remote.urls if url not in reasons or not reasons[url].for_good]
        if number and asked:
            time.sleep(PAUSE * 2 ** (number - 1))
        for url in asked:
            try:
                _fetch(url, remote, draft)
            except MirrorError as refused:
                reasons[url] = refused
            else:
                return
    failures = "; ".join(f"{url}: {reason}" for url, reason in reasons.items())
    raise ResourceError(
        f"{remote.name} could not be downloaded ({failures}). Try again later, or get the file in another way and "
        f"save it as {target}."
    )


def _fetch(url: str, remote: Remote, draft: Path) -> None:
    """Transfer the file from one mirror and verify its checksum. A draft with another checksum is removed."""
    transfer = _Transfer(url, draft, remote.largest, resumes(remote))
    try:
        _watch(transfer, _Bar(remote.name, remote.largest))
    finally:
        transfer.abandoned.set()
        if transfer.resumes:
            transfer.join(GRACE)
            if transfer.is_alive():  # it may still write into this file
                draft.unlink(missing_ok=True)
    wrong = describe_wrong_checksum(draft, remote.digest)
    if transfer.received > remote.largest or wrong is not None:
        reason = _describe_wrong_file(draft, remote, transfer.received, wrong)
        draft.unlink()
        raise MirrorError(reason, for_good=not transfer.went_on)


def _watch(transfer: "_Transfer", bar: "_Bar") -> None:
    """Run a transfer to its end.

    Raises:
        MirrorError: if the mirror refuses, or sends less than `LEAST_RATE`.
        OSError: if the file cannot be written.
    """
    transfer.start()
    try:
        counted, since = 0, time.monotonic()
        while transfer.is_alive():
            transfer.join(min(TIMEOUT, 0.1))
            bar.show(transfer.received)
            if time.monotonic() - since >= TIMEOUT:
                if transfer.received - counted < LEAST_RATE * TIMEOUT and transfer.is_alive():
                    raise MirrorError(f"sent less than {LEAST_RATE:,} bytes a second for {TIMEOUT} seconds", False)
                counted, since = transfer.received, time.monotonic()
    finally:
        bar.close()
    try:
        if transfer.error is not None:
            raise transfer.error
    except requests.HTTPError as error:
        assert error.response is not None
        status = error.response.status_code
        for_good = 400 <= status < 500 and status not in (*TOO_BUSY, BEYOND_THE_END)
        raise MirrorError(f"answered {status} {error.response.reason}", for_good) from error
    except requests.Timeout as error:
        raise MirrorError(f"sent nothing in {TIMEOUT} seconds", for_good=False) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as error:
        raise MirrorError(f"the connection failed or was cut ({type(error).__name__})", for_good=False) from error


class _Transfer(threading.Thread):
    """Transfers one file in a thread that can be abandoned.

    A server that sends a byte now and then, in its headers or in the file, never returns control to who reads from it.
    """

    def __init__(self, url: str, draft: Path, largest: int, resumes: bool) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.draft = draft
        self.largest = largest
        self.resumes = resumes
        self.went_on = False
        """True if the first bytes of the draft came from an earlier transfer."""
        self.received = 0
        """Bytes of the file until now. More than `largest` if the transfer was ended because the answer is too long."""
        self.abandoned = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        """Transfer the file. Store an exception in `error`."""
        try:
            self._receive()
        except Exception as error:
            self.error = error

    def _receive(self) -> None:
        start = size_of_draft(self.draft, self.largest) if self.resumes else 0
        headers = {"User-Agent": "siamese_lab", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Redirects())
            with session.get(self.url, stream=True, timeout=TIMEOUT, headers=headers) as response:
                if response.status_code == BEYOND_THE_END:
                    self.draft.unlink(missing_ok=True)
                response.raise_for_status()
                if self.abandoned.is_set():
                    return
                self.went_on = bool(start) and goes_on(response, start)
                self.received = start if self.went_on else 0
                with append_to_draft(self.draft) if self.went_on else new_draft(self.draft) as file:
                    self._write(response, file)

    def _write(self, response: requests.Response, file: IO[bytes]) -> None:
        for chunk in response.iter_content(CHUNK):
            if self.abandoned.is_set():
                return
            file.write(chunk)
            self.received += len(chunk)
            if self.received > self.largest:
                break
        file.flush()
        os.fsync(file.fileno())


class _Redirects(HTTPAdapter):
    """Drops the body of a redirect, which `requests` would read to its end and keep."""

    def send(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request and return the response."""
        response: requests.Response = super().send(*args, **options)
        if response.is_redirect:
            response.close()
            response.raw = io.BytesIO()
        return response


def size_of_draft(path: Path, largest: int) -> int:
    """Return the size of a draft to go on with; 0 if there is none, or if it has no byte less than the largest file."""
    if path.is_symlink() or not path.is_file():
        return 0
    size = path.stat().st_size
    return size if size < largest else 0


def goes_on(response: requests.Response, start: int) -> bool:
    """Return whether an answer holds the file from byte `start` on. Servers that know no parts send the whole file."""
    return response.status_code == PARTIAL and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def new_draft(path: Path) -> IO[bytes]:
    """Create a file in place of an earlier one."""
    path.unlink(missing_ok=True)
    return create_draft(path)


def create_draft(path: Path) -> IO[bytes]:
    """Create a file. A link in its place is never followed."""
    return path.open("xb")


def append_to_draft(path: Path) -> IO[bytes]:
    """Open a file to add bytes at its end. A link in its place is never followed."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)), "ab")


def _describe_wrong_file(draft: Path, remote: Remote, received: int, wrong: str | None) -> str:
    if _is_web_page(draft):
        return "sent a web page instead of the file, as a proxy or a login page of the network does"
    if received > remote.largest:
        return f"sent another file, which has more than {remote.largest:,} bytes"
    return f"sent another file ({wrong})"


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html"))


class _Bar:
    """A progress bar of one transfer."""

    def __init__(self, name: str, total: int) -> None:
        columns: Sequence[TextColumn | BarColumn | DownloadColumn | TransferSpeedColumn | TimeRemainingColumn] = (
            TextColumn(f"Downloading {name}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self._bar.add_task("", total=total)
        self._bar.start()

    def show(self, received: int) -> None:
        """Set the bar to the number of bytes that were received."""
        self._bar.update(self.task, completed=received)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()
