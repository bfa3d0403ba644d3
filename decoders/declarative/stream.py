"""State while a frame is decoded, and while one is encoded."""

from collections.abc import Mapping
from typing import Any, Protocol

from decoders.canonical import Decoded, MalformedPayload
from decoders.codec import UnsupportedCommand


class Reader:
    """A payload from left to right, and what it has said so far.

    `raw` is every named number as it stood in the frame, for conditions and counts; `data` the record in hand;
    `at_us` the instant of the readings that come; `number` of the record in hand counts from 1.
    """

    __slots__ = (
        "at_us",
        "data",
        "decoded",
        "end",
        "number",
        "payload",
        "position",
        "raw",
        "reached",
        "received_us",
    )

    def __init__(self, payload: bytes, time_us: int) -> None:
        self.payload = payload
        self.position = self.reached = 0
        self.end = len(payload)  # Of the record in hand, when it has said its size.
        self.received_us = self.at_us = time_us
        self.raw: dict[str, float] = {}
        self.decoded = Decoded()
        self.data: dict[str, Any] = self.decoded.data
        self.number = 1

    def seek(self, position: int) -> None:
        """To an octet counted from the first, or from the end when it is negative."""
        self.position = position if position >= 0 else len(self.payload) + position
        if self.position < 0:
            raise MalformedPayload(
                f"la trame a {len(self.payload)} octets, {-position} au moins attendus : {self.payload.hex()}"
            )

    def read_octets(self, count: int, label: str) -> bytes:
        """The next octets, of what `label` names."""
        start, end = self.position, self.position + count
        if end > self.end:
            raise MalformedPayload(
                f"{label} demande {count} octets à partir de l'octet {start}, "
                f"il y en a {self.left} : {self.payload.hex()}"
            )
        self.position = end
        if end > self.reached:  # noqa: PLR1730 - Of every number: max() is a call.
            self.reached = end
        return self.payload[start:end]

    def number_of(self, name: str) -> int:
        """A number that came before; a condition may have left it out."""
        if name not in self.raw:
            raise MalformedPayload(f"« {name} » n'est pas dans cette trame : {self.payload.hex()}")
        return int(self.raw[name])

    @property
    def left(self) -> int:
        """How many octets there still are."""
        return max(0, self.end - self.position)


class Writer:
    """A payload under construction; `raw` as of Reader."""

    __slots__ = ("octets", "position", "raw")

    def __init__(self) -> None:
        self.octets = bytearray()
        self.position = 0
        self.raw: dict[str, float] = {}

    def seek(self, position: int) -> None:
        """To an octet counted from the first; what lies between is zero."""
        if position < 0:
            raise UnsupportedCommand("un champ placé depuis la fin ne peut pas être écrit")
        self.position = position

    def number_of(self, name: str) -> int:
        """A number that was written before."""
        if name not in self.raw:
            raise UnsupportedCommand(f"« {name} » n'est pas dans cette trame")
        return int(self.raw[name])

    def put(self, octets: bytes) -> None:
        """Write here, and go on behind."""
        end = self.position + len(octets)
        self.octets.extend(bytes(max(0, end - len(self.octets))))
        self.octets[self.position : end] = octets
        self.position = end


class Element(Protocol):
    """A part of a frame, which reads itself and writes itself."""

    @property
    def least(self) -> int:
        """How many octets it takes at least."""
        ...

    @property
    def keys(self) -> frozenset[str]:
        """The names under which it says something."""
        ...

    def read(self, reader: Reader) -> None:
        """Say what its octets say. Raises MalformedPayload."""
        ...

    def write(self, writer: Writer, values: Mapping[str, Any]) -> None:
        """Write what the values are. Raises UnsupportedCommand."""
        ...
