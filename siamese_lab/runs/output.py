"""Standard output that cannot end a command: a closed pipe, a full disk or a narrow encoding costs text, not a run."""

import codecs
import errno
import io
import os
import sys

PLAIN = {"×": "x", "–": "-", "−": "-", "…": "...", "±": "+/-", "→": "->", "’": "'", "●": "*", "◐": "~", "✗": "x"}
"""Characters of the lab's output, in ASCII. Other characters that an encoding lacks become escapes such as \\xe9."""
ERRORS = "siamese_lab.plain"


class LastingFile(io.FileIO):
    """A file that discards what it cannot write, for example because `| head` has closed the pipe."""

    def write(self, data: object) -> int:
        """Write bytes. From the first error on, everything is discarded."""
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if error.errno != errno.EPIPE and self.fileno() == 1:
                print(f"Standard output is discarded from here on: {error.strerror}.", file=sys.stderr)
            return len(memoryview(data).cast("B"))  # type: ignore[arg-type]


def make_output_last() -> None:
    """Replace standard output and standard error by streams that never raise. Captured streams stay as they are."""
    codecs.register_error(ERRORS, _plain)
    for name, original in (("stdout", sys.__stdout__), ("stderr", sys.__stderr__)):
        stream = getattr(sys, name)
        if stream is not None and stream is original and isinstance(stream, io.TextIOWrapper):
            stream.flush()
            setattr(sys, name, _lasting(stream))


def _lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.BufferedWriter(LastingFile(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=ERRORS,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    return "".join(PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in missing), error.end
