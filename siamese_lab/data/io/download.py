"""Files from the net: from the first mirror that has the right one, checked before anyone sees them.

pooch transfers and hashes; mirrors, patience and the lock are here.
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
"""How often every mirror is asked that may yet answer."""
PAUSE = 2.0
"""Seconds between the first two rounds; each further pause is twice as long."""
TIMEOUT = 30
"""Seconds without a byte, after which a mirror is given up for this round."""
TOO_BUSY = (408, 425, 429)
"""Of the answers 4xx those that may change by waiting."""
CHUNK = 1 << 16


class Remote(NamedTuple):
    """A file as its publishers offer it."""

    name: str
    """Under the folder of its data set, with / between folders."""
    urls: tuple[str, ...]
    """The same file on every one of them, the best first."""
    digest: str
    """`md5:…` or `sha256:…`."""


class MirrorError(Exception):
    """Why a mirror gave nothing, and whether to ask it again."""

    def __init__(self, reason: str, for_good: bool) -> None:
        super().__init__(reason)
        self.for_good = for_good


def download(remote: Remote, folder: Path) -> Path:
    """The file under `folder`, fetched unless it is there.

    A transfer that was cut starts anew. Of several processes one fetches and the others wait for it.

    Raises:
        UserError: if no mirror has the right file, or it cannot be written.
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
    """Ask the mirrors in turn, in rounds with growing pauses."""
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
    told = "; ".join(f"{url}: {reason}" for url, reason in reasons.items())
    raise ResourceError(
        f"{remote.name} could not be downloaded ({told}). Try again later, or get the file in another way and put it "
        f"at {target}."
    )


def _fetch(url: str, remote: Remote, draft: Path) -> None:
    """Transfer from one mirror and check what came."""
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
            "sent a web page in place of the file, as a proxy or a login page of the network would"
            if _is_web_page(draft)
            else f"sent another file ({algorithm} {came} where {expected} was expected)",
            for_good=True,
        )


def _is_web_page(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html"))


class _Bar:
    """The progress of a transfer, as pooch tells it, drawn by rich."""

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
        """So many bytes more."""
        self._bar.update(self.task, advance=count, total=self.total)

    def reset(self) -> None:
        """From the start."""
        self._bar.reset(self.task, total=self.total)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()
