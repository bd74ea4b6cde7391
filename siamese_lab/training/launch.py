"""Start several processes on this machine for one run, and wait until all of them have ended.

Lightning's own launchers start the command line anew, which would repeat a whole sweep, or return without the state of
the optimizer and the callbacks. Here every process calls one function, and reports how it ended through a pipe.
"""

import logging
import multiprocessing
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning_utilities.core.rank_zero import rank_zero_only
from rich.console import Console

SIGNALS = (signal.SIGINT, signal.SIGTERM)
HOST = "127.0.0.1"
GRACE = 5.0
"""Seconds in which the other processes may end by themselves after one has failed."""
TOGETHER = 0.5
"""Seconds in which several failures count as one: a process that dies makes the others fail at once."""
ORPHAN_GRACE = 20.0
"""Seconds in which a process may stop in good order after the process that started it has died."""


class ProcessDied(RuntimeError):  # noqa: N818 (says what happened)
    """Raised when a process of a run was killed, or ended without a report."""


class ProcessFailed(RuntimeError):  # noqa: N818 (says what happened)
    """Raised in place of an exception of another process that cannot be pickled."""


class RemoteTraceback(Exception):  # noqa: N818 (a part of a traceback)
    """Holds the traceback of another process, as the cause of the exception that is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Shared:
    """Three numbers in memory that all processes of a run see, as well as the process that started them.

    Args:
        context: makes the processes.
    """

    def __init__(self, context: SpawnContext) -> None:
        self._numbers = context.RawArray("q", 3)

    @property
    def signal(self) -> int:
        """The signal that asks the run to stop, or 0."""
        return int(self._numbers[0])

    @signal.setter
    def signal(self, number: int) -> None:
        self._numbers[0] = number

    @property
    def listens(self) -> bool:
        """Whether the run looks at `signal` after each step."""
        return bool(self._numbers[1])

    @listens.setter
    def listens(self, listens: bool) -> None:
        self._numbers[1] = listens

    @property
    def port(self) -> int:
        """The port at which the first process waits for the others, or 0 as long as there is none."""
        return int(self._numbers[2])

    @port.setter
    def port(self, port: int) -> None:
        self._numbers[2] = port


class Member(NamedTuple):
    """What a process knows of the group that it belongs to."""

    rank: int
    processes: int
    shared: Shared


class LocalEnvironment(LightningEnvironment):
    """Tells Lightning that the processes of this machine exist already, whatever the environment variables say.

    Args:
        member: this process.
    """

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member

    @property
    def creates_processes_externally(self) -> bool:
        """Return True: Lightning has to start none."""
        return True

    @property
    def main_address(self) -> str:
        """Return the address of this machine."""
        return HOST

    @property
    def main_port(self) -> int:
        """Return the port that the first process has found free the moment before."""
        shared = self.member.shared
        if self.member.rank == 0 and not shared.port:
            shared.port = free_port()
        while not shared.port:
            time.sleep(0.01)
        return shared.port

    def local_rank(self) -> int:
        """Return the number of this process."""
        return self.member.rank

    def node_rank(self) -> int:
        """Return 0: there is one machine."""
        return 0

    def teardown(self) -> None:
        """Leave the environment variables alone."""


class Output(NamedTuple):
    """Where the first process prints. The others print nowhere."""

    file: str | None
    """A log file, which takes warnings too; None is the terminal."""
    width: int | None
    quiet: bool
    logs: tuple[str, ...]
    """Files that Python's logging writes to."""

    @classmethod
    def of(cls, console: Console) -> "Output":
        """Describe where a console prints."""
        console.file.flush()
        name = getattr(console.file, "name", None)
        is_file = isinstance(name, str) and Path(name).is_file()  # a terminal is called <stdout>
        on_terminal = console.file in (sys.stdout, sys.stderr)
        logs = [each.baseFilename for each in logging.getLogger().handlers if isinstance(each, logging.FileHandler)]
        return cls(
            str(Path(str(name)).absolute()) if is_file else None,
            console.width if is_file else None,
            console.quiet or not (is_file or on_terminal),
            tuple(logs),
        )

    @contextmanager
    def opened(self, rank: int) -> Iterator[Console]:
        """Send what a process says where it belongs: to this output, or nowhere for all but the first process."""
        with ExitStack() as stack:
            root = logging.getLogger()
            root.addHandler(logging.NullHandler())
            if rank:
                nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
                stack.enter_context(redirect_stdout(nowhere))
                stack.enter_context(redirect_stderr(nowhere))
                warnings.simplefilter("ignore")
                yield Console(file=nowhere, quiet=True)
                return
            for log in self.logs:
                root.addHandler(logging.FileHandler(log, encoding="utf-8"))
            if self.file is None:
                yield Console(quiet=self.quiet)
                return
            file = stack.enter_context(Path(self.file).open("a", encoding="utf-8"))
            stack.enter_context(redirect_stderr(file))
            yield Console(file=file, width=self.width, quiet=self.quiet)


