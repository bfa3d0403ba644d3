"""ChirpStack v4's gateway messages from the bridge's side: events that we send, commands that we receive."""

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf import json_format
from google.protobuf.message import Message

from core.messages.chirpstack import gw
from core.messages.downlinks import Transmission, TransmitReply, TransmitRequest
from core.messages.frames import GatewayFrame
from core.model.entities import Gateway
from core.runtime.clock import wall_clock_us
from gateways.frontend import NO_ACK, OK
from lorawan.airtime import Priority
from lorawan.frame import MAX_PHY_PAYLOAD, MType
from lorawan.identifiers import GatewayId

# Before the gateway's own context: when the uplink came in, by which we know whether an answer is still in time.
ARRIVAL = struct.Struct(">q")
# How long an immediate frame may wait for the radio, as with our own network server.
PATIENCE_US = 3_000_000
MAX_ITEMS = 4
MAX_DELAY_US = 16_000_000
# Between an uplink's arrival here and what answers it.
MAX_AGE_US, MAX_AHEAD_US = 60_000_000, 1_000_000

_MTYPE_SHIFT = 5
_ACK_BIT = 0x20
_F_CTRL = 5


class Unfit(ValueError):
    """A command that no gateway of ours can be asked for; the message says why."""


@dataclass(slots=True)
class Counts:
    """What a gateway did since the last `stats`."""

    received: Counter[int] = field(default_factory=Counter[int])
    """By frequency, Hz."""
    by_lora: Counter[tuple[int, int]] = field(default_factory=Counter[tuple[int, int]])
    """By spreading factor and bandwidth."""
    asked: int = 0
    emitted: Counter[int] = field(default_factory=Counter[int])
    """By frequency, Hz."""
    statuses: Counter[str] = field(default_factory=Counter[str])

    def count_frame(self, frame: GatewayFrame) -> None:
        """Count an uplink."""
        self.received[frame.frequency] += 1
        if frame.spreading_factor:
            self.by_lora[frame.spreading_factor, frame.bandwidth] += 1

    def count_reply(self, request: TransmitRequest, reply: TransmitReply) -> None:
        """Count a downlink."""
        self.asked += 1
        self.statuses[status_of(reply.status)] += 1
        if reply.status == OK:
            self.emitted[request.transmissions[reply.index].frequency] += 1


def encode(message: Message, *, as_json: bool) -> bytes:
    """The octets of an event; a ChirpStack answers each gateway in the encoding of that gateway's events."""
    if as_json:
        return json_format.MessageToJson(message, indent=None).encode()
    return message.SerializeToString()


def up_event(frame: GatewayFrame, uplink_id: int) -> gw.UplinkFrame:
    """`event/up`."""
    event = gw.UplinkFrame(phy_payload=frame.phy_payload)
    tx, rx = event.tx_info, event.rx_info
    tx.frequency = frame.frequency
    if frame.spreading_factor:
        tx.modulation.lora.bandwidth = frame.bandwidth
        tx.modulation.lora.spreading_factor = frame.spreading_factor
        tx.modulation.lora.code_rate = gw.CR_4_5
    else:
        tx.modulation.fsk.datarate = frame.bit_rate
    rx.gateway_id, rx.uplink_id = frame.gateway_id.hex(), uplink_id
    rx.gw_time.FromMicroseconds(frame.time_us)
    rx.rssi, rx.snr = round(frame.rssi), frame.snr
    rx.channel, rx.antenna = frame.channel, frame.antenna
    rx.context = ARRIVAL.pack(frame.received_at_us) + frame.context
    rx.crc_status = gw.CRC_OK
    return event


def stats_event(gateway: Gateway, counts: Counts, config_version: str) -> gw.GatewayStats:
    """`event/stats`."""
    event = gw.GatewayStats(gateway_id=gateway.gateway_id.hex(), config_version=config_version)
    event.time.FromMicroseconds(wall_clock_us())
    received = counts.received.total()
    event.rx_packets_received = event.rx_packets_received_ok = received
    event.tx_packets_received, event.tx_packets_emitted = counts.asked, counts.emitted.total()
    event.rx_packets_per_frequency.update(counts.received)
    event.tx_packets_per_frequency.update(counts.emitted)
    event.tx_packets_per_status.update(counts.statuses)
    for (spreading_factor, bandwidth), count in counts.by_lora.items():
        entry = event.rx_packets_per_modulation.add(count=count)
        entry.modulation.lora.spreading_factor, entry.modulation.lora.bandwidth = spreading_factor, bandwidth
        entry.modulation.lora.code_rate = gw.CR_4_5
    if gateway.latitude is not None and gateway.longitude is not None:
        event.location.latitude, event.location.longitude = gateway.latitude, gateway.longitude
    return event


