"""The audit on its way to a SIEM: each sealed line as JSON, to a file, to the standard output, or by syslog.

At least once: the position moves, in the database, when a batch has arrived. What fails comes again with the next
pass, and a receiver tells a line that came twice by its `sequence`.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from core.runtime.leader import leading
from core.runtime.postgres import Pool
from core.runtime.syslog import SyslogServer, syslog_message
from registry.audit_export import SealedLine, move_position, read_position, read_sealed

# Of a batch, and of a pass: the other jobs of the process have their turn.
LINES_AT_ONCE, BATCHES_A_PASS = 500, 20
# A datagram is no longer, headers included.
LONGEST_MESSAGE = 60_000
APP_NAME = "territoire-audit"
# Arbitrary, ours. A receiver that is slow keeps no other job from its work.
LOCK = 0x7E44172
STDOUT, FILE = "stdout:", "file://"


class ExportFailed(Exception):
    """The destination has not taken a batch; the message says why."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where lines go: `stdout:`, `file:///path`, or a syslog server's address."""

    address: str

    def __post_init__(self) -> None:
        if self.address != STDOUT and self._file is None:
            SyslogServer.parse(self.address)

    @property
    def _file(self) -> Path | None:
        path = Path(self.address.removeprefix(FILE))
        return path if self.address.startswith(FILE) and path.is_absolute() else None

    def send(self, lines: Sequence[SealedLine]) -> None:
        """Hand them over, and wait until they are safe there. It blocks: for a thread. Raises OSError."""
        texts = [as_json(line) for line in lines]
        if self.address == STDOUT:
            sys.stdout.write("".join(f"{text}\n" for text in texts))
            sys.stdout.flush()
        elif self._file is not None:
            _append(self._file, "".join(f"{text}\n" for text in texts).encode())
        else:
            SyslogServer.parse(self.address).send(
                [
                    syslog_message(line.at, APP_NAME, line.action, text, is_warning=line.action == "reject")
                    for line, text in zip(lines, texts, strict=True)
                ]
            )


def _append(file: Path, octets: bytes) -> None:
    # Opened anew with each batch: whoever rotates it may take it away.
    file.touch(0o600)
    with file.open("ab") as opened:
        opened.write(octets)
        opened.flush()
        os.fsync(opened.fileno())


def as_json(line: SealedLine) -> str:
    """One line of JSON; details that no message can hold are left in the database."""
    text = msgspec.json.encode(asdict(line)).decode()
    if len(text.encode()) <= LONGEST_MESSAGE:
        return text
    return msgspec.json.encode(asdict(line) | {"details": {"truncated": True}}).decode()


async def export_audit(pool: Pool, destination: Destination) -> int:
    """Send what was sealed since the last time, in batches; how many lines.

    Raises:
        NotLeader: another replica does.
        ExportFailed: the destination does not take them; what it has is noted.
    """
    sent = 0
    for _ in range(BATCHES_A_PASS):
        count = await _send_batch(pool, destination)
        sent += count
        if count < LINES_AT_ONCE:
            break
    return sent


async def _send_batch(pool: Pool, destination: Destination) -> int:
    async with leading(pool, LOCK) as connection:
        position = await read_position(connection, destination.address)
        lines = await read_sealed(connection, position, LINES_AT_ONCE)
        if not lines:
            return 0
        try:
            await asyncio.to_thread(destination.send, lines)
        except OSError as refused:
            raise ExportFailed(f"audit export: {refused}") from refused
        await move_position(connection, destination.address, lines[-1].sequence)
    return len(lines)
