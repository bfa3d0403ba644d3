"""systemd's watchdog is fed while everything lives; a socket takes what systemd would."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.session import run_stack
from services.supervisor.run_info import RunInfo
from services.supervisor.stack_options import StackOptions
from services.supervisor.supervisor import Child
from services.supervisor.watchdog import keep_feeding


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "150000")
        yield listening


async def test_signs_come_while_everything_lives_and_stop_with_one_that_hangs(systemd: socket.socket) -> None:
    lives = True

    async def all_live() -> bool:
        return lives

    feeding = asyncio.create_task(keep_feeding(all_live))
    for _ in range(3):
        async with asyncio.timeout(10):
            assert await asyncio.get_running_loop().sock_recv(systemd, 100) == b"WATCHDOG=1"
    lives = False
    await asyncio.sleep(0.1)
    while True:  # What was under way.
        try:
            systemd.recv(100)
        except BlockingIOError:
            break
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await asyncio.get_running_loop().sock_recv(systemd, 100)
    feeding.cancel()


async def test_a_sign_that_cannot_be_sent_is_followed_by_others(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    async def all_live() -> bool:
        asked.append(1)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / ("nowhere" if len(asked) == 1 else "notify")))
        return True

    feeding = asyncio.create_task(keep_feeding(all_live))
    async with asyncio.timeout(10):
        assert await asyncio.get_running_loop().sock_recv(systemd, 100) == b"WATCHDOG=1"
    feeding.cancel()

    assert capsys.readouterr().err.startswith("systemd : signe de vie non transmis : ")


@pytest.mark.parametrize(
    ("answered", "age_s", "hangs"), [(False, 0, False), (False, 61, True), (True, 0, True), (True, 61, True)]
)
def test_a_process_hangs_once_it_has_answered_or_had_time_to(answered: bool, age_s: float, hangs: bool) -> None:
    spec: Any = None
    child = Child(spec, spawned_at=time.monotonic() - age_s, has_answered=answered)

    assert child.is_young is not hangs


async def test_nobody_is_fed_where_systemd_does_not_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)

    async def all_live() -> bool:
        raise AssertionError

    await keep_feeding(all_live)


async def test_a_stack_feeds_it_until_one_of_its_processes_no_longer_answers(
    systemd: socket.socket, server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is frozen is the last of three: that the others answer is not enough."""
    monkeypatch.setenv("WATCHDOG_USEC", "1500000")
    loop = asyncio.get_running_loop()

    async def until(is_awaited: Callable[[list[bytes]], bool], within_s: float) -> None:
        async with asyncio.timeout(within_s):
            seen: list[bytes] = []
            while not is_awaited(seen):
                seen.append(await loop.sock_recv(systemd, 100))

    async def freeze(run: RunInfo, _asked: asyncio.Event) -> int:
        await until(lambda seen: seen.count(b"WATCHDOG=1") >= 2, 30)
        frozen = run.service("indicators").pid
        assert frozen is not None
        os.kill(frozen, signal.SIGSTOP)
        try:
            # The question that is under way is answered, or not, within two seconds.
            await asyncio.sleep(3)
            with pytest.raises(TimeoutError):
                await until(lambda seen: False, 0.5)  # Empties the socket.
            with pytest.raises(TimeoutError):
                await until(lambda seen: b"WATCHDOG=1" in seen, 8)
        finally:
            os.kill(frozen, signal.SIGCONT)
        await until(lambda seen: b"WATCHDOG=1" in seen, 30)
        return 0

    options = StackOptions(udp_port=0, api_port=0, services=("lighting", "maintenance", "indicators"))

    assert await run_stack(server_folder / "watched", options, freeze) == 0
