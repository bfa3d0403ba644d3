"""Kerlink Wanesy Management Center 3: POST `<address>/dataUp`; levels of detail decide which fields are there."""

from core.messages.uplinks import Heard
from services.intake.foreign import ForeignMessage, ForeignUplink, Ignored, Unreadable
from services.intake.lenient import (
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

NAME = "wanesy"
REPLAY_HEADER = "klk-unsent-dataup"


def read(message: ForeignMessage) -> ForeignUplink | Ignored:
    """A `dataUp`; outcomes of downlinks are ignored. The header Klk-Unsent-Dataup marks what WMC kept for us.

    Raises:
        Unreadable: no dataUp of Wanesy, or its payload is encrypted.
    """
    data = json_object(message.body)
    if "dataDownId" in data or message.topic.rpartition("/")[2] == "dataDownEvent":
        return Ignored("dataDownEvent")
    if "endDevice" not in data:
        raise Unreadable("not_this_lns", "pas de champ endDevice : ce n'est pas un dataUp de Wanesy")
    if data.flag("encrypted"):
        raise Unreadable("encrypted", "charge utile chiffrée : activez le déchiffrement dans Wanesy")
    f_port = f_port_of(data.integer("fPort"))
    encoding = "base64" if (data.text("encodingType") or "HEXA").upper() == "BASE64" else "hex"
    payload = payload_of(data.text("payload"), encoding)
    spreading_factor, bandwidth = data_rate_of(data.text("dataRate"))
    return ForeignUplink(
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
        heard_by=tuple([heard for reception in data.each("gwInfo") if (heard := _heard(reception))]),
    )


def _heard(reception: Fields) -> Heard | None:
    gateway_id = eui_of(reception.text("gwEui"))
    if gateway_id is None:
        return None
    antenna = max(0, reception.integer("antenna") or 0)
    return Heard(gateway_id, antenna, reception.number("rssi") or 0.0, reception.number("snr") or 0.0)
