"""A ChirpStack Gateway Bridge of version 3 (3.14), by its documentation: other fields, other JSON, no prefix."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any

from chirpstack_api import gw

from gateways.chirpstack_messages import EventTopic
from tests.gateways.station_face import Command
from tests.gateways.stations import TMST, MqttStation

CONTEXT = TMST.to_bytes(4, "big")
GPS_EPOCH_US, LEAP_US = 315_964_800_000_000, 18_000_000


def text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def rfc3339(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat().replace("+00:00", "Z")


class LegacyStation(MqttStation):
    """In protobuf: only the fields that version 3 had."""

    async def speak(self) -> None:
        await self.publish(
            "state/conn", gw.ConnState(gateway_id_legacy=self.gateway_id, state="ONLINE").SerializeToString()
        )

    async def receive(
        self, *phy_payloads: bytes, time_us: int | None = None, gps_time_us: int | None = None
    ) -> None:
        for phy_payload in phy_payloads:
            frame = gw.UplinkFrame(phy_payload=phy_payload)
            tx, rx = frame.tx_info_legacy, frame.rx_info_legacy
            tx.frequency = 868_100_000
            tx.lora_modulation_info.bandwidth = 125
            tx.lora_modulation_info.spreading_factor = 7
            tx.lora_modulation_info.code_rate_legacy = "4/5"
            rx.gateway_id, rx.rssi, rx.lora_snr, rx.channel, rx.context = self.gateway_id, -71, 8.25, 3, CONTEXT
            rx.crc_status = gw.CRC_OK
            if time_us is not None:
                rx.time.FromMicroseconds(time_us)
            if gps_time_us is not None:
                rx.time_since_gps_epoch.FromMicroseconds(gps_time_us - GPS_EPOCH_US + LEAP_US)
            await self.publish("event/up", frame.SerializeToString())

    async def _asked(self) -> bytes:
        async with asyncio.timeout(20):
            while not self._waiting:
                messages = await self.edge.batch()
                self.edge.ack(messages)
                self._waiting += messages
        message = self._waiting.pop(0)
        assert EventTopic.parse(message.topic.replace("command", "event")).gateway_id == self.gateway_id
        return message.payload

    async def command(self) -> Command:
        asked = gw.DownlinkFrame.FromString(await self._asked())
        assert asked.gateway_id_legacy == self.gateway_id
        assert len(asked.downlink_id_legacy) == 16
        (item,) = asked.items
        tx = item.tx_info_legacy
        immediate = tx.timing == gw.IMMEDIATELY
        assert immediate or tx.context == CONTEXT
        lora = tx.lora_modulation_info
        assert (lora.bandwidth, lora.code_rate_legacy, lora.polarization_inversion) == (125, "4/5", True)
        delay_us = tx.delay_timing_info.delay.ToMicroseconds()
        return Command(
            item.phy_payload,
            tx.frequency,
            lora.spreading_factor,
            tx.power,
            immediate,
            delay_us,
            asked.downlink_id_legacy,
        )

    async def answer(self, command: Command, status: str) -> None:
        ack = gw.DownlinkTxAck(gateway_id_legacy=self.gateway_id, downlink_id_legacy=command.reference)
        ack.items.add(status=gw.TxAckStatus.Value(status))
        await self.publish("event/ack", ack.SerializeToString())


class LegacyJsonStation(LegacyStation):
    """In JSON: keys as version 3 spelled them."""

    async def _say(self, event: str, said: dict[str, Any]) -> None:
        await self.publish(event, json.dumps({"gatewayID": text(self.gateway_id)} | said).encode())

    async def speak(self) -> None:
        await self._say("state/conn", {"state": "ONLINE"})

    async def receive(
        self, *phy_payloads: bytes, time_us: int | None = None, gps_time_us: int | None = None
    ) -> None:
        gps_us = None if gps_time_us is None else gps_time_us - GPS_EPOCH_US + LEAP_US
        for phy_payload in phy_payloads:
            up = {
                "phyPayload": text(phy_payload),
                "txInfo": {
                    "frequency": 868_100_000,
                    "modulation": "LORA",
                    "loRaModulationInfo": {
                        "bandwidth": 125,
                        "spreadingFactor": 7,
                        "codeRate": "4/5",
                        "polarizationInversion": False,
                    },
                },
                "rxInfo": {
                    "gatewayID": text(self.gateway_id),
                    "time": None if time_us is None else rfc3339(time_us),
                    "timeSinceGPSEpoch": None if gps_us is None else f"{gps_us / 1e6:.6f}s",
                    "rssi": -71,
                    "loRaSNR": 8.25,
                    "channel": 3,
                    "rfChain": 1,
                    "board": 0,
                    "antenna": 0,
                    "location": None,
                    "fineTimestampType": "NONE",
                    "context": text(CONTEXT),
                    "uplinkID": text(bytes(16)),
                    "crcStatus": "CRC_OK",
                },
            }
            await self.publish("event/up", json.dumps(up).encode())

    async def command(self) -> Command:
        asked = json.loads(await self._asked())
        assert base64.b64decode(asked["gatewayID"]) == self.gateway_id
        (item,) = asked["items"]
        tx, lora = item["txInfo"], item["txInfo"]["loRaModulationInfo"]
        immediate = tx["timing"] == "IMMEDIATELY"
        assert immediate or base64.b64decode(tx["context"]) == CONTEXT
        assert (tx["modulation"], lora["bandwidth"], lora["codeRate"]) == ("LORA", 125, "4/5")
        assert lora["polarizationInversion"]
        delay_s = 0.0 if immediate else float(tx["delayTimingInfo"]["delay"].removesuffix("s"))
        return Command(
            base64.b64decode(item["phyPayload"]),
            tx["frequency"],
            lora["spreadingFactor"],
            tx["power"],
            immediate,
            round(delay_s * 1e6),
            (asked["token"], asked["downlinkID"]),
        )

    async def answer(self, command: Command, status: str) -> None:
        token, downlink_id = command.reference
        await self._say(
            "event/ack", {"token": token, "error": "", "downlinkID": downlink_id, "items": [{"status": status}]}
        )
