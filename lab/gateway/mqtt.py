"""A gateway that speaks ChirpStack's contract over MQTT, as a Kerlink with the MQTT Forwarder does."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from pydantic import SecretStr

from core.messages.chirpstack import gw
from core.runtime.mqtt import Broker, MqttAway, MqttRejected, MqttSession, MqttSettings
from lab.gateway.gateway import Gateway
from lab.radio.clock import now_us
from lab.radio.transmission import BANDWIDTH, Reception

REGION = "eu868"
STATS_EVERY_S = 10
RETRY_S = 0.5
# A forwarder keeps this many messages while its broker is away, then forgets the oldest.
MOST_KEPT = 10_000
TX_ACK_OF = {
    "NONE": gw.OK,
    "TOO_LATE": gw.TOO_LATE,
    "TOO_EARLY": gw.TOO_EARLY,
    "COLLISION_PACKET": gw.COLLISION_PACKET,
}


@dataclass(slots=True)
class MqttGateway(Gateway):
    """One forwarder with its persistent session; publishes at QoS 1 and tries again until it is acknowledged."""

    mqtt_url: str = ""
    _outbox: deque[tuple[str, bytes]] = field(default_factory=deque[tuple[str, bytes]])
    _waiting: asyncio.Event = field(default_factory=asyncio.Event)
    _uplink_id: int = 0

    def _topic(self, event: str) -> str:
        return f"{REGION}/gateway/{self.gateway_id.hex()}/event/{event}"

    def _queue_event(self, event: str, payload: bytes) -> None:
        if len(self._outbox) >= MOST_KEPT:
            self._outbox.popleft()
        self._outbox.append((self._topic(event), payload))
        self._waiting.set()

    def forward(self, reception: Reception) -> bool:
        """Put an `up` event in the outbox."""
        transmission = reception.transmission
        self._uplink_id += 1
        frame = gw.UplinkFrame(phy_payload=transmission.phy_payload)
        frame.tx_info.frequency = transmission.frequency
        frame.tx_info.modulation.lora.bandwidth = BANDWIDTH
        frame.tx_info.modulation.lora.spreading_factor = transmission.spreading_factor
        frame.tx_info.modulation.lora.code_rate = gw.CR_4_5
        info = frame.rx_info
        info.gateway_id = self.gateway_id.hex()
        info.uplink_id = self._uplink_id
        info.gw_time.FromMicroseconds(transmission.end_us + self.clock_error_us)
        info.rssi = round(reception.rssi)
        info.snr = reception.snr
        info.context = self.counter(transmission.end_us).to_bytes(4, "big")
        info.crc_status = gw.CRC_OK
        self._queue_event("up", frame.SerializeToString())
        return True

    async def run(self) -> None:
        """Keep the session, send what waits, take commands, until cancelled."""
        # The broker binds an account to the client id of its name.
        account = Broker.from_url(self.mqtt_url).username or f"forwarder-{self.gateway_id.hex()}"
        settings = MqttSettings(mqtt_url=SecretStr(self.mqtt_url), mqtt_client_id=account)
        edge = MqttSession(settings, [f"{REGION}/gateway/{self.gateway_id.hex()}/command/+"])
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(edge.run(self.uptime.record_answer), name=f"mqtt {self.name}")
            tasks.create_task(self._send(edge), name=f"send {self.name}")
            tasks.create_task(self._take_commands(edge), name=f"commands {self.name}")
            tasks.create_task(self._report_stats(), name=f"stats {self.name}")

    async def _send(self, mqtt_session: MqttSession) -> None:
        while True:
            await self._waiting.wait()
            while self._outbox:
                topic, payload = self._outbox[0]
                try:
                    # Nobody subscribed: the bridge's session does not exist yet, so the message is not delivered.
                    delivered = await mqtt_session.publish(topic, payload)
                except (MqttAway, MqttRejected):
                    delivered = False
                if delivered:
                    self._outbox.popleft()
                else:
                    await asyncio.sleep(RETRY_S)
            self._waiting.clear()

    async def _take_commands(self, mqtt_session: MqttSession) -> None:
        while True:
            messages = await mqtt_session.batch()
            for message in messages:
                if message.topic.endswith("/down"):
                    self._on_down(message.payload)
            mqtt_session.ack(messages)

    def _on_down(self, payload: bytes) -> None:
        try:
            frame = gw.DownlinkFrame.FromString(payload)
        except DecodeError:
            return  # What is no DownlinkFrame gets no answer, as from the real forwarder.
        if frame.gateway_id != self.gateway_id.hex():
            return
        ack = gw.DownlinkTxAck(gateway_id=frame.gateway_id, downlink_id=frame.downlink_id)
        statuses = [gw.IGNORED] * len(frame.items)
        for index, item in enumerate(frame.items):
            statuses[index] = self._transmit_item(item)
            if statuses[index] == gw.OK:
                break
        ack.items.extend(gw.DownlinkTxAckItem(status=status) for status in statuses)
        self._queue_event("ack", ack.SerializeToString())

    def _transmit_item(self, item: gw.DownlinkFrameItem) -> gw.TxAckStatus:
        at_us = None
        if item.tx_info.timing.HasField("delay"):
            counter = int.from_bytes(item.tx_info.context, "big")
            at_us = self.concentrator.instant(counter, now_us()) + item.tx_info.timing.delay.delay.ToMicroseconds()
        word = self.transmit(
            item.phy_payload,
            item.tx_info.frequency,
            item.tx_info.modulation.lora.spreading_factor,
            at_us=at_us,
        )
        return TX_ACK_OF[word]

    async def _report_stats(self) -> None:
        while True:
            stats = gw.GatewayStats(gateway_id=self.gateway_id.hex())
            stats.time.FromMicroseconds(now_us())
            stats.rx_packets_received = stats.rx_packets_received_ok = self.received
            stats.tx_packets_emitted = self.account.emitted
            self._queue_event("stats", stats.SerializeToString())
            await asyncio.sleep(STATS_EVERY_S)
