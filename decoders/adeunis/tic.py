"""Adeunis TIC: labels of a Linky or PME-PMI at fixed offsets (docs/decoders-formats.md, "Adeunis")."""

from collections.abc import Callable, Mapping
from typing import Any

from decoders.adeunis.commands import READ
from decoders.adeunis.frame import add_status, instant, open_frame
from decoders.canonical import Decoded, MalformedPayload
from decoders.codec import Codec, Decode
from decoders.commands import encoder
from decoders.linky import THREE_PHASES, MeterDate, TicValue, normalise
from decoders.professional_meters import normalise_professional

ABSENT = 0x80000000  # The meter does not send this label.

TIC_DATA, TIC_ALARM = 0x49, 0x4A
DATA_SIZE, PME_PMI_SIZE = 50, 51
ALARM_SIZE, TIMESTAMP_SIZE = 13, 4

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
PME_PMI_DATE = 2  # DD MM YY hh mm ss.
PME_PMI_TEXTS = (("PTCOUR1", 24, 3),)
PME_PMI_INTEGERS = (
    *(("EA_s", 8), ("ER+_s", 12), ("ER-_s", 16), ("EAPP_s", 20), ("EAP_s", 27), ("ER+P_s", 31)),
    *(("ER-P_s", 35), ("EaP-1_s", 39), ("ER+P-1_s", 43), ("ER-P-1_s", 47)),
)
_STATUS_FRAMES = {
    0x10: "configuration",
    0x20: "lora_configuration",
    0x30: "keep_alive",
    0x33: "register_response",
    0x37: "versions",
}
_ALARMS = ("triggered", "appeared", "disappeared", "high", "low", "end", "positive_change", "negative_change")
_READ_ERROR, _TIMESTAMP = 0x10, 0x04

# (payload, instant of the data, options, where to put what it says).
_ReadData = Callable[[bytes, int, Mapping[str, Any], Decoded], None]


def _decoder(size: int, read_data: _ReadData) -> Decode:
    def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
        """Readings are at the frame's own timestamp when it has a plausible one, else at `time_us`."""
        code = open_frame(f_port, payload)
        decoded = Decoded()
        if code == TIC_DATA:
            at_us = _instant(payload, size, time_us, decoded)
            read_data(payload, at_us, options, decoded)
        elif code == TIC_ALARM:
            _read_alarm(payload, decoded)
        elif code in _STATUS_FRAMES:
            decoded.data = {"frame": _STATUS_FRAMES[code], "octets": payload[2:].hex()}
        else:
            raise MalformedPayload(
                f"le code de trame {code:#04x} n'est pas un de ceux du module TIC Adeunis : {payload.hex()}"
            )
        add_status(payload[1], time_us, decoded, tic=True)
        if payload[1] & _READ_ERROR:
            decoded.warnings.append("le module signale une erreur de lecture de la TIC")
        return decoded

    return decode


def _instant(payload: bytes, size: int, time_us: int, decoded: Decoded) -> int:
    """The instant of the data; bit 2 of the status announces a timestamp only where the size has room for it."""
    if len(payload) == size:
        if payload[1] & _TIMESTAMP:  # Older products, which send no timestamp, use the bit for this.
            decoded.warnings.append("le module signale une erreur matérielle")
        return time_us
    if len(payload) != size + TIMESTAMP_SIZE or not payload[1] & _TIMESTAMP:
        raise MalformedPayload(
            f"une trame de données TIC a {size} octets, ou {size + TIMESTAMP_SIZE} avec un horodatage : "
            f"{len(payload)} reçus, {payload.hex()}"
        )
    return instant(payload[-TIMESTAMP_SIZE:], time_us, decoded)


def _fields(
    payload: bytes, texts: tuple[tuple[str, int, int], ...], integers: tuple[tuple[str, int], ...]
) -> dict[str, TicValue]:
    fields: dict[str, TicValue] = {}
    for label, start, size in texts:
        fields[label] = _text(payload[start : start + size], label)
    for label, start in integers:
        number = int.from_bytes(payload[start : start + 4])
        fields[label] = None if number == ABSENT else number
    return fields


def _read_linky(payload: bytes, at_us: int, options: Mapping[str, Any], decoded: Decoded) -> None:
    """A single-phase or three-phase meter: profile option `phases`, 1 or 3."""
    three = options.get("phases") == THREE_PHASES
    fields = _fields(payload, *((TRI_TEXTS, TRI_INTEGERS) if three else (MONO_TEXTS, MONO_INTEGERS)))
    decoded.data |= {"frame": "tic", "mode": "historique"}
    normalise(fields, at_us, options, decoded)


def _read_pme_pmi(payload: bytes, at_us: int, _options: Mapping[str, Any], decoded: Decoded) -> None:
    day, month, year, *clock = payload[PME_PMI_DATE : PME_PMI_DATE + 6]
    date = MeterDate("", year, month, day, *clock)
    fields = {"DATE": date, **_fields(payload, PME_PMI_TEXTS, PME_PMI_INTEGERS)}
    decoded.data |= {"frame": "tic", "mode": "PME-PMI"}
    normalise_professional(fields, at_us, decoded)


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
    if kind >= len(_ALARMS):
        raise MalformedPayload(f"type d'alarme TIC {kind}, de 0 à {len(_ALARMS) - 1} attendu : {payload.hex()}")
    label = _text(payload[2:12], "l'étiquette de l'alarme")
    decoded.data |= {
        "frame": "alarm",
        "label": label,
        "alarm": _ALARMS[kind],
        "value": _text(payload[13:], "la valeur de l'alarme"),
    }
    decoded.warnings.append(f"alarme TIC sur {label or 'une étiquette inconnue'}")


CODEC = Codec(*("adeunis.tic", 2, _decoder(DATA_SIZE, _read_linky)), encoder("Le module TIC Adeunis", READ), READ)
PME_PMI = Codec(
    *("adeunis.tic_pme_pmi", 1, _decoder(PME_PMI_SIZE, _read_pme_pmi)),
    encoder("Le module TIC PME-PMI Adeunis", READ),
    READ,
)
