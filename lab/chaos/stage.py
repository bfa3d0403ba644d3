"""A stack, a load, and one case after the other on them."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from rich.console import Console

from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import Pool, connect, open_pool
from lab.chaos.case import GOAL_RATE, SHARDED, Case, Layout
from lab.chaos.checks import CounterWatch, LogWatch, differences, read_stored_since
from lab.chaos.outcome import CaseFailed, NotRun, Outcome
from lab.chaos.scene import Scene
from lab.chaos.stack.processes import Processes
from lab.chaos.stack.releases import Upgrade
from lab.chaos.stack.small_disks import small_disks
from lab.chaos.watch import Watch, counted_drops
from lab.device.device import SentUplink
from lab.fleet.provision import ProvisioningFailed
from lab.lighting.simulated_time import PATH, clock_setter, make_schema
from lab.load.latency import read_latency
from lab.load.load import Load, Servers, open_load
from lab.radio.clock import now_us
from lab.simulator.account import balance
from services.supervisor.run_info import RunInfo
from services.supervisor.stack_options import BUS, SERVICES

# Starts a stack in this folder with so many replicas, and stops it at the end of the block.
StartStack = Callable[[Path, Mapping[str, int]], AbstractAsyncContextManager[RunInfo]]

REPLICAS: Mapping[str, int] = dict.fromkeys(SHARDED, 2)
REPLICAS_OF: Mapping[Layout, Mapping[str, int]] = {
    Layout.USUAL: REPLICAS,
    Layout.FAILOVER: REPLICAS,
    Layout.FRESH: REPLICAS,
    Layout.FORMER: REPLICAS,
    Layout.CLUSTER: {**REPLICAS, BUS: 3},
    Layout.DOUBLED: dict.fromkeys(SERVICES, 2),
}
COPIES = 1.3
DEVICES_PER_GATEWAY = 62
FEWEST_GATEWAYS = 20
RATE_PER_DEVICE = 1.0
FEWEST_DEVICES = 100
SHIFTED_BY = timedelta(minutes=65)  # Then this hour is over.
DRAIN_WITHIN_S = 120.0
# Longer than any case: then the load is ended when all is done.
FOREVER_S = 3_600.0
# No uplink is longer than this on its way through services that have nothing else to do.
QUIET_S = 3.0
COUNT_STORED = "SELECT count(*) FROM observation.uplink"
READY_WITHIN_S = 60.0

BRIDGE = "gateway_bridge"

log = structlog.get_logger()


@dataclass(slots=True)
class Stage:
    """A running stack under a load that has joined."""

    processes: Processes
    pool: Pool
    bus: Bus
    load: Load
    rate: float
    small_disks: dict[str, Path]
    counters: CounterWatch
    logs: LogWatch
    lost: int = 0
    """Uplinks that are not stored by what the cases so far have found, rightly or not."""
    sent_besides: list[SentUplink] = field(default_factory=list[SentUplink])
    """By the fleets of some cases."""
    upgrade: Upgrade | None = None
    """Of a stack that is of a former program."""

    async def play(self, case: Case, seconds: float) -> Outcome:
        """Run a case to its end and judge it. Never raises for the stack's sake."""
        outcome = Outcome(case.name, case.title)
        scene = Scene(self.processes, self.pool, self.bus, self.load, seconds, self.small_disks)
        run = self.processes.run
        bridges = len(run.replicas("gateway_bridge"))
        watch = Watch(self.pool, self.bus, self.counters, scene.signs, bridges)
        scene.recovery_s = watch.settled_s
        scene.upgrade = self.upgrade
        began, began_us, first = time.monotonic(), now_us(), self.load.sent_count
        self.logs.begin(run)
        drops_before = await counted_drops(run)
        looking = asyncio.create_task(watch.run(), name="look at the stack")
        try:
            await self._act_or_say_why(case, scene, watch, outcome)
            ended_us = now_us()
            outcome.unready = await self.processes.until_ready(READY_WITHIN_S)
            await self._judge(outcome, scene, watch, first, drops_before)
            if case.p99_goal_ms is not None:
                latency = await read_latency(self.pool, scene.led_us or began_us, ended_us)
                outcome.judge_latency(latency.p99_ms, case.p99_goal_ms, binds=self.rate >= GOAL_RATE)
        except Exception as away:  # noqa: BLE001 - Whatever it stumbles over, the next case is played.
            outcome.drained = False  # What comes after it needs another stack.
            outcome.differences.append(f"rien n'a pu être compté : {reason_of(away)}")
        finally:
            looking.cancel()
            (ended,) = await asyncio.gather(looking, return_exceptions=True)
        if isinstance(ended, Exception):
            outcome.differences.append(f"la pile n'a pas été observée jusqu'au bout : {reason_of(ended)}")
        if scene.mark is not None:
            outcome.recoveries = {what: watch.recovery_s(at) for what, at in scene.marks.items()}
            recovered = [watch.recovery_s(scene.mark), *outcome.recoveries.values()]
            outcome.recovery_s = max((one for one in recovered if one is not None), default=None)
            if recovered[0] is None:
                outcome.differences.append("la chaîne n'a pas suivi de nouveau")
        outcome.notes += scene.notes
        outcome.tracebacks = dict(self.logs.tracebacks(self.processes.run, scene.victims))
        outcome.counters_went_back, self.counters.went_back = self.counters.went_back, 0
        outcome.took_s = time.monotonic() - began
        return outcome

    async def _act_or_say_why(self, case: Case, scene: Scene, watch: Watch, outcome: Outcome) -> None:
        try:
            await self._act(case, scene, watch)
        except NotRun as refused:
            outcome.not_run = str(refused)
        except (CaseFailed, ProvisioningFailed) as failed:
            outcome.differences.append(str(failed))
        except Exception as away:  # noqa: BLE001 - As above: the database, the bus, whom a case asks for something.
            outcome.differences.append(f"le cas n'est pas allé à son terme : {reason_of(away)}")

    async def _act(self, case: Case, scene: Scene, watch: Watch) -> None:
        async with nullcontext() if case.around is None else case.around(scene):
            seconds = FOREVER_S if case.load_goes_on else scene.seconds
            playing = asyncio.create_task(self.load.play(self.rate, seconds), name="load")
            playing.add_done_callback(lambda _: watch.load_ended())
            try:
                if case.during is not None:
                    await case.during(scene)
                await (scene.lead() if case.load_goes_on else playing)
            finally:
                playing.cancel()
                await asyncio.gather(playing, return_exceptions=True)

    async def _judge(
        self, outcome: Outcome, scene: Scene, watch: Watch, first: int, drops: Counter[int | str | None]
    ) -> None:
        deadline = time.monotonic() + DRAIN_WITHIN_S
        of_fleets = [uplink for fleet in scene.fleets for uplink in fleet.sent]
        self.sent_besides += of_fleets
        sent, is_struck = [*self.load.sent[first:], *of_fleets], BRIDGE in scene.victims
        while True:
            outcome.drained = await watch.until_empty(max(1.0, deadline - time.monotonic()))
            times, undecodable = await read_stored_since(self.pool, sent)
            outcome.account = balance(sent, times, undecodable, kills=scene.kills, uptimes=scene.uptimes)
            # Of a bridge that came since nothing was counted before.
            outcome.edge_dropped = (await counted_drops(self.processes.run) - drops).total()
            # What the bridge still holds comes within a retry's pause.
            excused = outcome.edge_dropped if is_struck else 0
            if outcome.account.missing <= excused or time.monotonic() > deadline:
                break
        self.lost += outcome.account.missing + outcome.account.left_out
        if is_struck:
            outcome.subtract_counted_drops()
        outcome.differences += await differences(self.pool)
        await self.counters.look(self.pool)

    def forget(self) -> None:
        """What was sent and judged so far is in no later account: a day's would not fit into memory."""
        self.load.forget_sent()
        self.sent_besides.clear()
        self.lost = 0

    async def settle(self) -> Outcome:
        """The whole account from the first uplink, and rollups of every hour as if it were over.

        What comes in between making rollups and comparing them would be a difference that is none.
        """
        outcome = Outcome("whole", "Toute la représentation : doublons, inconnues, cumuls de l'heure en cours")
        began = time.monotonic()
        try:
            await self._judge_whole(outcome)
        except Exception as away:  # noqa: BLE001 - As of a case.
            outcome.differences.append(f"rien n'a pu être compté : {reason_of(away)}")
        outcome.took_s = time.monotonic() - began
        return outcome

    async def _judge_whole(self, outcome: Outcome) -> None:
        run = self.processes.run
        outcome.drained = await self._until_nothing_comes()
        sent = [*self.load.sent, *self.sent_besides]
        times, undecodable = await read_stored_since(self.pool, sent)
        outcome.account = balance(sent, times, undecodable)
        # What was missing in its case is not missing once more.
        outcome.account.missing, outcome.account.left_out = (
            max(0, outcome.account.missing - self.lost),
            min(outcome.account.missing, self.lost),
        )
        connection = await connect(run.database_admin_url, "chaos")
        try:
            await make_schema(connection)
        finally:
            await connection.close()
        hour_is_over = clock_setter(lambda: datetime.now(UTC) + SHIFTED_BY)
        url = f"{run.database_url}&search_path={PATH}"
        async with open_pool(url, "chaos", size=2, given_out=hour_is_over) as shifted:
            outcome.differences = await differences(shifted)

    async def _until_nothing_comes(self) -> bool:
        """Whether all is stored: also of devices that are in no account, as a campaign's cabinets."""
        watch, deadline = Watch(self.pool, self.bus, self.counters), time.monotonic() + DRAIN_WITHIN_S
        before = -1
        while await watch.until_empty(max(1.0, deadline - time.monotonic())):
            stored = await self.pool.fetchval(COUNT_STORED, timeout=120)
            if stored == before:
                return True
            before = stored
            await asyncio.sleep(QUIET_S)
        return False


