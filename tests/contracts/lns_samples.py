# pyright: reportMissingTypeStubs=false
"""One frame on the air as each LNS describes it; what they leave out are differences, as data."""

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chirpstack_api import integration
from google.protobuf.json_format import MessageToJson
from google.protobuf.timestamp_pb2 import Timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LNS_DELAY_US = 120_000
EM400 = bytes.fromhex("01755c0367010104824408050001")  # README of em400-udl: 92 %, 25.7 Cel, 2116 mm, tilted.


@dataclass(frozen=True)
class SampleUplink:
    """What was on the air, and when."""

    heard_at_us: int
    dev_eui: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    gateway_id: bytes = field(default_factory=lambda: secrets.token_bytes(8))
    f_cnt: int = 1234
    f_port: int = 85
    payload: bytes = EM400
    confirmed: bool = True

    @property
    def at(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.heard_at_us)

    @property
    def lns_at(self) -> datetime:
        return self.at + timedelta(microseconds=LNS_DELAY_US)


@dataclass(frozen=True)
class Message:
    body: bytes
    topic: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """An LNS: how it describes a frame, and what it leaves out."""

    kind: str
    write: Callable[[SampleUplink], Message]
    over_mqtt: str | None = None  # The filter that is subscribed to.
    over_http: bool = True
    counts: bool = True
    names_gateways: bool = True
    names_radio: bool = True
    names_confirmed: bool = True
    unknown_device_status: int = 202
    unreadable_status: int = 202  # Of a message that is theirs and cannot be used.
    time_is: str = "gateway"  # Or "lns": the stated time is not when a gateway received it.
    truncates_to_us: int = 1


