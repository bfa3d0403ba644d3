"""Actility ThingPark: HTTP POST of `DevEUI_uplink`; old platforms write every number as a text.

A downlink is a POST to the LRC, signed as their reports are. It waits there for the device, and
`DevEUI_downlink_Sent` reports its outcome under our CorrelationID (64 bits). Whether the device acknowledged it
is not reported.
"""

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

from core.messages.uplinks import Reception
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
from integrations.lns.lns_downlink import Call, LnsDownlink
from integrations.lns.lns_uplink import DownlinkReport, Ignored, LnsMessage, LnsUplink, Unreadable

NAME = "thingpark"
UPLINK = "DevEUI_uplink"
DOWNLINK_SENT = "DevEUI_downlink_Sent"
OTHER_REPORTS = (DOWNLINK_SENT, "DevEUI_location", "DevEUI_notification", "DevEUI_multicast_summary")
CONFIRMED_DATA_UP = 4  # MType
LORA_BANDWIDTH = 125_000  # Of every EU868 channel that ThingPark plans but DR6's.
# Of a report's fields those that the token covers, in this order; an FPort that is absent counts as 0.
SIGNED_FIELDS = {
    UPLINK: ("CustomerID", "DevEUI", "FPort", "FCntUp", "payload_hex"),
    DOWNLINK_SENT: ("CustomerID", "DevEUI", "FPort", "FCntDn"),
}
OTHER_SIGNED_FIELDS = ("CustomerID", "DevEUI")
DOWNLINK_PATH = "thingpark/lrc/rest/downlink"


def read(message: LnsMessage) -> LnsUplink | DownlinkReport | Ignored:
    """An uplink report, or what became of a downlink of ours; the others are ignored.

    Raises:
        Unreadable: no report of ThingPark, or its payload is encrypted.
    """
    body = json_object(message.body)
    if UPLINK not in body:
        other = next((name for name in OTHER_REPORTS if name in body), None)
        if other is None:
            raise Unreadable("not_this_lns", "ni DevEUI_uplink, ni autre rapport de ThingPark")
        return (_sent(body.at(DOWNLINK_SENT)) if other == DOWNLINK_SENT else None) or Ignored(other)
    report = body.at(UPLINK)
    if report.flag("PayloadEncryption"):
        raise Unreadable("encrypted", "charge utile chiffrée : confiez l'AppSKey à ThingPark")
    f_port = f_port_of(report.integer("FPort"))
    spreading_factor = spreading_factor_of(report.integer("SpFact"))
    payload = payload_of(report.text("payload_hex"), "hex")
    return LnsUplink(
        dev_eui=dev_eui_of(report.text("DevEUI")),
        f_cnt=f_cnt_of(report.integer("FCntUp")),
        f_port=f_port,
        payload=payload if f_port > 0 else b"",
        confirmed=report.flag("AckRequested") or report.integer("MType") == CONFIRMED_DATA_UP,
        stated_time=report.text("Time") or "",
        gateway_time_us=report.instant("Time"),
        is_replay=report.flag("Late"),
        frequency=frequency_of(report.number("Frequency")),
        spreading_factor=spreading_factor,
        bandwidth=LORA_BANDWIDTH if spreading_factor else 0,
        receptions=_receptions_of(report),
    )


def _receptions_of(report: Fields) -> tuple[Reception, ...]:
    """ThingPark names its base stations by an Lrrid of 32 bits: only an EUI can be one of our gateways."""
    receptions: Sequence[Fields] = report.at("Lrrs").each("Lrr") or [report]
    return tuple(
        [
            Reception(
                gateway_id,
                max(0, reception.integer("Chain") or 0),
                reception.number("LrrRSSI") or 0.0,
                reception.number("LrrSNR") or 0.0,
            )
            for reception in receptions
            if (gateway_id := eui_of(reception.text("Lrrid"))) is not None
        ]
    )


def _sent(report: Fields) -> DownlinkReport | None:
    """The report in a `DevEUI_downlink_Sent` about a downlink of ours; None for others' downlinks."""
    item = (report.text("CorrelationID") or "").upper()
    if not item:
        return None
    if report.flag("DeliveryStatus"):
        gateway_id = eui_of(report.text("Lrrid"))
        return DownlinkReport(
            item, "sent", None, None, report.instant("Time"), report.integer("FCntDn"), gateway_id
        )
    causes = [
        f"{window} {cause}"
        for window, number in (("RX1", 1), ("RX2", 2), ("classe B ou C", 3))
        if (cause := report.text(f"DeliveryFailedCause{number}"))
    ]
    return DownlinkReport(item, "failed", DownlinkReason.LNS_REPORTED, ", ".join(causes) or None)


def downlink_call(downlink: LnsDownlink, base: str, as_id: str, as_key: str, now: datetime) -> Call:
    """The POST that queues a downlink at the LRC; its token covers the query as it reads unencoded."""
    parameters = {
        "DevEUI": downlink.eui,
        "FPort": str(downlink.f_port),
        "Payload": downlink.payload.hex(),
        "Confirmed": "1" if downlink.confirmed else "0",
        "AS_ID": as_id,
        "Time": now.astimezone(UTC).isoformat(timespec="milliseconds"),
        "CorrelationID": downlink.item,
    }
    covered = "&".join(f"{name}={value}" for name, value in parameters.items())
    query = urlencode(parameters | {"Token": _token(covered, as_key)})
    return Call("POST", f"{base}/{DOWNLINK_PATH}?{query}")


def _token(covered: str, as_key: str) -> str:
    """SHA-256, in hexadecimal; the key is 32 hexadecimal digits, in lower case."""
    return sha256((covered + as_key.lower()).encode("utf-8", "surrogateescape")).hexdigest()


def has_valid_token(body: bytes, query: str, as_key: str) -> bool:
    """Whether `Token` in the query is SHA-256 over the report's signed fields, the query before it, and the key.

    The query counts as it reads without percent-encoding.
    """
    parameters = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    token = next((value for name, value in parameters if name == "Token"), "")
    try:
        report = json_object(body)
    except Unreadable:
        return False
    kind = next((name for name in (UPLINK, *OTHER_REPORTS) if name in report), UPLINK)
    fields = report.at(kind)
    signed = "".join(
        fields.text(name) or ("0" if name == "FPort" else "")
        for name in SIGNED_FIELDS.get(kind, OTHER_SIGNED_FIELDS)
    )
    covered = "&".join(f"{name}={value}" for name, value in parameters if name != "Token")
    expected = _token(signed + covered, as_key)
    return hmac.compare_digest(expected.encode(), token.lower().encode("utf-8", "surrogateescape"))
