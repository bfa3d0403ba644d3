"""Messages of ChirpStack Gateway Bridge 3, which many gateways still run.

Version 4's protobufs keep the old fields under old numbers, so that octets are read by the same types. Their JSON
does not: the same keys (`txInfo`, `rxInfo`) hold other things, and some are spelled otherwise (`gatewayID`).
"""

from base64 import b64encode
from typing import Any

import msgspec

from core.messages.chirpstack import common, gw

# The twelve octets before the number, in the sixteen that a downlink's id had.
_ID_PREFIX = bytes(12)
_ID_LENGTH = 16
_OLD_SPELLING = {
    "gatewayID": "gatewayId",
    "uplinkID": "uplinkId",
    "loRaSNR": "loraSnr",
    "loRaModulationInfo": "loraModulationInfo",
    "timeSinceGPSEpoch": "timeSinceGpsEpoch",
    "codeRate": "codeRateLegacy",
}
# At the top of a message, where the gateway's and the downlink's ids are octets.
_OLD_TOP = {
    "gatewayID": "gatewayIdLegacy",
    "downlinkID": "downlinkIdLegacy",
    "token": "downlinkId",
    "txInfo": "txInfoLegacy",
    "rxInfo": "rxInfoLegacy",
    "rxPacketsReceivedOK": "rxPacketsReceivedOk",
}


def is_legacy_json(payload: bytes) -> bool:
    """Whether an event in JSON is of version 3: of all spellings this one is in each of them."""
    return b'"gatewayID"' in payload


def modern_json(payload: bytes) -> bytes:
    """An event of version 3 in the spelling of version 4's types.

    Raises:
        ValueError: it is not a JSON object.
    """
    try:
        said = msgspec.json.decode(payload, type=dict[str, Any])
    except msgspec.MsgspecError as malformed:
        raise ValueError(str(malformed)) from malformed
    return msgspec.json.encode({_OLD_TOP.get(key, key): _respelled(value) for key, value in said.items()})


def _respelled(value: Any) -> Any:
    if isinstance(value, dict):
        return {_OLD_SPELLING.get(key, key): _respelled(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value


def is_legacy(uplink: gw.UplinkFrame) -> bool:
    """Whether an `up` event describes its reception in version 3's fields only."""
    return not uplink.HasField("tx_info") and uplink.HasField("tx_info_legacy")


def modernise(uplink: gw.UplinkFrame) -> None:
    """Fill the fields of version 4 from those of version 3."""
    tx, rx = uplink.tx_info_legacy, uplink.rx_info_legacy
    uplink.tx_info.frequency = tx.frequency
    modulation = uplink.tx_info.modulation
    match tx.WhichOneof("modulation_info"):
        case "lora_modulation_info":
            modulation.lora.bandwidth = tx.lora_modulation_info.bandwidth * 1000
            modulation.lora.spreading_factor = tx.lora_modulation_info.spreading_factor
        case "fsk_modulation_info":
            modulation.fsk.datarate = tx.fsk_modulation_info.datarate
        case _:
            pass  # LR-FHSS, or none: nobody here can read it.
    rx_info = uplink.rx_info
    rx_info.gateway_id = rx.gateway_id.hex()
    rx_info.rssi, rx_info.snr = rx.rssi, rx.lora_snr
    rx_info.channel, rx_info.antenna, rx_info.context = rx.channel, rx.antenna, rx.context
    rx_info.crc_status = rx.crc_status
    if rx.HasField("time"):
        rx_info.gw_time.CopyFrom(rx.time)
    if rx.HasField("time_since_gps_epoch"):
        rx_info.time_since_gps_epoch.CopyFrom(rx.time_since_gps_epoch)


def downlink_id_of(ack: gw.DownlinkTxAck) -> int:
    """The number of the downlink that a gateway answers for."""
    if not ack.downlink_id and len(ack.downlink_id_legacy) == _ID_LENGTH:
        return int.from_bytes(ack.downlink_id_legacy[len(_ID_PREFIX) :])
    return ack.downlink_id


def add_legacy_fields(command: gw.DownlinkFrame) -> None:
    """Write the command into version 3's fields, too."""
    command.gateway_id_legacy = bytes.fromhex(command.gateway_id)
    command.downlink_id_legacy = _ID_PREFIX + command.downlink_id.to_bytes(4)
    for item in command.items:
        tx, old = item.tx_info, item.tx_info_legacy
        old.gateway_id = command.gateway_id_legacy
        old.frequency, old.power, old.context = tx.frequency, tx.power, tx.context
        old.modulation = common.LORA
        lora = tx.modulation.lora
        old.lora_modulation_info.bandwidth = lora.bandwidth // 1000
        old.lora_modulation_info.spreading_factor = lora.spreading_factor
        old.lora_modulation_info.code_rate_legacy = "4/5"
        old.lora_modulation_info.polarization_inversion = lora.polarization_inversion
        if tx.timing.WhichOneof("parameters") == "immediately":
            old.timing = gw.IMMEDIATELY
            old.immediately_timing_info.SetInParent()
        else:
            old.timing = gw.DELAY
            old.delay_timing_info.delay.CopyFrom(tx.timing.delay.delay)


def legacy_json(command: gw.DownlinkFrame) -> bytes:
    """A command in version 3's JSON."""
    gateway_id = _base64(bytes.fromhex(command.gateway_id))
    said = {
        "gatewayID": gateway_id,
        "token": command.downlink_id,
        "downlinkID": _base64(_ID_PREFIX + command.downlink_id.to_bytes(4)),
        "items": [_legacy_item(item, gateway_id) for item in command.items],
    }
    return msgspec.json.encode(said)


def _legacy_item(item: gw.DownlinkFrameItem, gateway_id: str) -> dict[str, Any]:
    tx = item.tx_info
    lora, immediate = tx.modulation.lora, tx.timing.WhichOneof("parameters") == "immediately"
    said: dict[str, Any] = {
        "gatewayID": gateway_id,
        "frequency": tx.frequency,
        "power": tx.power,
        "modulation": "LORA",
        "loRaModulationInfo": {
            "bandwidth": lora.bandwidth // 1000,
            "spreadingFactor": lora.spreading_factor,
            "codeRate": "4/5",
            "polarizationInversion": lora.polarization_inversion,
        },
        "timing": "IMMEDIATELY" if immediate else "DELAY",
        "context": _base64(tx.context),
    }
    if immediate:
        said["immediatelyTimingInfo"] = {}
    else:
        said["delayTimingInfo"] = {"delay": tx.timing.delay.delay.ToJsonString()}
    return {"phyPayload": _base64(item.phy_payload), "txInfo": said}


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()
