"""What our suite adds to pytest besides fixtures; suites of a few lines have it without the servers' imports."""

import gc
import multiprocessing
import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

from tests.forks import run_forked
from tests.leftovers import sweep
from tests.protocol_matrix import listed, rows

MANY_WORKERS = 2
# Every fixture that starts a server keeps it in the first of these; the others are homes of whole stacks.
NEED_SERVERS = {"server_folder", "demo_folder", "chaos_folder"}
# Programs of packages that `./territoire test --unit` does not install.
PACKAGED = {"nats-server", "mosquitto", "mosquitto_passwd", "promtool", "pgbackrest", "chromium", "faketime"}
POSTGRES = "/lib/postgresql/"

# Of the controller only: workers have no terminal.
_terminal: list[pytest.TerminalReporter] = []
# The unit test that runs in this process.
_unit: list[pytest.Item] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--forks", type=int, default=0, help="run in so many workers, forked after collection")
    parser.addoption("--beside", type=int, help="a process at whose end one more of these begins")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "unit: needs no server (given by tests/hooks.py, never by hand)")
    config.addinivalue_line(
        "markers", "starts_processes: starts servers, workers or tools by itself: no unit test"
    )
    sys.addaudithook(_reject_packaged)


def _reject_packaged(event: str, arguments: tuple[object, ...]) -> None:
    """A unit test that starts a packaged program fails where there is no server, and so it does everywhere."""
    if event == "subprocess.Popen" and _unit:
        program = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
        if POSTGRES in program or Path(program).name in PACKAGED:
            pytest.fail(f"{_unit[0].nodeid} starts {program}: mark it starts_processes", pytrace=False)


def pytest_sessionstart(session: pytest.Session) -> None:
    """What killed runs have left goes before this one starts; the controller does it, not each worker."""
    if not hasattr(session.config, "workerinput"):
        sweep()
        _terminal.append(session.config.pluginmanager.get_plugin("terminalreporter"))
        if (session.config.getoption("numprocesses", None) or 0) > MANY_WORKERS:
            _rewrite_all(session.config)


def _rewrite_all(config: pytest.Config) -> None:
    """Rewrite the asserts of a fresh checkout once, on all cores, before many workers do it for themselves."""
    root, cores = Path(__file__).parent, os.cpu_count() or 1
    files = [*root.rglob("test_*.py"), *root.rglob("conftest.py")]
    fork = multiprocessing.get_context("fork").Process
    shares = [fork(target=_rewrite, args=(config, files[place::cores])) for place in range(cores)]
    for share in shares:
        share.start()
    for share in shares:
        share.join()


def _rewrite(config: pytest.Config, files: list[Path]) -> None:
    """As pytest does when it first imports a test, and kept where it will look."""
    for file in files:
        pyc = rewrite.get_cache_dir(file) / (file.name.removesuffix(".py") + rewrite.PYC_TAIL)
        if not sys.dont_write_bytecode and rewrite._read_pyc(file, pyc) is None:
            pyc.parent.mkdir(exist_ok=True)
            source_hash, code = rewrite._rewrite_test(file, config)
            rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source_hash, pyc)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays until the end: it is looked through for garbage neither meanwhile nor later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    count = session.config.getoption("forks")
    if not count or session.config.option.collectonly or session.testsfailed:
        return None  # As ever; it also says what could not be collected.
    run_forked(session, count, session.config.getoption("beside"))
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Before `-m unit` chooses: a test is one unless its fixtures, or its own mark, say that it starts some."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if NEED_SERVERS.isdisjoint(fixtures) and item.get_closest_marker("starts_processes") is None:
            item.add_marker("unit")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if item.get_closest_marker("unit") is None:
        return (yield)
    _unit.append(item)
    try:
        return (yield)
    finally:
        _unit.clear()


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A failure is named when it happens; the end of a run may be ten minutes away."""
    if report.failed and _terminal:
        _terminal[0].write("\n")  # The line of dots is not at its end.
        _terminal[0].write_line(f"ÉCHEC {report.nodeid} ({report.when})", red=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The LoRaWAN matrix by row, after a run that had most of it."""
    stats = terminalreporter.stats
    passed = [report.nodeid for report in stats.get("passed", []) if report.when == "call"]
    failed = [report.nodeid for kind in ("failed", "error") for report in stats.get(kind, [])]
    lines = listed(rows(), passed, failed)
    if lines:
        terminalreporter.section("LoRaWAN matrix of docs/protocols.md")
        for line in lines:
            terminalreporter.write_line(line)
