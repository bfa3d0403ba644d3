"""Decentlab's one frame: version, device, flags of the sensors that speak, their words (vendor's protocol 2).

Everything is big-endian. Bit 0 of the flags is the first sensor of the product's table.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import pack, unpack_from
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec, Command, Decode, EncodedCommand, Parameter
from decoders.commands import encoder

VERSION, HEADER_SIZE, F_PORT = 2, 5, 1
_SET_PERIOD_AND_SAVE, _RESET = 0x0002, 0xFEFE
SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 60, 65_535
_CRC_POLYNOMIAL = 0xA001  # CRC-16/MODBUS, least significant bit first.


# (number, options of the profile) -> a value; None when an option that it needs is missing.
Formula = Callable[[int, Mapping[str, Any]], float | None]


class Value(NamedTuple):
    """One value of a sensor: `(word - shift) * multiplier / divisor + offset`, or what `formula` makes of it.

    `word` is its place among the sensor's words. Without a quantity it is kept in `data` under `name`. With `wide`
    the next word is its upper half.
    """

    word: int
    quantity: str = ""
    channel: str = ""
    shift: int = 0
    multiplier: float = 1
    divisor: float = 1
    offset: float = 0
    name: str = ""
    wide: bool = False
    formula: Formula | None = None

    def of(self, words: Sequence[int], options: Mapping[str, Any]) -> float | None:
        """The value in these words."""
        number = words[self.word] + (words[self.word + 1] << 16 if self.wide else 0)
        if self.formula is not None:
            return self.formula(number, options)
        if self.multiplier == self.divisor == 1:
            return number - self.shift + self.offset
        return (number - self.shift) * self.multiplier / self.divisor + self.offset


class Sensor(NamedTuple):
    """So many words, and what they are."""

    size: int
    values: tuple[Value, ...]


def decoder(sensors: Sequence[Sensor]) -> Decode:
    """The decode of a product with these sensors, in the order of the flags."""

    def decode(_f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
        if len(payload) < HEADER_SIZE or payload[0] != VERSION:
            raise MalformedPayload(f"une trame Decentlab commence par 02 et a 5 octets au moins : {payload.hex()}")
        device_id, flags = unpack_from(">HH", payload, 1)
        spoken = [sensor for bit, sensor in enumerate(sensors) if flags >> bit & 1]
        size = HEADER_SIZE + 2 * sum(sensor.size for sensor in spoken)
        if flags >> len(sensors) or len(payload) != size:
            raise MalformedPayload(
                f"les drapeaux {flags:04x} annoncent {size} octets et {len(sensors)} capteurs au plus, "
                f"{len(payload)} octets reçus : {payload.hex()} (est-ce le bon produit ?)"
            )
        decoded, position = Decoded(data={"device_id": device_id}), HEADER_SIZE
        for sensor in spoken:
            words = unpack_from(f">{sensor.size}H", payload, position)
            position += 2 * sensor.size
            for value in sensor.values:
                _append_reading(value, words, options, time_us, decoded)
        return decoded

    return decode


def _append_reading(
    value: Value, words: Sequence[int], options: Mapping[str, Any], time_us: int, decoded: Decoded
) -> None:
    number = value.of(words, options)
    if number is None:
        decoded.warnings.append(f"{value.quantity} : une option du profil manque pour la calculer")
        return
    if value.name:
        decoded.data[value.name] = number
    if value.quantity:
        decoded.readings.append(Reading(time_us, value.channel, value.quantity, float(number)))


def crc(octets: bytes) -> int:
    """CRC-16/MODBUS, at the end of each downlink."""
    register = 0xFFFF
    for octet in octets:
        register ^= octet
        for _ in range(8):
            register = register >> 1 ^ _CRC_POLYNOMIAL if register & 1 else register >> 1
    return register


def _downlink(command: int, parameter: int) -> EncodedCommand:
    octets = pack(">HH", command, parameter)
    return EncodedCommand(F_PORT, octets + pack(">H", crc(octets)))


COMMANDS = (
    Command(
        "set_report_interval",
        "Régler la période d'envoi",
        lambda values: _downlink(_SET_PERIOD_AND_SAVE, values["seconds"]),
        (Parameter("seconds", "période", minimum=SHORTEST_PERIOD_S, maximum=LONGEST_PERIOD_S, unit="s"),),
    ),
    Command("reboot", "Redémarrer", lambda _: _downlink(_RESET, 0)),
)


def product(name: str, *sensors: Sensor) -> Codec:
    """The codec `decentlab.name`."""
    codec = f"decentlab.{name}"
    return Codec(codec, 1, decoder(sensors), encoder(codec, COMMANDS), COMMANDS)