def reason_of(away: Exception) -> str:
    """Why a case could not go on, in a line; where, in the log."""
    log.error("case_interrupted", exc_info=away)
    if isinstance(away, TimeoutError) and not str(away):
        return "la pile n'a pas fait à temps ce qui lui était demandé"
    return f"{type(away).__name__} {away}".strip()


@asynccontextmanager
async def open_stage(
    home: Path,
    start: StartStack,
    *,
    rate: float,
    on_small_disks: bool = False,
    console: Console,
    layout: Layout = Layout.USUAL,
    upgrade: Upgrade | None = None,
    devices: int | None = None,
) -> AsyncGenerator[Stage]:
    """A fresh stack of this layout in `home`, and a load that has joined.

    `upgrade`: what `start` starts a stack of.

    Raises:
        NotRun: small disks cannot be made on this machine.
    """
    processes = Processes(home)
    devices = devices or max(FEWEST_DEVICES, round(rate / RATE_PER_DEVICE))
    gateways = max(FEWEST_GATEWAYS, devices // DEVICES_PER_GATEWAY)
    with small_disks(home) if on_small_disks else nullcontext(dict[str, Path]()) as disks:
        try:
            async with (
                start(home, REPLICAS_OF[layout]) as run,
                open_pool(run.database_url, "chaos", size=3) as pool,
                connect_bus(run.nats_url, "chaos") as bus,
                open_load(
                    run,
                    devices=devices,
                    gateways=gateways,
                    receptions=COPIES,
                    servers=[Servers(bridge.ports["udp"]) for bridge in run.replicas("gateway_bridge")],
                    console=console,
                ) as load,
            ):
                stage = Stage(processes, pool, bus, load, rate, disks, CounterWatch(load.tenant.id), LogWatch())
                stage.upgrade = upgrade
                try:
                    yield stage
                finally:
                    processes.clean_up()
        finally:
            processes.end_left_overs()
