"""What Milesight's sensors send (vendor's READMEs), on port 85."""

import struct


def _pair(channel: int, kind: int, code: str, value: int) -> bytes:
    return bytes((channel, kind)) + struct.pack("<" + code, value)


def em310(*, battery: int, distance_mm: int, tilted: bool) -> bytes:
    """EM310-UDL: battery (%), distance, position."""
    return _pair(1, 0x75, "B", battery) + _pair(3, 0x82, "H", distance_mm) + _pair(4, 0x00, "B", tilted)


def em400(*, battery: int, temperature: float, distance_mm: int, tilted: bool) -> bytes:
    """EM400-UDL: battery (%), temperature (to a tenth), distance, position."""
    return (
        _pair(1, 0x75, "B", battery)
        + _pair(3, 0x67, "h", round(temperature * 10))
        + _pair(4, 0x82, "H", distance_mm)
        + _pair(5, 0x00, "B", tilted)
    )


def em400_alarms(*, temperature: float, distance_mm: int, raised: bool) -> bytes:
    """EM400-UDL: temperature (to a tenth) and distance crossed their thresholds, or came back."""
    return (
        _pair(0x83, 0x67, "h", round(temperature * 10))
        + bytes((raised,))
        + _pair(0x84, 0x82, "H", distance_mm)
        + bytes((raised,))
    )


def am103(*, battery: int, temperature: float, humidity: float, co2: int) -> bytes:
    """AM103: battery (%), temperature (to a tenth), humidity (to a half), CO2 (ppm)."""
    return (
        _pair(1, 0x75, "B", battery)
        + _pair(3, 0x67, "h", round(temperature * 10))
        + _pair(4, 0x68, "B", round(humidity * 2))
        + _pair(7, 0x7D, "H", co2)
    )


def am103_history(*, at_s: int, temperature: float, humidity: float, co2: int) -> bytes:
    """AM103: what it stored at an instant (seconds since 1970), when it could not send it."""
    return bytes((0x20, 0xCE)) + struct.pack("<IhBH", at_s, round(temperature * 10), round(humidity * 2), co2)


def am319(
    *,
    temperature: float,
    humidity: float,
    motion: bool,
    light_level: int,
    co2: int,
    tvoc: float,
    pressure: float,
    hcho: float,
    pm2_5: int,
    pm10: int,
    o3: float,
) -> bytes:
    """AM319: the room's air, all of it."""
    return (
        _pair(3, 0x67, "h", round(temperature * 10))
        + _pair(4, 0x68, "B", round(humidity * 2))
        + _pair(5, 0x00, "B", motion)
        + _pair(6, 0xCB, "B", light_level)
        + _pair(7, 0x7D, "H", co2)
        + _pair(8, 0x7D, "H", round(tvoc * 100))
        + _pair(9, 0x73, "H", round(pressure * 10))
        + _pair(0x0A, 0x7D, "H", round(hcho * 100))
        + _pair(0x0B, 0x7D, "H", pm2_5)
        + _pair(0x0C, 0x7D, "H", pm10)
        + _pair(0x0D, 0x7D, "H", round(o3 * 100))
    )
