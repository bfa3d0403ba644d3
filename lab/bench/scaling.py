"""`territoire bench scaling`: two replicas of every service share the work, and each of them is killed under load.

Everything is real but the radio: two bridges, to which a stand-in for the load balancer sends each gateway; an LNS
that pushes to two intakes; a client of two APIs. First it is quiet, and what each replica did is counted; some
gateways then push to one bridge and pull from the other. After that the replicas are killed one after the other:
the first of a service stays away until its work is served by the second, the second comes back at once.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from core.runtime.bus import Bus, connect_bus
from core.runtime.lease import read_shards
from core.runtime.postgres import Pool, open_pool
from lab.bench.scaling_kills import KillSequence
from lab.bench.scaling_probes import LOOK_EVERY_S, SHARDED, Peaks, is_shared, read_leases, until
from lab.bench.scaling_report import Options, Shown, Split, figures_of
from lab.bench.scaling_shares import Shares, read_shares
from lab.chaos.stack.processes import Processes
from lab.chaos.watch import messages
from lab.load.load import Load, Servers, open_load
from lab.simulator.account import Account, Kill, balance, read_stored
from lab.users.balancer import Balancer
from lab.users.scenario import Scenario, open_scenario
from services.supervisor.run_info import RunInfo

REPLICAS = 2
CALLERS = ("intake", "api", "lighting")
SPLIT_GATEWAYS, SPLIT_DEVICES, SPLIT_RATE, SPLIT_CONFIRMED = 4, 40, 20.0, 0.25
SHARED_WITHIN_S = 60.0
# Longer than anything here lasts: the load is ended when all is done.
FOREVER_S = 3_600.0
ARRIVES_WITHIN_S, EMPTY_FOR_S, NOTIFIED_WITHIN_S = 60.0, 1.0, 60.0
WINDOWS_S = 3.0


async def _split(run: RunInfo, pool: Pool, options: Options, console: Console) -> Split:
    """Gateways that push to one bridge and pull from the other, both ways round, while nobody is harmed."""
    one, two = (bridge.ports["udp"] for bridge in run.replicas("gateway_bridge"))
    async with open_load(
        run,
        devices=SPLIT_DEVICES,
        gateways=SPLIT_GATEWAYS,
        confirmed_share=SPLIT_CONFIRMED,
        servers=(Servers(one, two), Servers(two, one)),
        console=console,
    ) as load:
        played = await load.play(SPLIT_RATE, options.quiet_s)
        await asyncio.sleep(WINDOWS_S)
        account = await _account(pool, load, ())
        answers = load.answers
        return Split(load.joined, played.uplinks, answers.awaited, answers.rx1, answers.rx2, account)


async def _account(pool: Pool, load: Load, kills: Sequence[Kill]) -> Account:
    stored, undecodable = await read_stored(pool, load.tenant.id)
    return balance(load.sent, stored, undecodable, kills=kills, uptimes=load.uptimes)


async def _until_shared(run: RunInfo, pool: Pool, shards: int) -> None:
    """Return once every sharded service's shards are dealt out evenly.

    Raises:
        TimeoutError: they are not.
    """
    for service in SHARDED:
        owners = [one.name for one in run.replicas(service)]

        async def shared(service: str = service, owners: Sequence[str] = owners) -> bool:
            return is_shared(await read_leases(pool, service), owners, shards)

        if await until(shared, SHARED_WITHIN_S) is None:
            raise TimeoutError(f"{service} : les partitions ne sont pas partagées")


@asynccontextmanager
async def _asking(scenario: Scenario, balancer: Balancer, load: Load, rate: float) -> AsyncGenerator[None]:
    """The load, and everybody who asks for something, for as long as the block lasts."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(caller.run(), name="ask") for caller in scenario.callers]
        running.append(tasks.create_task(balancer.run(), name="balance"))
        running.append(tasks.create_task(_play(load, rate), name="load"))
        yield
        for task in running:
            task.cancel()


async def _play(load: Load, rate: float) -> None:
    await load.play(rate, FOREVER_S)


async def _until_empty(bus: Bus) -> None:
    """Return once the streams have held nothing for a second; what a dead bridge did not receive never arrives."""
    loop = asyncio.get_running_loop()
    ends, empty_since = loop.time() + ARRIVES_WITHIN_S, loop.time()
    while loop.time() < min(ends, empty_since + EMPTY_FOR_S):
        if await messages(bus):
            empty_since = loop.time()
        await asyncio.sleep(LOOK_EVERY_S)


async def measure(run: RunInfo, options: Options, console: Console) -> dict[str, Any]:
    """The figures of one go on a running stack with two replicas of everything.

    Raises:
        ProvisioningFailed, JoinsTakeTooLong, TimeoutError: the message says what happened.
    """
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(run.database_url, "bench", command_timeout=120))
        bus = await stack.enter_async_context(connect_bus(run.nats_url, "bench"))
        async with pool.acquire() as connection:
            shards = await read_shards(connection)
        bridges = run.replicas("gateway_bridge")
        load = await stack.enter_async_context(
            open_load(
                run,
                devices=options.devices,
                gateways=options.gateways,
                servers=[Servers(bridge.ports["udp"]) for bridge in bridges],
                console=console,
            )
        )
        scenario = await stack.enter_async_context(open_scenario(run, pool, load))
        peaks, balancer = Peaks(run), Balancer(load, bridges)
        await _until_shared(run, pool, shards)
        async with _asking(scenario, balancer, load, options.rate):
            before = await read_shares(run)
            console.print(f"Au calme, {options.rate:.0f} trames/s", highlight=False)
            split = await _split(run, pool, options, console)
            shares = Shares.between(before, await read_shares(run))
            sequence = KillSequence(Processes(Path(run.home)), pool, load, balancer, shards, console)
            for service in options.victims:
                peaks.look()
                await sequence.strike_both(service)
            peaks.look()
            commands = await scenario.commands(pool)
        await _until_empty(bus)
        await scenario.until_notified(pool, NOTIFIED_WITHIN_S)
        account = await _account(pool, load, sequence.kills)
        await sequence.judge()
        callers = {name: caller.figures for name, caller in zip(CALLERS, scenario.callers, strict=True)}
        outcome = await scenario.outcome(pool) | {"commands": commands}
        shown = Shown(
            options,
            shards,
            shares,
            split,
            sequence.blows,
            account,
            outcome,
            callers,
            peaks.megabytes,
            balancer.turns,
        )
        return figures_of(shown)
