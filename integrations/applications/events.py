"""ChirpStack v4's application events: queued events as its own protobufs write them in JSON.

Pure. Zero fields are omitted, as ChirpStack omits them: `dr` 0, `fCnt` 0, `rssi` 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid5

import msgspec
from google.protobuf import json_format
from google.protobuf.message import Message

from core.messages.chirpstack import common, gw, integration
from core.model.identities import F_CNT_END
from lorawan.regions.eu868 import EU868

# ChirpStack's identifiers are UUIDs, ours are not: these stay what they are as long as ours do.
NAMESPACE = UUID("3b6f0a52-9c1d-4e5a-8f0e-7d2b1c4a9e60")
REGION = "eu868"
LONGEST_TEXT = 1_000
# DevStatusAns (LoRaWAN L2 1.0.4, section 5.5).
EXTERNAL_POWER, BATTERY_FULL, BATTERY_UNKNOWN = 0, 254, 255


class Addressee(Protocol):
    """The application that is notified (`registry.applications.Application`)."""

    @property
    def application_id(self) -> UUID:
        """Its application id in ChirpStack's topics and events."""
        ...

    @property
    def name(self) -> str:
        """Its name, for people."""
        ...

    @property
    def topics(self) -> str:
        """What its topics begin with, as far as the application id."""
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """The device of an event, as `deviceInfo` has it."""

    dev_eui: bytes
    device_name: str
    tenant_id: int
    device_class: str
    profile_id: int
    profile_name: str
    tenant_name: str


@dataclass(frozen=True, slots=True)
class Reception:
    """How one gateway received the uplink; its position is known when the gateway's is."""

    gateway_id: bytes
    antenna: int
    rssi: float  # dBm
    snr: float  # dB
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True, slots=True)
class Value:
    """A measurement of an uplink."""

    datastream_id: int
    channel: str
    quantity: str
    value: float


@dataclass(frozen=True, slots=True)
class StoredUplink:
    """An uplink with its receptions and its measurements."""

    f_cnt: int | None
    f_port: int | None
    payload: bytes
    received_at: datetime
    radio: dict[str, Any]
    status: str
    reason: str | None
    decoded: Any
    dev_addr: bytes | None
    receptions: Sequence[Reception]
    values: Sequence[Value]

    def only(self, values: Sequence[Value]) -> "StoredUplink":
        """These of its measurements and nothing else: neither what was sent nor by which way it came."""
        return replace(
            self,
            f_cnt=None,
            f_port=None,
            payload=b"",
            radio={},
            decoded=None,
            dev_addr=None,
            receptions=(),
            values=values,
        )


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a device; `item` is this application's own id of the downlink in question."""

    id: int
    kind: str
    time: datetime
    what: dict[str, Any]
    device_id: int
    device: Described
    uplink_id: UUID | None = None
    uplink: StoredUplink | None = None
    item: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """One message for their broker."""

    topic: str
    payload: bytes


def queue_item_id(downlink_id: int, item: str | None) -> str:
    """The id of a downlink in events: the application's own, else a UUID of ours."""
    return item if item is not None else str(uuid5(NAMESPACE, f"downlink {downlink_id}"))


def publications(application: Addressee, event: Event) -> list[Publication]:
    """The messages of one event, in their order; an uplink that could not be decoded also leaves a `log`."""
    info = _device_info(application, event.device)
    what = event.what
    match event.kind:
        case "up":
            assert event.uplink is not None  # noqa: S101 - The store gives none without.
            messages: list[tuple[str, Message]] = [("up", _up(info, event, event.uplink))]
            if event.uplink.status == "undecodable":
                messages.append(("log", _log(info, event, "UPLINK_CODEC", event.uplink.reason, {})))
        case "join":
            join = integration.JoinEvent(
                deduplication_id=_own_id(event),
                device_info=info,
                dev_addr=what["dev_addr"],
                region_config_id=REGION,
            )
            join.time.FromDatetime(event.time)
            messages = [("join", join)]
        case "ack":
            ack = integration.AckEvent(
                deduplication_id=_own_id(event),
                device_info=info,
                queue_item_id=queue_item_id(what["downlink"], event.item),
                acknowledged=what["state"] == "acknowledged",
                f_cnt_down=what["f_cnt_down"] or 0,
            )
            ack.time.FromDatetime(event.time)
            messages = [("ack", ack)]
        case "txack":
            txack = integration.TxAckEvent(
                downlink_id=what["downlink"] & 0xFFFFFFFF,
                device_info=info,
                queue_item_id=queue_item_id(what["downlink"], event.item),
                f_cnt_down=what["f_cnt_down"] or 0,
                gateway_id=what["gateway_id"] or "",
            )
            txack.time.FromDatetime(event.time)
            messages = [("txack", txack)]
        case "status":
            messages = [("status", _status(info, event))]
        case _:
            code = "EXPIRED" if what["state"] == "expired" else "DOWNLINK_GATEWAY"
            context = {"queue_item_id": queue_item_id(what["downlink"], event.item)}
            messages = [("log", _log(info, event, code, what.get("detail") or what["reason"], context))]
    root = f"{application.topics}/device/{event.device.dev_eui.hex()}/event"
    return [Publication(f"{root}/{kind}", _json(message)) for kind, message in messages]


