"""The Things Stack v3: `v3/{app}@{tenant}/devices/{id}/up` and webhooks, the same JSON in both.

A downlink goes to `.../down/push`, or by HTTP to the Application Server's API with the same JSON. Neither answers
with an id, but reports about it carry the correlation ids that we gave it.
"""

import base64
from urllib.parse import quote

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
from integrations.lns.lns_downlink import Call, LnsDownlink, Publication
from integrations.lns.lns_uplink import DownlinkReport, Ignored, LnsMessage, LnsUplink, Unreadable

NAME = "the_things_stack"
CORRELATION = "territoire:"
DEVICES = "/devices/"
PRIORITY = "NORMAL"
REPORTS = {
    "downlink_queued": "sending",
    "downlink_sent": "sent",
    "downlink_ack": "acknowledged",
    "downlink_nack": "unacknowledged",
    "downlink_failed": "failed",
}
# What the body has instead of `uplink_message` when it reports something else.
OTHER_MESSAGES = (
    "join_accept",
    "downlink_ack",
    "downlink_nack",
    "downlink_sent",
    "downlink_failed",
    "downlink_queued",
    "downlink_queue_invalidated",
    "location_solved",
    "service_data",
    "uplink_normalized",
)


def read(message: LnsMessage) -> LnsUplink | DownlinkReport | Ignored:
    """An uplink, or what became of a downlink of ours; joins and simulated uplinks are ignored.

    Raises:
        Unreadable: no message of The Things Stack, or its payload is encrypted.
    """
    event = json_object(message.body)
    if "uplink_message" not in event:
        other = next((name for name in OTHER_MESSAGES if name in event), None)
        if other is None:
            raise Unreadable("not_this_lns", "ni uplink_message, ni autre message de The Things Stack")
        return _report(event, other) or Ignored(other)
    if event.flag("simulated"):
        return Ignored("simulated")
    uplink = event.at("uplink_message")
    if "app_s_key" in uplink:
        raise Unreadable("encrypted", "charge utile chiffrée : activez le déchiffrement dans The Things Stack")
    settings = uplink.at("settings")
    lora = settings.at("data_rate", "lora")
    receptions = uplink.each("rx_metadata")
    f_port = uplink.integer("f_port")
    payload = payload_of(uplink.text("frm_payload"), "base64")
    return LnsUplink(
        dev_eui=dev_eui_of(event.at("end_device_ids").text("dev_eui")),
        f_cnt=f_cnt_of(uplink.integer("f_cnt") or 0),
        f_port=f_port_of(f_port or None),
        payload=payload if f_port else b"",
        confirmed=uplink.flag("confirmed"),
        stated_time=uplink.text("received_at") or event.text("received_at") or "",
        lns_time_us=uplink.instant("received_at") or event.instant("received_at"),
        gateway_time_us=_gateway_time(receptions) or settings.instant("time"),
        frequency=frequency_of(settings.number("frequency")),
        spreading_factor=spreading_factor_of(lora.integer("spreading_factor")),
        bandwidth=bandwidth_of(lora.integer("bandwidth")),
        receptions=tuple([heard for reception in receptions if (heard := _reception_of(reception))]),
        address=_address(message.topic, event.at("end_device_ids")),
    )


def _address(topic: str, ids: Fields) -> str:
    """By MQTT the device's topic; by HTTP its application and its id, which their API wants."""
    if DEVICES in topic:
        head, _, tail = topic.rpartition(DEVICES)
        return f"{head}{DEVICES}{tail.partition('/')[0]}"
    application, device = ids.at("application_ids").text("application_id"), ids.text("device_id")
    return f"{application}/{device}" if application and device else ""


def _report(event: Fields, name: str) -> DownlinkReport | None:
    """What became of a downlink that carries a correlation id of ours; None for others' downlinks."""
    state = REPORTS.get(name)
    report = event.at(name)
    downlink = report.at("downlink") if name == "downlink_failed" else report
    ids = event.texts("correlation_ids") + downlink.texts("correlation_ids")
    item = next((one.removeprefix(CORRELATION) for one in ids if one.startswith(CORRELATION)), None)
    if state is None or not item:
        return None
    error = report.at("error")
    detail = error.text("message_format") or error.text("name")
    is_failed = state == "failed"
    return DownlinkReport(
        item,
        state,
        DownlinkReason.LNS_REPORTED if is_failed else None,
        detail if is_failed else None,
        event.instant("received_at"),
        downlink.integer("f_cnt") or 0 if state == "sent" else None,
    )


def _push(downlink: LnsDownlink) -> bytes:
    pushed = {
        "f_port": downlink.f_port,
        "frm_payload": base64.b64encode(downlink.payload).decode(),
        "confirmed": downlink.confirmed,
        "priority": PRIORITY,
        "correlation_ids": [f"{CORRELATION}{downlink.item}"],
    }
    return msgspec.json.encode({"downlinks": [pushed]})


def push(downlink: LnsDownlink) -> Publication:
    """The message that queues a downlink; `downlink.address` is the device's topic, known from an uplink."""
    return Publication(f"{downlink.address}/down/push", _push(downlink))


def push_call(downlink: LnsDownlink, base: str, key: str) -> Call:
    """The same over HTTP (AppAs.DownlinkQueuePush), with an API key that may write downlinks."""
    application, _, device = downlink.address.partition("/")
    path = f"api/v3/as/applications/{quote(application, safe='')}/devices/{quote(device, safe='')}/down/push"
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    return Call("POST", f"{base}/{path}", headers, _push(downlink))


def _gateway_time(receptions: list[Fields]) -> int | None:
    return next((at for reception in receptions if (at := reception.instant("time")) is not None), None)


def _reception_of(reception: Fields) -> Reception | None:
    gateway_id = eui_of(reception.at("gateway_ids").text("eui"))
    if gateway_id is None:  # A gateway of the Packet Broker has none.
        return None
    rssi = reception.number("rssi")
    rssi = reception.number("channel_rssi") if rssi is None else rssi
    antenna = max(0, reception.integer("antenna_index") or 0)
    return Reception(gateway_id, antenna, rssi or 0.0, reception.number("snr") or 0.0)
