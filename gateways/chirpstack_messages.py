"""Converts between ChirpStack v4's gateway messages and ours: topics, protobuf or JSON, frames, commands."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from core.messages.chirpstack import gw
from core.messages.frames import GatewayFrame
from core.model.identities import new_trace
from gateways import chirpstack_legacy as legacy
from gateways.frontend import ChosenTransmission
from gateways.gateway_times import reception_time_us
from lorawan.gateway.semtech_rxpk import UNKNOWN_SNR
from lorawan.identifiers import GatewayId, parse_eui
from lorawan.instants import GPS_EPOCH_US, GPS_LEAP_SECONDS

MAX_PHY_PAYLOAD = 255
MAX_CONTEXT = 64  # Octets; a concentrator's counter has 4, a Basics Station's 16.

_GATEWAY_TO_UTC_US = GPS_EPOCH_US - GPS_LEAP_SECONDS * 1_000_000

Proto = TypeVar("Proto", bound=Message)


class UnreadableEvent(ValueError):
    """A topic or a message that is not of this contract; `reason` is a word to count it by."""

    def __init__(self, reason: str, evidence: object = "") -> None:
        super().__init__(f"{reason}: {evidence}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class EventTopic:
    """`[{prefix}/]gateway/{gateway_id}/event/{kind}` or `.../state/conn`."""

    prefix: str
    gateway_id: GatewayId
    kind: str

    @classmethod
    def parse(cls, topic: str) -> "EventTopic":
        """Reads a topic; `state/conn` has the kind `conn`.

        Raises:
            UnreadableEvent: it is not a gateway's.
        """
        levels = topic.split("/")
        if len(levels) < 4 or levels[-4] != "gateway" or levels[-2] not in ("event", "state"):  # noqa: PLR2004
            raise UnreadableEvent("topic", topic)
        try:
            gateway_id = GatewayId(parse_eui(levels[-3]))
        except ValueError as wrong:
            raise UnreadableEvent("gateway_id", topic) from wrong
        return cls("/".join(levels[:-4]), gateway_id, levels[-1])

    @classmethod
    def parse_command(cls, topic: str) -> "EventTopic":
        """Reads `[{prefix}/]gateway/{gateway_id}/command/{kind}`.

        Raises:
            UnreadableEvent: it is no command to a gateway.
        """
        levels = topic.split("/")
        if len(levels) < 4 or levels[-2] != "command":  # noqa: PLR2004
            raise UnreadableEvent("topic", topic)
        return cls.parse("/".join([*levels[:-2], "event", levels[-1]]))

    def command(self, kind: str) -> str:
        """The topic of a command to this gateway."""
        start = f"{self.prefix}/" if self.prefix else ""
        return f"{start}gateway/{self.gateway_id.hex()}/command/{kind}"


def is_json(payload: bytes) -> bool:
    """Whether a payload is protobuf's JSON; `{` begins no message of this contract."""
    return payload[:1] == b"{"


