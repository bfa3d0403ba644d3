"""The Things Stack v3: `v3/{app}@{tenant}/devices/{id}/up` and webhooks, the same JSON in both (section 4)."""

from core.messages.uplinks import Heard
from services.intake.foreign import ForeignMessage, ForeignUplink, Ignored, Unreadable
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

NAME = "the_things_stack"
# What the body has instead of `uplink_message` when it tells of something else.
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


def read(message: ForeignMessage) -> ForeignUplink | Ignored:
    """An uplink; joins, outcomes of downlinks and simulated uplinks are ignored.

    Raises:
        Unreadable: no message of The Things Stack, or its payload is encrypted.
    """
    event = json_object(message.body)
    if "uplink_message" not in event:
        other = next((name for name in OTHER_MESSAGES if name in event), None)
        if other is None:
            raise Unreadable("not_this_lns", "ni uplink_message, ni autre message de The Things Stack")
        return Ignored(other)
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
    return ForeignUplink(
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
        heard_by=tuple([heard for reception in receptions if (heard := _heard(reception))]),
    )


def _gateway_time(receptions: list[Fields]) -> int | None:
    return next((at for reception in receptions if (at := reception.instant("time")) is not None), None)


def _heard(reception: Fields) -> Heard | None:
    gateway_id = eui_of(reception.at("gateway_ids").text("eui"))
    if gateway_id is None:  # A gateway of the Packet Broker has none.
        return None
    rssi = reception.number("rssi")
    rssi = reception.number("channel_rssi") if rssi is None else rssi
    antenna = max(0, reception.integer("antenna_index") or 0)
    return Heard(gateway_id, antenna, rssi or 0.0, reception.number("snr") or 0.0)
