"""Files of devices from another LNS, as the API takes them. Pure.

Three forms: our own (CSV, or JSON as `POST /v1/device-imports` takes it and `POST /v1/key-exports` encrypts it),
The Things Stack's (`ttn-lw-cli end-devices` with keys and session, one JSON object or a list), and ChirpStack's
API objects put together (`device`, `deviceKeys`, `deviceActivation`).
"""

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

Document = dict[str, Any]

SESSION_COLUMNS = (
    "dev_addr", "nwk_s_key", "app_s_key", "f_cnt_up", "f_cnt_down", "rx1_delay", "rx1_dr_offset", "rx2_data_rate",
    "rx2_frequency",
)  # fmt: skip
DEVICE_COLUMNS = (
    "dev_eui", "join_eui", "name", "device_profile_id", "app_key", "join_nonce", "lns_source_id",
)  # fmt: skip
NUMBERS = frozenset(
    {"device_profile_id", "join_nonce", "lns_source_id", "f_cnt_up", "f_cnt_down", "rx1_delay", "rx1_dr_offset",
     "rx2_data_rate", "rx2_frequency"}
)  # fmt: skip
HEXADECIMAL = {
    "dev_eui": 16, "join_eui": 16, "app_key": 32, "dev_addr": 8, "nwk_s_key": 32, "app_s_key": 32,
}  # fmt: skip
# The Things Stack exports the last frame counter of each direction; ours and ChirpStack's counters are the next.
NEXT = 1
HZ_OF_RX2 = "rx2_frequency"


class UnreadableFile(ValueError):
    """The file is of none of the forms; the message says why, in French."""


@dataclass(frozen=True, slots=True)
class Row:
    """One device of the file: what is sent to the API, or what is wrong with it, in French."""

    line: int  # Counted from 1.
    name: str
    device: Document = field(default_factory=dict[str, Any], repr=False)
    wrong: tuple[str, ...] = ()


def read_devices(octets: bytes, *, is_csv: bool, profile_id: int | None = None) -> list[Row]:
    """The devices of a file, in order; `profile_id` is for those that name no profile.

    Raises:
        UnreadableFile: it cannot be read as a whole.
    """
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableFile("le fichier n'est pas en UTF-8") from None
    try:
        documents = _rows_of_csv(text) if is_csv else _objects_of_json(text)
    except csv.Error as wrong:
        raise UnreadableFile(f"le fichier n'est pas du CSV : {wrong}") from None
    return [_checked(line, document, profile_id) for line, document in documents]


def _rows_of_csv(text: str) -> list[tuple[int, Document]]:
    header = text.partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=";" if header.count(";") > header.count(",") else ","
    )
    names = [name.strip().lower() for name in reader.fieldnames or ()]
    unknown = sorted(set(names) - {*DEVICE_COLUMNS, *SESSION_COLUMNS})
    if "dev_eui" not in names or unknown:
        expected = ", ".join((*DEVICE_COLUMNS, *SESSION_COLUMNS))
        raise UnreadableFile(
            f"colonnes inconnues : {', '.join(unknown) or 'dev_eui manque'} (attendues : {expected})"
        )
    reader.fieldnames = names
    return [(number, _of_columns(row)) for number, row in enumerate(reader, 2)]


def _of_columns(row: Mapping[str, Any]) -> Document:
    """A device whose session is in columns beside it; an empty cell is an absent one."""
    filled = {name: str(value).strip() for name, value in row.items() if name and value and str(value).strip()}
    device: Document = {name: filled[name] for name in DEVICE_COLUMNS if name in filled}
    session = {name: filled[name] for name in SESSION_COLUMNS if name in filled}
    return device | ({"session": session} if session else {})


def _objects_of_json(text: str) -> list[tuple[int, Document]]:
    try:
        found = msgspec.json.decode(text)  # No NaN and no half of a letter, which no request can carry.
    except (ValueError, RecursionError) as wrong:
        raise UnreadableFile(f"le fichier n'est pas du JSON : {wrong}") from None
    if isinstance(found, dict):
        whole = cast(Document, found)
        found = next(
            (whole[name] for name in ("devices", "end_devices") if isinstance(whole.get(name), list)), [whole]
        )
    if not isinstance(found, list):
        raise UnreadableFile("une liste de capteurs est attendue")
    return [(number, _of_object(one)) for number, one in enumerate(cast("list[object]", found), 1)]


def _of_object(one: object) -> Document:
    if not isinstance(one, dict):
        return {}
    document = cast(Document, one)
    if isinstance(document.get("ids"), dict):
        return _of_the_things_stack(document)
    if isinstance(document.get("device"), dict):
        return _of_chirpstack(document)
    return {name: value for name, value in document.items() if value is not None}


def _at(document: object, *path: str) -> Any:
    """What is under this path; None when nothing is."""
    for name in path:
        document = cast(Document, document).get(name) if isinstance(document, dict) else None
    return document


