"""The frontend for LoRa Basics Station: one WebSocket per gateway. The wire format is `lorawan.gateway`'s."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from core.messages.claims import Claim
from core.model.entities import Gateway
from core.runtime.clock import wall_clock_us
from core.runtime.token_bucket import TokenBucket
from gateways.basics_station_frames import Unfit, fell_back, frame_of, schedule_of, stats_of
from gateways.frontend import INTERNAL_ERROR, NO_ACK, OK, ChosenTransmission, FrameSink
from gateways.gateway_times import RoundTrip
from gateways.known_gateways import Gateways, LastSeen
from gateways.paths import Paths
from gateways.settings import FrontendSettings
from gateways.station_credentials import Credential, StationCredentials
from gateways.station_server import StationServer
from gateways.telemetry import DATAGRAMS, FRAMES, ROUND_TRIP_SECONDS
from lorawan.gateway.basics_station import (
    MalformedMessage,
    StationUplink,
    TimeSync,
    Transmitted,
    Unused,
    Version,
    parse_message,
    round_trip_us,
)
from lorawan.gateway.basics_station_answers import ClassA, ClassC, dnmsg, timesync_answer
from lorawan.gateway.basics_station_config import router_config
from lorawan.identifiers import GatewayId
from lorawan.radiated_power import station_max_eirp
from lorawan.regions import EU868, REGIONS, Region

NAME = "basics_station"
# Seconds between two pings, and for the pong: together less than a path's timeout.
PING_EVERY_S = 25.0
PONG_WITHIN_S = 20.0
VERSION_WITHIN_S = 30.0
NOT_THE_OWNER = 1008
# Two boards of eight demodulators receive at most so many of the shortest frames.
MESSAGES_PER_SECOND = 500
MESSAGES_AT_ONCE = 1_000
MAX_UNKNOWN = 200
TRY_AGAIN_LATER = 1013
DOWNLINK_IDS = 1 << 31
# After the last window that a station was offered: its dntxed comes 5 ms after the start, over a mobile network.
SILENT_AFTER_S = 1.0
# When RX1 alone was offered, early enough that another gateway, or this one, may still serve RX2.
SILENT_AFTER_RX1_S = 0.5
# A station tries an immediate frame ten times in a second before it gives it up.
SILENT_AFTER_IMMEDIATE_S = 3.0

_KINDS = frozenset({"updf", "jreq", "propdf", "dntxed", "timesync", "version"})
_UNKNOWN_FRAME = FRAMES.labels("unknown_gateway")
_BAD_RATE = FRAMES.labels("rejected_modulation")

log = structlog.get_logger()


class _Setup(NamedTuple):
    """What a station is configured with."""

    region: str
    boards: int
    max_eirp: int | None


@dataclass(slots=True, eq=False)
class _Link:
    """One connection of one gateway. `setup` is what it was configured for, None before."""

    gateway_id: GatewayId
    connection: ServerConnection
    claim: Claim
    credential: Credential
    bucket: TokenBucket
    opened_at: float
    setup: _Setup | None = None
    round_trip: RoundTrip = field(default_factory=RoundTrip)

    @property
    def address(self) -> str:
        """Where the station speaks from."""
        return self.claim.address


class BasicsStation:
    """A station that connects takes the place of its former connection, which may be dead without knowing it.

    Only the gateway's owner does (`gateways.paths`): the same credential, or without one the same address.
    """

    name = NAME
    answers_at_once = False
    """False: a dntxed comes with the transmission, so that round trips are measured by pings."""

    def __init__(
        self, settings: FrontendSettings, sink: FrameSink, gateways: Gateways, last_seen: LastSeen, paths: Paths
    ) -> None:
        self._credentials = StationCredentials(settings, gateways)
        self.server = StationServer(settings, self._credentials, self._talk, self._discovered, self.turned_away)
        self._sink = sink
        self._registered = gateways
        self._sightings = last_seen
        self._paths = paths
        self._links: dict[GatewayId, _Link] = {}
        self._asked: dict[tuple[GatewayId, int], asyncio.Future[Transmitted]] = {}
        self._next_diid = random.randrange(1, DOWNLINK_IDS)  # noqa: S311 - Apart from a former process's.
        self._loop = asyncio.get_running_loop()

    def round_trip_us(self, gateway_id: GatewayId) -> int | None:
        """The round trip as its connection's pings measured it."""
        link = self._links.get(gateway_id)
        return None if link is None else link.round_trip.worst_us

    def registered(self) -> None:
        """Apply a registry change: gateways that are ours now become reachable, changed ones connect anew."""
        for link in list(self._links.values()):
            if not self._credentials.still_holds(link.gateway_id, link.credential):
                self._end_unproved(link)
            elif link.setup is not None and link.setup != self._setup_of(link.gateway_id):
                link.connection.transport.abort()  # It is back within a second, and gets its new configuration.
            elif link.setup is not None and link.gateway_id in self._registered:
                self._claim(link)

    def _seen(self, gateway_id: GatewayId, address: str, stats: dict[str, Any] | None = None) -> bool:
        return self._sightings.record_seen(gateway_id, NAME, address, stats)

    def _discovered(self, gateway_id: GatewayId, address: str) -> bool:
        """A station asks where to go: no sign of life of a registered one, whose connection will be."""
        return gateway_id in self._registered or self._seen(gateway_id, address)

    def turned_away(self, gateway_id: GatewayId, address: str) -> None:
        """Who cannot prove to be a registered gateway is listed."""
        if gateway_id in self._registered:
            owner = self._paths.owner_of(gateway_id)
            self._sightings.reject_address(gateway_id, NAME, "" if owner is None else owner.address, address)

    def _end_unproved(self, link: _Link) -> None:
        DATAGRAMS.labels("station_connection", "withdrawn").inc()
        log.info("station_credential_ended", gw_eui=link.gateway_id.hex(), address=link.address)
        link.connection.transport.abort()

    def _region(self, gateway_id: GatewayId) -> Region:
        return REGIONS[self._setup_of(gateway_id).region]

    def _setup_of(self, gateway_id: GatewayId) -> _Setup:
        gateway: Gateway | None = self._registered.get(gateway_id)
        if gateway is None:
            return _Setup(EU868.name, 1, None)
        region = REGIONS.get(gateway.region, EU868)
        max_eirp = station_max_eirp(
            min(band.eirp for band in region.sub_bands),
            gateway.antenna_gain,
            gateway.gain_subtracted_by,
            gateway.max_eirp,
        )
        return _Setup(region.name, gateway.boards, max_eirp)

    # --- One connection ------------------------------------------------------------------------------

    async def _talk(self, gateway_id: GatewayId, connection: ServerConnection, credential: Credential) -> None:
        """Handle the messages of a station until its connection ends."""
        now = self._loop.time()
        bucket = TokenBucket.full(MESSAGES_PER_SECOND, MESSAGES_AT_ONCE, now)
        claim = Claim(NAME, self.server.address_of(connection), credential.is_proved)
        link = _Link(gateway_id, connection, claim, credential, bucket, now)
        owner = self._owner_against(link)
        if owner is not None:
            self._reject(link, owner)
            await connection.close(NOT_THE_OWNER)
            return
        known = self._seen(gateway_id, link.address) or gateway_id in self._links
        if not known and self._unknown_gateways() >= MAX_UNKNOWN:
            DATAGRAMS.labels("station_connection", "too_many_gateways").inc()
            await connection.close(TRY_AGAIN_LATER)
            return
        if credential.is_proved:
            self._sightings.record_proof(gateway_id, credential.token)
        self._take_over(link)
        keeping = asyncio.create_task(self._keep_alive(link), name=f"keep station {gateway_id.hex()} alive")
        try:
            async for message in connection:
                answer = self._handle_message(link, message, wall_clock_us())
                if answer is not None:
                    await connection.send(answer)
        finally:
            keeping.cancel()
            self._gone(link)

    def _unknown_gateways(self) -> int:
        return sum(gateway_id not in self._registered for gateway_id in self._links)

    def _take_over(self, link: _Link) -> None:
        former = self._links.get(link.gateway_id)
        self._links[link.gateway_id] = link
        if former is None:
            return
        log.info("station_taken_over", gw_eui=link.gateway_id.hex(), former=former.address, now=link.address)
        former.connection.transport.abort()

    def _gone(self, link: _Link) -> None:
        if self._links.get(link.gateway_id) is not link:
            return
        del self._links[link.gateway_id]
        if self._paths.frontend_of(link.gateway_id) == NAME:  # It is not at another replica already.
            self._seen(link.gateway_id, link.address, {"online": False})
            self._paths.lost_soon(link.gateway_id)

    async def _keep_alive(self, link: _Link) -> None:
        """Ping the station, which also measures its round trip; end a connection without a pong."""
        while True:
            try:
                async with asyncio.timeout(PONG_WITHIN_S):
                    latency_s = await (await link.connection.ping())
            except TimeoutError:
                log.warning("station_silent", gw_eui=link.gateway_id.hex(), address=link.address)
                link.connection.transport.abort()
                return
            except ConnectionClosed:
                return
            if link.setup is None and self._loop.time() - link.opened_at > VERSION_WITHIN_S:
                DATAGRAMS.labels("station_version", "missing").inc()
                link.connection.transport.abort()
                return
            if not self._credentials.still_holds(link.gateway_id, link.credential):
                self._end_unproved(link)
                return
            self._measured(link, round(latency_s * 1e6))
            self._alive(link)
            await asyncio.sleep(PING_EVERY_S)

    def _measured(self, link: _Link, sample_us: int) -> None:
        ROUND_TRIP_SECONDS.observe(sample_us / 1e6)
        link.round_trip.record_sample(sample_us)

    def _alive(self, link: _Link, stats: dict[str, Any] | None = None) -> bool:
        """Record a sign of life; whether the gateway is registered. Its path is open once it is configured."""
        noted = {"online": True} | (stats or {})
        if link.round_trip.median_us is not None:
            noted["rtt_ms"] = round(link.round_trip.median_us / 1000)
        known = self._seen(link.gateway_id, link.address, noted)
        if known and link.setup is not None and self._links.get(link.gateway_id) is link:
            self._claim(link)
        return known

    # --- Whose the gateway is ------------------------------------------------------------------------

    def _owner_against(self, link: _Link) -> Claim | None:
        """The owner of a registered gateway that this connection may not replace."""
        if link.gateway_id not in self._registered:
            return None
        return self._paths.owner_against(link.gateway_id, link.claim)

    def _claim(self, link: _Link) -> None:
        """Keep the gateway's path; a connection that is not its owner's ends."""
        owner = self._paths.alive(link.gateway_id, link.claim)
        if owner is not None:
            self._reject(link, owner)
            link.connection.transport.abort()

    def _reject(self, link: _Link, owner: Claim) -> None:
        DATAGRAMS.labels("station_connection", "not_the_owner").inc()
        self._sightings.reject_address(link.gateway_id, NAME, owner.address, link.address)

    def rejected(self, gateway_id: GatewayId, claim: Claim) -> None:
        """Another replica holds on to the gateway: a connection with this claim is a stranger's."""
        link = self._links.get(gateway_id)
        if link is not None and link.claim == claim:
            link.connection.transport.abort()

    # --- From the station ----------------------------------------------------------------------------

    def _handle_message(self, link: _Link, message: str | bytes, received_at_us: int) -> str | None:
        """Act on a message of any kind; returns the answer, if there is one."""
        if not link.bucket.take_token(self._loop.time()):
            DATAGRAMS.labels("station_other", "rate_limited").inc()
            return None
        if isinstance(message, bytes):  # Of the remote shell, which we never open.
            DATAGRAMS.labels("station_other", "not_used").inc()
            return None
        try:
            said = parse_message(message)
        except MalformedMessage as malformed:
            kind = malformed.msgtype if malformed.msgtype in _KINDS else "other"
            DATAGRAMS.labels(f"station_{kind}", "malformed").inc()
            log.debug("station_message_malformed", error=str(malformed), gw_eui=link.gateway_id.hex())
            return None
        match said:
            case StationUplink():
                self._receive_uplink(link, said, received_at_us)
            case Transmitted():
                self._transmitted(link, said)
            case TimeSync():
                DATAGRAMS.labels("station_timesync", "ok").inc()
                return timesync_answer(said, wall_clock_us())
            case Version():
                return self._configure(link, said)
            case Unused():
                DATAGRAMS.labels("station_other", "not_used").inc()
        return None

    def _configure(self, link: _Link, version: Version) -> str:
        setup = link.setup = self._setup_of(link.gateway_id)
        DATAGRAMS.labels("station_version", "ok").inc()
        log.info(
            "station_configured",
            gw_eui=link.gateway_id.hex(),
            station=version.station,
            model=version.model,
            boards=setup.boards,
            max_eirp=setup.max_eirp,
        )
        self._alive(link, stats_of(version))
        return router_config(
            REGIONS[setup.region],
            wall_clock_us(),
            boards=setup.boards,
            unlimited=not version.is_production,
            max_eirp=setup.max_eirp,
        )

    def _receive_uplink(self, link: _Link, uplink: StationUplink, received_at_us: int) -> None:
        sample_us = round_trip_us(uplink.ref_time_us, received_at_us)
        if sample_us is not None:
            self._measured(link, sample_us)
        if not self._alive(link):
            DATAGRAMS.labels(f"station_{uplink.msgtype}", "unknown_gateway").inc()
            _UNKNOWN_FRAME.inc()
            return
        DATAGRAMS.labels(f"station_{uplink.msgtype}", "ok").inc()
        far_us = link.round_trip.worst_us or 0
        frame = frame_of(uplink, link.gateway_id, self._region(link.gateway_id), received_at_us, far_us)
        if frame is None:
            _BAD_RATE.inc()
            return
        self._sink.submit_frame(frame)

    def _transmitted(self, link: _Link, transmitted: Transmitted) -> None:
        asked = self._asked.get((link.gateway_id, transmitted.diid))
        if asked is None or asked.done():
            DATAGRAMS.labels("station_dntxed", "unexpected").inc()
            return
        DATAGRAMS.labels("station_dntxed", "ok").inc()
        asked.set_result(transmitted)

    # --- To the station ------------------------------------------------------------------------------

    async def transmit(self, radio_request: ChosenTransmission) -> str:
        """Transmit one frame in the one way that was chosen."""
        status, _ = await self.transmit_in_windows([radio_request])
        return status

    async def transmit_in_windows(self, radio_requests: Sequence[ChosenTransmission]) -> tuple[str, int]:
        """Send dnmsg and wait for the dntxed with its diid; a station does not report a frame that it drops."""
        gateway_id = radio_requests[0].gateway_id
        link = self._links.get(gateway_id)
        if link is None or link.setup is None:
            return INTERNAL_ERROR, 0
        try:
            when, rctx = schedule_of(radio_requests, self._region(gateway_id))
        except Unfit as unfit:
            log.warning("downlink_not_sent", gw_eui=gateway_id.hex(), error=str(unfit))
            return INTERNAL_ERROR, 0
        diid, self._next_diid = self._next_diid, self._next_diid % (DOWNLINK_IDS - 1) + 1
        message = dnmsg(diid, radio_requests[0].transmission.phy_payload, when, rctx, wall_clock_us())
        answered: asyncio.Future[Transmitted] = self._loop.create_future()
        # By gateway, not by connection: a station that lost this one answers on its next.
        self._asked[gateway_id, diid] = answered
        try:
            async with asyncio.timeout(_patience_s(radio_requests, when, link.round_trip.worst_us or 0)):
                await link.connection.send(message)
                transmitted = await answered
        except (TimeoutError, ConnectionClosed) as silence:
            DATAGRAMS.labels("station_dntxed", "missing").inc()
            log.warning("downlink_unanswered", gw_eui=gateway_id.hex(), error=str(silence) or "no dntxed came")
            return NO_ACK, 0
        finally:
            del self._asked[gateway_id, diid]
        return OK, int(fell_back(transmitted, when))


def _patience_s(radio_requests: Sequence[ChosenTransmission], when: ClassA | ClassC, round_trip_us: int) -> float:
    """How long a dntxed is waited for, in seconds; a later one could not be used."""
    if isinstance(when, ClassC):
        return SILENT_AFTER_IMMEDIATE_S
    until_last_window_s = (radio_requests[-1].starts_at_us - wall_clock_us()) / 1e6
    margin_s = SILENT_AFTER_S if when.rx2 is not None else SILENT_AFTER_RX1_S
    return max(0.0, until_last_window_s) + margin_s + round_trip_us / 1e6
