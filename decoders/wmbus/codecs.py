"""The codecs of meters that carry M-Bus over LoRaWAN, each with its vendor's container.

Options, all optional: `key` or `keys` (AES-128 by meter id; wrapped at rest, `decoders.codec.SECRET_OPTIONS`),
`address` (of a meter that does not say it), `medium` (electricity, gas, heat, cooling, water, room, hca, where no
header says it), `utc_offset` (hours that the meter's clock is ahead of UTC).
"""

import json
from collections.abc import Mapping
from typing import Any, cast

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec
from decoders.wmbus.profiles import expand
from decoders.wmbus.readings import HEAT, MEDIA, WATER, add_readings, add_status, clock_offset
from decoders.wmbus.records import Record, read_records
from decoders.wmbus.telegram import read_telegram

_LOBARO_STATUS, _LOBARO_FIRST, _LOBARO_LAST = 1, 11, 99
_LOBARO_STATUS_SIZE, _NO_TEMPERATURE = 7, -1
_ELVACO_JSON = 0x02
# Kamstrup's own VIFE behind FF: what each bit of the information code says (public integration guide's example).
_KAMSTRUP_INFORMATION = "25"
_KAMSTRUP_BITS = ("dry", "backflow", "leak", "burst", "tamper", "low_battery")


def decode(_f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """A telegram of EN 13757, on any f_port, from its length, from 68 or from its CI. Raises MalformedPayload."""
    return _decode_telegram(payload, time_us, options, _stated_medium(options) or "")


def decode_kamstrup(_f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Kamstrup's LoRaWAN water meters: a telegram from its CI, with an information code of their own."""
    return _decode_telegram(payload, time_us, options, _stated_medium(options) or WATER)


def decode_elvaco(_f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Elvaco CMi41xx: an octet that says the message format, then records, or JSON for format 02."""
    if not payload:
        raise MalformedPayload("un message Elvaco commence par son format : aucun octet reçu")
    decoded = Decoded(data={"format": f"{payload[0]:02x}"})
    if payload[0] == _ELVACO_JSON:
        _read_elvaco_json(payload[1:], time_us, decoded)
    else:
        _add_records(payload[1:], _stated_medium(options) or HEAT, time_us, options, decoded)
    return decoded


def decode_lobaro(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Lobaro's bridge: its own status (f_port 1), or one telegram of one part (f_port 11) of some meter.

    The parts of a longer telegram come on f_ports 12, 22 and so on: each is kept as it is, since one frame cannot
    know the others. Raises MalformedPayload for the formats with a prefix (f_ports 101 and 102).
    """
    if f_port == _LOBARO_STATUS:
        return _lobaro_status(payload, time_us)
    if not _LOBARO_FIRST <= f_port <= _LOBARO_LAST or not 1 <= f_port // 10 <= f_port % 10:
        raise MalformedPayload(f"f_port {f_port} : le pont Lobaro émet sur 1 et sur 11 à 99 (format 0)")
    part, parts = divmod(f_port, 10)
    if parts == 1:
        return _decode_telegram(payload, time_us, options, _stated_medium(options) or "")
    decoded = Decoded(data={"part": part, "parts": parts, "octets": payload.hex()})
    decoded.warnings.append(
        f"partie {part} sur {parts} d'un télégramme : régler le pont pour qu'il tienne en une trame"
    )
    return decoded


def _decode_telegram(payload: bytes, time_us: int, options: Mapping[str, Any], medium: str) -> Decoded:
    telegram, decoded = read_telegram(payload, options), Decoded()
    if (address := telegram.address) is not None:
        medium = _stated_medium(options) or MEDIA.get(address.medium, medium)
        decoded.data |= {
            "meter_id": address.meter_id,
            "manufacturer": address.manufacturer_code,
            "version": address.version,
            "medium_code": address.medium,
        }
    if telegram.status is not None:
        add_status(telegram.status, time_us, decoded)
        decoded.data["access_number"] = telegram.access_number
    _add_records(telegram.records, medium, time_us, options, decoded)
    return decoded


def _add_records(octets: bytes, medium: str, time_us: int, options: Mapping[str, Any], decoded: Decoded) -> None:
    records, rest = read_records(octets)
    records = expand(records, decoded.warnings)
    add_readings(records, medium, time_us, clock_offset(options), decoded)
    _add_information(records, time_us, decoded)
    if medium:
        decoded.data["medium"] = medium
    if rest:
        decoded.data["manufacturer_data"] = rest.hex()


def _add_information(records: list[Record], time_us: int, decoded: Decoded) -> None:
    """Kamstrup's information code, where it is: its states at the uplink's instant."""
    for record in records:
        if record.meaning.what == "manufacturer_specific" and record.meaning.unit == _KAMSTRUP_INFORMATION:
            code = int.from_bytes(record.raw, "little")
            decoded.readings.extend(
                Reading(time_us, "", quantity, float(code >> bit & 1))
                for bit, quantity in enumerate(_KAMSTRUP_BITS)
            )


def _stated_medium(options: Mapping[str, Any]) -> str | None:
    medium: Any = options.get("medium")
    if medium is not None and medium not in MEDIA.values():
        raise MalformedPayload(
            f"l'option « medium » du profil est une de : {', '.join(sorted(set(MEDIA.values())))}"
        )
    return medium


def _read_elvaco_json(octets: bytes, time_us: int, decoded: Decoded) -> None:
    """`{"E": "894137", "U": "kWh", "ID": 70969798}`."""
    try:
        message: Any = json.loads(octets)
        energy = float(message["E"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise MalformedPayload(f"message JSON Elvaco illisible : {octets.hex()}") from None
    fields = cast("Mapping[str, Any]", message)
    factor = {"kWh": 1_000, "MWh": 1_000_000, "Wh": 1}.get(str(fields.get("U")))
    if factor is None or not abs(energy) < 1e12:  # noqa: PLR2004 - NaN and infinities are JSON for Python.
        raise MalformedPayload(f"énergie JSON Elvaco inconnue : {octets.hex()}")
    decoded.readings.append(Reading(time_us, "", "thermal_energy", energy * factor))
    decoded.data["meter_id"] = str(fields.get("ID", ""))


def _lobaro_status(payload: bytes, time_us: int) -> Decoded:
    if len(payload) != _LOBARO_STATUS_SIZE:
        raise MalformedPayload(
            f"l'état d'un pont Lobaro a {_LOBARO_STATUS_SIZE} octets, {len(payload)} reçus : {payload.hex()}"
        )
    voltage = int.from_bytes(payload[3:5], "little") / 1_000
    tenths = int.from_bytes(payload[5:7], "little", signed=True)
    decoded = Decoded(data={"firmware": ".".join(str(part) for part in payload[:3])})
    decoded.readings.append(Reading(time_us, "", "battery_voltage", voltage))
    if tenths != _NO_TEMPERATURE:  # The second hardware has no thermometer, and says ffff.
        decoded.readings.append(Reading(time_us, "", "temperature", tenths / 10))
    return decoded


OMS = Codec("oms.wmbus", 1, decode)
DIEHL = Codec("diehl.oms", 1, decode)
ELVACO = Codec("elvaco.cmi41xx", 1, decode_elvaco)
KAMSTRUP = Codec("kamstrup.wmbus", 1, decode_kamstrup)
LOBARO = Codec("lobaro.wmbus_bridge", 1, decode_lobaro)
WMBUS_CODECS = (OMS, DIEHL, ELVACO, KAMSTRUP, LOBARO)
