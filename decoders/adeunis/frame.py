"""Adeunis frames: header, instants, history, service frames (docs/decoders-formats.md, "Adeunis")."""

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from decoders.canonical import Decoded, MalformedPayload, Reading

F_PORT = 1
EPOCH_2013_US = 1_356_998_400_000_000  # Timestamps count seconds since 2013-01-01T00:00Z.
HEADER_SIZE = 2
CONFIGURATION = 0x10  # Never has a timestamp.
_TIMESTAMP_SIZE = 4
_YEAR_US = 366 * 86_400_000_000
_DAY_US = 86_400_000_000
_CONFIGURATION_DONE, _LOW_BATTERY, _TIMESTAMP = 0x01, 0x02, 0x04
_INCONSISTENT, _READ_ERROR = 0x08, 0x10
_SECOND_US = 1_000_000
_LONGEST_PERIOD_S = 7 * 86_400

_REGISTER_ANSWERS = (
    *("", "success", "success_without_update", "incoherent", "invalid_register", "invalid_value"),
    *("truncated_value", "access_denied"),
)
_DOWNLINK_ANSWERS = ("", "success", "error", "wrong_state", "invalid_request")
_EDGES = ("disabled", "high", "low", "both")


class AdeunisFrame(NamedTuple):
    """A frame of data: its octets after the header, and the instant that it is about."""

    code: int
    body: bytes
    at_us: int


# What a frame code announces: how to read its body.
Read = Callable[[AdeunisFrame, Mapping[str, Any], Decoded], None]


def open_frame(f_port: int, payload: bytes) -> int:
    """The frame code. Raises MalformedPayload for another f_port or less than a header."""
    if f_port != F_PORT:
        raise MalformedPayload(f"f_port {f_port} : les trames Adeunis arrivent sur {F_PORT}")
    if len(payload) < HEADER_SIZE:
        raise MalformedPayload(
            f"une trame Adeunis a au moins {HEADER_SIZE} octets : {payload.hex() or 'aucun reçu'}"
        )
    return payload[0]


def read_product(
    product: str,
    readers: Mapping[int, Read],
    f_port: int,
    payload: bytes,
    time_us: int,
    options: Mapping[str, Any],
) -> Decoded:
    """Read a frame by the product's table of frame codes, on top of those that all have.

    Raises MalformedPayload for a code that the product does not have and a body that is no such frame's.
    """
    code = open_frame(f_port, payload)
    read = readers.get(code) or SERVICE.get(code)
    if read is None:
        raise MalformedPayload(
            f"le code de trame {code:#04x} n'est pas un de ceux du {product} Adeunis : {payload.hex()}"
        )
    decoded = Decoded()
    body, at_us = payload[HEADER_SIZE:], time_us
    if payload[1] & _TIMESTAMP and code in readers and code != CONFIGURATION:
        if len(body) < _TIMESTAMP_SIZE:
            raise MalformedPayload(f"horodatage tronqué : {payload.hex()}")
        at_us = instant(body[-_TIMESTAMP_SIZE:], time_us, decoded)
        body = body[:-_TIMESTAMP_SIZE]
    read(AdeunisFrame(code, body, at_us), options, decoded)
    add_status(payload[1], time_us, decoded)
    return decoded


def instant(octets: bytes, time_us: int, decoded: Decoded) -> int:
    """The device's own instant, or `time_us` with a warning when it is implausible."""
    at_us = EPOCH_2013_US + int.from_bytes(octets) * _SECOND_US
    if time_us - _YEAR_US <= at_us <= time_us + _DAY_US:
        return at_us
    decoded.warnings.append("horodatage du module invraisemblable, heure de réception retenue")
    return time_us


def add_status(status: int, time_us: int, decoded: Decoded, *, tic: bool = False) -> None:
    """What the status octet says of the device."""
    low_battery = bool(status & _LOW_BATTERY)
    decoded.data["device_status"] = {
        "frame_counter": status >> 5,
        "configuration_done": bool(status & _CONFIGURATION_DONE),
        "low_battery": low_battery,
        "configuration_inconsistent": bool(status & _INCONSISTENT),
    }
    if tic:
        decoded.data["device_status"]["read_error"] = bool(status & _READ_ERROR)
    decoded.readings.append(Reading(time_us, "", "low_battery", float(low_battery)))


