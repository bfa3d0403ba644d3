"""Watteco's standard frame: a ZCL command with one attribute (docs/decoders-formats.md, "nke Watteco")."""

from dataclasses import dataclass
from enum import IntEnum

from decoders.canonical import MalformedPayload

F_PORT = 125

# Octets before the attribute, and of the two kinds of frame that end early.
HEADER_SIZE, REFUSAL_SIZE, REPORTING_SIZE = 4, 7, 8

# Octets of each fixed-size attribute type, in the numbering of the ZigBee cluster library.
FIXED_SIZES: dict[int, int] = {
    0x10: 1,  # boolean
    **{0x08 + extra: 1 + extra for extra in range(8)},  # general data, 8 to 64 bits
    **{0x18 + extra: 1 + extra for extra in range(8)},  # bitmaps
    **{0x20 + extra: 1 + extra for extra in range(8)},  # unsigned integers
    **{0x28 + extra: 1 + extra for extra in range(8)},  # signed integers
    0x30: 1,  # enumerations
    0x31: 2,
    0x39: 4,  # single precision
    0x3A: 8,  # double precision
}
# Octets of the length that precedes each variable-size attribute type.
LENGTH_SIZES = {0x41: 1, 0x42: 1, 0x43: 2, 0x4C: 2}

BYTE_STRING, CHARACTER_STRING, LONG_BYTE_STRING = 0x41, 0x42, 0x43


class Command(IntEnum):
    """The commands that a device sends; reads, writes and cluster commands only go down."""

    READ_RESPONSE = 0x01
    CONFIGURE_REPORTING_RESPONSE = 0x07
    REPORTING_CONFIGURATION = 0x09
    REPORT = 0x0A
    ALARM_REPORT = 0x8A


@dataclass(frozen=True, slots=True)
class StandardFrame:
    """One command about one attribute.

    `data` holds the attribute's own octets, without type and length; `tail` what follows them: the
    report parameters of a report. `status` is 0 for success and None where the command has none.
    `type_known` is False when the type's size is not in the tables, in which case `data` runs to the
    end of the frame.
    """

    endpoint: int
    command: Command
    cluster: int
    attribute: int
    status: int | None
    type: int | None
    data: bytes
    tail: bytes
    type_known: bool = True

    @property
    def structured(self) -> bool:
        """Whether the attribute has several fields, so that a cause names the one that it is about."""
        return self.type in LENGTH_SIZES

    @classmethod
    def from_bytes(cls, payload: bytes) -> "StandardFrame":
        """Read a frame; raises MalformedPayload for a batch, a truncated frame, an unknown command."""
        if len(payload) < HEADER_SIZE:
            raise MalformedPayload(
                f"une trame standard a au moins {HEADER_SIZE} octets : {payload.hex() or 'aucun reçu'}"
            )
        control = payload[0]
        if not control & 0x01:
            raise MalformedPayload(f"trame batch (octet de contrôle {control:#04x}, bit 0 = 0), pas standard")
        endpoint = (control & 0xE0) >> 5 | (control & 0x06) << 2
        try:
            command = Command(payload[1])
        except ValueError:
            raise MalformedPayload(
                f"la commande {payload[1]:#04x} n'est pas de celles qu'un appareil envoie"
            ) from None
        cluster = int.from_bytes(payload[2:4])
        match command:
            case Command.REPORT | Command.ALARM_REPORT:
                return _attribute(payload, endpoint, command, cluster, None)
            case Command.READ_RESPONSE:
                status = _octet(payload, 6, "l'état")
                if status and len(payload) == REFUSAL_SIZE:  # The device rejected the request: no type, no value.
                    attribute = int.from_bytes(payload[4:6])
                    return cls(endpoint, command, cluster, attribute, status, None, b"", b"")
                return _attribute(payload, endpoint, command, cluster, status)
            case Command.CONFIGURE_REPORTING_RESPONSE | Command.REPORTING_CONFIGURATION:
                return _configuration(payload, endpoint, command, cluster)


def _octet(payload: bytes, position: int, what: str) -> int:
    if position >= len(payload):
        raise MalformedPayload(f"trame tronquée avant {what} : {payload.hex()}")
    return payload[position]


def _attribute(payload: bytes, endpoint: int, command: Command, cluster: int, status: int | None) -> StandardFrame:
    type_at = 6 if status is None else 7
    code = _octet(payload, type_at, "le type de l'attribut")
    attribute = int.from_bytes(payload[4:6])
    start = type_at + 1
    if code in FIXED_SIZES:
        end = start + FIXED_SIZES[code]
    elif code in LENGTH_SIZES:
        length_end = start + LENGTH_SIZES[code]
        _octet(payload, length_end - 1, "la longueur de l'attribut")
        end = length_end + int.from_bytes(payload[start:length_end])
        start = length_end
    else:
        data = payload[start:]
        return StandardFrame(endpoint, command, cluster, attribute, status, code, data, b"", type_known=False)
    if end > len(payload):
        raise MalformedPayload(
            f"l'attribut {cluster:04x}/{attribute:04x} de type {code:#04x} demande {end - start} octets, "
            f"reçu {payload[start:].hex() or 'aucun'}"
        )
    return StandardFrame(endpoint, command, cluster, attribute, status, code, payload[start:end], payload[end:])


def _configuration(payload: bytes, endpoint: int, command: Command, cluster: int) -> StandardFrame:
    """Responses about reporting: status, report parameters, attribute, then the configuration itself."""
    if len(payload) < REPORTING_SIZE:
        raise MalformedPayload(
            f"une réponse de configuration a au moins {REPORTING_SIZE} octets : {payload.hex()}"
        )
    attribute = int.from_bytes(payload[6:8])
    return StandardFrame(endpoint, command, cluster, attribute, payload[4], None, payload[8:], payload[5:6])
