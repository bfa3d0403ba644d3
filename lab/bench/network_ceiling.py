"""What a network server costs at least: the broker, the cryptography, one batched UPDATE.

`python -m lab.bench.network_ceiling FRAMES MESSAGE_FRAMES`: one process fills a stream of its own, then drains it.
For each batch it fetches what is there, checks every MIC, decrypts every payload, publishes as many uplinks,
writes one batched UPDATE and acknowledges: no windows, counters, MAC layer or leases. TERRITOIRE_BENCH_* name
the servers.
"""

import os
import secrets
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import uvloop

from core.messages.batch import encode_batch, encode_batches
from core.messages.frames import FRAME_BATCHES, GatewayFrame
from core.messages.uplinks import Reception, Uplink
from core.runtime.bus import Bus, Message, ShardReader, connect_bus
from core.runtime.clock import wall_clock_us
from core.runtime.postgres import connect
from core.runtime.telemetry import configure_logs
from lab.device.frames import data_frame
from lorawan.crypto import Direction, SessionCipher, SessionKeys
from lorawan.identifiers import DevAddr

URL, NATS_URL = "TERRITOIRE_BENCH_URL", "TERRITOIRE_BENCH_NATS_URL"
IN, OUT = "BENCH_IN", "BENCH_OUT"
IN_SUBJECT, OUT_SUBJECT = "bench.in", "bench.out"
STREAM_TIMEOUT_S = 5
DEVICES = 2_000
PAYLOAD = bytes(range(20))
F_PORT = 5
# As the network takes them at most: messages of one batch, uplinks of one message.
PASS_MESSAGES = 16
MAX_ITEMS = 500

CREATE = """
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;
CREATE TABLE bench.session (LIKE public.session INCLUDING ALL) WITH (fillfactor = {fillfactor});
INSERT INTO bench.session (id, device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id)
    OVERRIDING SYSTEM VALUE SELECT n, n, '\\x00000000', '', '', '' FROM generate_series(0, {last}) n;
SET search_path = bench;
"""
READ_FILLFACTOR = """
SELECT split_part(option, '=', 2) FROM pg_class, unnest(reloptions) AS option
WHERE oid = 'public.session'::regclass AND option LIKE 'fillfactor=%'
"""
UPDATE = """
UPDATE session AS s SET f_cnt_up = v.f_cnt_up, last_uplink_id = v.uplink_id, last_uplink_at = v.uplink_at
FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::timestamptz[]) AS v (id, f_cnt_up, uplink_id, uplink_at)
WHERE s.id = v.id
"""
DROP = "DROP SCHEMA bench CASCADE"


class Drained(msgspec.Struct):
    """What one drain took: frames, seconds of the clock, seconds of this process."""

    frames: int
    seconds: float
    cpu_s: float


class CeilingMissed(Exception):
    """A MIC was wrong: this is a mistake of the benchmark."""


def session_of(number: int) -> tuple[DevAddr, SessionCipher]:
    """An address and keys that nobody has seen before."""
    keys = SessionKeys(secrets.token_bytes(16), secrets.token_bytes(16))
    return DevAddr(number.to_bytes(4)), SessionCipher(keys)


