"""systemd's watchdog is fed while everything lives; a socket takes what systemd would."""

import asyncio
import socket
from pathlib import Path

import pytest

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


async def test_nobody_is_fed_where_systemd_does_not_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)

    async def all_live() -> bool:
        raise AssertionError

    await keep_feeding(all_live)