def _json(message: Message) -> bytes:
    return msgspec.json.encode(json_format.MessageToDict(message))


def _own_id(event: Event) -> str:
    return str(uuid5(NAMESPACE, f"event {event.id}"))


def _device_info(application: Addressee, device: Described) -> integration.DeviceInfo:
    return integration.DeviceInfo(
        tenant_id=str(uuid5(NAMESPACE, f"tenant {device.tenant_id}")),
        tenant_name=device.tenant_name,
        application_id=str(application.application_id),
        application_name=application.name,
        device_profile_id=str(uuid5(NAMESPACE, f"device profile {device.profile_id}")),
        device_profile_name=device.profile_name,
        device_name=device.device_name,
        dev_eui=device.dev_eui.hex(),
        device_class_enabled=common.CLASS_C if device.device_class == "C" else common.CLASS_A,
    )


def _up(info: integration.DeviceInfo, event: Event, uplink: StoredUplink) -> integration.UplinkEvent:
    radio = uplink.radio
    spreading_factor, bandwidth = radio.get("spreading_factor") or 0, radio.get("bandwidth") or 0
    up = integration.UplinkEvent(
        deduplication_id=str(event.uplink_id),
        device_info=info,
        dev_addr="" if uplink.dev_addr is None else uplink.dev_addr.hex(),
        dr=EU868.data_rate_of(spreading_factor, bandwidth) or 0,
        f_cnt=uplink.f_cnt if uplink.f_cnt is not None and uplink.f_cnt < F_CNT_END else 0,  # Else: no counter.
        f_port=uplink.f_port or 0,
        confirmed=bool(radio.get("confirmed")),
        data=uplink.payload,
        region_config_id=REGION,
    )
    up.time.FromDatetime(event.time)
    if uplink.status == "decoded":
        up.object.update(measured(uplink))
    if radio.get("frequency"):
        up.tx_info.frequency = radio["frequency"]
    if spreading_factor:
        lora = up.tx_info.modulation.lora
        lora.spreading_factor, lora.bandwidth, lora.code_rate = spreading_factor, bandwidth, gw.CR_4_5
    for reception in uplink.receptions:
        rx_info = up.rx_info.add(
            gateway_id=reception.gateway_id.hex(),
            rssi=round(reception.rssi),
            snr=reception.snr,
            antenna=reception.antenna,
            crc_status=gw.CRC_OK,
        )
        rx_info.ns_time.FromDatetime(uplink.received_at)
        if reception.latitude is not None and reception.longitude is not None:
            rx_info.location.latitude, rx_info.location.longitude = reception.latitude, reception.longitude
    return up


def measured(uplink: StoredUplink) -> dict[str, Any]:
    """`object`: measurements by quantity, or channel and quantity, and what the codec read that is no number."""
    values = {f"{one.channel}_{one.quantity}" if one.channel else one.quantity: one.value for one in uplink.values}
    return {**(uplink.decoded or {}), **values}


def _status(info: integration.DeviceInfo, event: Event) -> integration.StatusEvent:
    battery: int = event.what["battery"]
    status = integration.StatusEvent(
        deduplication_id=_own_id(event),
        device_info=info,
        margin=event.what["margin"],
        external_power_source=battery == EXTERNAL_POWER,
        battery_level_unavailable=battery == BATTERY_UNKNOWN,
        battery_level=0.0 if battery == BATTERY_UNKNOWN else round(100 * battery / BATTERY_FULL, 2),
    )
    status.time.FromDatetime(event.time)
    return status


def _log(
    info: integration.DeviceInfo, event: Event, code: str, reason: str | None, context: dict[str, str]
) -> integration.LogEvent:
    log = integration.LogEvent(
        device_info=info,
        level=integration.ERROR,
        code=code,
        description=(reason or "")[:LONGEST_TEXT],
        context=context,
    )
    log.time.FromDatetime(event.time)
    return log
