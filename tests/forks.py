"""Workers that are forked once everything is collected: tests are collected, and our packages imported, one time.

xdist's workers each do both by themselves, in ten seconds of a core. Else this is its `--dist loadfile`: all tests
of a file are one worker's, and a worker that is free takes the next file.
"""

import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, cast

import pytest

# Called once by the parent, with what will run: what each worker would else make for itself.
before_fork: list[Callable[[Sequence[pytest.Item]], None]] = []
# Called by each worker at its birth, while it has neither a thread nor a loop.
in_each_worker: list[Callable[[], None]] = []
ENDS_WITHIN_S = 60.0
# Fixtures of tests/conftest.py.
SERVERS = frozenset({"cluster", "nats_server", "mosquitto_server"})
REPORT, WARNING, NEXT, BROKEN = "report", "warning", "next", "broken"


class _MoreComes:
    """In place of the next test, which is not known yet: what lasts as long as the session stays."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def listchain(self) -> list[pytest.Session]:
        """The node that is needed still."""
        return [self._session]


@dataclass(slots=True)
class Worker:
    """A forked process, as the parent sees it."""

    number: int
    pid: int
    connection: Connection
    death: int
    """Readable when it is dead."""
    left: list[pytest.Item] = field(default_factory=list[pytest.Item])
    """Of the file that it has in hand, what has not ended."""


def run_forked(session: pytest.Session, count: int, beside: int | None = None) -> None:
    """Run all that was collected in so many workers, and have everything reported here.

    One more begins when the process `beside` has ended, whose place on the machine is free then.
    """
    files = [list(items) for _, items in groupby(session.items, key=lambda item: item.path)]
    files.sort(key=lambda items: (_most_s(items), _servers(items)), reverse=True)
    for prepare in before_fork:
        prepare(session.items)
    folder = session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    workers = [_fork(session, number, files, folder) for number in range(min(count, len(files)))]
    if beside is not None:
        workers.append(_fork(session, len(workers), files, folder, beside))
    try:
        _hand_out(session, workers, files)
    finally:
        for worker in workers:
            worker.connection.close()
        _bury(workers)


def _most_s(items: list[pytest.Item]) -> float:
    """How long a test of this file may take when it says so itself: the longest are not to be the last."""
    marks = (item.get_closest_marker("timeout") for item in items)
    return max((float(mark.args[0]) for mark in marks if mark is not None and mark.args), default=0.0)


def _servers(items: list[pytest.Item]) -> int:
    """How often its tests ask for a server, which is most of what they take: the last files are of none."""
    return sum(
        len(SERVERS) if item.get_closest_marker("starts_processes") is not None
        else len(SERVERS.intersection(getattr(item, "fixturenames", ())))
        for item in items
    )  # fmt: skip


def _fork(
    session: pytest.Session,
    number: int,
    files: list[list[pytest.Item]],
    folder: Path,
    after: int | None = None,
) -> Worker:
    ours, theirs = Pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        ours.close()
        status = 1
        try:
            _become_worker(session, number, theirs, folder)
            if after is not None:
                _wait_for_end(after)
            _work(session, files, theirs)
            status = 0
        except (KeyboardInterrupt, BrokenPipeError, EOFError):
            pass  # The parent has ended, or is about to.
        finally:
            os._exit(status)
    theirs.close()
    return Worker(number, pid, ours, os.pidfd_open(pid))


def _become_worker(session: pytest.Session, number: int, parent: Connection, folder: Path) -> None:
    """What is the parent's own is not used by two: where output is kept, the terminal, chance, folders."""
    config = session.config
    capturing = config.pluginmanager.getplugin("capturemanager")
    if capturing is not None:
        capturing.stop_global_capturing()
        capturing.start_global_capturing()
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter._tw._file = Path(os.devnull).open("w")  # noqa: SIM115 - Until this process ends.
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ in {
            "LogXML",
            "LFPlugin",
            "NFPlugin",
        }:  # They write at the end what they have seen.
            config.pluginmanager.unregister(plugin)
    random.seed()
    own = folder / f"worker-{number}"
    own.mkdir(mode=0o700)
    config._tmp_path_factory._basetemp = own  # type: ignore[attr-defined]
    config.pluginmanager.register(_Sender(config, parent), "sender")
    for prepare in in_each_worker:
        prepare()


