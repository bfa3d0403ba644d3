"""Adeunis TIC: the Linky's historique labels at fixed places (reference: codecs.md, section 4.2)."""

from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec
from decoders.linky import THREE_PHASES, TicValue, normalise

F_PORT = 1
ABSENT = 0x80000000  # The meter does not send this label.
EPOCH_2013_US = 1_356_998_400_000_000  # Timestamps count seconds since 2013-01-01T00:00Z.
_YEAR_US = 366 * 86_400_000_000
_DAY_US = 86_400_000_000

TIC_DATA, TIC_ALARM = 0x49, 0x4A
DATA_SIZE = 50
HEADER_SIZE, ALARM_SIZE = 2, 13  # The least octets of any frame, and of an alarm.

# Label, first octet, octets. Four octets of an integer label may say ABSENT.
MONO_TEXTS = (("ADCO", 2, 12), ("OPTARIF", 14, 4), ("PTEC", 46, 4))
MONO_INTEGERS = (
    *(("BASE", 18), ("ISOUSC", 22), ("IINST", 26), ("IMAX", 30)),
    *(("PAPP", 34), ("HCHC", 38), ("HCHP", 42)),
)
TRI_TEXTS = (("ADCO", 2, 12),)
TRI_INTEGERS = (
    *(("BASE", 14), ("IINST1", 18), ("IINST2", 22), ("IINST3", 26)),
    *(("IMAX1", 30), ("IMAX2", 34), ("IMAX3", 38), ("PMAX", 42), ("PAPP", 46)),
)
_STATUS_FRAMES = {
    0x10: "configuration",
    0x20: "lora_configuration",
    0x30: "keep_alive",
    0x33: "register_response",
    0x37: "versions",
}
_ALARMS = ("appeared", "disappeared", "high", "low", "end", "positive_change", "negative_change")


def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
    """Decode a frame of the TIC single-phase or three-phase device: profile option `phases`, 1 or 3.

    Readings are at the frame's own timestamp when it has a plausible one, else at `time_us`. Raises
    MalformedPayload for an unknown frame code or a wrong size.
    """
    if f_port != F_PORT:
        raise MalformedPayload(f"f_port {f_port} : les trames Adeunis arrivent sur {F_PORT}")
    if len(payload) < HEADER_SIZE:
        raise MalformedPayload(
            f"une trame Adeunis a au moins {HEADER_SIZE} octets : {payload.hex() or 'aucun reçu'}"
        )
    code = payload[0]
    decoded = Decoded()
    if code == TIC_DATA:
        at_us = _instant(payload, time_us, decoded)
        _read_data(payload, at_us, options, decoded)
    elif code == TIC_ALARM:
        _read_alarm(payload, decoded)
    elif code in _STATUS_FRAMES:
        decoded.data = {"frame": _STATUS_FRAMES[code], "octets": payload[2:].hex()}
    else:
        raise MalformedPayload(
            f"le code de trame {code:#04x} n'est pas un de ceux du module TIC Adeunis : {payload.hex()}"
        )
    _add_status(payload[1], time_us, decoded)
    return decoded


def _add_status(status: int, time_us: int, decoded: Decoded) -> None:
    low_battery = bool(status & 0x02)
    decoded.data["device_status"] = {
        "frame_counter": status >> 5,
        "configuration_done": bool(status & 0x01),
        "low_battery": low_battery,
        "configuration_inconsistent": bool(status & 0x08),
        "read_error": bool(status & 0x10),
    }
    decoded.readings.append(Reading(time_us, "", "low_battery", float(low_battery)))
    if status & 0x10:
        decoded.warnings.append("le module signale une erreur de lecture de la TIC")


def _instant(payload: bytes, time_us: int, decoded: Decoded) -> int:
    """The instant of the data; bit 2 of the status tells a timestamp only where the size has room."""
    if len(payload) == DATA_SIZE:
        if payload[1] & 0x04:  # Older products, which send no timestamp, use the bit for this.
            decoded.warnings.append("le module signale une erreur matérielle")
        return time_us
    if len(payload) != DATA_SIZE + 4 or not payload[1] & 0x04:
        raise MalformedPayload(
            f"une trame de données TIC a {DATA_SIZE} octets, ou {DATA_SIZE + 4} avec un horodatage : "
            f"{len(payload)} reçus, {payload.hex()}"
        )
    at_us = EPOCH_2013_US + int.from_bytes(payload[-4:]) * 1_000_000
    if time_us - _YEAR_US <= at_us <= time_us + _DAY_US:
        return at_us
    decoded.warnings.append("horodatage du module invraisemblable, heure de réception retenue")
    return time_us


def _read_data(payload: bytes, at_us: int, options: Mapping[str, Any], decoded: Decoded) -> None:
    three = options.get("phases") == THREE_PHASES
    fields: dict[str, TicValue] = {}
    for label, start, size in TRI_TEXTS if three else MONO_TEXTS:
        fields[label] = _text(payload[start : start + size], label)
    for label, start in TRI_INTEGERS if three else MONO_INTEGERS:
        number = int.from_bytes(payload[start : start + 4])
        fields[label] = None if number == ABSENT else number
    decoded.data |= {"frame": "tic", "mode": "historique"}
    normalise(fields, at_us, options, decoded)


def _text(octets: bytes, label: str) -> str | None:
    if octets[:4] == ABSENT.to_bytes(4) or not octets.strip(b"\0"):
        return None
    text = octets.rstrip(b"\0")
    if not (text.isascii() and text.decode("ascii").isprintable()):
        raise MalformedPayload(
            f"{label} n'est pas du texte ASCII : {octets.hex()} (vérifier l'option phases du profil)"
        )
    return text.decode("ascii")


def _read_alarm(payload: bytes, decoded: Decoded) -> None:
    """0x4A: label in ten characters, what happened to it, then its value as characters."""
    if len(payload) < ALARM_SIZE:
        raise MalformedPayload(f"une alarme TIC a au moins {ALARM_SIZE} octets : {payload.hex()}")
    kind = payload[12]
    if not 1 <= kind <= len(_ALARMS):
        raise MalformedPayload(f"type d'alarme TIC {kind}, de 1 à {len(_ALARMS)} attendu : {payload.hex()}")
    label = _text(payload[2:12], "l'étiquette de l'alarme")
    decoded.data |= {
        "frame": "alarm",
        "label": label,
        "alarm": _ALARMS[kind - 1],
        "value": _text(payload[13:], "la valeur de l'alarme"),
    }
    decoded.warnings.append(f"alarme TIC sur {label or 'une étiquette inconnue'}")


CODEC = Codec("adeunis.tic", 1, decode)
