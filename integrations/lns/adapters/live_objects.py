"""Orange Live Objects: an MQTT FIFO or HTTP push, the same JSON in both; no list of gateways.

A downlink is a command of their device management, by HTTP whatever brings the uplinks. They do not report on it:
its status is polled.
"""

from datetime import datetime
from urllib.parse import quote

import msgspec

from core.model.downlinks import DownlinkReason
from integrations.lns.lenient import (
    Fields,
    dev_eui_of,
    eui_of,
    f_cnt_of,
    f_port_of,
    frequency_of,
    json_object,
    payload_of,
    spreading_factor_of,
)
from integrations.lns.lns_downlink import Answered, Call, LnsDownlink
from integrations.lns.lns_uplink import DownlinkReport, Ignored, LnsMessage, LnsUplink, Unreadable

NAME = "live_objects"
API = "https://liveobjects.orange-business.com"
# The final states of a command; in any other it is on its way.
DONE = frozenset({"PROCESSED", "DELIVERED", "SENT", "SUCCESS", "OK"})
NOT_DONE = frozenset({"FAILED", "ERROR", "CANCELED", "CANCELLED", "EXPIRED", "TIMEOUT", "REJECTED"})
ATTEMPTS = 3
LORA_BANDWIDTH = 125_000
DATA_MESSAGES = ("UNCONFIRMED_DATA_UP", "CONFIRMED_DATA_UP")


def read(message: LnsMessage) -> LnsUplink | Ignored:
    """A data message of the LoRa connector; other connectors and joins are ignored.

    Raises:
        Unreadable: no data message of Live Objects.
    """
    data = json_object(message.body)
    metadata = data.at("metadata")
    if "streamId" not in data and "metadata" not in data:
        raise Unreadable("not_this_lns", "ni streamId, ni metadata : ce n'est pas un message de Live Objects")
    connector = metadata.text("connector")
    if connector is not None and connector != "lora":
        return Ignored("other_connector")
    lora = metadata.at("network", "lora")
    message_type = lora.text("messageType")
    if message_type is not None and message_type not in DATA_MESSAGES:
        return Ignored("no_data")
    f_port = f_port_of(lora.integer("port"))
    spreading_factor = spreading_factor_of(lora.integer("sf"))
    payload = payload_of(data.at("value").text("payload"), "hex")
    return LnsUplink(
        dev_eui=_dev_eui(data, metadata, lora),
        f_cnt=f_cnt_of(lora.integer("fcnt")),
        f_port=f_port,
        payload=payload if f_port > 0 else b"",
        confirmed=message_type == "CONFIRMED_DATA_UP",
        message_id=data.text("id") or "",
        stated_time=data.text("timestamp") or data.text("created") or "",
        lns_time_us=data.instant("created") or data.instant("timestamp"),
        gateway_time_us=data.instant("timestamp"),
        frequency=frequency_of(lora.number("frequency")),
        spreading_factor=spreading_factor,
        bandwidth=LORA_BANDWIDTH if spreading_factor else 0,
    )


def _dev_eui(data: Fields, metadata: Fields, lora: Fields) -> bytes:
    """From the network's metadata; else from urn:lo:nsid:lora:<EUI>, or the older urn:lora:<EUI>!uplink."""
    for text in (lora.text("devEUI"), metadata.text("source"), data.text("streamId")):
        dev_eui = eui_of((text or "").rpartition(":")[2].partition("!")[0])
        if dev_eui is not None:
            return dev_eui
    return dev_eui_of(None)


def _headers(key: str) -> dict[str, str]:
    return {"x-api-key": key, "content-type": "application/json", "accept": "application/json"}


def command_call(downlink: LnsDownlink, base: str, key: str, now: datetime) -> Call:
    """The POST that registers a command; their answer has its id."""
    value = {"data": downlink.payload.hex(), "port": downlink.f_port, "confirmed": downlink.confirmed}
    body = {
        "request": {"connector": "lora", "value": value},
        "policy": {
            "expirationInSeconds": max(1, round((downlink.not_after - now).total_seconds())),
            "ackMode": "AUTO",
            "attempts": ATTEMPTS,
        },
    }
    url = f"{base}/api/v1/deviceMgt/devices/urn:lo:nsid:lora:{downlink.eui}/commands"
    return Call("POST", url, _headers(key), msgspec.json.encode(body))


def item_of(answer: Answered) -> str:
    """The command's id; empty when their answer has none."""
    found = answer.document.get("id")
    return found if isinstance(found, str) else ""


def status_call(item: str, base: str, key: str) -> Call:
    """The GET that polls the state of a command."""
    return Call("GET", f"{base}/api/v1/deviceMgt/commands/{quote(item, safe='')}/status", _headers(key))


def report_of(answer: Answered, item: str, *, confirmed: bool) -> DownlinkReport | None:
    """The report in their answer to `status_call`; None while nothing is decided."""
    status = str(answer.document.get("status", "")).upper()
    if status in DONE:
        return DownlinkReport(item, "acknowledged" if confirmed and status != "SENT" else "sent")
    return DownlinkReport(item, "failed", DownlinkReason.LNS_REPORTED, status) if status in NOT_DONE else None
