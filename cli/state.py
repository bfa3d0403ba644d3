"""Collects the state of a running stack from its processes, database, bus and disk."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from cli.backup import newest_backup
from cli.database_report import WITHIN_S, read_database
from cli.place import Place
from cli.report import asked, problem_of, readiness
from core import VERSION
from core.messages import topics
from core.messages.permissions import OWNER
from core.runtime.bus import BUS_AWAY, connect_bus
from core.runtime.bus_connection import NoJetStream, bus_reason, waiting_for_bus
from core.runtime.settings import WrongSetting
from registry.rights import LOGINS
from registry.schema import migrations
from services.supervisor.run_info import RunInfo

# Long enough for a pilot's rate to be a number, short enough for somebody who waits.
SAMPLED_S = 2.0
SERVER_OF = {"TERRITOIRE_DATABASE_URL": "database", "TERRITOIRE_NATS_URL": "bus"}
HEARD = "territoire_gateway_bridge_uplinks_total"
STORED = "territoire_ingest_uplinks_total"


class Service(msgspec.Struct, frozen=True):
    """One process. `problem` says why it is not ready, in its own words."""

    name: str
    ready: bool
    pid: int | None
    restarts: int
    problem: str | None = None


class Database(msgspec.Struct, frozen=True):
    """What is in the database; times are ISO 8601."""

    postgresql: str
    timescaledb: str | None
    schema: int
    schema_wanted: int
    octets: int
    devices: int
    last_uplink_at: datetime | None
    gateways_registered: int
    gateways_online: int
    gateways_never_heard: int
    alerts_open: dict[str, int]
    stations_unproved: int = 0
    """Stations of before without a token or a certificate, and until when the first of them is received."""
    stations_unproved_until: datetime | None = None
    classes_unconfirmed: int = 0
    """Dwellings and meters of before that would be of class 2 if they were new."""


class Stream(msgspec.Struct, frozen=True):
    """One stream of the bus: what waits in it, and the share of its room."""

    name: str
    messages: int
    filled: float


class Bus(msgspec.Struct, frozen=True):
    """`problem` says why it does not answer."""

    version: str | None = None
    streams: list[Stream] = []
    missing: list[str] = []
    problem: str | None = None
    keeps_nothing: bool = False
    """Whether the problem is that JetStream is not switched on."""
    shared: list[str] = []
    """Processes that come by the owner's login, which is for migrate and the command line."""
    is_open: bool = False
    """Whether somebody comes without a login."""


class Disk(msgspec.Struct, frozen=True):
    """The disk of the home."""

    free: int
    total: int
    is_read_only: bool = False

    @property
    def left(self) -> float:
        """The share that is free."""
        return self.free / self.total


class State(msgspec.Struct, frozen=True):
    """None: not known from here; `problems` says why where something did not answer."""

    version: str
    mode: str
    home: str | None
    url: str | None
    started_at: datetime | None
    services: list[Service]
    database: Database | None
    bus_version: str | None
    streams: list[Stream]
    heard_per_s: float | None
    stored_per_s: float | None
    disk: Disk | None
    backup_at: datetime | None
    backups: str | None
    problems: dict[str, str]

    @property
    def is_well(self) -> bool:
        """Everything that there is answers and is ready, and the schema is not one of before."""
        serves = self.database is None or self.database.schema >= self.database.schema_wanted
        return serves and not self.problems and all(service.ready for service in self.services)


async def read_state(place: Place, backups: Path | None, wrong: Sequence[WrongSetting] = ()) -> State:
    """Query processes, database, bus and disk at once; after five seconds at most. `wrong`: what is no address."""
    problems = {SERVER_OF.get(one.name or "", "settings"): f"{one.name} n'est pas une adresse" for one in wrong}
    run = place.run
    services, database, bus, received, stored = await asyncio.gather(
        read_services(run),
        _database(place.database_url, problems),
        read_bus(place.nats_url),
        _rate(run, "gateway_bridge", HEARD),
        _rate(run, "ingest", STORED),
    )
    if bus.problem is not None:
        problems["bus"] = bus.problem
    elif bus.missing:
        problems["bus"] = f"flux absents : {', '.join(bus.missing)}"
    return State(
        version=VERSION,
        mode="container" if run is None else run.mode,
        home=None if run is None else run.home,
        url=None if run is None else run.api_url,
        started_at=None if run is None else datetime.fromtimestamp(run.started_at, UTC),
        services=services,
        database=database,
        bus_version=bus.version,
        streams=bus.streams,
        heard_per_s=received,
        stored_per_s=stored,
        disk=None if place.folder is None else read_disk(place.folder),
        backup_at=None if backups is None else newest_backup(backups),
        backups=None if backups is None else str(backups),
        problems=problems,
    )


