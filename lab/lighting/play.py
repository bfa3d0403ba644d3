"""Plays a campaign on an area, on a simulated clock, in a database that is there for nothing else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect
from lab.device.lamp_clock import LampClock
from lab.lighting.area import Area
from lab.lighting.campaign import CampaignKind, assign_program, begin_campaign, read_outcomes, read_state
from lab.lighting.events import Events
from lab.lighting.figures import PROBES, Disturbed, Played, Sent, uplink_loss
from lab.lighting.groups import RegisteredGroup, register_groups
from lab.lighting.registered import RegisteredArea, register_area
from lab.lighting.simulated_time import make_clock
from lab.lighting.simulation import LOSS, Running, Simulation, running_simulation
from lighting.compilers import SET_PROGRAM
from lorawan.instants import to_us
from registry.keys import KeyWrap

KEK = bytes(16)
KEK_ID = "kek-1"
# By day, and hours before dusk: every relay is off.
BEGIN = timedelta(hours=10)
FIRST_REPORTS = timedelta(seconds=30)
LOOKED_AT_EVERY = timedelta(seconds=1)
SHOWN_EVERY = timedelta(minutes=1)
OVER = frozenset({"ended", "halted", "cancelled", "expired"})


@dataclass(frozen=True, slots=True)
class Databases:
    """The addresses of one database: as superuser, and as what services write as."""

    admin_url: str
    service_url: str


async def play(
    databases: Databases,
    area: Area,
    kind: CampaignKind,
    within: timedelta,
    *,
    seed: str = "lighting",
    loss: float = LOSS,
    probes: int = PROBES,
    show: Callable[[float, str], None] = lambda _seconds, _state: None,
) -> Played:
    """Until the campaign has ended, or so long; `show` is called each simulated minute."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    events = Events(today + BEGIN)
    admin = await connect(databases.admin_url, "bench")
    try:
        await make_clock(admin, events.now)
        async with admin.transaction():
            registered = await register_area(admin, area, "bench", events.now, KeyWrap(KEK_ID, KEK))
            groups: list[RegisteredGroup] = []
            if kind.is_emergency:
                groups = await register_groups(admin, registered, KeyWrap(KEK_ID, KEK))
            if kind.action == SET_PROGRAM:
                await assign_program(admin, registered.tenant_id)
        await admin.execute("ANALYZE")
    finally:
        await admin.close()
    simulation = Simulation(events, registered, seed, loss, groups)
    async with running_simulation(databases.service_url, simulation, KEK) as running:
        return await _play(running, registered, kind, within, probes, show)


async def _play(
    running: Running,
    area: RegisteredArea,
    kind: CampaignKind,
    within: timedelta,
    probes: int,
    show: Callable[[float, str], None],
) -> Played:
    simulation, events = running.simulation, running.simulation.events
    wall, cpu = time.monotonic(), time.process_time()
    running.begin()
    begin_at = events.now + FIRST_REPORTS
    while events.now < begin_at:
        await running.step()
    began = await begin_campaign(running.pool, area, kind, events.now)
    looks = shows = began.began_at
    lit_s: list[tuple[float, int]] = []
    state = await read_state(running.pool, began.id)
    while state.state not in OVER and events.now < began.began_at + within:
        await running.step()
        if events.now >= looks:
            looks = events.now + LOOKED_AT_EVERY
            state = await read_state(running.pool, began.id)
            if kind.is_emergency and (not lit_s or lit_s[-1][1] < len(simulation.cabinets)):
                lit_s.append(((events.now - began.began_at).total_seconds(), _lit(simulation)))
        if events.now >= shows:
            shows = events.now + SHOWN_EVERY
            show((events.now - began.began_at).total_seconds(), state.state)
    began_us = to_us(began.began_at)
    sent = [[Sent(one.start_us, one.airtime_us) for one in gateway.sent] for gateway in simulation.gateways]
    last_us = max((one.start_us for of_gateway in sent for one in of_gateway), default=began_us) + 1
    return Played(
        kind.name,
        len(area.cabinets),
        len(area.gateways),
        state,
        began.predicted_s,
        await read_outcomes(running.pool, began.id),
        sent,
        began_us,
        uplink_loss(area.area, sent, began_us, last_us, probes),
        Disturbed.of(simulation.medium, [gateway.account for gateway in simulation.gateways]),
        lit_s,
        time.monotonic() - wall,
        time.process_time() - cpu,
    )


def _lit(simulation: Simulation) -> int:
    """How many relays are on."""
    now_us = simulation.events.now_us
    applications = [cabinet.application for cabinet in simulation.cabinets]
    return sum(isinstance(one, LampClock) and one.levels(now_us)[0] > 0 for one in applications)
