"""A gateway that was cut off for half a day comes back and sends all that it has kept, as fast as it may."""

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from rich.console import Console

from core.runtime.postgres import Pool
from lab.chaos.case import Act
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import SECOND_US, Scene
from lab.gateway import rxpk
from lab.gateway.udp import PACKETS, UdpGateway
from lab.load.load import Load, open_load
from lab.radio.clock import now_us
from lab.simulator.driver import Fleet
from lorawan.instants import from_us

DEVICES = 30
# It was away since then. What came within an hour of now is live.
AWAY, LIVE = timedelta(hours=12), timedelta(minutes=1)
# Datagrams that are not acknowledged yet; after so long without an answer they are taken for lost.
WINDOW, PATIENCE_S, LOOKED_AT_EVERY_S = 24, 2.0, 0.002
STORED_OF_THEN = """
SELECT count(*) FROM observation.uplink u JOIN device d ON d.id = u.device_id
WHERE d.tenant_id = $1 AND u.time BETWEEN $2 AND $3
"""
SETTLES_WITHIN_S = 300.0


def replay_buffer(frames: int) -> Act:
    """So many frames of a gateway's own devices come at once, each with the instant at which it was received."""

    async def act(scene: Scene) -> None:
        quiet = Console(quiet=True)
        async with open_load(scene.processes.run, devices=DEVICES, gateways=1, console=quiet) as kept:
            await scene.lead()
            gateway, began_us, began = kept.gateways[0], now_us(), time.monotonic()
            asked = gateway.downlinks
            for packets in buffered(kept, frames, began_us):
                await _until_answered(gateway)
                gateway.push(packets)
            took_s = time.monotonic() - began
            scene.recover_from(f"{frames} trames rejouées")
            scene.fleets.append(Fleet([gateway], kept.devices, 0.0, 0.0, sent=kept.sent))
            scene.notes.append(f"{frames} trames rejouées en {took_s:.1f} s ({frames / took_s:.0f}/s)")
            first, last = from_us(began_us) - AWAY - LIVE, from_us(began_us) - LIVE / 2
            stored = await _until_stored(scene.pool, kept.tenant.id, first, last, frames)
            found = [f"{stored} trames de leur instant au lieu de {frames}"] if stored != frames else []
            if gateway.downlinks != asked:
                found.append(f"{gateway.downlinks - asked} réponses à des trames d'hier")
            if found:
                raise CaseFailed("; ".join(found))

    return act


def buffered(load: Load, frames: int, now: int) -> Iterator[list[bytes]]:
    """What the gateway has kept until now, a datagram's worth at a time: spread evenly, the oldest first."""
    gateway, pacer, clock = load.gateways[0], load.pacer, rxpk.Clock()
    signals = rxpk.signals(gateway.name)
    away_us = round(AWAY.total_seconds() * SECOND_US)
    live_us = round(LIVE.total_seconds() * SECOND_US)
    packets: list[bytes] = []
    pacer.late_every, pacer.late_by_us = 1, 0  # By GPS, as a gateway that keeps frames has it.
    try:
        for number in range(frames):
            at_us = now - away_us + number * (away_us - live_us) // frames
            device = load.devices[number % len(load.devices)]
            common = pacer.end_uplink(device, clock.text(at_us), at_us)
            if common is not None:
                packets.append(rxpk.rxpk(gateway.counter(at_us), signals[number & 0xFF], common))
            if len(packets) == PACKETS:
                yield packets
                packets = []
        if packets:
            yield packets
    finally:
        pacer.late_every = 0


async def _until_answered(gateway: UdpGateway) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while gateway.pushed - gateway.acknowledged >= WINDOW:
        if time.monotonic() > deadline:
            gateway.acknowledged = gateway.pushed
            return
        await asyncio.sleep(LOOKED_AT_EVERY_S)


async def _until_stored(pool: Pool, tenant_id: int, first: datetime, last: datetime, frames: int) -> int:
    deadline, stored, before = time.monotonic() + SETTLES_WITHIN_S, -1, -2
    while time.monotonic() < deadline and stored < frames:
        before, stored = stored, await pool.fetchval(STORED_OF_THEN, tenant_id, first, last, timeout=120)
        if before != stored:
            deadline = time.monotonic() + SETTLES_WITHIN_S
        await asyncio.sleep(1.0)
    return stored
