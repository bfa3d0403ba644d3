"""The demonstration: the pilot fleet on the air, a live line of figures, and an account that balances."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import uvloop
from rich.console import Console
from rich.live import Live
from rich.progress import Progress
from rich.text import Text

from core.model.entities import Tenant
from core.runtime.bus import Bus, connect_bus
from core.runtime.postgres import DATABASE_AWAY, Pool, open_pool
from lab.device.device import SentUplink
from lab.device.lamp_clock import LampClock
from lab.device.sensors import Cabinet, Container
from lab.fleet.build import GatewayServers
from lab.fleet.communes import outlines
from lab.fleet.people import prepare_people
from lab.fleet.pilot import plan_pilot
from lab.fleet.provision import Provisioner, ProvisioningFailed
from lab.fleet.tenancy import prepare_tenant
from lab.history.showcase_load import write_showcase
from lab.simulator.account import balance, read_stored
from lab.simulator.campaign import Campaign
from lab.simulator.decisions import Decisions
from lab.simulator.driver import Fleet, build_fleet
from lab.simulator.figures import read_bin_alerts, read_figures, wait_until_empty
from lab.simulator.programs import assign_programs, send_programs
from lab.simulator.pushed import Pushed
from lab.simulator.questions import ask_questions
from lab.simulator.receiver import Received, receive_webhooks
from lab.simulator.replacement import Replacement
from lab.simulator.report import FULL, DemoReport, print_account
from lab.simulator.stack_memory import stack_memory_mb
from lab.simulator.street_lights import StreetLights
from lab.simulator.unlit_cabinet import UnlitCabinet
from registry.tenants import create_api_key
from services.supervisor.run_info import RunInfo, read_run_info

NAME = "demo"
TENANT = ("finistere", "Finistère connecté (démonstration)")
INTERVAL_S = 30.0
REGISTERED_WITHIN_S = 120.0
JOIN_SPREAD_S = 20.0
QUIET_S = 15.0
DRAIN_S = 45.0
LINE_EVERY_S = 1.0
LOGGED_LINE_EVERY_S = 10.0
REPORT = "demo-report.json"
# Cabinets of class C, from the end of the fleet: each part of the lighting has its own.
OF_CAMPAIGN, OF_UNLIT = slice(-40, -10), slice(-10, None)
# What is staged, for those who look.
PAGES = {
    "Programmes, une coupure de nuit": "/programmes",
    "Une campagne": "/campagnes",
    "Une armoire qui ne se rallume pas": "/alertes?gravite=major",
    "Ce que tiennent les horloges": "/eclairage/horloges?etat=ecart",
    "Le coût partagé de l'an dernier": "/couts",
}
BATCHES_KEPT = 1_000  # Of fill levels, by the dashboard.
APPROVER = ("astreinte", ("read", "lighting_approve"))


@dataclass(slots=True)
class Stage:
    """Everything that the demonstration plays with."""

    run: RunInfo
    pool: Pool
    bus: Bus
    api: Provisioner
    received: Received
    pushed: Pushed
    tenant: Tenant
    fleet: Fleet
    lights: StreetLights
    campaign: Campaign
    unlit: UnlitCabinet
    replacement: Replacement
    clocks: list[int]  # The cabinets that have one.
    decisions: Decisions


@asynccontextmanager
async def _set_up(
    run: RunInfo, pace: float, console: Console, started: Callable[[str], None]
) -> AsyncGenerator[Stage]:
    received, dashboard = Received(), Received(kept_most=BATCHES_KEPT)
    async with (
        open_pool(run.database_url, "simulator") as pool,
        connect_bus(run.nats_url, "simulator") as bus,
        receive_webhooks(received) as receiver_url,
        receive_webhooks(dashboard) as dashboard_url,
    ):
        tenant, key = await prepare_tenant(pool, *TENANT)
        api = Provisioner(run.api_url, key)
        approver = Provisioner(run.api_url, await create_api_key(pool, tenant.id, *APPROVER))
        try:
            endpoint = await api.post(
                "/v1/webhook-endpoints", {"url": receiver_url, "description": "démonstration"}
            )
            received.secret = endpoint["secret"]
            pushed = await _follow_levels(api, dashboard, dashboard_url)
            plan = plan_pilot(NAME)
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("Inscription du parc", total=len(plan.devices))
                tokens = await api.create_gateways(plan.gateways)
                # Sensors are waited for from their registration on, and registering all of them takes a while.
                expected_s = max(INTERVAL_S / pace, REGISTERED_WITHIN_S)
                await api.post("/v1/commune-outlines", {"features": outlines(), "generated": True})
                assets = await api.create_devices(plan.devices, expected_s, lambda: progress.advance(task))
            await prepare_people(pool, tenant, run.api_url, api)
            with console.status("Écriture des mois passés"):
                decisions = Decisions(api, await write_showcase(run, pool, tenant.id, api), console)
            lit = [assets[one.dev_eui] for one in plan.devices if one.asset_kind == "lighting_cabinet"]
            await assign_programs(api, lit)
            fleet = build_fleet(
                plan,
                servers=GatewayServers.of(run, tokens),
                interval_s=INTERVAL_S / pace,
                join_spread_s=JOIN_SPREAD_S,
            )
            switched = [one for one in fleet.devices if one.is_class_c and isinstance(one.application, Cabinet)]
            others = [one for one in fleet.devices if one not in switched[OF_CAMPAIGN.start :]]
            lights = StreetLights(api, others, assets)
            campaign = Campaign(api, approver, switched[OF_CAMPAIGN], assets)
            unlit = UnlitCabinet(api, switched[OF_UNLIT], assets)
            started(key)
            replacement = Replacement(api, fleet.devices, assets)
            clocks = [assets[one.dev_eui] for one in plan.devices if isinstance(one.application, LampClock)]
            yield Stage(
                run, pool, bus, api, received, pushed, tenant, fleet, lights, campaign, unlit, replacement, clocks,
                decisions,
            )  # fmt: skip
        finally:
            await approver.close()
            await api.close()


async def _follow_levels(api: Provisioner, dashboard: Received, url: str) -> Pushed:
    """A partner's dashboard is sent each fill level."""
    address = {"url": url, "description": "tableau de bord d'un partenaire", "purpose": "measurements"}
    endpoint = await api.post("/v1/webhook-endpoints", address)
    dashboard.secret = endpoint["secret"]
    wanted = {"endpoint_id": endpoint["id"], "description": "Remplissage des bacs", "quantity": "fill_level"}
    webhook = await api.post("/v1/measurement-webhooks", wanted)
    return Pushed(dashboard, webhook["id"])