def read_event(payload: bytes, message: Proto) -> Proto:
    """Fills `message` from protobuf or its JSON, of version 3, too.

    Raises:
        UnreadableEvent: it is neither.
    """
    try:
        if is_json(payload):
            said = legacy.modern_json(payload) if legacy.is_legacy_json(payload) else payload
            json_format.Parse(said, message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(payload)
    except (json_format.ParseError, DecodeError, ValueError, OverflowError, RecursionError) as malformed:
        raise UnreadableEvent("malformed", malformed) from malformed
    return message


def speaks_legacy(message: gw.UplinkFrame | gw.GatewayStats | gw.ConnState) -> bool:
    """Whether an event is of version 3, and commands are to be, too."""
    if isinstance(message, gw.UplinkFrame):
        return legacy.is_legacy(message)
    return not message.gateway_id and bool(message.gateway_id_legacy)


def write_command(command: gw.DownlinkFrame, *, as_json: bool, as_legacy: bool = False) -> bytes:
    """A command in the encoding and the version that the gateway itself uses."""
    if as_json and as_legacy:
        return legacy.legacy_json(command)
    if as_legacy:
        legacy.add_legacy_fields(command)
    if as_json:
        return json_format.MessageToJson(command, indent=None).encode()
    return command.SerializeToString()


def frame_of(
    uplink: gw.UplinkFrame,
    gateway_id: GatewayId,
    received_at_us: int,
    replayed_since_us: int | None,
    round_trip_us: int = 0,
) -> GatewayFrame:
    """The reception in an `up` event. The topic names the gateway: the broker's rules have checked that.

    Raises:
        UnreadableEvent: it has no frame, a bad CRC, or no modulation that we know.
    """
    if legacy.is_legacy(uplink):
        legacy.modernise(uplink)
    rx_info, tx_info = uplink.rx_info, uplink.tx_info
    if not 0 < len(uplink.phy_payload) <= MAX_PHY_PAYLOAD:
        raise UnreadableEvent("data", len(uplink.phy_payload))
    if len(rx_info.context) > MAX_CONTEXT:  # The bus would reject so large a message.
        raise UnreadableEvent("context", len(rx_info.context))
    if rx_info.crc_status == gw.BAD_CRC:
        raise UnreadableEvent("bad_crc")
    kind = tx_info.modulation.WhichOneof("parameters")
    if kind not in ("lora", "fsk") or not tx_info.frequency:
        raise UnreadableEvent("modulation", kind or "none")
    lora, fsk = tx_info.modulation.lora, tx_info.modulation.fsk
    return GatewayFrame(
        phy_payload=uplink.phy_payload,
        gateway_id=gateway_id,
        time_us=reception_time_us(
            received_at_us,
            gps_time_us=_gps_time_us(rx_info),
            gateway_time_us=_microseconds(rx_info.gw_time) if rx_info.HasField("gw_time") else None,
            replayed_since_us=replayed_since_us,
        ),
        received_at_us=received_at_us,
        context=rx_info.context,
        frequency=tx_info.frequency,
        spreading_factor=lora.spreading_factor,
        bandwidth=lora.bandwidth,
        bit_rate=fsk.datarate,
        rssi=float(rx_info.rssi),
        snr=rx_info.snr if isfinite(rx_info.snr) else UNKNOWN_SNR,
        channel=rx_info.channel,
        antenna=rx_info.antenna,
        round_trip_us=round_trip_us,
        trace_id=new_trace(),
    )


def _microseconds(stamp: Any) -> int:
    """Microseconds of a Timestamp or a Duration, without their own range checks: any sender wrote it."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000


def _gps_time_us(rx_info: gw.UplinkRxInfo) -> int | None:
    if not rx_info.HasField("time_since_gps_epoch"):
        return None
    since = _microseconds(rx_info.time_since_gps_epoch)
    return since + _GATEWAY_TO_UTC_US if since > 0 else None


def stats_of(stats: gw.GatewayStats) -> dict[str, Any]:
    """A status as `gateway_state.stats` keeps it, under the names that packet forwarders use."""
    noted: dict[str, Any] = {
        "rxnb": stats.rx_packets_received,
        "rxok": stats.rx_packets_received_ok,
        "dwnb": stats.tx_packets_received,
        "txnb": stats.tx_packets_emitted,
        "online": True,
    }
    if stats.location.latitude or stats.location.longitude:
        noted |= {"latitude": stats.location.latitude, "longitude": stats.location.longitude}
    return noted


def downlink_of(radio_request: ChosenTransmission, downlink_id: int) -> gw.DownlinkFrame:
    """A command of one item: the bridge, which gets the answers, decides which window comes next."""
    transmission = radio_request.transmission
    command = gw.DownlinkFrame(downlink_id=downlink_id, gateway_id=radio_request.gateway_id.hex())
    item = command.items.add()
    item.phy_payload = transmission.phy_payload
    tx_info = item.tx_info
    tx_info.frequency = transmission.frequency
    tx_info.power = radio_request.power
    lora = tx_info.modulation.lora
    lora.bandwidth = transmission.bandwidth
    lora.spreading_factor = transmission.spreading_factor
    lora.code_rate = gw.CR_4_5
    lora.polarization_inversion = True
    tx_info.context = radio_request.context
    if transmission.immediate:
        tx_info.timing.immediately.SetInParent()
    else:
        tx_info.timing.delay.delay.FromMicroseconds(transmission.delay_us)
    return command


def status_of(ack: gw.DownlinkTxAck) -> str:
    """The first status that says something: an item that was not tried is IGNORED."""
    for item in ack.items:
        if item.status != gw.IGNORED:
            return gw.TxAckStatus.Name(item.status) if item.status in gw.TxAckStatus.values() else "INTERNAL_ERROR"
    return "INTERNAL_ERROR"
