"""The gateway bridge put together: open, start, wait, drain, close."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from core.messages.claims import Claim
from core.runtime.health import Check
from core.runtime.listen_fds import take_handed
from gateways.basics_station import BasicsStation
from gateways.batcher import Batcher
from gateways.chirpstack_feed import ChirpStackFeed
from gateways.chirpstack_mqtt import ChirpStackMqtt
from gateways.cups_server import CupsServer
from gateways.frontend import Frontend
from gateways.gateway_activity import Activity
from gateways.gateway_status import show_gateways
from gateways.gateway_times import RoundTrips
from gateways.known_gateways import Gateways, LastSeen
from gateways.paths import Paths
from gateways.radio import Radios
from gateways.semtech_udp import NAME as UDP
from gateways.semtech_udp import SemtechUdp
from gateways.telemetry import SOCKET_DROPS
from gateways.transmission_store import Statuses
from gateways.transmitter import Transmitter
from gateways.udp_socket import KeptSocket, handed_socket
from lorawan.identifiers import GatewayId
from registry.changes import Change, RegistryWatcher
from registry.gateways import read_last_frontends
from registry.outages import keep_beating
from registry.service import OpenedService, open_service
from services.gateway_bridge.settings import Settings

FINISH_WITHIN_S = 2.5
# Who restarts us shall not inherit the gateways that were seen so long ago.
REMEMBERED_S = 3600.0

log = structlog.get_logger()


@dataclass(slots=True)
class Bridge:
    """Everything that runs, and what tests want to look at."""

    gateways: Gateways
    last_seen: LastSeen
    activity: Activity
    statuses: Statuses
    batcher: Batcher
    paths: Paths
    radios: Radios
    transmitter: Transmitter
    udp: SemtechUdp
    mqtt: ChirpStackMqtt | None
    stations: BasicsStation | None
    cups: CupsServer | None
    feed: ChirpStackFeed | None

    async def apply(self, changes: list[Change]) -> None:
        """Take a change of the registry over; a gateway that is ours from now on is reachable at once."""
        await self.gateways.apply(changes)
        self.udp.registered(self.gateways.ids())
        if self.stations is not None:
            self.stations.registered()

    def path_gone(self, gateway_id: GatewayId) -> None:
        """Forget the radio of a gateway whose path we no longer hold."""
        self.radios.forget(gateway_id)

    def claim_rejected(self, gateway_id: GatewayId, claim: Claim, owner: Claim) -> None:
        """Another replica has the gateway: record who spoke here in its name, and listen to them no more."""
        self.last_seen.reject_address(gateway_id, claim.frontend, owner.address, claim.address)
        if self.stations is not None:
            self.stations.rejected(gateway_id, claim)


async def build(settings: Settings, service: OpenedService) -> Bridge:
    """Put the parts together; nothing is received yet."""
    pool, bus = service.pool, service.bus
    gateways = Gateways(pool)
    last_seen = LastSeen(pool, gateways)
    statuses = Statuses(pool)
    round_trips = RoundTrips()
    await round_trips.load(pool)
    radios = Radios(pool, statuses, round_trips)
    batcher = Batcher(bus, service.shards)
    feed = None if settings.chirpstack_url is None else ChirpStackFeed(settings, gateways, batcher)
    activity = Activity(pool, gateways, feed or batcher)
    transmitter = Transmitter(gateways, radios, activity)
    silences = {UDP: settings.udp_address_lock_s}
    paths = Paths(
        bus, settings.instance, transmitter.transmit, silences=silences, needs_proof=gateways.needs_proof
    )
    udp = SemtechUdp(settings, activity, gateways, last_seen, paths, round_trips)
    mqtt = None
    if settings.mqtt_url is not None:
        accounts = settings.mqtt_accounts
        mqtt = ChirpStackMqtt(
            settings, accounts, settings.mqtt_prefixes, activity, gateways, last_seen, paths, round_trips
        )
    stations = None
    if settings.station_port is not None:
        stations = BasicsStation(settings, activity, gateways, last_seen, paths)
    cups = None
    if stations is not None and settings.cups_port is not None:
        cups = CupsServer(settings, pool, bus, gateways, stations.turned_away)
    opened: tuple[Frontend | None, ...] = (udp, mqtt, stations)
    frontends: Mapping[str, Frontend] = {frontend.name: frontend for frontend in opened if frontend is not None}
    transmitter.attach(paths, frontends)
    return Bridge(
        gateways,
        last_seen,
        activity,
        statuses,
        batcher,
        paths,
        radios,
        transmitter,
        udp,
        mqtt,
        stations,
        cups,
        feed,
    )


def checks(bridge: Bridge) -> dict[str, Check]:
    """What /readyz asks beside the database and the bus."""

    async def udp_is_open() -> str | None:
        return None if bridge.udp.is_open else "not listening"

    async def mqtt_is_connected() -> str | None:
        return None if bridge.mqtt is None or bridge.mqtt.edge.is_connected else bridge.mqtt.edge.problem

    async def stations_are_awaited() -> str | None:
        return None if bridge.stations is None or bridge.stations.server.is_open else "not listening"

    async def cups_is_open() -> str | None:
        return None if bridge.cups is None or bridge.cups.is_open else "not listening"

    found: dict[str, Check] = {"udp": udp_is_open}
    found |= {"cups": cups_is_open} if bridge.cups else {}
    found |= {"mqtt": mqtt_is_connected} if bridge.mqtt else {}
    return found | ({"stations": stations_are_awaited} if bridge.stations else {})


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve gateways until `stopping` is set."""
    bus_name = f"gateway_bridge {settings.instance}"
    handed = handed_socket(take_handed(), settings.udp_host, settings.udp_port)
    if handed is not None:
        SOCKET_DROPS.inc(handed.dropped)  # Before it is read: it goes on where that of the bridge before us was.
    async with open_service("gateway_bridge", settings, bus_name=bus_name) as service:
        bridge = await build(settings, service)
        watcher = RegistryWatcher(service.pool, service.bus, bridge.apply)
        await bridge.gateways.load()
        bridge.paths.remember(
            (GatewayId(gateway_id), Claim(frontend, address))
            for gateway_id, frontend, address in await read_last_frontends(service.pool, REMEMBERED_S)
        )
        service.is_ready(checks(bridge))
        await serve(settings, service, bridge, watcher, stopping, handed)


