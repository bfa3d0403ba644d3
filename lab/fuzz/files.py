"""Files that people import: lines of every kind as CSV and GeoJSON, devices of other LNS."""

import json
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from cli.lns_files import UnreadableFile as UnreadableDevices
from cli.lns_files import read_devices
from lab.fuzz import mutations
from lab.fuzz.json_octets import body_of
from lab.fuzz.target import Target
from registry.bulk_imports.files import UnreadableFile, read_table
from registry.bulk_imports.kinds import EVERY_KIND, KINDS, csv_lines, model_file, read_columns
from registry.bulk_imports.plan import Communes, Reader, Surroundings, plan_assets

KEY = "000102030405060708090a0b0c0d0e0f"
THE_THINGS_STACK = {
    "ids": {"device_id": "benne-12", "dev_eui": "70B3D57ED0001234", "join_eui": "70B3D57ED0001000"},
    "name": "Benne 12",
    "root_keys": {"app_key": {"key": KEY}},
    "last_join_nonce": 9,
    "session": {"dev_addr": "260B1234", "keys": {"f_nwk_s_int_key": {"key": KEY}, "app_s_key": {"key": KEY}},
                "last_f_cnt_up": 1840, "last_n_f_cnt_down": 16},
    "mac_state": {"current_parameters": {"rx1_delay": "RX_DELAY_5", "rx2_data_rate_index": "DATA_RATE_3",
                                         "rx2_frequency": "869525000"}},
}  # fmt: skip
CHIRPSTACK = {
    "device": {"devEui": "70b3d57ed0001234", "joinEui": "70b3d57ed0001000", "name": "Benne 12"},
    "deviceKeys": {"devEui": "70b3d57ed0001234", "nwkKey": KEY, "appKey": KEY},
    "deviceActivation": {"devAddr": "01ab23cd", "appSKey": KEY, "nwkSEncKey": KEY, "fNwkSIntKey": KEY,
                         "fCntUp": 1841, "nFCntDown": 17},
}  # fmt: skip
OURS = {"dev_eui": "70b3d57ed0001234", "join_eui": "70b3d57ed0001000", "device_profile_id": 42, "app_key": KEY}
DEVICES_CSV = f"dev_eui;join_eui;app_key;name\n70B3D57ED0001234;70b3d57ed0001000;{KEY};Benne 12\n"
FORMS = ("csv", "csv", "geojson", "devices_csv", "devices_json")
NOTHING_THERE = Surroundings({}, {}, Communes(), {}, 1_000)


class File(NamedTuple):
    """A file, and what its sender says that it is."""

    kind: str
    form: str
    octets: bytes


def file(source: random.Random) -> File:
    """A model file with a few lines, spoilt in its cells or its octets."""
    kind, form = source.choice(list(KINDS)), source.choice(FORMS)
    match form:
        case "csv":
            octets = _csv(source, kind)
        case "geojson":
            octets = body_of(source, _geojson(source, kind))
        case "devices_csv":
            octets = mutations.text(source, DEVICES_CSV).encode("utf-8", "replace")
        case _:
            octets = body_of(source, source.choice((THE_THINGS_STACK, [CHIRPSTACK], {"devices": [OURS, OURS]})))
    return File(kind, form, mutations.octets(source, octets) if source.random() < 0.2 else octets)  # noqa: PLR2004


def _csv(source: random.Random, kind: str) -> bytes:
    header = [column.name for column in KINDS[kind].columns]
    rows = [header]
    for _ in range(source.randint(1, 5)):
        rows.append([_cell(source, column.example) for column in KINDS[kind].columns])  # noqa: PERF401 - It draws.
    text = csv_lines(rows) if source.random() < 0.8 else model_file(KINDS[kind])  # noqa: PLR2004
    if source.random() < 0.5:  # noqa: PLR2004
        text = mutations.text(source, text)
    return text.encode(source.choice(("utf-8", "utf-8-sig", "cp1252", "utf-16")), "replace")


def _cell(source: random.Random, example: str) -> str:
    return str(source.choice(mutations.ODD)) if source.random() < 0.2 else example  # noqa: PLR2004


def _geojson(source: random.Random, kind: str) -> Any:
    columns = read_columns(KINDS[kind])
    feature = {
        "type": "Feature",
        "properties": {name: column.example for name, column in columns.items()},
        "geometry": {"type": "Point", "coordinates": [-4.25, 48.45]},
    }
    crs = {"type": "name", "properties": {"name": source.choice(("urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:2154"))}}
    return {"type": "FeatureCollection", "features": [feature] * source.randint(1, 3)} | (
        {"crs": crs} if source.random() < 0.3 else {}  # noqa: PLR2004
    )


def read_file(case: File) -> str:
    """Whether it is read; then each line goes in or is refused, and nothing of it is what no database stores."""
    if case.form.startswith("devices"):
        return _read_devices(case)
    kind = KINDS[case.kind]
    try:
        table = read_table(case.octets, kind, case.form, "wgs84")
        lines = list(table.lines)
    except UnreadableFile as unreadable:
        str(unreadable).encode()
        return "unreadable"
    reader = Reader(kind, table.header, read_columns(kind))
    read, rejections = reader.read(lines)
    planned = plan_assets(reader, read, NOTHING_THERE) if kind.asset_kind not in {"", EVERY_KIND} else None
    for one in read:
        _check_stored(one.values)
    for rejection in [*rejections, *(planned.rejections if planned else [])]:
        "".join((rejection.reason, *rejection.cells)).encode()
    return "lines" if read else "no_line"


def _check_stored(values: Mapping[str, Any]) -> None:
    text = json.dumps(values, default=str, ensure_ascii=False, allow_nan=False)
    text.encode()
    if "\\u0000" in text:
        raise AssertionError(f"a NUL in {text}")


def _read_devices(case: File) -> str:
    try:
        rows = read_devices(case.octets, is_csv=case.form == "devices_csv", profile_id=42)
    except UnreadableDevices as unreadable:
        str(unreadable).encode()
        return "unreadable"
    for row in rows:
        "".join((row.name, *row.wrong)).encode()
        if not row.wrong:
            # The API checks what they hold; it has to be told of it.
            json.dumps(row.device, ensure_ascii=False, allow_nan=False).encode()
    return "devices" if any(not row.wrong for row in rows) else "no_device"


def reads_a_good_file() -> None:
    """The model of cabinets has one line, which goes in."""
    kind = KINDS["cabinets"]
    table = read_table(model_file(kind).encode(), kind, "csv", "wgs84")
    read, rejections = Reader(kind, table.header, read_columns(kind)).read(list(table.lines))
    assert (len(read), rejections) == (1, []), rejections


IMPORTS = Target("imports", "Fichiers à importer", file, read_file, reads_a_good_file)
