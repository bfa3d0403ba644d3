"""A message is a version byte and a msgpack batch of items."""

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from core.messages.versions import CURRENT, FORMER, WRITTEN

MAX_OCTETS = 900_000

Item = TypeVar("Item")

_PREFIXES = {version: bytes((version,)) for version in (FORMER, CURRENT)}
_READ = frozenset(_PREFIXES.values())
_encoder = msgspec.msgpack.Encoder()


class UnreadableBatch(ValueError):
    """Octets on the bus that are no batch of ours; they go to quarantine with this reason."""


def encode_batch(items: Sequence[object]) -> bytes:
    """The octets of the message that carries `items`, in their order."""
    return _PREFIXES[WRITTEN.number] + _encoder.encode(items)


def encode_batches(items: Sequence[object], most: int) -> Iterator[bytes]:
    """The octets of the messages that carry `items`, in their order: `most` at most in each, and 1 MB or less.

    The bus rejects a message that is larger than it allows (1 MB by default), however often it is published.
    """
    for start in range(0, len(items), most):
        part = items[start : start + most]
        octets = encode_batch(part)
        if len(octets) <= MAX_OCTETS or len(part) == 1:
            yield octets
        else:
            yield from encode_batches(part, (len(part) + 1) // 2)


class BatchDecoder(Generic[Item]):
    """Reads batches of one type of item; made once per type, it is reused for every message."""

    def __init__(self, item: type[Item]) -> None:
        self._decoder = msgspec.msgpack.Decoder(list[item])

    def decode(self, octets: bytes) -> list[Item]:
        """The items in order.

        Raises:
            UnreadableBatch: another version, or not of this type.
        """
        if octets[:1] not in _READ:
            raise UnreadableBatch(
                f"version byte {octets[:1].hex() or 'missing'}, this program reads {FORMER} and {CURRENT}"
            )
        try:
            return self._decoder.decode(octets[1:])
        except msgspec.MsgspecError as malformed:
            raise UnreadableBatch(str(malformed)) from malformed
