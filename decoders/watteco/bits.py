"""Bit stream of Watteco's batches: numbers, Huffman codes (docs/decoders-formats.md, "nke Watteco")."""

import struct
from enum import Enum

from decoders.canonical import MalformedPayload


class Sample(Enum):
    """How a sample is written when it is written whole: its bits, and what they are."""

    BOOLEAN = (1, "unsigned")
    U8 = (8, "unsigned")
    U16 = (16, "unsigned")
    I16 = (16, "signed")
    U24 = (24, "unsigned")
    I24 = (24, "signed")
    U32 = (32, "unsigned")
    I32 = (32, "signed")
    FLOAT = (32, "single precision")


# (bits, code) of each of the sixteen classes. A class up to 14 says how many bits of a difference follow,
# 15 that the number comes whole.
WHOLE = 15
_LENGTHS_AND_CODES = (
    (
        *((2, 0x000), (2, 0x001), (2, 0x003), (3, 0x005), (4, 0x009), (5, 0x011), (6, 0x021), (7, 0x041)),
        *((8, 0x081), (10, 0x200), (11, 0x402), (11, 0x403), (11, 0x404), (11, 0x405), (11, 0x406), (11, 0x407)),
    ),
    (
        *((7, 0x06F), (5, 0x01A), (4, 0x00C), (3, 0x003), (3, 0x007), (2, 0x002), (2, 0x000), (3, 0x002)),
        *((6, 0x036), (9, 0x1BB), (9, 0x1B9), (10, 0x375), (10, 0x374), (10, 0x370), (11, 0x6E3), (11, 0x6E2)),
    ),
    (
        *((4, 0x009), (3, 0x005), (2, 0x000), (2, 0x001), (2, 0x003), (5, 0x011), (6, 0x021), (7, 0x041)),
        *((8, 0x081), (10, 0x200), (11, 0x402), (11, 0x403), (11, 0x404), (11, 0x405), (11, 0x406), (11, 0x407)),
    ),
)
_LONGEST = 11
# Table -> {(bits, code): class}.
CLASSES = tuple({pair: rank for rank, pair in enumerate(table)} for table in _LENGTHS_AND_CODES)


class Bits:
    """A payload read from the lowest bit of its first octet; running out is a malformed payload."""

    __slots__ = ("_count", "_octets", "_position", "_value")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._value = int.from_bytes(octets, "little")
        self._count = 8 * len(octets)
        self._position = 0

    def number(self, bits: int) -> int:
        """An unsigned number: octet after octet from the highest, which alone may be short."""
        value, first = 0, bits % 8 or 8
        for taken in (first, *([8] * ((bits - first) // 8))):
            value = value << taken | self._read_bits(taken)
        return value

    def sample(self, sample: Sample) -> float:
        """A number of this type, written whole."""
        bits, form = sample.value
        number = self.number(bits)
        if sample is Sample.FLOAT:
            return struct.unpack(">f", number.to_bytes(4))[0]
        return number - (1 << bits) if form == "signed" and number >> (bits - 1) else number

    def huffman(self, table: int) -> int:
        """The class of the next code, whose bits come from its highest."""
        if table >= len(CLASSES):
            raise MalformedPayload(f"la table de Huffman {table} n'existe pas : {self._octets.hex()}")
        classes, code = CLASSES[table], 0
        for length in range(1, _LONGEST + 1):
            code = code << 1 | self._read_bits(1)
            if (rank := classes.get((length, code))) is not None:
                return rank
        raise MalformedPayload(
            f"aucun code de Huffman avant le bit {self._position} de la trame batch : {self._octets.hex()}"
        )

    def _read_bits(self, bits: int) -> int:
        end = self._position + bits
        if end > self._count:
            raise MalformedPayload(f"trame batch tronquée au bit {self._position} : {self._octets.hex()}")
        value = self._value >> self._position & (1 << bits) - 1
        self._position = end
        return value