async def read_services(run: RunInfo | None) -> list[Service]:
    """Every process of the stack on this machine, in its order."""
    if run is None:
        return []
    ready = await readiness(run)
    problems = await asyncio.gather(*(problem_of(one) if not ready[one.name] else _none() for one in run.services))
    return [
        Service(one.name, ready[one.name], one.pid, one.restarts, problem)
        for one, problem in zip(run.services, problems, strict=True)
    ]


async def _none() -> None:
    return None


async def _database(url: str | None, problems: dict[str, str]) -> Database | None:
    if url is None:
        return None
    report = await read_database(url, "territoire-status")
    if report.problem is not None:
        problems["database"] = report.problem
    content = report.content
    if content is None:
        return None
    gateways = content.gateways
    unproved = [] if report.activity is None else report.activity.unproved
    return Database(
        content.postgresql.partition(" ")[0],
        content.timescaledb,
        content.schema,
        len(migrations()),
        content.octets,
        content.devices,
        content.last_uplink_at,
        len(gateways.online) + len(gateways.silent) + len(gateways.never),
        len(gateways.online),
        len(gateways.never),
        content.alerts_open,
        len(unproved),
        min((station.until for station in unproved), default=None),
        0 if report.activity is None else sum(one.items for one in report.activity.unconfirmed),
    )


async def read_bus(url: str | None) -> Bus:
    """Its version and what waits in its streams."""
    if url is None:
        return Bus()
    waiting = waiting_for_bus(url)
    try:
        async with asyncio.timeout(WITHIN_S), connect_bus(url, "territoire-cli", waiting) as bus:
            found = [(name, await bus.room(name)) for name in (topics.FRAMES, topics.UPLINKS)]
            is_owner = urlsplit(url.partition(",")[0]).username == OWNER
            logins = await bus.logins() if is_owner else []
            return Bus(
                bus.server_version,
                [Stream(name, room.messages, room.filled) for name, room in found if room is not None],
                [name for name, room in found if room is None],
                shared=sorted({name for name, login in logins if login == OWNER and is_service(name)}),
                is_open=any(not login for _, login in logins),
            )
    except BUS_AWAY as away:
        reason = f"{waiting.reason or bus_reason(away)} ({waiting.address})"
        return Bus(problem=reason, keeps_nothing=isinstance(away, NoJetStream))


def is_service(name: str) -> bool:
    """Whether a connection of this name is a service's: it begins with the service's, in whatever spelling."""
    return name.replace("-", "_").startswith(tuple(LOGINS))


async def _rate(run: RunInfo | None, service: str, counter: str) -> float | None:
    """How fast a counter of every replica rises per second, all its labels together; None when none answers."""
    replicas = () if run is None else run.replicas(service)
    urls = [f"{one.health_url}/metrics" for one in replicas if one.health_url is not None]
    before = await _sum(urls, counter)
    await asyncio.sleep(SAMPLED_S if before is not None else 0)
    after = await _sum(urls, counter) if before is not None else None
    return None if before is None or after is None else max(0.0, after - before) / SAMPLED_S


async def _sum(urls: Sequence[str], counter: str) -> float | None:
    answers = [answer for answer in await asyncio.gather(*map(asked, urls)) if answer is not None]
    lines = [line for answer in answers for line in answer.decode().splitlines() if line.startswith(counter)]
    return sum(float(line.rpartition(" ")[2]) for line in lines) if answers else None


def standing(folder: Path) -> Path:
    """The folder, or the nearest above it that is made already."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def read_disk(folder: Path) -> Disk:
    """Of a folder that may not be made yet."""
    there = standing(folder)
    disk, flags = shutil.disk_usage(there), os.statvfs(there).f_flag
    return Disk(disk.free, disk.total, bool(flags & os.ST_RDONLY))
