"""Spoils a valid message: octets, text, or what a JSON document holds. Everything comes from the given source."""

import random
from collections.abc import Callable, Sequence
from typing import Any, cast

# Mostly one: what is spoilt in many places is refused for the first of them.
CHANGES = (1, 1, 1, 1, 2, 3, 6)
LONGEST_ADDED = 24
LONGEST_LIST = 300
DEEP = 2_000
# What programs get wrong: ends of ranges, one beyond, what is no number, what is no text.
NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, -(2**31) - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64,
    -(2**63) - 1, 10**40, 1e308, -1e308, 5e-324, 0.1, -0.0, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
TEXTS = (
    "", " ", "\0", "é", "\u202e", "\ud800", "𝟘", "null", "NaN", "-", "0x10", "1e999", "1_000", "+1", "٣", "'", '"',
    "\\", "=1+1", "%s", "{}", "../..", "a" * 300, "9" * 5_000, "2026-02-30", "2026-11-28T24:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "SF13BW125", "AAAA=", "=", "00" * 300, "\r\n", "\u2028",
)  # fmt: skip
ODD: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, *NUMBERS, *TEXTS)

Octets = Callable[[random.Random, bytearray], None]


def octets(source: random.Random, message: bytes) -> bytes:
    """The message with a few octets flipped, cut, added, repeated or moved."""
    spoilt = bytearray(message)
    for _ in range(source.choice(CHANGES)):
        source.choice(_CHANGES)(source, spoilt)
    return bytes(spoilt)


def noise(source: random.Random, most: int) -> bytes:
    """Octets that mean nothing."""
    return source.randbytes(source.randint(0, most))


def _flip(source: random.Random, spoilt: bytearray) -> None:
    if spoilt:
        spoilt[source.randrange(len(spoilt))] ^= 1 << source.randrange(8)


def _set(source: random.Random, spoilt: bytearray) -> None:
    if spoilt:
        spoilt[source.randrange(len(spoilt))] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))


def _cut(source: random.Random, spoilt: bytearray) -> None:
    del spoilt[source.randint(0, len(spoilt)) :]


def _lose(source: random.Random, spoilt: bytearray) -> None:
    at = source.randint(0, len(spoilt))
    del spoilt[at : at + source.randint(1, 8)]


def _insert_noise(source: random.Random, spoilt: bytearray) -> None:
    at = source.randint(0, len(spoilt))
    spoilt[at:at] = noise(source, LONGEST_ADDED)


def _repeat(source: random.Random, spoilt: bytearray) -> None:
    at = source.randint(0, len(spoilt))
    part = spoilt[at : at + source.randint(1, 16)]
    spoilt[at:at] = part * source.randint(1, 8)


def _swap(source: random.Random, spoilt: bytearray) -> None:
    if len(spoilt) > 1:
        one, other = source.randrange(len(spoilt)), source.randrange(len(spoilt))
        spoilt[one], spoilt[other] = spoilt[other], spoilt[one]


_CHANGES: Sequence[Octets] = (_flip, _flip, _set, _set, _cut, _lose, _insert_noise, _repeat, _swap)


def text(source: random.Random, message: str) -> str:
    """The text with some of it lost, repeated, or something odd put in."""
    for _ in range(source.choice(CHANGES)):
        at = source.randint(0, len(message))
        match source.randrange(4):
            case 0:
                message = message[:at] + message[at + source.randint(1, 12) :]
            case 1:
                message = message[:at] + message[at : at + 20] * source.randint(1, 4) + message[at:]
            case 2:
                message = message[:at] + str(source.choice(ODD)) + message[at:]
            case _:
                message = (
                    message[:at]
                    + source.choice(",;:-{}[]\"'\n\t&*!|>%@`# ")
                    + message[at + source.randint(0, 1) :]
                )
    return message


def document(source: random.Random, value: Any) -> Any:
    """The document with a few places lost, doubled, renamed, or holding something else; the given one stays."""
    for _ in range(source.choice(CHANGES)):
        value = _changed(source, value)
    return value


def anything(source: random.Random, depth: int = 3) -> Any:
    """A document of no kind."""
    match source.randrange(6 if depth else 4):
        case 4:
            return [anything(source, depth - 1) for _ in range(source.randrange(4))]
        case 5:
            return {str(source.choice(TEXTS)): anything(source, depth - 1) for _ in range(source.randrange(4))}
        case _:
            return source.choice(ODD)


def nested(source: random.Random) -> bytes:
    """JSON that is too deep, whole or cut."""
    opening, closing = source.choice(((b"[", b"]"), (b'{"a":', b"}")))
    depth = source.choice((20, 200, DEEP, 20 * DEEP))
    return opening * depth + b"1" + closing * source.choice((depth, 0, depth // 2))


def _changed(source: random.Random, value: Any) -> Any:
    """One place of it is another: the further in, the more likely, since most fields are there."""
    if isinstance(value, dict) and value and source.random() < 0.85:  # noqa: PLR2004 - Most fields are further in.
        fields = dict(cast("dict[str, Any]", value))
        name = source.choice(list(fields))
        match source.randrange(8):
            case 0:
                del fields[name]
            case 1:
                fields[source.choice(TEXTS)] = fields.pop(name)
            case 2:
                fields[name.swapcase()] = anything(source)
            case _:
                fields[name] = _changed(source, fields[name])
        return fields
    if isinstance(value, list) and value and source.random() < 0.85:  # noqa: PLR2004 - As above.
        items = list(cast("list[Any]", value))
        place = source.randrange(len(items))
        match source.randrange(6):
            case 0:
                del items[place]
            case 1:
                items = (items * source.randint(2, 40))[:LONGEST_LIST]
            case 2:
                items.insert(place, anything(source))
            case _:
                items[place] = _changed(source, items[place])
        return items
    if isinstance(value, str) and value and source.random() < 0.5:  # noqa: PLR2004 - Spoilt, or another.
        return text(source, value)
    return anything(source)
