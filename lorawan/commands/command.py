"""What all MAC commands share (LoRaWAN L2 1.0.4, section 5): a CID, then a payload of fixed length."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

from lorawan.frame import MalformedFrame


class Command(Protocol):
    """A MAC command in one direction."""

    CID: ClassVar[int]
    LENGTH: ClassVar[int]
    """Octets of its payload, the CID not counted."""

    @classmethod
    def from_bytes(cls, octets: bytes) -> Self:
        """Reads the command, CID included; MalformedFrame when it has another CID or length."""
        ...

    def to_bytes(self) -> bytes:
        """The command as FOpts carry it, CID included; ValueError when a field is out of its range."""
        ...


@dataclass(frozen=True, slots=True)
class EmptyCommand:
    """A command that is only its CID; the subclasses name it."""

    CID: ClassVar[int]
    LENGTH: ClassVar[int] = 0

    @classmethod
    def from_bytes(cls, octets: bytes) -> Self:
        """Checks the one octet.

        Raises:
            MalformedFrame: another CID or length.
        """
        payload_of(octets, cls)
        return cls()

    def to_bytes(self) -> bytes:
        """The CID."""
        return bytes((self.CID,))


class _Sized(Protocol):
    CID: ClassVar[int]
    LENGTH: ClassVar[int]


def payload_of(octets: bytes, command: type[_Sized]) -> bytes:
    """The octets after the CID.

    Raises:
        MalformedFrame: another CID or length than the command has.
    """
    if len(octets) != command.LENGTH + 1 or octets[0] != command.CID:
        raise MalformedFrame(
            f"{command.__name__} is CID {command.CID:02x} and {command.LENGTH} octets, not {octets.hex()!r}"
        )
    return octets[1:]


def in_range(name: str, value: int, lowest: int, highest: int) -> int:
    """The value itself.

    Raises:
        ValueError: it does not fit its bits.
    """
    if not lowest <= value <= highest:
        raise ValueError(f"{name} {value} is not {lowest} to {highest}")
    return value
