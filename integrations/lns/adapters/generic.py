"""Our own JSON for NB-IoT, LTE-M and 4G devices and other systems; no LoRa field is required.

    {"device": "867648041234567", "time": "2026-11-25T12:00:00Z", "port": 1, "payload": "0a0b", "id": "m-17"}

`device` is a DevEUI of 16 hexadecimal digits, or an IMEI of 15 digits, registered as a DevEUI with a zero before
it. `payload` is hexadecimal, `payload_base64` base64; `f_cnt`, when the bearer counts, replaces `id`. One of `id`,
`f_cnt` and `time` must be there: without any of them a message that is sent again would be a new one.
"""

from integrations.lns.lenient import Fields, dev_eui_of, f_cnt_of, f_port_of, json_object, payload_of
from integrations.lns.lns_uplink import Ignored, LnsMessage, LnsUplink, Unreadable

NAME = "generic"
IMEI_DIGITS = 15
DEFAULT_PORT = 1
EARLIEST_IN_MILLIS = 10**11  # As seconds it would be the year 5138.
LONGEST_ID = 200


def read(message: LnsMessage) -> LnsUplink | Ignored:
    """One message.

    Raises:
        Unreadable: a field is missing or wrong.
    """
    body = json_object(message.body)
    device = (body.text("device") or body.text("dev_eui") or "").strip()
    if len(device) == IMEI_DIGITS and device.isascii() and device.isdigit():
        device = f"0{device}"
    f_cnt, message_id = f_cnt_of(body.integer("f_cnt")), body.text("id") or ""
    time_us = _time(body)
    if len(message_id) > LONGEST_ID:
        raise Unreadable("bad_id", f"champ « id » de plus de {LONGEST_ID} caractères")
    if "payload_base64" in body:
        payload = payload_of(body.text("payload_base64"), "base64")
    else:
        payload = payload_of(body.text("payload"), "hex")
    return LnsUplink(
        dev_eui=dev_eui_of(device),
        f_cnt=f_cnt,
        f_port=f_port_of(body.integer("port") if "port" in body else DEFAULT_PORT),
        payload=payload,
        message_id=message_id,
        stated_time="" if time_us is None else str(time_us),
        lns_time_us=time_us,
    )


def _time(body: Fields) -> int | None:
    """RFC 3339, or a number of seconds or milliseconds since 1970.

    Raises:
        Unreadable: it is there and nothing of these.
    """
    if "time" not in body:
        return None
    number = body.number("time")
    if number is not None and 0 <= number < 10**16:
        return round(number * (1_000 if number >= EARLIEST_IN_MILLIS else 1_000_000))
    instant = body.instant("time")
    if instant is None:
        raise Unreadable("bad_time", "champ « time » illisible, par exemple 2026-11-25T12:00:00Z")
    return instant
