"""In which versions messages are read, and in which one they are written (decision 121).

Version 1: a batch begins with its version byte, everything else with its msgpack. Version 2: everything begins
with its version byte; the items of a batch are as before. A program reads both. It writes the newer one once no
program lives, or may be started, that does not read it; until it knows, it writes the older one.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

FORMER, CURRENT = 1, 2
# Programs that know so many migrations read CURRENT.
READ_SINCE = 142

T = TypeVar("T")

_FIRST_OCTET_OF_ITEMS = 0x80  # Of a msgpack map or array; below it are version bytes.
_PREFIX = bytes((CURRENT,))

_encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode


class UnknownVersion(msgspec.DecodeError):
    """A message in a version that this program does not read."""


class WrittenVersion:
    """In which version this process writes, as it has learnt last."""

    def __init__(self) -> None:
        self.number = FORMER

    def learn(self, oldest: int) -> None:
        """`oldest`: of how many migrations the oldest program knows that works on this schema (the ledger's)."""
        self.number = CURRENT if oldest >= READ_SINCE else FORMER


# A process is of one release, and writes in one version whatever it writes.
WRITTEN = WrittenVersion()


def encode_message(message: object) -> bytes:
    """The octets of what is no batch."""
    octets = _encode(message)
    return octets if WRITTEN.number == FORMER else _PREFIX + octets


class MessageDecoder(Generic[T]):
    """Reads messages of one type that are no batches; made once per type, it is reused for every message."""

    def __init__(self, message: type[T]) -> None:
        self._decode = msgspec.msgpack.Decoder(message).decode

    def decode(self, octets: bytes) -> T:
        """Raises msgspec.MsgspecError for anything else, UnknownVersion where its version byte is another one."""
        if octets[:1] == _PREFIX:
            return self._decode(octets[1:])
        if octets and octets[0] < _FIRST_OCTET_OF_ITEMS:
            raise UnknownVersion(f"version byte {octets[0]:02x}, this program reads {FORMER} and {CURRENT}")
        return self._decode(octets)