def conn_event(gateway_id: GatewayId, *, online: bool) -> gw.ConnState:
    """`state/conn`."""
    return gw.ConnState(gateway_id=gateway_id.hex(), state=gw.ConnState.ONLINE if online else gw.ConnState.OFFLINE)


def ack_event(command: gw.DownlinkFrame, statuses: Sequence[str]) -> gw.DownlinkTxAck:
    """`event/ack`: one status for each item, as far as they were tried."""
    ack = gw.DownlinkTxAck(gateway_id=command.gateway_id, downlink_id=command.downlink_id)
    for status in statuses:
        ack.items.add(status=gw.TxAckStatus.Value(status))
    return ack


def statuses_of(request: TransmitRequest, reply: TransmitReply) -> list[str]:
    """The status of each item: those before the one that went out were rejected, the others were not tried."""
    if reply.status == OK:
        return ["IGNORED"] * reply.index + [OK]
    return [status_of(reply.status)] * len(request.transmissions)


def status_of(status: str) -> str:
    """A reply's status in the contract's words, which has none for a gateway that does not answer."""
    if status == NO_ACK or status not in gw.TxAckStatus.keys():  # noqa: SIM118 - No dict.
        return "INTERNAL_ERROR"
    return status


def request_of(command: gw.DownlinkFrame, gateway_id: GatewayId) -> TransmitRequest:
    """The request to transmit in a `command/down`.

    Raises:
        Unfit: it has no item, another modulation than LoRa, GPS time, or no context of ours to be on time by.
    """
    if not 0 < len(command.items) <= MAX_ITEMS:
        raise Unfit(f"{len(command.items)} items")
    arrival_us, context = _arrival_of(command.items[0].tx_info.context)
    ways = [_transmission_of(item) for item in command.items]
    if not all(way.immediate for way in ways):
        age_us = MAX_AGE_US if arrival_us is None else wall_clock_us() - arrival_us
        if not -MAX_AHEAD_US <= age_us < MAX_AGE_US:
            raise Unfit("a delay without the context of a recent uplink of ours")
    return TransmitRequest(
        downlink_id=0,
        gateway_id=gateway_id,
        context=context,
        uplink_at_us=0 if arrival_us is None or ways[0].immediate else arrival_us,
        latest_at_us=wall_clock_us() + PATIENCE_US,
        priority=_priority_of(ways[0].phy_payload),
        transmissions=ways,
    )


def _arrival_of(context: bytes) -> tuple[int | None, bytes]:
    if len(context) < ARRIVAL.size:
        return None, b""
    return ARRIVAL.unpack_from(context)[0], context[ARRIVAL.size :]


def _transmission_of(item: gw.DownlinkFrameItem) -> Transmission:
    tx = item.tx_info
    if tx.modulation.WhichOneof("parameters") != "lora":
        raise Unfit(f"modulation {tx.modulation.WhichOneof('parameters')}")
    timing = tx.timing.WhichOneof("parameters")
    if timing not in ("immediately", "delay"):
        raise Unfit(f"timing {timing}")
    if not 0 < len(item.phy_payload) <= MAX_PHY_PAYLOAD:
        raise Unfit(f"a PHYPayload of {len(item.phy_payload)} octets")
    lora, delay = tx.modulation.lora, tx.timing.delay.delay
    delay_us = 0 if timing == "immediately" else delay.seconds * 1_000_000 + delay.nanos // 1000
    if not 0 <= delay_us <= MAX_DELAY_US:
        raise Unfit(f"a delay of {delay_us} us")
    return Transmission(
        item.phy_payload,
        tx.frequency,
        lora.spreading_factor,
        lora.bandwidth,
        delay_us,
        timing == "immediately",
    )


def _priority_of(phy_payload: bytes) -> Priority:
    """Joins and acknowledgements first: without them a device repeats itself."""
    is_accept = phy_payload[0] >> _MTYPE_SHIFT == MType.JOIN_ACCEPT
    is_ack = len(phy_payload) > _F_CTRL and bool(phy_payload[_F_CTRL] & _ACK_BIT)
    return Priority.JOIN_OR_ACK if is_accept or is_ack else Priority.COMMAND
