"""The platform on a simulated clock, in one process: its sweeps and its downlink planner over real tables.

What takes no decision is left out: frames go from a gateway to the tables as the network service and ingest would
write them, after the time that these take.
"""

import asyncio
import contextvars
import random
from collections.abc import AsyncGenerator, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, TypeVar
from uuid import UUID

from msgspec.structs import replace

from core.messages import topics
from core.messages.downlinks import decode_request, encode_transmit
from core.runtime.bus import Bus
from core.runtime.lease import read_shards, take_lease
from core.runtime.postgres import Pool, open_pool
from decoders.territoire.clock import decode
from lab.device.device import GroupSession
from lab.fleet.plan import JOIN_EUI
from lab.lighting.air import SECOND_US, SimulatedCabinet, SimulatedGateway, until
from lab.lighting.events import Events
from lab.lighting.groups import RegisteredGroup
from lab.lighting.registered import REPORTS_EVERY, RegisteredArea, RegisteredCabinet, session_of
from lab.lighting.simulated_time import clock_setter
from lab.radio.medium import Link, RadioMedium
from lab.radio.transmission import Reception
from lighting.sweep import SWEEPS, report
from lorawan.crypto import Direction, SessionCipher
from lorawan.frame import UplinkFrame
from lorawan.instants import from_us
from lorawan.session import LastUplink
from network.downlink_dispatch import Dispatcher
from network.downlink_planner import Downlinks
from network.held_state import DeviceCache, SessionTable
from network.multicast import Multicasts
from network.sessions import SessionReception
from network.settings import NetworkServerSettings
from network.shards import SERVICE, Shards

# From the end of an uplink until the tables have it: copies are awaited, two services pass it on.
STORED_AFTER_US = 450_000
# From a nudge until its reader has seen to it; a sweep that is under way is finished first.
PLANNED_AFTER_US, SWEPT_AFTER_US = 30_000, 150_000
LOSS = 0.05
T = TypeVar("T")

ADD_UPLINKS = """
INSERT INTO observation.uplink (device_id, time, uplink_id, f_port, payload, received_at, decoded, codec, status)
SELECT *, 'territoire.clock', 'decoded'
FROM unnest($1::int[], $2::timestamptz[], $3::uuid[], $4::smallint[], $5::bytea[], $6::timestamptz[], $7::jsonb[])
"""
ADD_MEASUREMENTS = """
INSERT INTO observation.measurement (datastream_id, time, value)
SELECT * FROM unnest($1::int[], $2::timestamptz[], $3::float8[]) ON CONFLICT DO NOTHING
"""


class Tasks(asyncio.TaskGroup):
    """Knows whether a task has anything left to do at this instant of the simulated clock."""

    def __init__(self, most_at_once: float) -> None:
        super().__init__()
        self._most_at_once = most_at_once
        self._running = 0
        self._waiting = 0
        self._changed = asyncio.Event()

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """As the group does."""
        self._running += 1
        task = super().create_task(coro, name=name, context=context)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, _task: asyncio.Task[Any]) -> None:
        self._running -= 1
        self._changed.set()

    def waits(self, step: int) -> None:
        """A task begins (1) or ends (-1) to wait for the simulated clock."""
        self._waiting += step
        self._changed.set()

    async def pause(self, events: Events, seconds: float) -> None:
        """Of one of them: wait for the simulated clock."""
        self.waits(1)
        try:
            await until(events, events.now_us + round(seconds * SECOND_US))
        finally:
            self.waits(-1)

    async def rest(self) -> None:
        """Return when all of them wait for the clock, or for one that does."""
        while self._waiting < min(self._running, self._most_at_once):
            self._changed.clear()
            await self._changed.wait()


class SimulatedBus(Bus):
    """Requests go to the gateway, nudges are noted."""

    def __init__(self, gateways: dict[str, SimulatedGateway], tasks: Tasks) -> None:
        self._gateways = gateways
        self._tasks = tasks
        self.nudged: set[str] = set()

    async def nudge(self, subject: str, data: bytes = b"") -> None:  # noqa: ARG002 - As the bus has it.
        """Note who is to look."""
        self.nudged.add(subject.rpartition(".")[0])

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:  # noqa: ARG002 - It answers.
        """Ask the gateway."""
        self._tasks.waits(1)
        try:
            return encode_transmit(await self._gateways[subject].ask(decode_request(data)))
        finally:
            self._tasks.waits(-1)


@dataclass(slots=True)
class _Uplink:
    """A frame, and the gateways that have received it so far."""

    phy_payload: bytes
    ended_us: int
    receptions: list[SessionReception] = field(default_factory=list[SessionReception])


