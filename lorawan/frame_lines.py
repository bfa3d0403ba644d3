"""A PHYPayload as lines for people to read: each field by the specification's name, MAC commands one by one. Pure.

(LoRaWAN L2 1.0.4, sections 4 to 6.) Without keys: what is encrypted stays so.
"""

from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from lorawan.commands import ParsedCommands, parse_downlink_commands, parse_uplink_commands
from lorawan.frame import (
    MIC_LENGTH,
    DownlinkFCtrl,
    DownlinkFrame,
    MalformedFrame,
    MType,
    UplinkFCtrl,
    UplinkFrame,
    mtype_of,
)
from lorawan.join import JoinRequest

UP = {MType.UNCONFIRMED_DATA_UP, MType.CONFIRMED_DATA_UP}
DOWN = {MType.UNCONFIRMED_DATA_DOWN, MType.CONFIRMED_DATA_DOWN}
# MHDR, DevAddr, FCtrl, FCnt.
BEFORE_F_OPTS, F_CTRL_AT, F_OPTS_LEN = 8, 5, 0x0F
FLAGS = {
    "adr": "ADR",
    "adr_ack_req": "ADRACKReq",
    "ack": "ACK",
    "class_b": "ClassB",
    "f_pending": "FPending",
}
ABBREVIATIONS = {"rx1": "RX1", "rx2": "RX2", "dr": "DR", "tx": "TX", "eirp": "EIRP", "gps": "GPS", "dl": "DL"}


class Line(NamedTuple):
    """A field of a frame, by the specification's name, and what it holds."""

    name: str
    value: str


def header_of(phy_payload: bytes) -> bytes:
    """What names nobody's measurements: of a data frame MHDR, FHDR and FPort, of any other its MHDR."""
    if not phy_payload or phy_payload[0] >> 5 not in {*UP, *DOWN} or len(phy_payload) <= F_CTRL_AT:
        return phy_payload[:1]
    end = BEFORE_F_OPTS + (phy_payload[F_CTRL_AT] & F_OPTS_LEN)
    return phy_payload[: min(end + 1, max(end, len(phy_payload) - MIC_LENGTH))]


def frame_lines(phy_payload: bytes, *, is_header: bool = False) -> list[Line]:
    """The fields in the order of the octets; with `is_header` the octets are a frame's header alone.

    A frame that cannot be read is so many lines as could be, and why reading ended; no octets are no lines.
    """
    if not phy_payload:
        return []
    try:
        m_type = mtype_of(phy_payload)
        lines = [Line("MHDR", f"{phy_payload[0]:02x} {_words(m_type.name.lower())}")]
    except MalformedFrame as wrong:
        return [Line("PHYPayload", str(wrong))]
    try:
        return lines + _rest(m_type, phy_payload, is_header=is_header)
    except MalformedFrame as wrong:
        return [*lines, Line("PHYPayload", str(wrong))]


def _rest(m_type: MType, phy_payload: bytes, *, is_header: bool) -> list[Line]:
    """What follows MHDR; raises MalformedFrame."""
    octets = phy_payload + bytes(MIC_LENGTH) if is_header else phy_payload
    if m_type in UP:
        up = UplinkFrame.from_bytes(octets)
        return _data_lines(up, up.f_ctrl, parse_uplink_commands(up.f_opts), is_header=is_header)
    if m_type in DOWN:
        down = DownlinkFrame.from_bytes(octets)
        return _data_lines(down, down.f_ctrl, parse_downlink_commands(down.f_opts), is_header=is_header)
    if is_header:
        return []
    if m_type is MType.JOIN_REQUEST:
        join = JoinRequest.from_bytes(octets)
        named = {"JoinEUI": join.join_eui.hex(), "DevEUI": join.dev_eui.hex(), "DevNonce": str(join.dev_nonce)}
        return [Line(name, value) for name, value in (named | {"MIC": join.mic.hex()}).items()]
    return [Line("Payload", _octets(octets[1:]))]


def _data_lines(
    frame: UplinkFrame | DownlinkFrame,
    f_ctrl: UplinkFCtrl | DownlinkFCtrl,
    commands: ParsedCommands[Any],
    *,
    is_header: bool,
) -> list[Line]:
    flags = [name for flag, name in FLAGS.items() if getattr(f_ctrl, flag, False)]
    lines = [
        Line("DevAddr", frame.dev_addr.hex()),
        Line("FCtrl", " ".join((*flags, f"FOptsLen={len(frame.f_opts)}"))),
        Line("FCnt", str(frame.f_cnt)),
        *(Line("FOpts", _command(command)) for command in commands.commands),
    ]
    if commands.problem is not None:
        lines.append(Line("FOpts", commands.problem))
    if frame.f_port is not None:
        lines.append(Line("FPort", str(frame.f_port)))
    if is_header:
        return lines
    if frame.f_port is not None:
        lines.append(Line("FRMPayload", _octets(frame.frm_payload)))
    return [*lines, Line("MIC", frame.mic.hex())]


def _octets(octets: bytes) -> str:
    return f"{len(octets)} B {octets.hex()}".rstrip()


def _command(command: object) -> str:
    """The command's name, and its fields as the specification spells them."""
    named: list[str] = []
    if is_dataclass(command):
        for one in fields(command):
            value = getattr(command, one.name)
            is_mask = one.name == "ch_mask"
            named.append(f"{_words(one.name)}={f'{value:04x}' if is_mask else int(value)}")
    return " ".join((_words_of_class(type(command).__name__), *named))


def _words(name: str) -> str:
    """`ch_mask_cntl` as ChMaskCntl, `rx1_dr_offset` as RX1DROffset."""
    return "".join(ABBREVIATIONS.get(word, word.capitalize()) for word in name.split("_"))


def _words_of_class(name: str) -> str:
    """LinkAdrReq as LinkADRReq, RxParamSetupReq as RXParamSetupReq."""
    return name.replace("Adr", "ADR").replace("Rx", "RX").replace("Tx", "TX")