async def _line(stage: Stage) -> str:
    fleet = stage.fleet
    try:
        figures = await read_figures(stage.pool, stage.tenant.id)
    except DATABASE_AWAY:
        return "base de données injoignable, le parc continue d'émettre"
    return (
        f"activés {fleet.joined}/{len(fleet.devices)} · entendus {fleet.received} · "
        f"enregistrés {figures.stored} · alertes {figures.alerts} · webhooks {len(stage.received.bodies)} · "
        f"commandes confirmées {figures.confirmed}/{figures.commands}"
    )


async def _show_line(stage: Stage, console: Console) -> None:
    if not console.is_terminal:  # A log, which nobody wants to see grow by a line a second.
        while True:
            await asyncio.sleep(LOGGED_LINE_EVERY_S)
            console.print(await _line(stage), soft_wrap=True, highlight=False)
    with Live(console=console, refresh_per_second=2) as live:
        while True:
            live.update(Text(await _line(stage)))
            await asyncio.sleep(LINE_EVERY_S)


def bins_said_full(fleet: Fleet) -> int:
    """How many bins were received as full twice in a row, which is what the rule waits for."""
    sent: dict[bytes, list[SentUplink]] = {}
    for uplink in fleet.sent:
        sent.setdefault(uplink.dev_eui, []).append(uplink)
    full = 0
    for device in fleet.devices:
        if isinstance(device.application, Container):
            messages = zip(device.application.said, sent.get(device.dev_eui, []), strict=False)
            received = [level > FULL for level, uplink in messages if uplink.received_by]
            full += any(before and after for before, after in pairwise(received))
    return full


def bins_said_burning(fleet: Fleet) -> tuple[int, int]:
    """How many bins burn, and of how many that was received."""
    sent: dict[bytes, list[SentUplink]] = {}
    for uplink in fleet.sent:
        sent.setdefault(uplink.dev_eui, []).append(uplink)
    burning = [one for one in fleet.devices if isinstance(one.application, Container) and one.application.burns]
    received = [device for device in burning if any(one.received_by for one in sent.get(device.dev_eui, [])[1:])]
    return len(burning), len(received)