class Simulation:
    """Everything of one simulated area; `run_until` moves the clock."""

    def __init__(
        self, events: Events, area: RegisteredArea, seed: str, loss: float, groups: Sequence[RegisteredGroup] = ()
    ) -> None:
        self.events = events
        self.area = area
        chance = random.Random(seed)
        self.medium = RadioMedium(
            chance, uplink_loss=loss, downlink_loss=loss, fading_db=0, has_collisions=True, call_at=events.call_at
        )
        self.gateways = [
            SimulatedGateway(
                plan.gateway_id,
                plan.name,
                plan.latitude,
                plan.longitude,
                self.medium,
                chance.randrange(1 << 32),
                events=events,
                hand_on=self._receive,
            )
            for plan in area.gateways
        ]
        self._group_of = {one.device_id: group for group in groups for one in group.cabinets}
        self.cabinets = [self._cabinet(one, random.Random(f"{seed} {one.asset_id}")) for one in area.cabinets]
        self._of_dev_addr = {one.dev_addr: one for one in area.cabinets}
        self._ciphers = {one.dev_addr: SessionCipher(one.keys) for one in area.cabinets}
        self._on_their_way: dict[bytes, _Uplink] = {}
        self._arrived: list[_Uplink] = []
        self.uplinks_stored = 0

    def _cabinet(self, one: RegisteredCabinet, chance: random.Random) -> SimulatedCabinet:
        links = [Link(self.gateways[gateway], snr) for gateway, snr in one.cabinet.receptions]
        cabinet = SimulatedCabinet(
            one.cabinet.number,
            one.plan.dev_eui,
            JOIN_EUI,
            one.plan.app_key,
            one.plan.application,
            links,
            self.medium,
            chance,
            is_class_c=True,
            events=self.events,
        )
        cabinet.spreading_factor = one.cabinet.spreading_factor
        cabinet.answer_soon = cabinet.answer_later = cabinet.answer
        cabinet.session = session_of(one)
        group = self._group_of.get(one.device_id)
        if group is not None:
            cabinet.group_session = GroupSession.of(group.given)
        self.medium.place(cabinet, links)
        self.events.call_at(
            self.events.now_us + round(chance.random() * REPORTS_EVERY.total_seconds() * SECOND_US),
            lambda: self._report_regularly(cabinet),
        )
        return cabinet

    def _report_regularly(self, cabinet: SimulatedCabinet) -> None:
        cabinet.report()
        again_us = round(REPORTS_EVERY.total_seconds() * cabinet.random.uniform(0.95, 1.05) * SECOND_US)
        self.events.call_at(self.events.now_us + again_us, lambda: self._report_regularly(cabinet))

    def _receive(self, gateway: SimulatedGateway, reception: Reception) -> None:
        sent = reception.transmission
        uplink = self._on_their_way.get(sent.phy_payload)
        if uplink is None:
            uplink = self._on_their_way[sent.phy_payload] = _Uplink(sent.phy_payload, sent.end_us)
            self.events.call_at(sent.end_us + STORED_AFTER_US, lambda: self._arrive(sent.phy_payload))
        uplink.receptions.append(
            SessionReception(
                gateway.gateway_id, b"", sent.end_us, sent.frequency, sent.spreading_factor, 125_000,
                reception.rssi, reception.snr,
            )
        )  # fmt: skip

    def _arrive(self, phy_payload: bytes) -> None:
        self._arrived.append(self._on_their_way.pop(phy_payload))

    async def store_arrived(self, pool: Pool, sessions: SessionTable) -> None:
        """What has arrived is in the tables, and in the sessions that the planner holds."""
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        received_at = self.events.now
        rows: list[tuple[Any, ...]] = []
        values: list[tuple[Any, ...]] = []
        for uplink in arrived:
            frame = UplinkFrame.from_bytes(uplink.phy_payload)
            one = self._of_dev_addr[frame.dev_addr]
            port = frame.f_port or 0
            payload = self._ciphers[frame.dev_addr].crypt(
                Direction.UP, frame.dev_addr, frame.f_cnt, port, frame.frm_payload
            )
            at = from_us(uplink.ended_us)
            uplink_id = UUID(int=self.uplinks_stored)
            self.uplinks_stored += 1
            decoded = decode(port, payload, uplink.ended_us, {})
            rows.append((one.device_id, at, uplink_id, port, payload, received_at, decoded.data))
            values += [
                (one.datastreams[reading.quantity], at, reading.value)
                for reading in decoded.readings
                if reading.quantity in one.datastreams
            ]
            self._advance(sessions, one, frame.f_cnt, uplink)
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(ADD_UPLINKS, *map(list, zip(*rows, strict=True)))
            if values:
                await connection.execute(ADD_MEASUREMENTS, *map(list, zip(*values, strict=True)))

    @staticmethod
    def _advance(sessions: SessionTable, one: RegisteredCabinet, f_cnt: int, uplink: _Uplink) -> None:
        held = sessions.current_of(one.device_id)
        if held is None:
            return
        last = LastUplink(f_cnt, b"", confirmed=False, time_us=uplink.ended_us)
        state = replace(held.progress.state, f_cnt_up=f_cnt + 1, last_uplink=last)
        sessions.advance(held.id, replace(held.progress, state=state, receptions=tuple(uplink.receptions)))


