"""Download files: try each mirror in turn, and verify the checksum before the file gets its final name.

pooch transfers and hashes. This module adds mirrors, retries and a lock between processes.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pooch
import requests
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from siamese_lab.data.io.cache_folder import one_at_a_time
from siamese_lab.data.io.messages import console, writing_to
from siamese_lab.errors import ResourceError

ROUNDS = 3
"""Number of attempts for each mirror that did not fail permanently."""
PAUSE = 2.0
"""Seconds between the first two rounds. Each further pause is twice as long."""
TIMEOUT = 30
"""Seconds without data after which a mirror has failed in this round."""
TOO_BUSY = (408, 425, 429)
"""HTTP status codes 4xx that are worth a retry."""
CHUNK = 1 << 16


class Remote(NamedTuple):
    """A file that its publishers offer for download."""

    name: str
    """Path relative to the folder of its data set, with / between folders."""
    urls: tuple[str, ...]
    """URLs of the same file on all mirrors, the best first."""
    digest: str
    """Checksum of the file: `md5:…` or `sha256:…`."""


class MirrorError(Exception):
    """Raised if a mirror did not deliver the file. `for_good` is True if a retry is pointless."""

    def __init__(self, reason: str, for_good: bool) -> None:
        super().__init__(reason)
        self.for_good = for_good


def download(remote: Remote, folder: Path) -> Path:
    """Return the path of the file under `folder`. Download the file if it is missing.

    An interrupted transfer starts again from the beginning. If several processes need the file, one downloads it
    and the others wait.

    Raises:
        UserError: if no mirror has the correct file, or if `folder` is not writable.
    """
    target = folder / remote.name
    draft = target.with_name(f".{target.name}.part")
    with one_at_a_time(target, "downloading"):
        if not target.exists():
            try:
                with writing_to(target.parent):
                    _fetch_from_any(remote, draft, target)
                    draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
    return target


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
    """Transfer the file from one mirror and verify its checksum."""
    bar = _Bar(remote.name)
    transfer = pooch.HTTPDownloader(
        progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT, headers={"User-Agent": "siamese_lab"}
    )
    try:
        transfer(url, str(draft), None)
    except requests.HTTPError as error:
        assert error.response is not None
        status = error.response.status_code
        for_good = 400 <= status < 500 and status not in TOO_BUSY
        raise MirrorError(f"answered {status} {error.response.reason}", for_good) from error
    except requests.Timeout as error:
        raise MirrorError(f"sent nothing for {TIMEOUT} seconds", for_good=False) from error
    except requests.RequestException as error:
        raise MirrorError(f"the connection failed or was cut ({type(error).__name__})", for_good=False) from error
    finally:
        bar.close()
    algorithm, expected = remote.digest.split(":")
    came = pooch.file_hash(str(draft), alg=algorithm)
    if came != expected:
        raise MirrorError(
            "sent a web page instead of the file, as a proxy or a login page of the network does"
            if _is_web_page(draft)
            else f"sent another file ({algorithm} {came} where {expected} was expected)",
            for_good=True,
        )


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html"))


class _Bar:
    """A rich progress bar with the interface that pooch expects."""

    total: int | None = None

    def __init__(self, name: str) -> None:
        columns: Sequence[TextColumn | BarColumn | DownloadColumn | TransferSpeedColumn | TimeRemainingColumn] = (
            TextColumn(f"Downloading {name}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self._bar.add_task("", total=None)
        self._bar.start()

    def update(self, count: int) -> None:
        """Advance the bar by `count` bytes."""
        self._bar.update(self.task, advance=count, total=self.total)

    def reset(self) -> None:
        """Set the bar back to zero."""
        self._bar.reset(self.task, total=self.total)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()
