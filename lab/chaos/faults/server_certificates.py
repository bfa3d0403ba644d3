"""The certificate of a server that encrypts ends while services are connected; then it gets another authority.

Services come to it by a proxy, and believe whom one file names.
"""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from msgspec.structs import replace

from lab.certificates import Authority
from lab.chaos.case import Around
from lab.chaos.faults.proxied import one_way
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.chaos.stack.proxy import LOOPBACK, open_proxy
from lab.chaos.stack.secured import AUTHORITY, SERVERS, Certified, sign
from lab.chaos.witnesses.application import open_application
from lab.chaos.witnesses.fleet import fly_fleet
from services.supervisor.home import Home
from services.supervisor.stack import Stack

# Longer than services take to come back by it; then they stay connected for a while beyond its end.
LIVES, LAST_LOOK_S, BEYOND_S = timedelta(seconds=25), 3.0, 4.0
# A connection that is older than a handshake has believed what it was shown.
BELIEVED_AFTER_S = 5.0
LEAST_REFUSED_S, BACK_WITHIN_S, LOOKED_AT_EVERY_S = 10.0, 60.0, 0.2


def certified(server: str, settings: Mapping[str, str]) -> Around:
    """These services, each by the name of the setting that says where the server is, reach it by TLS alone."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        processes, (begin, *form) = scene.processes, SERVERS[server]
        async with AsyncExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="territoire-certificate-")))
            authority = await asyncio.to_thread(_authority, folder)
            stack = Stack.running(Home(Path(processes.run.home)))
            secured = await begin(processes, stack, *sign(authority))
            opened.push_async_callback(secured.end)
            proxy = await opened.enter_async_context(open_proxy(f"//{LOOPBACK}:{secured.port}"))
            scene.certified = Certified(folder, proxy, secured, authority, (form[0], form[1]))
            by_tls = {
                service: {name: scene.certified.url_of(processes.setting(service, name))}
                for service, name in settings.items()
            }
            async with processes.replaced(by_tls, "en TLS"):
                try:
                    yield
                finally:
                    await secured.end()  # Before the services come back as they were.

    return around


@asynccontextmanager
async def with_certified_broker(scene: Scene) -> AsyncGenerator[None]:
    """The bridge, who makes accounts, gateways and an application reach the broker by TLS alone.

    Raises:
        CaseFailed: an uplink is stored, and its event never came to the application.
    """
    settings = {"gateway_bridge": "TERRITOIRE_MQTT_URL", "intake": "TERRITOIRE_MQTT_ACCOUNTS_URL"}
    async with certified("mqtt", settings)(scene):
        assert scene.certified is not None
        by_tls = replace(scene.processes.run, mqtt_url=scene.certified.url_of(scene.processes.run.mqtt_url))
        async with (
            fly_fleet(scene, "certificate", by_tls, one_way) as flown,
            open_application(scene, flown, scene.certified) as application,
        ):
            yield
            flown.fleet.silent.set()
            missing = await application.missing(scene.pool)
            came = application.came
            scene.notes.append(f"{len(came)} événements, {came.total() - len(came)} répétés")
    if missing or not came:
        raise CaseFailed(f"{missing} trames enregistrées dont l'application n'a rien reçu, {len(came)} reçues")


def _authority(folder: Path) -> Authority:
    folder.chmod(0o755)  # PostgreSQL's account walks through.
    return Authority(folder, AUTHORITY)


async def let_certificate_end(scene: Scene) -> None:
    """Who is connected stays so when it ends, nobody comes in by it, and one of another authority lets all in.

    Raises:
        CaseFailed: somebody was thrown out, believed what has ended, or was not back within a minute.
    """
    await scene.lead()
    certified = scene.certified
    assert certified is not None
    proxy, ends = certified.proxy, time.monotonic() + LIVES.total_seconds()
    await certified.sign(LIVES)
    proxy.reset()
    await asyncio.sleep(max(0.0, ends - LAST_LOOK_S - time.monotonic()))
    connected = proxy.held(BELIEVED_AFTER_S)
    await asyncio.sleep(max(0.0, ends + BEYOND_S - time.monotonic()))
    kept = connected & proxy.held(0.0)
    found = [] if kept else ["personne n'est resté connecté au-delà de la fin du certificat"]
    before = proxy.accepted
    proxy.reset()
    await asyncio.sleep(max(LEAST_REFUSED_S, scene.lasting_s / 3))
    refused, believed = proxy.accepted - before, len(proxy.held(BELIEVED_AFTER_S))
    found += [f"{believed} connexions par un certificat échu"] if believed else []
    found += [] if refused else ["personne n'a essayé de revenir"]
    await certified.replace_authority()
    scene.recover_from("certificat renouvelé, d'une autre autorité")
    began = time.monotonic()
    await scene.processes.require_ready(BACK_WITHIN_S, "avec un certificat renouvelé")
    while not proxy.held(BELIEVED_AFTER_S) and time.monotonic() - began < BACK_WITHIN_S:  # noqa: ASYNC110
        await asyncio.sleep(LOOKED_AT_EVERY_S)
    found += [] if proxy.held(BELIEVED_AFTER_S) else ["personne n'est revenu par le certificat renouvelé"]
    scene.notes.append(
        f"{len(kept)} connexions sur {len(connected)} restées au-delà de la fin, {refused} essais refusés, "
        f"tous revenus en {time.monotonic() - began:.0f} s"
    )
    if found:
        raise CaseFailed("; ".join(found))
