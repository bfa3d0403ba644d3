"""Orange Live Objects: an MQTT FIFO or HTTP push, the same JSON in both; no list of gateways (section 4)."""

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

NAME = "live_objects"
LORA_BANDWIDTH = 125_000
DATA_MESSAGES = ("UNCONFIRMED_DATA_UP", "CONFIRMED_DATA_UP")


def read(message: ForeignMessage) -> ForeignUplink | Ignored:
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
    return ForeignUplink(
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
