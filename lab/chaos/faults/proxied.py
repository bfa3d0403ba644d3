"""The ways to the servers, spoilt: each has a proxy before it, and is late, silent, reset, or half heard."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec.structs import replace

from lab.chaos.case import Act, Around
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.chaos.stack.proxy import Proxy, open_proxy, open_udp_proxy
from lab.chaos.witnesses.fleet import fly_fleet
from lab.gateway.gateway import Gateway
from lab.gateway.station import StationGateway
from lab.radio.clock import now_us
from lab.simulator.account import Kill
from lab.simulator.driver import Fleet

SETTINGS = {"postgres": "TERRITOIRE_DATABASE_URL", "nats": "TERRITOIRE_NATS_URL"}
DELAY_S = 0.2
# Of the time that a case has for its faults: late, then silent; the rest is for what ends at once, and after it.
LATE_SHARE, SILENT_SHARE, PAUSE_SHARE = 0.2, 0.2, 0.08
STRIKES = 3
# So long after a way was spoilt an answer may come to what had gone through before: it says nothing of the rest.
UNDER_WAY_US = 300_000
# Late, silent, and so often reset and cut in two.
DISTURBANCES = 2 + 2 * STRIKES


def through_proxy(server: str, *services: str) -> Around:
    """These services reach PostgreSQL or the bus by a proxy alone."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        name, processes = SETTINGS[server], scene.processes
        urls = {service: processes.setting(service, name) for service in services}
        async with open_proxy(next(iter(urls.values()))) as proxy:
            scene.proxies[server] = proxy
            by_proxy = {service: {name: proxy.url_of(url)} for service, url in urls.items()}
            async with processes.replaced(by_proxy, "derrière un mandataire"):
                yield
        if not proxy.accepted:
            raise CaseFailed("rien n'est passé par le mandataire")

    return around


def together(*arounds: Around) -> Around:
    """One within the other, the first outermost."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        async with AsyncExitStack() as entered:
            for one in arounds:
                await entered.enter_async_context(one(scene))
            yield

    return around


def with_settings(service: str, **settings: str) -> Around:
    """While the block runs the service has these settings, by their names without what all begin with."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        environment = {f"TERRITOIRE_{name.upper()}": value for name, value in settings.items()}
        async with scene.processes.replaced({service: environment}, f"avec {', '.join(settings)}"):
            yield

    return around


@asynccontextmanager
async def gateways_through_proxy(scene: Scene) -> AsyncGenerator[None]:
    """The load's gateways, on Semtech UDP, reach the bridge by a proxy."""
    run = scene.processes.run
    async with open_udp_proxy(run.udp_host, run.udp_port) as proxy:
        scene.proxies["udp"] = proxy
        for gateway in scene.load.gateways:
            gateway.turn_to(("127.0.0.1", proxy.port))
        try:
            yield
        finally:
            for gateway in scene.load.gateways:
                gateway.turn_to((run.udp_host, run.udp_port))


@asynccontextmanager
async def fleet_through_proxies(scene: Scene) -> AsyncGenerator[None]:
    """A few devices beside the load, whose gateways reach bridge and broker by proxies."""
    run = scene.processes.run
    async with AsyncExitStack() as opened:
        station = await opened.enter_async_context(open_proxy(run.station_url))
        mqtt = await opened.enter_async_context(open_proxy(run.mqtt_url))
        scene.proxies |= {"station": station, "mqtt": mqtt}
        by_proxies = replace(run, station_url=station.url_of(run.station_url), mqtt_url=mqtt.url_of(run.mqtt_url))
        await opened.enter_async_context(fly_fleet(scene, "proxy", by_proxies, one_way))
        yield


def one_way(fleet: Fleet) -> None:
    """Each device is received by one gateway alone.

    Of two ways, what comes late by one is behind what came by the other, and is rightly refused as a replay.
    """
    for device in fleet.devices:
        device.links = device.links[:1]


def spoil(*servers: str) -> Act:
    """The way to each of these servers is late by 200 ms for a while, then silent, reset, and cut in a message."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        for server in servers:
            await _spoil(scene, scene.proxies[server], server, scene.lasting_s / len(servers))

    return act


async def _spoil(scene: Scene, proxy: Proxy, server: str, whole_s: float) -> None:
    pause_s = whole_s * PAUSE_SHARE
    proxy.delay_s = DELAY_S
    try:
        await asyncio.sleep(whole_s * LATE_SHARE)
    finally:
        proxy.delay_s = 0.0
    scene.recover_from(f"{server} en retard de 200 ms")
    await asyncio.sleep(pause_s)
    proxy.cut()
    try:
        record_loss(scene, server)
        await asyncio.sleep(whole_s * SILENT_SHARE)
    finally:
        proxy.mend()
    scene.recover_from(f"{server} muet {whole_s * SILENT_SHARE:.0f} s")
    await asyncio.sleep(pause_s)
    record_return(scene, server)
    for fault, strike in (("coupé net", proxy.reset), ("coupé au milieu d'un message", proxy.pass_half)):
        for _ in range(STRIKES):
            record_loss(scene, server)
            strike()
            await asyncio.sleep(pause_s / STRIKES)
        scene.recover_from(f"{server} {fault}")
        await asyncio.sleep(pause_s)
        record_return(scene, server)


def gateways_behind(scene: Scene, server: str) -> list[Gateway]:
    """The gateways whose frames are lost when this way is: by MQTT they are published until acknowledged."""
    if server == "udp":
        return list(scene.load.gateways)
    of_fleets = [gateway for fleet in scene.fleets for gateway in fleet.gateways]
    return [one for one in of_fleets if server == "station" and isinstance(one, StationGateway)]


def record_loss(scene: Scene, server: str) -> None:
    """What goes to the bridge from now on was never ours, until a gateway is answered: none repeats it."""
    behind = frozenset(bytes(one.gateway_id) for one in gateways_behind(scene, server))
    if behind:
        at_us = now_us()
        scene.kills.append(Kill(at_us, behind, at_us + UNDER_WAY_US))


def record_return(scene: Scene, server: str) -> None:
    """A station whose connection has outlived the fault is not told that it is over."""
    for one in gateways_behind(scene, server):
        if isinstance(one, StationGateway) and one.is_connected:
            one.uptime.record_answer()
