"""Kerlink Wanesy Management Center 3: POST `<address>/dataUp`; levels of detail decide which fields are there.

A downlink is a POST of `dataDown` under a token that a login gives. It waits there for the device; `dataDownEvent`
reports its outcome, where the operator of Wanesy pushes these events, too.
"""

from datetime import datetime

import msgspec

from core.messages.uplinks import Reception
from core.model.downlinks import DownlinkReason
from integrations.lns.lenient import (
    Fields,
    data_rate_of,
    dev_eui_of,
    eui_of,
    f_cnt_of,
    f_port_of,
    frequency_of,
    json_object,
    payload_of,
)
from integrations.lns.lns_downlink import Answered, Call, LnsDownlink
from integrations.lns.lns_uplink import DownlinkReport, Ignored, LnsMessage, LnsUplink, Unreadable

NAME = "wanesy"
JSON = "application/vnd.kerlink.iot-v1+json"
STILL_THERE = frozenset({"PENDING", "QUEUED", "SENDING", "IN_PROGRESS"})
MAX_ATTEMPTS = 3
REPLAY_HEADER = "klk-unsent-dataup"


def read(message: LnsMessage) -> LnsUplink | DownlinkReport | Ignored:
    """A `dataUp`, or what became of a downlink of ours. The header Klk-Unsent-Dataup marks what WMC kept for us.

    Raises:
        Unreadable: no dataUp of Wanesy, or its payload is encrypted.
    """
    data = json_object(message.body)
    if "dataDownId" in data or message.topic.rpartition("/")[2] == "dataDownEvent":
        return _event(data) or Ignored("dataDownEvent")
    if "endDevice" not in data:
        raise Unreadable("not_this_lns", "pas de champ endDevice : ce n'est pas un dataUp de Wanesy")
    if data.flag("encrypted"):
        raise Unreadable("encrypted", "charge utile chiffrée : activez le déchiffrement dans Wanesy")
    f_port = f_port_of(data.integer("fPort"))
    encoding = "base64" if (data.text("encodingType") or "HEXA").upper() == "BASE64" else "hex"
    payload = payload_of(data.text("payload"), encoding)
    spreading_factor, bandwidth = data_rate_of(data.text("dataRate"))
    return LnsUplink(
        dev_eui=dev_eui_of(data.at("endDevice").text("devEui")),
        f_cnt=f_cnt_of(data.integer("fCntUp")),
        f_port=f_port,
        payload=payload if f_port > 0 else b"",
        confirmed=data.flag("confirmed"),
        message_id=data.text("id") or "",
        stated_time=data.text("recvTime") or "",
        lns_time_us=data.millis("recvTime"),
        gateway_time_us=data.millis("gwRecvTime"),
        is_replay=data.flag("delayed") or message.headers.get(REPLAY_HEADER, "").lower() == "true",
        frequency=frequency_of(data.number("ulFrequency")),
        spreading_factor=spreading_factor,
        bandwidth=bandwidth,
        receptions=tuple([heard for reception in data.each("gwInfo") if (heard := _reception_of(reception))]),
    )


def _event(data: Fields) -> DownlinkReport | None:
    """The report in a `dataDownEvent`; None when it names no downlink or is not final."""
    item, status = data.text("dataDownId"), (data.text("status") or "").upper()
    if not item or not status or status in STILL_THERE:
        return None
    if status == "OK":
        has_acknowledged = "ACK" in (data.text("event") or "").upper()
        return DownlinkReport(item, "acknowledged" if has_acknowledged else "sent")
    return DownlinkReport(item, "failed", DownlinkReason.LNS_REPORTED, status)


def login_call(base: str, user: str, password: str) -> Call:
    """The POST that gives a token."""
    headers = {"content-type": JSON, "accept": JSON}
    return Call(
        "POST", f"{base}/application/login", headers, msgspec.json.encode({"login": user, "password": password})
    )


def token_of(answer: Answered) -> str:
    """The token of their answer to a login; empty when it has none."""
    found = answer.document.get("token")
    return found if isinstance(found, str) else ""


def downlink_call(downlink: LnsDownlink, base: str, token: str, now: datetime) -> Call:
    """The POST that queues a downlink; `ttl` is in seconds."""
    body = {
        "endDevice": {"devEui": downlink.eui},
        "fPort": downlink.f_port,
        "payload": downlink.payload.hex(),
        "contentType": "HEXA",
        "confirmed": downlink.confirmed,
        "ttl": max(1, round((downlink.not_after - now).total_seconds())),
        "maxAttempts": MAX_ATTEMPTS,
    }
    headers = {"authorization": f"Bearer {token}", "content-type": JSON, "accept": JSON}
    return Call("POST", f"{base}/application/dataDown", headers, msgspec.json.encode(body))


def item_of(answer: Answered) -> str:
    """The id that they gave it: the last part of Location."""
    return answer.headers.get("location", "").rstrip("/").rpartition("/")[2]


def _reception_of(reception: Fields) -> Reception | None:
    gateway_id = eui_of(reception.text("gwEui"))
    if gateway_id is None:
        return None
    antenna = max(0, reception.integer("antenna") or 0)
    return Reception(gateway_id, antenna, reception.number("rssi") or 0.0, reception.number("snr") or 0.0)
