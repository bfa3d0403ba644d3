"""Fields that many Milesight products share (docs/decoders-formats.md, "Milesight")."""

from decoders.milesight.frame import Table, entry, setting, state_name
from decoders.tables import read_table
from decoders.tlv import Field, Record, measures

_SETTINGS = read_table("milesight/settings.toml")
_CLASSES = ("A", "B", "C", "C to B")
_HISTORY_ANSWERS = ("success", "invalid_time", "nothing_stored")

DISTANCE = Field("H", "distance", absent_from=0x8000)  # The user guide says int16: no distance is negative.
TEMPERATURE = Field("h", "temperature", 10)
HUMIDITY = Field("B", "relative_humidity", 2)
CO2 = Field("H", "co2")
PRESSURE = Field("H", "pressure", 10)
OCCUPANCY = Field("B", "occupancy", most=1)
TILT = Field("B", "tilt", most=1)
BATTERY = Field("B", "battery_level")


def _lorawan_class(octets: bytes) -> str:
    return _CLASSES[octets[0]] if octets[0] < len(_CLASSES) else f"code {octets[0]}"


def one(field: Field) -> Record:
    """A record of one measure."""
    return measures("<", field)


def flag(quantity: str, channel: str = "") -> Record:
    """A record of one state, 0 or 1."""
    return measures("<", Field("B", quantity, channel=channel, most=1))


def settings(section: str) -> dict[int, Record]:
    """The answers to settings, a section of settings.toml, under either of the two channels that carry them."""
    return {
        channel << 8 | kind: setting(name, size)
        for name, (kind, size) in _SETTINGS[section].items()
        for channel in (0xFE, 0xFF)
    }


# What every product says of itself when it joins, its battery, and the answers they all may give.
COMMON: Table = {
    0xFF01: entry("device", "protocol_version", 1, lambda octets: f"{octets[0] >> 4}.{octets[0] & 0x0F}"),
    0xFF09: entry("device", "hardware_version", 2, lambda octets: f"{octets[0]:x}.{octets[1] >> 4}"),
    0xFF0A: entry("device", "firmware_version", 2, lambda octets: f"{octets[0]:x}.{octets[1]:x}"),
    0xFFFF: entry("device", "tsl_version", 2, lambda octets: f"{octets[0]}.{octets[1]}"),
    0xFF16: entry("device", "serial_number", 8, bytes.hex),
    0xFF08: entry("device", "serial_number", 6, bytes.hex),
    0xFF0F: entry("device", "lorawan_class", 1, _lorawan_class),
    0xFFFE: entry("device", "reset", 1, lambda _: True),
    0xFF0B: entry("device", "power_on", 1, lambda _: True),
    **settings("common"),
    0xFE8E: entry("settings", "report_interval_minutes", 3, lambda octets: int.from_bytes(octets[1:], "little")),
    0xFF8E: entry("settings", "report_interval_minutes", 3, lambda octets: int.from_bytes(octets[1:], "little")),
    # Answers to a request for stored records, which then follow.
    0xFC6B: entry("device", "history", 1, lambda octets: state_name(octets[0], _HISTORY_ANSWERS)),
    0xFC6C: entry("device", "history", 1, lambda octets: state_name(octets[0], _HISTORY_ANSWERS)),
    0x0175: one(BATTERY),
}
ROOM: Table = {**COMMON, 0x0367: one(TEMPERATURE), 0x0468: one(HUMIDITY)}
# A mains socket or switch meters what flows through it.
METERED: Table = {
    **COMMON,
    0x0374: one(Field("H", "voltage", 10)),
    0x0480: one(Field("I", "active_power")),
    0x0581: one(Field("B", "power_factor")),
    0x0683: one(Field("I", "active_energy_import")),
    0x07C9: one(Field("H", "current", 1_000)),
    **settings("metered"),
}
