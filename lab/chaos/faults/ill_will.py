"""People who mean ill: wrong keys, requests that never end, a decoder that never returns, joins of nobody."""

import asyncio
import json
import random
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from rich.console import Console

from core.runtime.postgres import Pool
from lab.chaos.case import Act
from lab.chaos.faults.attackers import THROWN_OUT
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.chaos.witnesses.latency import bystanders
from lab.gateway import rxpk
from lab.gateway.udp import UdpGateway
from lab.load.load import Load, open_load
from lab.load.pacer import ON_CHANNELS
from lab.radio.clock import now_us
from lab.simulator.driver import Fleet
from registry.codecs import create_codec, publish_version

Harm = Callable[[Scene], Coroutine[Any, Any, None]]

TICK_S = 0.05
REFUSED = {"401", "429"}
ENDLESS = "function decodeUplink(input) { while (true) {} }"
SCRIPTED_DEVICES, SCRIPTED_RATE = 6, 6.0
USE_SCRIPT = """
UPDATE device_profile SET codec = 'sans-fin', codec_version_id = $2
WHERE tenant_id = $1 AND id IN (SELECT device_profile_id FROM device WHERE tenant_id = $1)
"""
COUNT_STORED = """
SELECT count(*) FROM observation.uplink u JOIN device d ON d.id = u.device_id WHERE d.tenant_id = $1
"""
STORED_WITHIN_S = 60.0
JOINERS, FLOODED_GATEWAYS = 6, 4


def beside(*harms: Harm) -> Act:
    """Half of the time nothing happens, which is what is usual; then all of these, while others are watched.

    Raises:
        CaseFailed: others wait more than twice as long as usual, or got no answer.
    """

    async def act(scene: Scene) -> None:
        await scene.lead()
        async with bystanders(scene) as others:
            await asyncio.sleep(scene.lasting_s / 2)
            others.begin()
            tasks = [asyncio.create_task(harm(scene), name="harm") for harm in harms]
            try:
                await asyncio.wait(tasks, timeout=scene.lasting_s / 2, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
            scene.recover_from_now()
            scene.notes += others.figures()
            found = [str(one) or repr(one) for one in ended if isinstance(one, Exception)] + others.findings()
        if found:
            raise CaseFailed("; ".join(found))

    return act


def slow_clients(count: int) -> Harm:
    """So many send an octet of a request's head each second, and come back when they are thrown out."""

    async def harm(scene: Scene) -> None:
        answers = await _attack(scene, "slow", count)
        scene.notes.append(f"{count} clients lents, renvoyés {answers[THROWN_OUT]} fois")

    return harm


def wrong_keys(per_s: int) -> Harm:
    """So many requests a second, from many addresses, whose keys open nothing."""

    async def harm(scene: Scene) -> None:
        began = time.monotonic()
        answers = await _attack(scene, "keys", per_s)
        rate = answers.total() / (time.monotonic() - began)
        scene.notes.append(f"{rate:.0f} clés fausses/s, réponses {dict(sorted(answers.items()))}")
        if set(answers) - REFUSED:
            raise CaseFailed(f"des clés fausses ont eu pour réponse {sorted(set(answers) - REFUSED)}")

    return harm


async def _attack(scene: Scene, kind: str, amount: int) -> Counter[str]:
    """Attack from another process until cancelled, so that nobody is measured who waits for it; its answers."""
    module, url = "lab.chaos.faults.attackers", scene.processes.run.api_url
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", module, kind, url, str(amount), stdin=PIPE, stdout=PIPE
    )
    with suppress(asyncio.CancelledError):
        await process.wait()
    said, _ = await process.communicate(b"")  # Its input ends.
    return Counter(json.loads(said))


@asynccontextmanager
async def with_endless_script(scene: Scene) -> AsyncGenerator[None]:
    """Another tenant's devices, whose decoder never returns: on the air in the second half of the case."""
    console = Console(quiet=True)
    run = scene.processes.run
    async with open_load(run, devices=SCRIPTED_DEVICES, gateways=1, console=console) as scripted:
        await _use_script(scene.pool, scripted.tenant.id)
        scene.scripted = scripted
        yield
        found = await _until_stored(scene.pool, scripted)
    if found:
        raise CaseFailed(found)


async def _until_stored(pool: Pool, scripted: Load) -> str:
    """What is wrong with frames that no decoder could read."""
    deadline = time.monotonic() + STORED_WITHIN_S
    while True:
        stored = await pool.fetchval(COUNT_STORED, scripted.tenant.id)
        if stored == scripted.sent_count:
            return ""
        if time.monotonic() > deadline:
            return f"{stored} trames du script sans fin au lieu de {scripted.sent_count}"
        await asyncio.sleep(1.0)


async def endless_script(scene: Scene) -> None:
    """These devices speak; their frames are stored, and decoded by nobody."""
    assert scene.scripted is not None
    await scene.scripted.play(SCRIPTED_RATE, scene.seconds)


async def _use_script(pool: Pool, tenant_id: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        codec = await create_codec(connection, tenant_id, name="sans-fin")
        version_id, _ = await publish_version(
            connection, codec.id, language="javascript", source=ENDLESS, form=None, author="chaos"
        )
        await connection.execute(USE_SCRIPT, tenant_id, version_id)


def flood_joins(per_s: float) -> Harm:
    """So many join-requests of devices that nobody knows, or with a wrong MIC; meanwhile some real ones join."""

    async def harm(scene: Scene) -> None:
        flooding = asyncio.create_task(_flood(scene, per_s), name="flood")
        began = time.monotonic()
        try:
            console = Console(quiet=True)
            async with open_load(scene.processes.run, devices=JOINERS, gateways=2, console=console) as joined:
                scene.fleets.append(Fleet([*joined.gateways], joined.devices, 0.0, 0.0, sent=joined.sent))
                scene.notes.append(f"{JOINERS} équipements activés en {time.monotonic() - began:.1f} s")
            await flooding
        finally:
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)

    return harm


async def _flood(scene: Scene, per_s: float) -> None:
    source, load = random.Random("flood"), scene.load
    gateways, sent, began = load.gateways[:FLOODED_GATEWAYS], 0, time.monotonic()
    try:
        while True:
            due = round((time.monotonic() - began) * per_s) - sent
            for gateway, count in zip(gateways, _shares(due, len(gateways)), strict=True):
                gateway.push([reception_of(gateway, join_of_nobody(load, source)) for _ in range(count)])
            sent += due
            await asyncio.sleep(TICK_S)
    finally:
        scene.notes.append(f"{sent / (time.monotonic() - began):.0f} demandes d'activation/s")


def _shares(total: int, among: int) -> list[int]:
    return [(total + place) // among for place in range(among)]


def join_of_nobody(load: Load, source: random.Random) -> bytes:
    """A join-request (LoRaWAN L2 1.0.4, section 6.2.2) of an unknown device, or of a known one without its key."""
    dev_eui = source.choice(load.devices).dev_eui if source.random() < 0.5 else source.randbytes(8)  # noqa: PLR2004
    join_eui = load.devices[0].join_eui
    return b"\x00" + bytes(join_eui)[::-1] + bytes(dev_eui)[::-1] + source.randbytes(2) + source.randbytes(4)


def reception_of(gateway: UdpGateway, phy_payload: bytes) -> bytes:
    """As a gateway reports a frame that it has just received."""
    at_us = now_us()
    common = rxpk.common_part(rxpk.Clock().text(at_us), ON_CHANNELS[0], phy_payload)
    return rxpk.rxpk(gateway.counter(at_us), rxpk.signal(7.0, -80.0), common)
