"""Identifiers of LoRaWAN entities: big-endian bytes, shown as lower-case hexadecimal."""

from typing import NewType
from zlib import crc32

DevEui = NewType("DevEui", bytes)
JoinEui = NewType("JoinEui", bytes)
GatewayId = NewType("GatewayId", bytes)
DevAddr = NewType("DevAddr", bytes)

EUI_LENGTH = 8
DEV_ADDR_LENGTH = 4
SLOTS = 16


def slot_of_dev_eui(dev_eui: DevEui) -> int:
    """The slot (0 to 15) that owns a device: crc32 over its DevEUI, 8 big-endian bytes."""
    return crc32(dev_eui) & (SLOTS - 1)


def slot_of_dev_addr(dev_addr: DevAddr) -> int:
    """The slot (0 to 15) to which a data frame is routed: crc32 over its DevAddr, 4 big-endian bytes."""
    return crc32(dev_addr) & (SLOTS - 1)


def parse_eui(text: str) -> bytes:
    """Eight bytes from an EUI as people write it: `70b3d5...`, `70-B3-D5-...` or `70:b3:...`.

    Raises:
        ValueError: it is not 16 hexadecimal digits.
    """
    digits = text.strip().replace("-", "").replace(":", "")
    if len(digits) != 2 * EUI_LENGTH:
        raise ValueError(f"an EUI is 16 hexadecimal digits, not {text!r}")
    return bytes.fromhex(digits)
