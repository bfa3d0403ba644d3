"""Plays a campaign on a town, on a simulated clock, in a database that is there for nothing else."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect
from lab.device.lamp_clock import LampClock
from lab.lighting.campaign import Order, assign_program, begin_campaign, read_outcomes, read_state
from lab.lighting.events import Events
from lab.lighting.figures import PROBES, Disturbed, Played, Sent, uplink_loss
from lab.lighting.platform import LOSS, Platform, Running, running_platform
from lab.lighting.registered import RegisteredTown, register_town
from lab.lighting.simulated_time import make_clock
from lab.lighting.town import Town
from lighting.program_targets import SET_PROGRAM
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
    town: Town,
    order: Order,
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
            registered = await register_town(admin, town, "bench", events.now, KeyWrap(KEK_ID, KEK))
            if order.action == SET_PROGRAM:
                await assign_program(admin, registered.tenant_id)
        await admin.execute("ANALYZE")
    finally:
        await admin.close()
    platform = Platform(events, registered, seed, loss)
    async with running_platform(databases.service_url, platform, KEK) as running:
        return await _play(running, registered, order, within, probes, show)


async def _play(
    running: Running,
    town: RegisteredTown,
    order: Order,
    within: timedelta,
    probes: int,
    show: Callable[[float, str], None],
) -> Played:
    platform, events = running.platform, running.platform.events
    wall, cpu = time.monotonic(), time.process_time()
    running.begin()
    begin_at = events.now + FIRST_REPORTS
    while events.now < begin_at:
        await running.step()
    began = await begin_campaign(running.pool, town, order, events.now)
    looks = shows = began.began_at
    lit_s: list[tuple[float, int]] = []
    state = await read_state(running.pool, began.id)
    while state.state not in OVER and events.now < began.began_at + within:
        await running.step()
        if events.now >= looks:
            looks = events.now + LOOKED_AT_EVERY
            state = await read_state(running.pool, began.id)
            if order.is_emergency and (not lit_s or lit_s[-1][1] < len(platform.cabinets)):
                lit_s.append(((events.now - began.began_at).total_seconds(), _lit(platform)))
        if events.now >= shows:
            shows = events.now + SHOWN_EVERY
            show((events.now - began.began_at).total_seconds(), state.state)
    began_us = to_us(began.began_at)
    sent = [[Sent(one.start_us, one.airtime_us) for one in gateway.sent] for gateway in platform.gateways]
    last_us = max((one.start_us for of_gateway in sent for one in of_gateway), default=began_us) + 1
    return Played(
        order.name,
        len(town.cabinets),
        len(town.gateways),
        state,
        began.predicted_s,
        await read_outcomes(running.pool, began.id),
        sent,
        began_us,
        uplink_loss(town.town, sent, began_us, last_us, probes),
        Disturbed.of(platform.medium, [gateway.account for gateway in platform.gateways]),
        lit_s,
        time.monotonic() - wall,
        time.process_time() - cpu,
    )


def _lit(platform: Platform) -> int:
    """How many relays are on."""
    now_us = platform.events.now_us
    applications = [cabinet.application for cabinet in platform.cabinets]
    return sum(isinstance(one, LampClock) and one.levels(now_us)[0] > 0 for one in applications)