class _Ceiling:
    def __init__(self, bus: Bus, connection: Any, message_frames: int) -> None:
        self._bus = bus
        self._connection = connection
        self._message_frames = message_frames
        self._sessions = dict(session_of(number) for number in range(DEVICES))

    async def fill(self, frames: int) -> None:
        """Put this many frames into the stream."""
        gateway_id = secrets.token_bytes(8)
        received: list[GatewayFrame] = []
        for place in range(frames):
            dev_addr, f_cnt = DevAddr((place % DEVICES).to_bytes(4)), place // DEVICES
            octets = data_frame(dev_addr, self._sessions[dev_addr], f_cnt, F_PORT, PAYLOAD)
            now_us = wall_clock_us()
            received.append(
                GatewayFrame(
                    octets, gateway_id, now_us, now_us, b"1234", 868_100_000, 7, 125_000, 0, -80.0, 5.0, 0, 0
                )
            )
            if len(received) == self._message_frames or place == frames - 1:
                await self._bus.publish_once(IN_SUBJECT, encode_batch(received))
                received = []

    async def drain(self, reader: ShardReader, frames: int) -> Drained:
        """Work off this many frames."""
        began, cpu = time.monotonic(), time.process_time()
        left = frames
        while left:
            messages = await reader.fetch(PASS_MESSAGES, STREAM_TIMEOUT_S)
            if not messages:
                raise CeilingMissed(f"{left} frames did not come back")
            left -= await self._work_off(messages)
        return Drained(frames, time.monotonic() - began, time.process_time() - cpu)

    async def _work_off(self, messages: Sequence[Message]) -> int:
        frames = [frame for message in messages for frame in FRAME_BATCHES.decode(message.data)]
        uplinks = [self._uplink(frame) for frame in frames]
        for octets in encode_batches(uplinks, MAX_ITEMS):
            await self._bus.publish_once(OUT_SUBJECT, octets)
        newest = {uplink.device_id: uplink for uplink in uplinks}
        await self._connection.execute(
            UPDATE,
            list(newest),
            [uplink.f_cnt + 1 for uplink in newest.values()],
            [UUID(bytes=uplink.uplink_id) for uplink in newest.values()],
            [datetime.fromtimestamp(uplink.time_us / 1_000_000, UTC) for uplink in newest.values()],
        )
        for message in messages:
            await message.ack()
        return len(frames)

    def _uplink(self, frame: GatewayFrame) -> Uplink:
        octets = frame.phy_payload
        dev_addr, f_cnt = DevAddr(octets[4:0:-1]), int.from_bytes(octets[6:8], "little")
        cipher = self._sessions[dev_addr]
        if not cipher.verify_uplink(octets, dev_addr, f_cnt):
            raise CeilingMissed(octets.hex())
        payload = cipher.crypt(Direction.UP, dev_addr, f_cnt, octets[8], octets[9:-4])
        return Uplink(
            octets[:16], int.from_bytes(dev_addr), 1, f_cnt, octets[8], payload, False, frame.time_us,
            frame.received_at_us, frame.frequency, frame.spreading_factor, frame.bandwidth, False,
            [Reception(frame.gateway_id, frame.antenna, frame.rssi, frame.snr)],
        )  # fmt: skip


async def _stream(bus: Bus, action: str, name: str, subject: str = "") -> None:
    config = {
        "name": name,
        "subjects": [subject],
        "retention": "workqueue" if name == IN else "limits",
        "storage": "file",
        "discard": "new" if name == IN else "old",
        "max_bytes": 1 << 30,
        "num_replicas": 1,
    }
    body = msgspec.json.encode(config) if action == "CREATE" else b""
    await bus.request(f"$JS.API.STREAM.{action}.{name}", body, STREAM_TIMEOUT_S)


async def _measure(frames: int, message_frames: int) -> Drained:
    connection: Any = await connect(os.environ[URL], "bench-network-ceiling")
    async with connect_bus(os.environ[NATS_URL], "bench-network-ceiling") as bus:
        fillfactor = await connection.fetchval(READ_FILLFACTOR) or 100
        await connection.execute(CREATE.format(last=DEVICES - 1, fillfactor=fillfactor))
        await _stream(bus, "CREATE", IN, IN_SUBJECT)
        await _stream(bus, "CREATE", OUT, OUT_SUBJECT)
        try:
            ceiling = _Ceiling(bus, connection, message_frames)
            await ceiling.fill(frames)
            return await ceiling.drain(await bus.read_shard(IN, IN_SUBJECT, "bench"), frames)
        finally:
            for name in (IN, OUT):
                await _stream(bus, "DELETE", name)
            await connection.execute(DROP)
            await connection.close()


if __name__ == "__main__":
    configure_logs("bench", "bench", "json", "WARNING", sys.stderr)
    drained = uvloop.run(_measure(int(sys.argv[1]), int(sys.argv[2])))
    sys.stdout.buffer.write(msgspec.json.encode(drained) + b"\n")
