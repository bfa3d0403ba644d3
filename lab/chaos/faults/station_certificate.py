"""The certificate that stations are shown ends while they are connected, and is renewed a while later."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from lab.certificates import Authority
from lab.chaos.faults.proxied import one_way, record_loss
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.chaos.stack.proxy import open_proxy
from lab.chaos.witnesses.fleet import fly_fleet
from lab.gateway.station import StationGateway
from lab.simulator.driver import Fleet

NAME = "stations"
BACK_WITHIN_S, LOOKED_AT_EVERY_S = 60.0, 0.2
# The bridge looks at its files every five seconds.
LIVES, ENDS_WITHIN_S = timedelta(seconds=9), 10.0


@asynccontextmanager
async def with_certified_stations(scene: Scene) -> AsyncGenerator[None]:
    """Stations that believe one authority alone reach the bridge on wss, which has a certificate of it."""
    processes = scene.processes
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="territoire-certificate-")))
        authority = scene.authority = Authority(folder)
        certificate, key = authority.sign(NAME)
        secured = {"TERRITOIRE_STATION_CERTIFICATE": str(certificate), "TERRITOIRE_STATION_KEY": str(key)}
        run = processes.run
        address = urlsplit(run.station_url)
        proxy = await opened.enter_async_context(open_proxy(run.station_url))
        scene.proxies["station"] = proxy

        def believe(fleet: Fleet) -> None:
            one_way(fleet)
            for station in stations_of(fleet):
                station.tls = authority.trusting

        await opened.enter_async_context(processes.replaced({"gateway_bridge": secured}, "avec un certificat"))
        by_tls = replace(run, station_url=proxy.url_of(address._replace(scheme="wss").geturl()))
        async with fly_fleet(scene, "certificate", by_tls, believe):
            yield


def stations_of(fleet: Fleet) -> list[StationGateway]:
    """Its gateways that speak Basics Station."""
    return [gateway for gateway in fleet.gateways if isinstance(gateway, StationGateway)]


async def end_and_renew(scene: Scene) -> None:
    """What is connected stays so when the certificate ends; who comes back is let in once it is renewed.

    Raises:
        CaseFailed: an ended certificate was believed, or a renewed one was not within a minute.
    """
    await scene.lead()
    assert scene.authority is not None
    stations = [station for fleet in scene.fleets for station in stations_of(fleet)]
    await _until_connected(stations, BACK_WITHIN_S)
    await asyncio.to_thread(scene.authority.sign, NAME, LIVES)
    await asyncio.sleep(ENDS_WITHIN_S)
    found = [] if all(one.is_connected for one in stations) else ["des stations connectées ont été renvoyées"]
    record_loss(scene, "station")
    scene.proxies["station"].reset()
    await asyncio.sleep(scene.lasting_s / 2)
    believed = sum(one.is_connected for one in stations)
    found += [f"{believed} stations croient un certificat échu"] if believed else []
    await asyncio.to_thread(scene.authority.sign, NAME)
    scene.recover_from("certificat renouvelé")
    began = time.monotonic()
    back = await _until_connected(stations, BACK_WITHIN_S)
    scene.notes.append(f"{back} stations sur {len(stations)} revenues en {time.monotonic() - began:.1f} s")
    found += [f"{len(stations) - back} stations ne sont pas revenues"] if back < len(stations) else []
    if found:
        raise CaseFailed("; ".join(found))


async def _until_connected(stations: list[StationGateway], within_s: float) -> int:
    """How many are, once all are or the time is over."""
    deadline = time.monotonic() + within_s
    while True:
        connected = sum(one.is_connected for one in stations)
        if connected == len(stations) or time.monotonic() > deadline:
            return connected
        await asyncio.sleep(LOOKED_AT_EVERY_S)
