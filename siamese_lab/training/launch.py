"""Start several processes on this machine for one run, and wait until all of them have ended.

Lightning's launchers either start the command line again, which would repeat a whole sweep, or return without the state
of the optimizer and the callbacks. Here every process calls one function and reports through a pipe how it ended.
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

from siamese_lab.config.process import end_with_parent
from siamese_lab.runs.output import make_output_last

REQUEUE = tuple(getattr(signal, name) for name in ("SIGUSR1",) if hasattr(signal, name))
"""SLURM sends it before the time limit of a job with --signal=USR1@SECONDS. Windows has no such signal."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, *REQUEUE)
HOST = "127.0.0.1"
GRACE = 5.0
"""Seconds that the other processes get to end by themselves after one has failed."""
TOGETHER = 0.5
"""Seconds within which several failures count as one: when a process dies, the others fail right after it."""


class ProcessDied(RuntimeError):  # noqa: N818 (the name says what happened)
    """Raised when a process of a run was killed, or ended without a report."""


class ProcessFailed(RuntimeError):  # noqa: N818 (the name says what happened)
    """Raised in place of an exception of another process that cannot be pickled."""


class RemoteTraceback(Exception):  # noqa: N818 (a part of a traceback)
    """Holds the traceback of another process, as the cause of an exception that is raised in this one."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Shared:
    """Three numbers in memory that all processes of a run share with their parent process.

    Args:
        context: the multiprocessing context that starts the processes.
    """

    def __init__(self, context: SpawnContext) -> None:
        self._numbers = context.RawArray("q", 3)

    @property
    def signal(self) -> int:
        """Return the number of the signal that asks the run to stop, or 0."""
        return int(self._numbers[0])

    @signal.setter
    def signal(self, number: int) -> None:
        self._numbers[0] = number

    @property
    def listens(self) -> bool:
        """Return whether the run checks `signal` after each step."""
        return bool(self._numbers[1])

    @listens.setter
    def listens(self, listens: bool) -> None:
        self._numbers[1] = listens

    @property
    def port(self) -> int:
        """Return the port on which the first process waits for the others, or 0 if it has none yet."""
        return int(self._numbers[2])

    @port.setter
    def port(self, port: int) -> None:
        self._numbers[2] = port


class Member(NamedTuple):
    """The position of a process in its group."""

    rank: int
    processes: int
    shared: Shared


class LocalEnvironment(LightningEnvironment):
    """Describes processes that exist already to Lightning. Environment variables are ignored.

    Args:
        member: the position of this process.
    """

    def __init__(self, member: Member) -> None:
        super().__init__()
        self.member = member

    @property
    def creates_processes_externally(self) -> bool:
        """Return True, so that Lightning starts no process."""
        return True

    @property
    def main_address(self) -> str:
        """Return the address of this machine."""
        return HOST

    @property
    def main_port(self) -> int:
        """Return the free port that the first process has found; other processes wait for it."""
        shared = self.member.shared
        if self.member.rank == 0 and not shared.port:
            shared.port = free_port()
        while not shared.port:
            time.sleep(0.01)
        return shared.port

    def local_rank(self) -> int:
        """Return the rank of this process."""
        return self.member.rank

    def node_rank(self) -> int:
        """Return 0, because there is one machine."""
        return 0

    def teardown(self) -> None:
        """Leave the environment variables alone."""


class Output(NamedTuple):
    """The console output of the first process. The other processes print nothing."""

    file: str | None
    """A log file, which also receives warnings; None is the terminal."""
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
        """Redirect what a process prints: the first process to this output, the others to nowhere."""
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
    """The report of a process that has ended."""

    error: bytes | None
    """The pickled exception; None if there was no exception or it cannot be pickled."""
    description: str | None
    """The exception in one line; None if there was no exception."""
    traceback: str = ""
    died: bool = False
    """True if the process ended without a report."""

    def exception(self) -> BaseException:
        """Return the exception that the process raised, or a substitute if it cannot be pickled."""
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
    """Call a function in several new processes, and return when all of them have ended.

    Ctrl-C or SIGTERM asks a run that listens (`Shared.listens`) to stop after its step. A second signal, or a signal
    to a run that does not listen, ends all processes at once. No process is left running.

    Args:
        function: a module-level function, because it is pickled by name; called as
            function(*arguments, console=…, member=…).
        arguments: positional arguments of the function; they are pickled.
        processes: number of processes to start.
        console: the console of the first process.

    Raises:
        ProcessDied: if the system or a user killed a process.
        BaseException: the exception that the function raised in the process that failed first.
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
    """Wait until all processes have ended or some have failed. Return the failures in order of arrival."""
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
    """Wait for the processes for a moment, then kill the remaining ones."""
    until = time.monotonic() + GRACE
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
    for worker in workers:
        worker.process.kill()
        worker.process.join()
        worker.report.close()


@contextmanager
def _relayed_signals(shared: Shared, workers: Sequence[_Worker], console: Console) -> Iterator[None]:
    """Ask a listening run to stop at the first signal. Otherwise kill its processes and then this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def receive(number: int, frame: FrameType | None) -> None:
        if shared.listens and not shared.signal:
            shared.signal = number
            console.print("Stopping after this step. A second signal stops at once, without a checkpoint.")
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
    """Ignore a signal in this process during the block. Processes started in the block inherit this."""
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
    """Run the function in one process, and report how it ended."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches only the parent process, which decides what to do
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_with_parent(parent.join)
    rank_zero_only.rank = member.rank  # type: ignore[attr-defined]
    make_output_last()
    try:
        with output.opened(member.rank) as console:
            function(*arguments, console=console, member=member)
    except BaseException as error:
        report.send(_failed(error))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # at once, because this process and the others may wait for each other
    report.send(Outcome(None, None))


def _failed(error: BaseException) -> Outcome:
    formatted = traceback.format_exc()
    description = f"{type(error).__name__}: {error}"
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        return Outcome(None, description, formatted)
    return Outcome(pickled, description, formatted)


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
