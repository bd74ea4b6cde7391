"""Standard output cannot end a command."""

import io
import os
from pathlib import Path

import pytest

from siamese_lab.runs import output
from siamese_lab.runs.output import LastingFile, make_output_last


def test_a_closed_pipe_discards_what_follows() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with LastingFile(writer, "wb") as file:
        assert file.write(b"nobody reads this") == 17
        assert file.write(b"nor this") == 8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_discards_what_follows() -> None:
    with LastingFile(os.open("/dev/full", os.O_WRONLY), "wb") as file:
        assert file.write(b"no space") == 8


@pytest.mark.parametrize(
    ("encoding", "written"),
    [("cp1251", "6 x 8 – Жé".replace("é", r"\xe9")), ("latin-1", r"6 × 8 - \u0416é"), ("utf-8", "6 × 8 – Жé")],
)
def test_characters_that_an_encoding_lacks_are_replaced(
    encoding: str, written: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w", encoding=encoding) as stream:
        monkeypatch.setattr(output.sys, "stdout", stream)
        monkeypatch.setattr(output.sys, "__stdout__", stream)
        make_output_last()
        assert output.sys.stdout is not stream
        output.sys.stdout.write("6 × 8 – Жé")
        output.sys.stdout.flush()
        output.sys.stdout.detach()
    assert (tmp_path / "out").read_text(encoding=encoding) == written


def test_a_captured_stream_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    captured = io.StringIO()
    monkeypatch.setattr(output.sys, "stdout", captured)
    make_output_last()
    assert output.sys.stdout is captured