async def serve(
    settings: Settings,
    service: OpenedService,
    bridge: Bridge,
    watcher: RegistryWatcher,
    stopping: asyncio.Event,
    handed: KeptSocket | None = None,
) -> None:
    """Receive until `stopping` is set, and what still comes then; flush it; say goodbye to the brokers last.

    What comes to a socket that was handed to us waits for whoever has it next.
    """
    async with asyncio.TaskGroup() as tasks:
        publishing = tasks.create_task(bridge.batcher.run(), name="publish frames")
        background = [
            tasks.create_task(watcher.watch(), name="watch the registry"),
            tasks.create_task(bridge.last_seen.run(), name="save last seen"),
            tasks.create_task(bridge.statuses.run(), name="save statuses"),
            tasks.create_task(bridge.activity.run(), name="save activity"),
            tasks.create_task(keep_beating(service.pool, "bridge"), name="leave signs of life"),
            tasks.create_task(show_gateways(bridge.gateways, bridge.paths, bridge.radios), name="show gateways"),
        ]
        holding = tasks.create_task(
            bridge.paths.run(bridge.path_gone, bridge.claim_rejected), name="hold downlink paths"
        )
        await bridge.udp.open(settings.udp_host, settings.udp_port, settings.udp_receive_buffer, handed)
        background.append(tasks.create_task(bridge.udp.watch_drops(), name="watch socket drops"))
        if bridge.stations is not None:
            await bridge.stations.server.open()
            background.append(tasks.create_task(bridge.stations.server.renew(), name="renew certificates"))
        if bridge.cups is not None and settings.cups_port is not None:
            background.append(tasks.create_task(bridge.cups.run(settings.cups_port), name="serve station updates"))
        receiving = None
        if bridge.mqtt is not None:
            background.append(tasks.create_task(bridge.mqtt.keep_connected(), name="keep MQTT connected"))
            receiving = tasks.create_task(bridge.mqtt.receive(), name="receive MQTT events")
        if bridge.feed is not None:
            feeding = bridge.feed.run(bridge.paths, bridge.transmitter.transmit)
            background.append(tasks.create_task(feeding, name="feed ChirpStack"))
        await stopping.wait()
        service.is_stopping()
        if handed is None:
            await bridge.udp.read_on(settings.udp_read_on_s)
        if bridge.feed is not None:
            await bridge.feed.publish_offline()
        holding.cancel()  # No new request; the gateways' answers to the last ones are still read.
        await bridge.transmitter.finish(FINISH_WITHIN_S)
        bridge.udp.close()
        if bridge.stations is not None:
            await bridge.stations.server.close()
        if receiving is not None:
            receiving.cancel()
        bridge.batcher.close()
        await publishing
        for task in background:
            task.cancel()
    await bridge.last_seen.save()
    await bridge.statuses.save()
    await bridge.activity.save()
