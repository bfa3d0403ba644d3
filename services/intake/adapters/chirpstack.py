"""ChirpStack v4: `application/{id}/device/{dev_eui}/event/{up,...}`, JSON with zero fields omitted (section 4)."""

from core.messages.uplinks import Heard
from services.intake.foreign import ForeignMessage, ForeignUplink, Ignored
from services.intake.lenient import (
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

NAME = "chirpstack"


def read(message: ForeignMessage) -> ForeignUplink | Ignored:
    """An `up` event; the other events are ignored. The topic may have a prefix, or be absent.

    Raises:
        Unreadable: it is no event of ChirpStack.
    """
    kind = message.topic.rpartition("/")[2]
    if "/event/" in message.topic and kind != "up":
        return Ignored(kind)
    event = json_object(message.body)
    receptions = event.each("rxInfo")
    lora = event.at("txInfo", "modulation", "lora")
    payload = payload_of(event.text("data"), "base64")
    f_port = event.integer("fPort")
    return ForeignUplink(
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
        heard_by=tuple([heard for reception in receptions if (heard := _heard(reception))]),
    )


def _lns_time(receptions: list[Fields]) -> int | None:
    """When the first copy reached their server: absent before 4.6."""
    times = [at for reception in receptions if (at := reception.instant("nsTime")) is not None]
    return min(times, default=None)


def _heard(reception: Fields) -> Heard | None:
    gateway_id = eui_of(reception.text("gatewayId"))
    if gateway_id is None:
        return None
    antenna = max(0, reception.integer("antenna") or 0)
    return Heard(gateway_id, antenna, reception.number("rssi") or 0.0, reception.number("snr") or 0.0)
