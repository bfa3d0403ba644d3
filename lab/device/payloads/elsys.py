"""What Elsys' sensors send (vendor's elsys.js), on port 5."""

import struct


def ers_co2(*, temperature: float, humidity: int, lux: int, motion: int, co2: int, vdd_mv: int) -> bytes:
    """ERS-CO2: temperature (to a tenth), humidity (%), light, motion, CO2 (ppm), battery."""
    return (
        struct.pack(">Bh", 0x01, round(temperature * 10))
        + struct.pack(">BB", 0x02, humidity)
        + struct.pack(">BH", 0x04, lux)
        + struct.pack(">BB", 0x05, motion)
        + struct.pack(">BH", 0x06, co2)
        + struct.pack(">BH", 0x07, vdd_mv)
    )
