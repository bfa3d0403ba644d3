"""ChirpStack v4: `application/{id}/device/{dev_eui}/event/{up,...}`, JSON with zero fields omitted.

A downlink goes to `.../command/down`. Its `id` is ours: ChirpStack does not queue the same one
twice, and names it in `txack`, `ack` and `log` (storage/device_queue.rs, integration/mod.rs).
"""

import base64
from datetime import UTC

import msgspec

from core.messages.uplinks import Reception
from core.model.downlinks import DownlinkReason
from integrations.lns.lenient import (
    Fields,
    bandwidth_of,
    dev_eui_of,
    eui_of,
    f_cnt_of,
    f_port_of,
    frequency_of,
    json_object,
    payload_of,
    spreading_factor_of,
)
from integrations.lns.lns_downlink import LnsDownlink, Publication
from integrations.lns.lns_uplink import DownlinkReport, Ignored, LnsMessage, LnsUplink, Unreadable

NAME = "chirpstack"
EVENT = "/event/"
# Codes of `log` that end a queue item.
ENDS = {
    "DOWNLINK_PAYLOAD_SIZE": ("failed", DownlinkReason.PAYLOAD_TOO_LARGE),
    "F_CNT_DOWN": ("failed", DownlinkReason.F_CNT_EXHAUSTED),
    "EXPIRED": ("expired", DownlinkReason.LNS_EXPIRED),
}


def read(message: LnsMessage) -> LnsUplink | DownlinkReport | Ignored:
    """An `up` event, or what became of a downlink; the rest is ignored. The topic may have a prefix, or be absent.

    Raises:
        Unreadable: it is no event of ChirpStack.
    """
    kind = message.topic.rpartition("/")[2]
    if EVENT in message.topic and kind != "up":
        return _report(kind, message.body) or Ignored(kind)
    event = json_object(message.body)
    if "deviceInfo" not in event:
        raise Unreadable("not_this_lns", "pas de champ deviceInfo : ce n'est pas un événement de ChirpStack v4")
    receptions = event.each("rxInfo")
    lora = event.at("txInfo", "modulation", "lora")
    payload = payload_of(event.text("data"), "base64")
    f_port = event.integer("fPort")
    return LnsUplink(
        dev_eui=dev_eui_of(event.at("deviceInfo").text("devEui")),
        f_cnt=f_cnt_of(event.integer("fCnt") or 0),
        f_port=f_port_of(f_port or None),
        payload=payload if f_port else b"",
        confirmed=event.flag("confirmed"),
        stated_time=event.text("time") or "",
        lns_time_us=_lns_time(receptions) or event.instant("time"),
        gateway_time_us=event.instant("time"),
        frequency=frequency_of(event.at("txInfo").number("frequency")),
        spreading_factor=spreading_factor_of(lora.integer("spreadingFactor")),
        bandwidth=bandwidth_of(lora.integer("bandwidth")),
        receptions=tuple([found for reception in receptions if (found := _reception_of(reception))]),
        address=message.topic.removesuffix(f"{EVENT}up") if message.topic.endswith(f"{EVENT}up") else "",
    )


def _report(kind: str, body: bytes) -> DownlinkReport | None:
    """What `txack`, `ack` or `log` says of a queue item; None for all else."""
    if kind not in {"txack", "ack", "log"}:
        return None
    event = json_object(body)
    item = (event.at("context").text("queue_item_id") if kind == "log" else event.text("queueItemId")) or ""
    end = ENDS.get(event.text("code") or "")
    at_us, f_cnt = event.instant("time"), event.integer("fCntDown") or 0
    if not item or (kind == "log" and end is None):
        return None
    match kind:
        case "txack":
            return DownlinkReport(item, "sent", None, None, at_us, f_cnt, eui_of(event.text("gatewayId")))
        case "ack":
            return DownlinkReport(item, "acknowledged" if event.flag("acknowledged") else "unacknowledged")
        case _:
            state, reason = end or ("failed", None)
            return DownlinkReport(item, state, reason)


def command(downlink: LnsDownlink) -> Publication:
    """The message that queues a downlink; `downlink.address` is the device's topic, known from an uplink."""
    body = {
        "id": downlink.item,
        "devEui": downlink.dev_eui.hex(),
        "confirmed": downlink.confirmed,
        "fPort": downlink.f_port,
        "data": base64.b64encode(downlink.payload).decode(),
        "expiresAt": downlink.not_after.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    return Publication(f"{downlink.address}/command/down", msgspec.json.encode(body))


def _lns_time(receptions: list[Fields]) -> int | None:
    """When the first copy reached their server: absent before 4.6."""
    times = [at for reception in receptions if (at := reception.instant("nsTime")) is not None]
    return min(times, default=None)


def _reception_of(reception: Fields) -> Reception | None:
    gateway_id = eui_of(reception.text("gatewayId"))
    if gateway_id is None:
        return None
    antenna = max(0, reception.integer("antenna") or 0)
    return Reception(gateway_id, antenna, reception.number("rssi") or 0.0, reception.number("snr") or 0.0)