class Outcome(NamedTuple):
    """How a process ended."""

    error: bytes | None
    """The exception, pickled; None if there was none or it cannot be pickled."""
    description: str | None
    """The exception in a line; None if there was none."""
    traceback: str = ""
    died: bool = False
    """Whether the process ended without a report."""

    def exception(self) -> BaseException:
        """Return the exception that the process ended with, or one that stands for it."""
        error: BaseException
        if self.error is not None:
            error = pickle.loads(self.error)
        else:
            error = (ProcessDied if self.died else ProcessFailed)(self.description)
        if self.traceback:
            error.__cause__ = RemoteTraceback(self.traceback)
        return error


class _Worker(NamedTuple):
    process: SpawnProcess
    report: Connection


def start(function: Callable[..., object], arguments: Sequence[Any], processes: int, console: Console) -> None:
    """Call a function in several new processes, and return when all of them have.

    Ctrl-C and SIGTERM ask a run that listens (`Shared.listens`) to stop after its step; otherwise, and when they come a
    second time, they end all processes at once. No process is left behind.

    Args:
        function: of a module, as it is pickled by name; called as function(*arguments, console=…, member=…).
        arguments: of the function, to be pickled.
        processes: how many to start.
        console: where the first process prints.

    Raises:
        ProcessDied: if a process was killed, by the system or by a user.
        BaseException: what the function raised in the process that failed first.
    """
    context = multiprocessing.get_context("spawn")
    shared = Shared(context)
    workers: list[_Worker] = []
    try:
        with _relayed_signals(shared, workers, console):
            output = Output.of(console)
            with _ignored(signal.SIGINT):
                for rank in range(processes):
                    workers.append(_started(context, Member(rank, processes, shared), output, function, arguments))
            failures = _await_all(workers)
    finally:
        _end(workers)
    if failures:
        raise max(failures, key=lambda failure: failure.died).exception()


def _started(
    context: SpawnContext, member: Member, output: Output, function: Callable[..., object], arguments: Sequence[Any]
) -> _Worker:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(
        target=_run, args=(member, output, function, tuple(arguments), sender), name=f"rank {member.rank}"
    )
    process.start()
    sender.close()
    return _Worker(process, receiver)


def _await_all(workers: Sequence[_Worker]) -> list[Outcome]:
    """Wait until all have ended well, or some have failed; the failures in the order they came."""
    waiting = {worker.report: worker for worker in workers}
    failures: list[Outcome] = []
    until: float | None = None
    while waiting and (until is None or time.monotonic() < until):
        for report in wait(list(waiting), None if until is None else max(0.0, until - time.monotonic())):
            assert isinstance(report, Connection)
            outcome = _outcome(waiting.pop(report), len(workers))
            if outcome.description is not None:
                failures.append(outcome)
                until = until or time.monotonic() + TOGETHER
    return failures


def _outcome(worker: _Worker, processes: int) -> Outcome:
    try:
        outcome = worker.report.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return Outcome(None, f"The process of {worker.process.name} of {processes} {how}.", died=True)
    assert isinstance(outcome, Outcome)
    return outcome


def _end(workers: Sequence[_Worker]) -> None:
    """See to it that no process is left."""
    until = time.monotonic() + GRACE
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
    for worker in workers:
        worker.process.kill()
        worker.process.join()
        worker.report.close()


@contextmanager
def _relayed_signals(shared: Shared, workers: Sequence[_Worker], console: Console) -> Iterator[None]:
    """Ask the run to stop at the first signal, if it listens; otherwise end its processes, and then this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def receive(number: int, frame: FrameType | None) -> None:
        if shared.listens and not shared.signal:
            shared.signal = number
            console.print("Stopping after this step. Once more stops at once, without a checkpoint.")
            return
        restore()
        for worker in workers:
            worker.process.kill()
        signal.raise_signal(number)

    former = {number: signal.signal(number, receive) for number in SIGNALS}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    try:
        yield
    finally:
        restore()


@contextmanager
def _ignored(number: signal.Signals) -> Iterator[None]:
    """Ignore a signal here, and in the processes that are started meanwhile until they decide otherwise."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, former)


def _run(
    member: Member, output: Output, function: Callable[..., object], arguments: tuple[Any, ...], report: Connection
) -> None:
    """Do the part of one process, and report how it went."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the process that started this one, which decides what it means
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    rank_zero_only.rank = member.rank  # type: ignore[attr-defined]
    try:
        with output.opened(member.rank) as console:
            function(*arguments, console=console, member=member)
    except BaseException as error:
        report.send(_failed(error))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # at once: the others may wait for this process, and this one for them
    report.send(Outcome(None, None))


def _failed(error: BaseException) -> Outcome:
    told = traceback.format_exc()
    description = f"{type(error).__name__}: {error}"
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        return Outcome(None, description, told)
    return Outcome(pickled, description, told)


def _end_with_parent() -> None:
    """Stop in good order when the process that started this one has died."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE)
    os._exit(1)


def free_port() -> int:
    """Return a port of this machine that nothing listens to."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