async def _settle(stage: Stage, seconds: float) -> DemoReport:
    """The fleet is silent: wait for the streams, then draw up the account."""
    draining = await wait_until_empty(stage.bus, DRAIN_S)
    await stage.lights.settle()
    await stage.campaign.settle()
    stored, undecodable = await read_stored(stage.pool, stage.tenant.id)
    bins, first_bin_s_ago = await read_bin_alerts(stage.pool, stage.tenant.id)
    burning, burning_received = bins_said_burning(stage.fleet)
    return DemoReport(
        seconds=round(seconds, 1),
        devices=len(stage.fleet.devices),
        joined=stage.fleet.joined,
        draining=draining,
        uplinks=balance(stage.fleet.sent, stored, undecodable),
        bins_said_full=bins_said_full(stage.fleet),
        bins_over_threshold=bins,
        first_bin_s_ago=first_bin_s_ago,
        received=stage.received,
        pushed=stage.pushed,
        lighting=stage.lights.account,
        gateways=stage.fleet.gateways,
        class_c_disturbed=sum(device.disturbed for device in stage.fleet.devices),
        memory_mb=stack_memory_mb(read_run_info(Path(stage.run.home))),
        burning=burning,
        burning_received=burning_received,
        replaced_s_ago=stage.replacement.seconds_ago,
        campaign=stage.campaign.account,
        unlit=stage.unlit.name,
        unlit_s_ago=stage.unlit.due_s_ago,
        figures_asked=stage.decisions.asked,
        figures_wrong=tuple(stage.decisions.wrong),
    )


async def _perform(
    run: RunInfo, exit_after: float | None, pace: float, console: Console, started: Callable[[str], None]
) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    async with _set_up(run, pace, console, started) as stage:
        began = time.monotonic()
        playing = [
            asyncio.create_task(stage.fleet.run(), name="fleet"),
            asyncio.create_task(stage.lights.put_out(), name="street lights"),
            asyncio.create_task(stage.campaign.carry_out(), name="campaign"),
            asyncio.create_task(stage.unlit.carry_out(), name="unlit cabinet"),
            asyncio.create_task(stage.replacement.carry_out(), name="replacement"),
            asyncio.create_task(send_programs(stage.api, stage.clocks), name="programs"),
            asyncio.create_task(ask_questions(stage.api, console), name="questions"),
            asyncio.create_task(stage.decisions.carry_out(), name="decisions"),
            asyncio.create_task(_show_line(stage, console), name="live line"),
        ]
        try:
            on_air_s = None if exit_after is None else max(1.0, exit_after - QUIET_S)
            if await _stopped_or_failed(stopping, playing, on_air_s):
                return 0
            stage.fleet.silent.set()
            if await _stopped_or_failed(stopping, playing, QUIET_S):
                return 0
            report = await _settle(stage, time.monotonic() - began)
        finally:
            for task in playing:
                task.cancel()
            await asyncio.gather(*playing, return_exceptions=True)
        _publish(report, console)
        return report.status


def _publish(report: DemoReport, console: Console) -> None:
    path = Path(REPORT)
    path.write_text(json.dumps(report.as_dict(), ensure_ascii=False, indent=2) + "\n", "utf-8")
    print_account(console, report, path)


async def _stopped_or_failed(
    stopping: asyncio.Event, playing: list[asyncio.Task[None]], most_s: float | None
) -> bool:
    """Wait; True when the operator stopped us. A part of the demonstration that fails ends it with its error."""
    waiting = asyncio.create_task(stopping.wait())
    deadline = None if most_s is None else time.monotonic() + most_s
    watched = {waiting, *(task for task in playing if not task.done())}
    try:
        while True:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            done, _ = await asyncio.wait(watched, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if waiting in done:
                return True
            if not done:
                return False
            for task in done:
                task.result()
            watched -= done
    finally:
        waiting.cancel()


def run(
    run_info: RunInfo,
    *,
    exit_after: float | None,
    pace: float,
    console: Console,
    started: Callable[[str], None],
) -> int:
    """Play the demonstration against a running stack; `started(api_key)` is called once the fleet takes off.

    Returns 0 when stopped by the operator or when the account balances, 1 when it does not, and
    `report.NOT_YET` when nothing is wrong but the time was too short for all of it.
    """
    try:
        return uvloop.run(_perform(run_info, exit_after, pace, console, started))
    except ProvisioningFailed as failed:
        console.print(f"[red]L'inscription du parc a échoué[/red] : {failed}")
        return 1