def add_history(
    frame: AdeunisFrame, records: list[dict[tuple[str, str], float]], options: Mapping[str, Any], decoded: Decoded
) -> None:
    """Readings of records from the newest to the oldest, each {(channel, quantity): value}.

    Only the newest has an instant in the frame. The profile option `recording_period_s` dates the others;
    without it they are kept in `data["undated_history"]`, with a warning.
    """
    period: Any = options.get("recording_period_s")
    dated = isinstance(period, int | float) and 0 < period <= _LONGEST_PERIOD_S
    for rank, record in enumerate(records):
        if rank and not dated:
            break
        at_us = frame.at_us - round(rank * period * _SECOND_US) if rank else frame.at_us
        decoded.readings += [Reading(at_us, channel, name, value) for (channel, name), value in record.items()]
    if len(records) > 1 and not dated:
        decoded.data["undated_history"] = [
            {f"{name}_{channel}".rstrip("_"): value for (channel, name), value in record.items()}
            for record in records[1:]
        ]
        decoded.warnings.append(
            "relevés antérieurs sans date : donner recording_period_s dans le profil (la configuration le dit)"
        )


def sized(frame: AdeunisFrame, *sizes: int) -> bytes:
    """The body. Raises MalformedPayload when it has none of these sizes."""
    if len(frame.body) not in sizes:
        wanted = " ou ".join(str(size) for size in sizes)
        raise MalformedPayload(
            f"la trame {frame.code:#04x} a {wanted} octets après l'en-tête, reçu {frame.body.hex() or 'aucun'}"
        )
    return frame.body


def digital_input(channel: str) -> Read:
    """0x51 and 0x52: the state of a digital input, its counter, and what it counted since."""

    def read(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
        state, total, since = struct.unpack(">BIH", sized(frame, 7))
        decoded.readings += [
            Reading(frame.at_us, channel, "input_state", float(state & 1)),
            Reading(frame.at_us, channel, "pulse_count", float(total)),
        ]
        decoded.data |= {"frame": "input_alarm", "former_state": bool(state & 2), "since_last": since}

    return read


def read_inputs_configuration(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    """0x1f: how the two digital inputs are set."""
    first, first_threshold, second, second_threshold = struct.unpack(">BHBH", sized(frame, 6))
    decoded.data |= {
        "frame": "inputs_configuration",
        "inputs": [
            {"edge": _EDGES[kind & 0x03], "debounce_code": kind >> 4, "threshold": threshold}
            for kind, threshold in ((first, first_threshold), (second, second_threshold))
        ],
    }


def read_versions(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    """0x37: versions of the application and of the radio."""
    octets = sized(frame, 6)
    numbers = [str(octet) for octet in octets]
    decoded.data |= {"frame": "versions", "application": ".".join(numbers[:3]), "radio": ".".join(numbers[3:])}


def kept(name: str) -> Read:
    """A frame of which we only keep the octets."""

    def read(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
        decoded.data |= {"frame": name, "octets": frame.body.hex()}

    return read


def _read_network(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    flags, otaa = sized(frame, 2)
    decoded.data |= {
        "frame": "lora_configuration",
        "adr": bool(flags & 0x01),
        "duty_cycle": bool(flags & 0x04),
        "class": "C" if flags & 0x20 else "A",
        "activation": "OTAA" if otaa else "ABP",
    }


def _read_register_answer(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    result, register = struct.unpack(">BH", sized(frame, 3))
    name = _REGISTER_ANSWERS[result] if 0 < result < len(_REGISTER_ANSWERS) else f"code {result}"
    decoded.data |= {"frame": "register_response", "result": name, "register": register}


def _read_downlink_answer(frame: AdeunisFrame, _options: Mapping[str, Any], decoded: Decoded) -> None:
    code, result = sized(frame, 2)
    name = _DOWNLINK_ANSWERS[result] if 0 < result < len(_DOWNLINK_ANSWERS) else f"code {result}"
    decoded.data |= {"frame": "downlink_response", "downlink": f"{code:#04x}", "result": name}


# Frame codes that every product may send, and that carry no timestamp.
SERVICE: dict[int, Read] = {
    CONFIGURATION: kept("configuration"),
    0x1F: read_inputs_configuration,
    0x20: _read_network,
    0x2F: _read_downlink_answer,
    0x30: kept("keep_alive"),
    0x31: kept("registers"),
    0x33: _read_register_answer,
    0x37: read_versions,
}