def millis(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def chirpstack(uplink: SampleUplink) -> Message:
    event = integration.UplinkEvent(
        deduplication_id="57433366-50a6-4dc2-8145-2df1bbc70d9e",
        dev_addr="00189440",
        adr=True,
        f_cnt=uplink.f_cnt,
        f_port=uplink.f_port,
        confirmed=uplink.confirmed,
        data=uplink.payload,
        region_config_id="eu868",
        device_info=integration.DeviceInfo(dev_eui=uplink.dev_eui.hex(), device_name="benne 12"),
    )
    event.time.CopyFrom(nanoseconds(uplink.at, 242))
    rx_info = event.rx_info.add(gateway_id=uplink.gateway_id.hex(), uplink_id=7, rssi=-104, snr=5.5)
    rx_info.ns_time.CopyFrom(nanoseconds(uplink.lns_at, 999))
    event.tx_info.frequency = 868_100_000
    event.tx_info.modulation.lora.bandwidth = 125_000
    event.tx_info.modulation.lora.spreading_factor = 7
    topic = f"application/4a3c/device/{uplink.dev_eui.hex()}/event/up"
    return Message(MessageToJson(event).encode(), topic)


def nanoseconds(at: datetime, more: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    stamp.nanos += more
    return stamp


def the_things_stack(uplink: SampleUplink) -> Message:
    received_at = uplink.lns_at.isoformat().replace("+00:00", "789Z")
    body: dict[str, Any] = {
        "end_device_ids": {
            "device_id": "benne-12",
            "application_ids": {"application_id": "bennes"},
            "dev_eui": uplink.dev_eui.hex().upper(),
            "join_eui": "800000000000000C",
            "dev_addr": "00BCB929",
        },
        "correlation_ids": ["gs:uplink:01"],
        "received_at": (uplink.lns_at + timedelta(milliseconds=30)).isoformat(),
        "uplink_message": {
            "session_key_id": "AXA50w==",
            "f_port": uplink.f_port,
            "f_cnt": uplink.f_cnt,
            "frm_payload": base64.b64encode(uplink.payload).decode(),
            "rx_metadata": [
                {"gateway_ids": {"gateway_id": "packetbroker"}, "packet_broker": {}, "rssi": -90},
                {
                    "gateway_ids": {"gateway_id": "mairie", "eui": uplink.gateway_id.hex().upper()},
                    "time": uplink.at.isoformat().replace("+00:00", "Z"),
                    "rssi": -104,
                    "channel_rssi": -104,
                    "snr": 5.5,
                },
            ],
            "settings": {
                "data_rate": {"lora": {"bandwidth": 125000, "spreading_factor": 7, "coding_rate": "4/5"}},
                "frequency": "868100000",
            },
            "received_at": received_at,
            "confirmed": uplink.confirmed,
            "consumed_airtime": "0.056576s",
        },
    }
    return Message(json.dumps(body).encode(), "v3/bennes@ttn/devices/benne-12/up")


def thingpark(uplink: SampleUplink) -> Message:
    return thingpark_of(uplink, str)


def thingpark_numbers(uplink: SampleUplink) -> Message:
    return thingpark_of(uplink, lambda number: number)


def thingpark_of(uplink: SampleUplink, written: Callable[[float], Any]) -> Message:
    """Old platforms write numbers as texts. Its base stations have names of 32 bits; here they have EUIs."""
    report = {
        "Time": millis(uplink.at.astimezone(None)),
        "DevEUI": uplink.dev_eui.hex().upper(),
        "FPort": written(uplink.f_port),
        "FCntUp": written(uplink.f_cnt),
        "ADRbit": written(1),
        "MType": written(4 if uplink.confirmed else 2),
        "payload_hex": uplink.payload.hex(),
        "mic_hex": "b4998693",
        "SpFact": written(7),
        "SubBand": "G1",
        "Channel": "LC2",
        "Frequency": written(868.1),
        "Late": written(0),
        "Lrrid": uplink.gateway_id.hex().upper(),
        "Lrrs": {
            "Lrr": [
                {"Lrrid": "FF0103E7", "Chain": "0", "LrrRSSI": "-112.000000", "LrrSNR": "-5.000000"},
                {
                    "Lrrid": uplink.gateway_id.hex().upper(),
                    "Chain": written(0),
                    "LrrRSSI": written(-104.0),
                    "LrrSNR": written(5.5),
                },
            ]
        },
        "CustomerID": "100006356",
        "DevAddr": "14204399",
    }
    return Message(json.dumps({"DevEUI_uplink": report}).encode())


def live_objects(uplink: SampleUplink) -> Message:
    urn = f"urn:lo:nsid:lora:{uplink.dev_eui.hex().upper()}"
    body = {
        "streamId": urn,
        "timestamp": millis(uplink.at).replace("+00:00", "Z"),
        "created": millis(uplink.lns_at).replace("+00:00", "Z"),
        "model": "lora_v0",
        "value": {"payload": uplink.payload.hex()},
        "tags": [],
        "metadata": {
            "connector": "lora",
            "source": urn,
            "group": {"id": "root", "path": "/"},
            "network": {
                "lora": {
                    "devEUI": uplink.dev_eui.hex().upper(),
                    "port": uplink.f_port,
                    "fcnt": uplink.f_cnt,
                    "messageType": "CONFIRMED_DATA_UP" if uplink.confirmed else "UNCONFIRMED_DATA_UP",
                    "rssi": -104.0,
                    "snr": 5.5,
                    "sf": 7,
                    "frequency": 868.1,
                    "signalLevel": 4,
                    "gatewayCnt": 1,
                }
            },
        },
        "id": "5e32e86922697b0001e828d5",
    }
    return Message(json.dumps(body).encode(), "fifo/bennes")


def wanesy(uplink: SampleUplink) -> Message:
    body = {
        "id": "5e32e86922697b0001e828d5",
        "endDevice": {"devEui": uplink.dev_eui.hex().upper(), "devAddr": "020DEA52", "cluster": {"id": 359}},
        "fPort": uplink.f_port,
        "fCntDown": 1,
        "fCntUp": uplink.f_cnt,
        "adr": True,
        "confirmed": uplink.confirmed,
        "encrypted": False,
        "payload": uplink.payload.hex(),
        "encodingType": "HEXA",
        "recvTime": (uplink.heard_at_us + LNS_DELAY_US) // 1000,
        "gwRecvTime": uplink.heard_at_us // 1000,
        "classB": False,
        "delayed": False,
        "ulFrequency": 868.1,
        "modulation": "LORA",
        "dataRate": "SF7BW125",
        "codingRate": "4/5",
        "gwCnt": 1,
        "gwInfo": [
            {"gwEui": uplink.gateway_id.hex().upper(), "rfRegion": "EU868", "rssi": -104, "snr": 5.5, "antenna": 0}
        ],
    }
    headers = {"content-type": "application/vnd.kerlink.iot-v1+json"}
    return Message(json.dumps(body).encode(), "dataUp", headers)


def generic(uplink: SampleUplink) -> Message:
    body = {
        "device": uplink.dev_eui.hex(),
        "time": uplink.lns_at.isoformat().replace("+00:00", "Z"),
        "port": uplink.f_port,
        "payload": uplink.payload.hex(),
        "id": f"m-{uplink.f_cnt}",
    }
    return Message(json.dumps(body).encode(), "objets")


SAMPLES = {
    "chirpstack": Sample("chirpstack", chirpstack, over_mqtt="application/+/device/+/event/+"),
    "the_things_stack": Sample("the_things_stack", the_things_stack, over_mqtt="v3/+/devices/+/up"),
    "thingpark, texts": Sample("thingpark", thingpark, truncates_to_us=1000),
    "thingpark, numbers": Sample("thingpark", thingpark_numbers, truncates_to_us=1000),
    "live_objects": Sample(
        "live_objects", live_objects, over_mqtt="fifo/bennes", names_gateways=False, truncates_to_us=1000
    ),
    "wanesy": Sample("wanesy", wanesy, truncates_to_us=1000),
    "generic": Sample(
        "generic",
        generic,
        over_mqtt="objets",
        counts=False,
        names_gateways=False,
        names_radio=False,
        names_confirmed=False,
        unknown_device_status=404,
        unreadable_status=422,
        time_is="lns",
    ),
}
