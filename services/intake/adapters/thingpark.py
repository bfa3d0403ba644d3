"""Actility ThingPark: HTTP POST of `DevEUI_uplink`; old platforms write every number as a text (section 4)."""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from urllib.parse import parse_qsl

from core.messages.uplinks import Heard
from services.intake.foreign import ForeignMessage, ForeignUplink, Ignored, Unreadable
from services.intake.lenient import (
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

NAME = "thingpark"
UPLINK = "DevEUI_uplink"
OTHER_REPORTS = ("DevEUI_downlink_Sent", "DevEUI_location", "DevEUI_notification", "DevEUI_multicast_summary")
CONFIRMED_DATA_UP = 4  # MType
LORA_BANDWIDTH = 125_000  # Of every EU868 channel that ThingPark plans but DR6's.
# Of the report's fields those that the token covers, in this order.
SIGNED_FIELDS = ("CustomerID", "DevEUI", "FPort", "FCntUp", "payload_hex")


def read(message: ForeignMessage) -> ForeignUplink | Ignored:
    """An uplink report; the others are ignored.

    Raises:
        Unreadable: no report of ThingPark, or its payload is encrypted.
    """
    body = json_object(message.body)
    if UPLINK not in body:
        other = next((name for name in OTHER_REPORTS if name in body), None)
        if other is None:
            raise Unreadable("not_this_lns", "ni DevEUI_uplink, ni autre rapport de ThingPark")
        return Ignored(other)
    report = body.at(UPLINK)
    if report.flag("PayloadEncryption"):
        raise Unreadable("encrypted", "charge utile chiffrée : confiez l'AppSKey à ThingPark")
    f_port = f_port_of(report.integer("FPort"))
    spreading_factor = spreading_factor_of(report.integer("SpFact"))
    payload = payload_of(report.text("payload_hex"), "hex")
    return ForeignUplink(
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
        heard_by=_heard_by(report),
    )


def _heard_by(report: Fields) -> tuple[Heard, ...]:
    """ThingPark names its base stations by an Lrrid of 32 bits: only an EUI can be one of our gateways."""
    receptions: Sequence[Fields] = report.at("Lrrs").each("Lrr") or [report]
    return tuple(
        [
            Heard(
                gateway_id,
                max(0, reception.integer("Chain") or 0),
                reception.number("LrrRSSI") or 0.0,
                reception.number("LrrSNR") or 0.0,
            )
            for reception in receptions
            if (gateway_id := eui_of(reception.text("Lrrid"))) is not None
        ]
    )


def has_valid_token(body: bytes, query: str, as_key: str) -> bool:
    """Whether `Token` in the query is SHA-256 over the report's signed fields, the query before it, and the key.

    The query counts as it reads without percent-encoding; the key is 32 hexadecimal digits, in lower case.
    """
    parameters = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    token = next((value for name, value in parameters if name == "Token"), "")
    try:
        report = json_object(body)
    except Unreadable:
        return False
    fields = report.at(UPLINK) if UPLINK in report else report
    signed = "".join(fields.text(name) or "" for name in SIGNED_FIELDS)
    covered = "&".join(f"{name}={value}" for name, value in parameters if name != "Token")
    expected = sha256((signed + covered + as_key.lower()).encode("utf-8", "surrogateescape")).hexdigest()
    return hmac.compare_digest(expected.encode(), token.lower().encode("utf-8", "surrogateescape"))