def _without_absent(document: Mapping[str, Any]) -> Document:
    return {name: value for name, value in document.items() if value not in (None, "", {})}


def _of_the_things_stack(device: Document) -> Document:
    """An end device; its MAC state has the receive windows, which differ from ours."""
    session = device.get("session")
    parameters = _at(device, "mac_state", "current_parameters")
    delay = re.search(r"\d+", str(_at(parameters, "rx1_delay") or ""))
    rx2 = re.search(r"\d+", str(_at(parameters, "rx2_data_rate_index") or ""))
    offset = re.search(r"\d+", str(_at(parameters, "rx1_data_rate_offset") or ""))
    continued = session and _without_absent(
        {
            "dev_addr": _at(session, "dev_addr"),
            "nwk_s_key": _at(session, "keys", "f_nwk_s_int_key", "key"),
            "app_s_key": _at(session, "keys", "app_s_key", "key"),
            "f_cnt_up": _next(_at(session, "last_f_cnt_up")),
            "f_cnt_down": _next(_at(session, "last_n_f_cnt_down")),
            "rx1_delay": delay and int(delay[0]),
            "rx1_dr_offset": offset and int(offset[0]),
            "rx2_data_rate": rx2 and int(rx2[0]),
            HZ_OF_RX2: _number(_at(parameters, HZ_OF_RX2)),
        }
    )
    return _without_absent(
        {
            "dev_eui": _at(device, "ids", "dev_eui"),
            "join_eui": _at(device, "ids", "join_eui"),
            "name": device.get("name") or _at(device, "ids", "device_id"),
            "app_key": _at(device, "root_keys", "app_key", "key"),
            "join_nonce": _number(device.get("last_join_nonce")),
            "session": continued,
        }
    )


def _of_chirpstack(whole: Document) -> Document:
    """The objects of ChirpStack's API; for LoRaWAN 1.0.x the root key is in its `nwkKey`."""
    active = whole.get("deviceActivation")
    continued = active and _without_absent(
        {
            "dev_addr": _at(active, "devAddr"),
            "nwk_s_key": _at(active, "nwkSEncKey"),
            "app_s_key": _at(active, "appSKey"),
            "f_cnt_up": _number(_at(active, "fCntUp")) or 0,
            "f_cnt_down": _number(_at(active, "nFCntDown")) or 0,
        }
    )
    return _without_absent(
        {
            "dev_eui": _at(whole, "device", "devEui"),
            "join_eui": _at(whole, "device", "joinEui"),
            "name": _at(whole, "device", "name"),
            "app_key": _at(whole, "deviceKeys", "nwkKey"),
            "session": continued,
        }
    )


def _number(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _next(last: object) -> int | None:
    number = _number(last)
    return None if number is None else number + NEXT


def _checked(line: int, document: Document, profile_id: int | None) -> Row:
    """The device as the API takes it, or what a person has to mend first."""
    device = document if "device_profile_id" in document else document | {"device_profile_id": profile_id}
    wrong: list[str] = []
    device = _converted(device, wrong, "")
    session = device.get("session")
    if session is not None:
        device["session"] = _converted(
            cast(Document, session) if isinstance(session, dict) else {}, wrong, "session."
        )
        missing = [name for name in SESSION_COLUMNS[:3] if name not in device["session"]]
        wrong += [f"session.{name} manque" for name in missing]
    if "dev_eui" not in device:
        wrong.append("dev_eui manque")
    if "device_profile_id" not in device:
        wrong.append("profil absent : colonne device_profile_id, ou --profile")
    if "app_key" in device and "join_eui" not in device:
        wrong.append("join_eui manque : il va avec app_key")
    return Row(line, str(device.get("dev_eui") or f"ligne {line}"), device, tuple(wrong))


def _converted(document: Document, wrong: list[str], prefix: str) -> Document:
    """Numbers as numbers, hexadecimal without separators and in lower case."""
    converted: Document = {}
    for name, value in document.items():
        if value is None:
            continue
        convert: Callable[[object], object | None] = _CONVERSIONS.get(name, lambda given: given)
        found = convert(value)
        if found is None:
            wrong.append(f"{prefix}{name} : {_EXPECTED.get(name, 'nombre entier attendu')}")
        else:
            converted[name] = found
    return converted


def _hexadecimal(digits: int) -> Callable[[object], str | None]:
    def convert(value: object) -> str | None:
        text = re.sub(r"[\s:-]", "", str(value)).lower()
        return text if re.fullmatch(rf"[0-9a-f]{{{digits}}}", text) else None

    return convert


_CONVERSIONS: dict[str, Callable[[object], object | None]] = {
    **dict.fromkeys(NUMBERS, _number),
    **{name: _hexadecimal(digits) for name, digits in HEXADECIMAL.items()},
}
_EXPECTED = {name: f"{digits} chiffres hexadécimaux attendus" for name, digits in HEXADECIMAL.items()}
