"""What `territoire alarm` remembers while disks are full, read-only, or root's."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from cli import alarm_memory
from cli.alarm_memory import KnownBefore, Memory, Remembered, taken_over
from cli.alarm_news import Watched, happened, watch
from cli.finding_kinds import Kind
from cli.findings import Finding, Severity, critical, warning
from tests.cli.memory_disks import memory_disk
from tests.cli.on_call import Letters, alarm

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
BUS = critical(Kind.BUS_AWAY, "ne répond pas", "démarrez-le")
MANY = warning(Kind.GATEWAYS_SILENT, "plus rien", "regardez", [f"passerelle {number}" for number in range(200)])


def test_what_cannot_be_remembered_is_told_at_once_and_what_memory_keeps_is_told_once(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    examined.append(BUS)
    nowhere = Path("/sys")  # In which nobody makes a file, root neither.

    forgetting = [alarm(nowhere), alarm(nowhere)]
    told = len(letters.subjects)
    remembering = [alarm(nowhere, RUNTIME_DIRECTORY=str(tmp_path)) for _ in range(3)]

    assert (forgetting, told) == ([1, 1], 4)  # Two people, each time.
    assert (remembering, len(letters.subjects) - told) == ([0, 0, 0], 2)


def test_a_service_that_ends_again_and_again_on_a_full_disk_is_told_once(
    tmp_path: Path, letters: Letters, examined: list[Finding]
) -> None:
    ended = {"SERVICE_RESULT": "exit-code", "EXIT_STATUS": "1", "RUNTIME_DIRECTORY": str(tmp_path)}
    for _ in range(4):
        alarm(Path("/sys"), "--stopped", **ended)

    assert len(letters.headlines()) == 1


def test_what_memory_kept_while_the_disk_was_full_is_known_once_it_is_not(
    tmp_path: Path, letters: Letters, examined: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, memory = tmp_path / "home", tmp_path / "memory"
    home.mkdir()
    memory.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(memory))
    alarm(home)
    examined.append(BUS)
    with monkeypatch.context() as patched:
        patched.setattr(alarm_memory, "_write", _full(home))
        assert [alarm(home), alarm(home)] == [0, 0]
    examined.clear()
    alarm(home)
    alarm(home)

    assert letters.headlines() == ["en panne : bus", "rétabli : bus"]
    assert list(memory.iterdir()) == []


def _full(home: Path) -> Callable[[Path, bytes], None]:
    """What is there stays, and nothing new is taken."""
    write = alarm_memory._write  # pyright: ignore[reportPrivateUsage]

    def reject(folder: Path, octets: bytes) -> None:
        if folder == home:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(folder, octets)

    return reject


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB that has 4 kB left: room for a file, and none for what is to be remembered."""
    with memory_disk(tmp_path / "home", "size=64k") as home:
        with contextlib.suppress(OSError), (home / "rest").open("wb", buffering=0) as rest:
            while True:
                rest.write(b"x" * 4096)
        os.truncate(home / "rest", (home / "rest").stat().st_size - 4096)
        yield home


def test_a_disk_that_is_really_full_has_nobody_told_twice(
    tmp_path: Path, full_disk: Path, letters: Letters, examined: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(memory))
    examined.append(MANY)

    assert [alarm(full_disk) for _ in range(4)] == [0] * 4
    assert len(letters.headlines()) == 1
    assert [file.name for file in full_disk.iterdir()] == ["rest"]


def test_a_draft_that_a_run_left_behind_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "alarm.json.part").write_bytes(b"{")
    (tmp_path / "alarm.json.part").chmod(0)
    memory = Memory(tmp_path)

    memory.save(memory.state)

    assert (memory.is_lost, Memory(tmp_path).state.turn) == (False, 1)
    assert [file.name for file in tmp_path.iterdir()] == ["alarm.json"]


def test_an_end_that_did_not_wait_for_a_slow_run_is_not_forgotten(tmp_path: Path) -> None:
    stopped = critical(Kind.UNIT_STOPPED, "s'est arrêté", "journalctl", ["territoire.service"])
    slow, quick = Memory(tmp_path), Memory(tmp_path)
    slow.save(slow.state)
    quick.read()
    quick.save(replace(quick.state, events=happened({}, [stopped], NOW)))

    slow.save(replace(slow.state, watched=watch(Watched(), [BUS], NOW)))

    state = Memory(tmp_path).state
    assert (list(state.events), list(state.watched.troubles)) == ([*stopped.keys], [*BUS.keys])


def test_what_root_remembered_by_hand_is_read_by_the_account_of_the_stack(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives a file away")
    os.chown(tmp_path, 65534, 65534)
    memory = Memory(tmp_path)

    memory.save(memory.state)

    found = (tmp_path / "alarm.json").stat()
    assert (found.st_uid, found.st_mode & 0o777) == (65534, 0o600)


def test_what_a_release_of_before_called_bad_is_good_once_it_was_looked_at(tmp_path: Path) -> None:
    gateways = Finding("passerelles", Severity.WARNING, "muettes : Mairie", "regardez")
    before = Remembered(known={"passerelles": KnownBefore(gateways, NOW)})
    away = critical(Kind.DATABASE_AWAY, "ne répond pas", "démarrez-la")

    hidden = taken_over(before, ["a@b.fr"], [away], NOW)
    seen = taken_over(hidden, ["a@b.fr"], [], NOW)

    assert (hidden.known, hidden.recipients) == (before.known, {})
    assert (seen.known, list(seen.recipients["a@b.fr"].notified)) == ({}, ["before/passerelles"])


def test_one_run_decides_at_a_time_and_none_waits_for_ever(tmp_path: Path) -> None:
    first, second = Memory(tmp_path), Memory(tmp_path)

    with first.alone(1.0):
        first.save(first.state)
        with second.alone(0.2):  # It goes on: twice is better than never.
            assert second.state.turn == 1
    with second.alone(0.2):
        assert second.state.turn == 1
