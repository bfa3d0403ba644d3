"""MAC commands: one module each, and the two tables by which a run of them is read (LoRaWAN L2 1.0.4, section 5).

A command has no length on the air: an unknown CID hides everything behind it, and reading stops there
(docs/protocols.md, row 32).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from lorawan.commands.command import Command
from lorawan.commands.dev_status import DevStatusAns, DevStatusReq
from lorawan.commands.device_time import DeviceTimeAns, DeviceTimeReq
from lorawan.commands.dl_channel import DlChannelAns, DlChannelReq
from lorawan.commands.duty_cycle import DutyCycleAns, DutyCycleReq
from lorawan.commands.link_adr import LinkAdrAns, LinkAdrReq
from lorawan.commands.link_check import LinkCheckAns, LinkCheckReq
from lorawan.commands.new_channel import NewChannelAns, NewChannelReq
from lorawan.commands.rx_param_setup import RxParamSetupAns, RxParamSetupReq
from lorawan.commands.rx_timing_setup import RxTimingSetupAns, RxTimingSetupReq
from lorawan.commands.tx_param_setup import TxParamSetupAns, TxParamSetupReq

UplinkCommand = (
    LinkCheckReq
    | LinkAdrAns
    | DutyCycleAns
    | RxParamSetupAns
    | DevStatusAns
    | NewChannelAns
    | RxTimingSetupAns
    | TxParamSetupAns
    | DlChannelAns
    | DeviceTimeReq
)
DownlinkCommand = (
    LinkCheckAns
    | LinkAdrReq
    | DutyCycleReq
    | RxParamSetupReq
    | DevStatusReq
    | NewChannelReq
    | RxTimingSetupReq
    | TxParamSetupReq
    | DlChannelReq
    | DeviceTimeAns
)

_UPLINK: tuple[type[UplinkCommand], ...] = (
    LinkCheckReq,
    LinkAdrAns,
    DutyCycleAns,
    RxParamSetupAns,
    DevStatusAns,
    NewChannelAns,
    RxTimingSetupAns,
    TxParamSetupAns,
    DlChannelAns,
    DeviceTimeReq,
)
_DOWNLINK: tuple[type[DownlinkCommand], ...] = (
    LinkCheckAns,
    LinkAdrReq,
    DutyCycleReq,
    RxParamSetupReq,
    DevStatusReq,
    NewChannelReq,
    RxTimingSetupReq,
    TxParamSetupReq,
    DlChannelReq,
    DeviceTimeAns,
)
UPLINK_COMMANDS: Mapping[int, type[UplinkCommand]] = {command.CID: command for command in _UPLINK}
DOWNLINK_COMMANDS: Mapping[int, type[DownlinkCommand]] = {command.CID: command for command in _DOWNLINK}

C = TypeVar("C", bound=Command)


@dataclass(frozen=True, slots=True)
class ParsedCommands(Generic[C]):
    """The commands that were understood, in order, and what was left unread."""

    commands: tuple[C, ...]
    unread: bytes = b""
    """From the first unknown or cut-off command to the end."""
    problem: str | None = None
    """Why reading stopped; None when everything was read."""


def parse_uplink_commands(octets: bytes) -> ParsedCommands[UplinkCommand]:
    """Reads what a device sent in FOpts or under FPort 0; never raises."""
    return _parse(octets, UPLINK_COMMANDS)


def parse_downlink_commands(octets: bytes) -> ParsedCommands[DownlinkCommand]:
    """Reads what a network sent in FOpts or under FPort 0; never raises."""
    return _parse(octets, DOWNLINK_COMMANDS)


def encode_commands(commands: Iterable[Command]) -> bytes:
    """The commands as FOpts or an FPort 0 payload carry them.

    Raises:
        ValueError: a field of one of them is out of its range.
    """
    return b"".join(command.to_bytes() for command in commands)


def _parse(octets: bytes, table: Mapping[int, type[C]]) -> ParsedCommands[C]:
    commands: list[C] = []
    at = 0
    while at < len(octets):
        command = table.get(octets[at])
        if command is None:
            problem = f"unknown CID {octets[at]:02x} at octet {at} of {octets.hex()}"
            return ParsedCommands(tuple(commands), octets[at:], problem)
        end = at + 1 + command.LENGTH
        if end > len(octets):
            problem = f"{command.__name__} at octet {at} is cut off: {octets.hex()}"
            return ParsedCommands(tuple(commands), octets[at:], problem)
        commands.append(command.from_bytes(octets[at:end]))
        at = end
    return ParsedCommands(tuple(commands))
