"""What is written on a device: its DevEUI as people copy it, or the QR code of LoRa Alliance TR005. Pure.

TR005, "LoRaWAN Device Identification QR Code for Automated Onboarding", section 3:
`LW:D0:<JoinEUI>:<DevEUI>:<ProfileID>`, then extensions that begin with their letter: O owner token, S serial
number, P proprietary, C checksum.
"""

import re
from dataclasses import dataclass

from lorawan.identifiers import DevEui, JoinEui

SCHEMA = "LW:D0:"
IDENTIFIED = re.compile(
    "LW:D0:([0-9A-F]{16}):([0-9A-F]{16}):([0-9A-F]{4})([0-9A-F]{4})((?::[A-Z][^:]*)*)", re.IGNORECASE
)
# A DevEUI in whatever a vendor prints around it, in pairs or in one.
EUI = re.compile(
    r"(?<![0-9A-F])(?:[0-9A-F]{2}([-:. ]?)(?:[0-9A-F]{2}\1){6}[0-9A-F]{2})(?![0-9A-F])", re.IGNORECASE
)


class NoDeviceCode(ValueError):
    """No one DevEUI is in it."""


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """Which device it is; only TR005 says more than its DevEUI. Its checksum is not checked: scanners have one."""

    dev_eui: DevEui
    join_eui: JoinEui | None = None
    vendor_id: int | None = None
    profile_id: int | None = None
    serial_number: str = ""


def read_device_code(text: str) -> DeviceCode:
    """What was typed or scanned.

    Raises:
        NoDeviceCode: it holds no DevEUI, or more than one number that could be it.
    """
    text = text.strip()
    if text.upper().startswith(SCHEMA):
        identified = IDENTIFIED.fullmatch(text)
        if identified is None:
            raise NoDeviceCode("a code of TR005 that is not whole")
        join_eui, dev_eui, vendor, profile, extensions = identified.groups()
        serial = next((one[1:] for one in extensions.split(":") if one[:1].upper() == "S"), "")
        return DeviceCode(
            DevEui(bytes.fromhex(dev_eui)),
            JoinEui(bytes.fromhex(join_eui)),
            int(vendor, 16),
            int(profile, 16),
            serial,
        )
    found = {re.sub(r"[^0-9a-f]", "", one[0].lower()) for one in EUI.finditer(text)}
    if len(found) != 1:
        raise NoDeviceCode(f"{len(found)} numbers of sixteen digits")
    return DeviceCode(DevEui(bytes.fromhex(found.pop())))
