"""Semtech UDP protocol, version 2, from the gateway's side: what a packet forwarder sends and understands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from lorawan.gateway.lenient import integer, number, octets_of_base64, whole_json
from lorawan.gateway.semtech_rxpk import RxPk, read_modulation, write_rxpk
from lorawan.gateway.semtech_stat import Stat, write_stat
from lorawan.gateway.semtech_udp import (
    HEADER_LENGTH,
    VERSION,
    VERSIONS,
    DatagramType,
    MalformedDatagram,
    TxPk,
    TxStatus,
)
from lorawan.identifiers import GatewayId

TOKEN_LENGTH = 2

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class PushAck:
    """The server has the PUSH_DATA with this token."""

    token: bytes


@dataclass(frozen=True, slots=True)
class PullAck:
    """The server has the PULL_DATA with this token."""

    token: bytes


@dataclass(frozen=True, slots=True)
class PullResp:
    """The server asks for a transmission; a TX_ACK with this token answers."""

    token: bytes
    txpk: TxPk


def push_data(token: bytes, gateway_id: GatewayId, rxpks: Sequence[RxPk] = (), stat: Stat | None = None) -> bytes:
    """The PUSH_DATA of frames that were received, and of a status."""
    said: dict[str, Any] = {}
    if rxpks:
        said["rxpk"] = [write_rxpk(rxpk) for rxpk in rxpks]
    if stat is not None:
        said["stat"] = write_stat(stat)
    return _header(DatagramType.PUSH_DATA, token, gateway_id) + _encode(said)


def pull_data(token: bytes, gateway_id: GatewayId) -> bytes:
    """Opens the downlink path and keeps it open."""
    return _header(DatagramType.PULL_DATA, token, gateway_id)


def tx_ack(token: bytes, gateway_id: GatewayId, status: TxStatus = TxStatus.OK) -> bytes:
    """The answer to a PULL_RESP; success has no body, as older forwarders have it."""
    header = _header(DatagramType.TX_ACK, token, gateway_id)
    if status is TxStatus.OK:
        return header
    return header + _encode({"txpk_ack": {"error": status.value}})


def parse_answer(octets: bytes) -> PushAck | PullAck | PullResp:
    """Reads a datagram from the server.

    Raises:
        MalformedDatagram: it is not one, or its txpk lacks what a forwarder needs (which then says nothing).
    """
    if len(octets) < HEADER_LENGTH or octets[0] not in VERSIONS:
        raise MalformedDatagram(f"not from a server: {len(octets)} octets, {octets[:16].hex()}")
    token, kind = octets[1:3], octets[3]
    if kind == DatagramType.PUSH_ACK:
        return PushAck(token)
    if kind == DatagramType.PULL_ACK:
        return PullAck(token)
    if kind == DatagramType.PULL_RESP:
        return PullResp(token, _txpk_of(octets[HEADER_LENGTH:]))
    raise MalformedDatagram(f"type {kind:02x} is not from a server")


def _txpk_of(body: bytes) -> TxPk:
    try:
        said = whole_json(body)
        return _read_txpk(said["txpk"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedDatagram(f"PULL_RESP without a usable txpk ({error!r}): {body[:80]!r}") from error


def _read_txpk(said: dict[str, Any]) -> TxPk:
    megahertz, power, tmst = number(said["freq"]), integer(said.get("powe")), integer(said.get("tmst"))
    immediate = said.get("imme") is True
    if megahertz is None or said.get("rfch") is None or said.get("size") is None:
        raise ValueError("freq, rfch and size are mandatory")
    if tmst is None and not immediate:
        raise ValueError("neither imme nor tmst")
    return TxPk(
        phy_payload=octets_of_base64(said["data"]),
        frequency=round(megahertz * 1e6),
        modulation=read_modulation(said),
        power=0 if power is None else power,
        tmst=None if immediate else tmst,
        coding_rate=str(said.get("codr", "4/5")),
    )


def _header(kind: DatagramType, token: bytes, gateway_id: GatewayId) -> bytes:
    return bytes((VERSION, *token[:TOKEN_LENGTH], kind)) + gateway_id
