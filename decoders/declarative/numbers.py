"""Number types of a declaration: size, decoding, encoding."""

import re
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, NamedTuple

from decoders.canonical import MalformedPayload

Order = Literal["big", "little"]
NAMES = "u8 à u64, i8 à i64, f32, f64, bcd2 à bcd16, digits"
_INTEGER = re.compile(r"([ui])(8|16|24|32|40|48|56|64)")
_BCD = re.compile(r"bcd(2|4|6|8|10|12|14|16)")
_FLOATS = {"f32": ("f", 4), "f64": ("d", 8)}


class NumberType(NamedTuple):
    """`least` and `most` bound what it can hold; None for a float. `write` gets a value within them."""

    size: int
    read: Callable[[bytes], float]
    write: Callable[[float], bytes]
    least: int | None
    most: int | None

    @property
    def is_integer(self) -> bool:
        """Whether conditions, words and bits make sense of it."""
        return self.least is not None


def number_type(name: str, byte_order: Order, size: int | None) -> NumberType | None:
    """The type of this name; `size` is of `digits` only. None when there is no such type."""
    if found := _INTEGER.fullmatch(name):
        return _integer(int(found[2]) // 8, found[1] == "i", byte_order)
    if found := _BCD.fullmatch(name):
        return _bcd(int(found[1]) // 2, byte_order)
    if name in _FLOATS:
        return _float(*_FLOATS[name], byte_order)
    if name == "digits" and size is not None:
        return _digits(size)
    return None


def _integer(size: int, signed: bool, byte_order: Order) -> NumberType:
    bits = 8 * size - signed

    def read(octets: bytes) -> int:
        return int.from_bytes(octets, byte_order, signed=signed)

    def write(value: float) -> bytes:
        return int(value).to_bytes(size, byte_order, signed=signed)

    return NumberType(size, read, write, -(1 << bits) if signed else 0, (1 << bits) - 1)


def _float(code: str, size: int, byte_order: Order) -> NumberType:
    layout = struct.Struct((">" if byte_order == "big" else "<") + code)

    def read(octets: bytes) -> float:
        return layout.unpack(octets)[0]

    return NumberType(size, read, layout.pack, None, None)


def _bcd(size: int, byte_order: Order) -> NumberType:
    """Two digits an octet, the most significant first in big-endian order."""

    def read(octets: bytes) -> int:
        digits = octets.hex() if byte_order == "big" else octets[::-1].hex()
        if not digits.isdecimal():
            raise MalformedPayload(f"{octets.hex()} n'est pas un nombre BCD")
        return int(digits)

    def write(value: float) -> bytes:
        octets = bytes.fromhex(f"{int(value):0{2 * size}d}")
        return octets if byte_order == "big" else octets[::-1]

    return NumberType(size, read, write, 0, 10 ** (2 * size) - 1)


def _digits(size: int) -> NumberType:
    """ASCII digits, as some devices write their battery's voltage."""

    def read(octets: bytes) -> int:
        if not octets.isdigit():
            raise MalformedPayload(f"{octets.hex()} n'est pas une suite de chiffres ASCII")
        return int(octets)

    def write(value: float) -> bytes:
        return f"{int(value):0{size}d}".encode()

    return NumberType(size, read, write, 0, 10**size - 1)


class Scaling(NamedTuple):
    """`value = (raw * multiplier + shift) / divisor`, in integers: 234 tenths are 23.4, not 23.400000000000002."""

    multiplier: int
    shift: int
    divisor: int

    @classmethod
    def of(cls, scale: Fraction, offset: Fraction) -> "Scaling":
        """`value = raw * scale + offset`."""
        divisor = scale.denominator * offset.denominator
        return cls(int(scale * divisor), int(offset * divisor), divisor)

    def value(self, raw: float) -> float:
        """What the number stands for."""
        return (raw * self.multiplier + self.shift) / self.divisor

    def raw(self, value: Fraction) -> Fraction:
        """The number that stands for this value; the type may not be able to hold it."""
        return (value * self.divisor - self.shift) / self.multiplier