@dataclass(slots=True)
class Running:
    """The platform with its tables, sweeps and planner."""

    simulation: Simulation
    pool: Pool
    _bus: SimulatedBus
    _tasks: Tasks
    _planner: Downlinks
    _calls: Tasks
    _multicasts: Multicasts
    _sessions: SessionTable
    _shards: int
    sweeps: int = 0
    _is_due: set[str] = field(default_factory=set[str])

    def begin(self) -> None:
        """Sweep, and look for what is due, each second from now on."""
        events = self.simulation.events
        self._each_second("sweep", events.now_us)
        self._each_second("plan", events.now_us + SECOND_US // 3)

    def _each_second(self, what: str, at_us: int) -> None:
        def act() -> None:
            self._is_due.add(what)
            self._each_second(what, at_us + SECOND_US)

        self.simulation.events.call_at(at_us, act)

    def _soon(self, what: str, after_us: int) -> None:
        if f"{what} soon" not in self._is_due:
            self._is_due.add(f"{what} soon")

            def act() -> None:
                self._is_due.discard(f"{what} soon")
                self._is_due.add(what)

            self.simulation.events.call_at(self.simulation.events.now_us + after_us, act)

    async def step(self) -> None:
        """The next event, and what the platform does about it."""
        self.simulation.events.advance()
        await self._rest()
        if "sweep" in self._is_due:
            self._is_due.discard("sweep")
            await self._sweep()
        if "plan" in self._is_due:
            self._is_due.discard("plan")
            await self._planner.plan_due(poll=True)
            await self._multicasts.plan_due()
            await self._rest()
        for subject in self._bus.nudged:
            if subject.endswith(".done"):
                self._soon("sweep", SWEPT_AFTER_US)
            else:
                self._soon("plan", PLANNED_AFTER_US)
        self._bus.nudged.clear()

    async def _rest(self) -> None:
        await asyncio.sleep(0)
        await self._tasks.rest()
        await self._calls.rest()

    async def _sweep(self) -> None:
        self.sweeps += 1
        await self.simulation.store_arrived(self.pool, self._sessions)
        for sweep in SWEEPS:
            await report(self._bus, self._shards, await sweep(self.pool, self.simulation.events.now))


@asynccontextmanager
async def running_simulation(database_url: str, simulation: Simulation, kek: bytes) -> AsyncGenerator[Running]:
    """The platform of an area that is registered in this database, whose clock is simulated."""
    settings = NetworkServerSettings.model_validate(
        {"database_url": database_url, "nats_url": "nats://127.0.0.1:1", "instance": "bench", "kek": kek.hex()}
    )
    clock = simulation.events
    async with open_pool(database_url, "bench", size=6, given_out=clock_setter(lambda: clock.now)) as pool:
        async with pool.acquire() as connection:
            count = await read_shards(connection)
        sessions, devices = SessionTable(), DeviceCache(settings.mac_policy)
        shards = Shards(pool, settings, sessions, devices, count)
        for number in range(count):
            lease = await take_lease(pool, SERVICE, number, settings.instance)
            if lease is None:
                raise RuntimeError(f"shard {number} is somebody else's")
            lease.renewed_at = float("inf")  # Nobody else is there to take it.
            await shards.open(lease)
        async with Tasks(settings.requests_in_flight) as tasks, Tasks(inf) as calls:
            gateways = {topics.gateway_down(one.gateway_id): one for one in simulation.gateways}
            bus = SimulatedBus(gateways, tasks)
            dispatcher = Dispatcher(pool, bus, shards, settings, tasks, clock.clock)
            planner = Downlinks(pool, bus, shards, sessions, devices, dispatcher, clock.clock)
            multicasts = Multicasts(
                *(pool, SimulatedBus(gateways, calls), shards, settings, calls, clock.clock),
                pause=partial(calls.pause, clock),
            )
            yield Running(simulation, pool, bus, tasks, planner, calls, multicasts, sessions, count)
            await dispatcher.drain(0)
