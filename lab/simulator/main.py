"""`territoire simulate`: a fleet of any size that drives a running stack."""

import asyncio
import random
import signal

import uvloop
from rich.console import Console
from rich.progress import Progress

from core.runtime.bus import connect_bus
from core.runtime.postgres import open_pool
from lab.fleet.build import GatewayServers
from lab.fleet.pilot import plan_pilot
from lab.fleet.provision import Provisioner, ProvisioningFailed
from lab.fleet.tenancy import prepare_tenant
from lab.simulator.account import Account, balance, read_stored
from lab.simulator.driver import Fleet, build_fleet
from lab.simulator.figures import wait_until_empty
from services.supervisor.run_info import RunInfo

SETTLE_S = 5.0
DRAIN_S = 45.0
# Faster, and the accepts of a gateway collide on the air.
JOINS_PER_GATEWAY_AND_S = 3
PLANS_FROM = 1_000_000


async def _drive(
    run: RunInfo, gateways: int, devices: int, rate: float, exit_after: float | None, console: Console
) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    name = f"simulation {random.randrange(PLANS_FROM)}"  # Its own devices: a second run finds no used DevNonce.
    async with open_pool(run.database_url, "simulator") as pool, connect_bus(run.nats_url, "simulator") as bus:
        tenant, key = await prepare_tenant(pool, name.replace(" ", "-"), name.capitalize())
        fleet = await provision_fleet(run, key, name, gateways, devices, rate, console)
        flying = asyncio.create_task(fleet.run(), name="fleet")
        console.print(f"{devices} équipements, {gateways} passerelles, {rate:g} trames/s. Ctrl-C pour arrêter.")
        try:
            async with asyncio.timeout(exit_after):
                await stopping.wait()
        except TimeoutError:
            pass
        fleet.silent.set()
        await asyncio.sleep(SETTLE_S)
        flying.cancel()
        await asyncio.gather(flying, return_exceptions=True)
        await wait_until_empty(bus, DRAIN_S)
        account = balance(fleet.sent, *await read_stored(pool, tenant.id))
    _print(console, fleet, account)
    return 0 if account.balances else 1


async def provision_fleet(
    run: RunInfo, key: str, name: str, gateways: int, devices: int, rate: float, console: Console
) -> Fleet:
    """Register a fleet over the API; `rate` is uplinks per second of the whole fleet."""
    api = Provisioner(run.api_url, key)
    interval_s = devices / rate
    plan = plan_pilot(name, devices, gateways)
    try:
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("Inscription du parc", total=devices)
            tokens = await api.create_gateways(plan.gateways)
            await api.create_devices(plan.devices, interval_s, lambda: progress.advance(task))
    finally:
        await api.close()
    return build_fleet(
        plan,
        servers=GatewayServers.of(run, tokens),
        interval_s=interval_s,
        join_spread_s=devices / (gateways * JOINS_PER_GATEWAY_AND_S),
    )


def _print(console: Console, fleet: Fleet, account: Account) -> None:
    console.print(
        f"activés {fleet.joined}/{len(fleet.devices)}, émises {account.sent}, entendues {account.heard}, "
        f"enregistrées {account.stored}, manquantes {account.missing}, en double {account.duplicates}, "
        f"inconnues {account.unexpected}, non décodées {account.undecodable}"
    )
    for example in account.examples:
        console.print(f"  {example}")


def run(
    run_info: RunInfo, *, gateways: int, devices: int, rate: float, exit_after: float | None, console: Console
) -> int:
    """Drive a running stack until stopped; 0 when its account balances."""
    try:
        return uvloop.run(_drive(run_info, gateways, devices, rate, exit_after, console))
    except ProvisioningFailed as failed:
        console.print(f"[red]L'inscription du parc a échoué[/red] : {failed}")
        return 1