def _wait_for_end(pid: int) -> None:
    with suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        wait([process])
        os.close(process)


class _Sender:
    """Says to the parent what a reporter of this process would write."""

    def __init__(self, config: pytest.Config, parent: Connection) -> None:
        self._config, self._parent = config, parent

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self._config.hook.pytest_report_to_serializable(config=self._config, report=report)
        self._parent.send((REPORT, data))

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        where = warning_message.filename, warning_message.lineno
        said = f"{warning_message.category.__name__}: {warning_message.message}"
        self._parent.send((WARNING, (said, *where, when, nodeid, location)))


def _work(session: pytest.Session, files: list[list[pytest.Item]], parent: Connection) -> None:
    more = cast(pytest.Item, _MoreComes(session))
    try:
        while True:
            parent.send((NEXT, None))
            number = parent.recv()
            if number is None:
                break
            items = files[number]
            for item, following in zip(items, [*items[1:], more], strict=True):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    finally:
        try:
            session._setupstate.teardown_exact(None)
        except Exception:  # noqa: BLE001 - Whatever it is, the run has failed.
            parent.send((BROKEN, traceback.format_exc()))


def _hand_out(session: pytest.Session, workers: list[Worker], files: list[list[pytest.Item]]) -> None:
    waiting, living = iter(range(len(files))), list(workers)
    while living:
        by_handle: dict[Any, Worker] = {one.connection: one for one in living} | {one.death: one for one in living}
        for handle in wait(list(by_handle)):
            worker = by_handle[handle]
            if worker not in living:
                continue
            if handle == worker.death:
                while worker.connection.poll() and _receive(session, worker, waiting, files):
                    pass
                _mourn(session, worker)
                living.remove(worker)
            elif not _receive(session, worker, waiting, files):
                living.remove(worker)
                os.waitpid(worker.pid, 0)
                _mourn(session, worker)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
    left = [item for number in waiting for item in files[number]]
    if left:
        raise session.Interrupted(f"every worker has ended, {len(left)} tests have not run")


def _receive(session: pytest.Session, worker: Worker, waiting: Any, files: list[list[pytest.Item]]) -> bool:
    """Take one message; whether the worker can send another one."""
    config = session.config
    try:
        kind, content = worker.connection.recv()
    except (EOFError, OSError):
        return False
    if kind == REPORT:
        report = config.hook.pytest_report_from_serializable(config=config, data=content)
        config.hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            worker.left = [item for item in worker.left if item.nodeid != report.nodeid]
    elif kind == WARNING:
        said, filename, line, when, nodeid, location = content
        message = _warning(said, filename, line)
        config.hook.pytest_warning_recorded.call_historic(
            kwargs={"warning_message": message, "when": when, "nodeid": nodeid, "location": location}
        )
    elif kind == NEXT:
        number = next(waiting, None)
        worker.left = [] if number is None else list(files[number])
        try:
            worker.connection.send(number)
        except OSError:
            return False
    else:
        _report_failed(session, f"worker {worker.number}", content)
    return True


def _warning(said: str, filename: str, line: int) -> Any:
    return warnings.WarningMessage(UserWarning(said), UserWarning, filename, line)


def _mourn(session: pytest.Session, worker: Worker) -> None:
    """The test in which a worker died has failed; those behind it in its file have not run, and say so."""
    if not worker.left:
        return
    running, *others = worker.left
    _report_failed(session, running.nodeid, f"worker {worker.number} died in this test", running)
    for item in others:
        _report_failed(session, item.nodeid, f"worker {worker.number} died in {running.nodeid}", item)
    worker.left = []


def _report_failed(session: pytest.Session, nodeid: str, why: str, item: pytest.Item | None = None) -> None:
    location = (nodeid, None, nodeid) if item is None else item.location
    for when in ("call", "teardown"):  # What writes JUnit waits for the last.
        report = pytest.TestReport(
            nodeid, location, {}, "failed" if when == "call" else "passed", why if when == "call" else None,
            cast(Any, when),
        )  # fmt: skip
        session.config.hook.pytest_runtest_logreport(report=report)


def _bury(workers: list[Worker]) -> None:
    """Wait until each has stopped its servers."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    for worker in workers:
        if not wait([worker.death], max(0.0, deadline - time.monotonic())):
            os.kill(worker.pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # It was buried before.
            os.waitpid(worker.pid, 0)
        os.close(worker.death)
