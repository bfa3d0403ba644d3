"""A lighting campaign in whose middle services die: it resumes, and each command ends once."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from core.runtime.postgres import DATABASE_AWAY, Pool, PostgresError
from lab.chaos.case import Act
from lab.chaos.lighting.cabinets import Place, Street, open_street, place_with_dusk_at
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.device.lamp_clock import APPLIED
from lab.device.payloads.clock import Held, Night, program_hash, read_override, read_program
from lab.device.payloads.watteco import parse_switch_command
from lab.lighting.play import OVER
from lab.radio.clock import now_us

CAMPAIGNS = "/v1/lighting-campaigns"
# Lamps burn, and dawn is far: what puts them out is the campaign.
DUSK_AGO, OFF_FOR = timedelta(hours=3), timedelta(hours=2)
PROGRAM: dict[str, object] = {"default": {"dimming": [["22:00", 60]]}, "coefficient": 0.9}
# The same by hand: from sunset to sunrise, 60 % from 22 o'clock on.
NIGHT, COEFFICIENT = Night(steps=((22 * 60, 60),)), 0.9
PLACED_WITHIN = 0.006  # Half of the hundredth of a degree in which a program says where it is.
LOOKED_AT_EVERY_S, BETWEEN_KILLS_S = 0.5, 6.0
READY_WITHIN_S, BEGINS_WITHIN_S, ENDS_WITHIN_S = 60.0, 120.0, 900.0
FINAL = frozenset({"applied", "confirmed", "unproven", "failed", "expired", "superseded"})
READ_COMMANDS = """
SELECT id, asset_id, state::text AS state, attempts FROM lighting_command WHERE tenant_id = $1 ORDER BY id
"""
READ_CAMPAIGNS = "SELECT id, state FROM lighting_campaign WHERE tenant_id = $1 ORDER BY id"
READ_PROGRAMS = """
SELECT t.asset_id, t.state, t.attempts, encode(t.program_hash, 'hex') AS hash, t.rejected
FROM lighting_campaign_target t JOIN lighting_campaign g ON g.id = t.campaign_id
WHERE g.tenant_id = $1 AND g.action = 'set_program'
"""


@dataclass(frozen=True, slots=True)
class CommandRow:
    """A command, as the table has it."""

    id: int
    asset_id: int
    state: str
    attempts: int


@dataclass(slots=True)
class CommandWatch:
    """Sees every command end, and none end twice. A meter may confirm what the relay has said."""

    ended: dict[int, str] = field(default_factory=dict[int, str])
    findings: list[str] = field(default_factory=list[str])

    async def follow(self, pool: Pool, tenant_id: int) -> None:
        """Look at the commands of a tenant every half second, until cancelled."""
        while True:
            with suppress(PostgresError, *DATABASE_AWAY):
                self.look(await read_commands(pool, tenant_id))
            await asyncio.sleep(LOOKED_AT_EVERY_S)

    def look(self, commands: Sequence[CommandRow]) -> None:
        """Compare with what was final before."""
        for one in commands:
            before = self.ended.get(one.id)
            if before not in {None, one.state} and (before, one.state) != ("applied", "confirmed"):
                self.findings.append(f"l'ordre {one.id} était {before}, puis {one.state}")
            if one.state in FINAL:
                self.ended[one.id] = one.state


def kill_in_mid_campaign(cabinets: int, *services: str) -> Act:
    """SIGKILL to each of these services in turn while a campaign puts out so many cabinets and programs clocks."""

    async def kill(scene: Scene, street: Street) -> None:
        await _kill(scene, street, services)

    return _in_mid_campaign(cabinets, kill, len(services))


def disturb_in_mid_campaign(cabinets: int, disturb: Act, times: int) -> Act:
    """The same with another disturbance, for which a frame may go out so many times more."""

    async def disturb_all(scene: Scene, _street: Street) -> None:
        await disturb(scene)

    return _in_mid_campaign(cabinets, disturb_all, times)


def _in_mid_campaign(cabinets: int, disturb: Callable[[Scene, Street], Awaitable[None]], times: int) -> Act:
    async def act(scene: Scene) -> None:
        async with open_street(scene, cabinets, place_with_dusk_at(datetime.now(UTC) - DUSK_AGO)) as street:
            await street.report()
            await street.assign(PROGRAM)
            await _begin(street)
            watch = CommandWatch()
            following = watch.follow(street.real.pool, street.real.tenant_id)
            looking = asyncio.create_task(following, name="look at the commands")
            try:
                await _until_begun(street)
                await disturb(scene, street)
                ended = await _until_over(street)
            finally:
                looking.cancel()
                with suppress(asyncio.CancelledError):
                    await looking
            commands = await read_commands(street.real.pool, street.real.tenant_id)
            watch.look(commands)
            found = [*watch.findings, *_of_campaigns(ended), *of_switches(street, commands, times)]
            found += await _of_programs(street, times)
            received = sum(len(one.switches) for one in street.remembered.values())
            scene.notes.append(f"{cabinets} armoires, {len(commands)} ordres, {received} fois reçus")
            if found:
                raise CaseFailed("; ".join(found[:10]))

    return act


async def _begin(street: Street) -> None:
    off = {
        "action": "off",
        "off_until": (datetime.now(UTC) + OFF_FOR).isoformat(),
        "targets": {"asset_ids": street.real.assets},
    }
    program: dict[str, Any] = {"action": "set_program", "targets": {"asset_ids": sorted(street.clocks)}}
    for body in (program, off):
        made = await street.real.api.post(CAMPAIGNS, {"name": "Essai", "reason": "chaos", **body})
        await street.real.approver.post(f"{CAMPAIGNS}/{made['id']}/approval", {})


async def _until_begun(street: Street) -> None:
    """The first frames are out."""
    deadline = time.monotonic() + BEGINS_WITHIN_S
    while not any(one.switches for one in street.remembered.values()):
        if time.monotonic() > deadline:
            commands = Counter(one.state for one in await read_commands(street.real.pool, street.real.tenant_id))
            raise CaseFailed(
                f"aucune trame en {BEGINS_WITHIN_S:.0f} s : {await _states(street)}, {dict(commands)}"
            )
        await asyncio.sleep(LOOKED_AT_EVERY_S)


async def _kill(scene: Scene, street: Street, services: Sequence[str]) -> None:
    """One after the other; each is replaced before the next dies."""
    for service in services:
        states = await _states(street)
        if all(state in OVER for state in states.values()):
            raise CaseFailed(f"la campagne était finie avant la mort de {service}")
        await scene.until_replaced(service, scene.strike(service, signal.SIGKILL))
        await scene.processes.require_ready(READY_WITHIN_S, f"après la mort de {service}")
        await asyncio.sleep(BETWEEN_KILLS_S)


async def _states(street: Street) -> dict[int, str]:
    while True:
        try:
            rows = await street.real.pool.fetch(READ_CAMPAIGNS, street.real.tenant_id)
        except (PostgresError, *DATABASE_AWAY):
            await asyncio.sleep(LOOKED_AT_EVERY_S)
        else:
            return {row["id"]: row["state"] for row in rows}


async def _until_over(street: Street) -> dict[int, str]:
    deadline = time.monotonic() + ENDS_WITHIN_S
    while True:
        states = await _states(street)
        if all(state in OVER for state in states.values()) or time.monotonic() > deadline:
            return states
        await asyncio.sleep(LOOKED_AT_EVERY_S)


async def read_commands(pool: Pool, tenant_id: int) -> list[CommandRow]:
    """All commands of a tenant, the first first."""
    return [CommandRow(**row) for row in await pool.fetch(READ_COMMANDS, tenant_id)]


def _of_campaigns(states: Mapping[int, str]) -> list[str]:
    return [f"la campagne {number} est {state}" for number, state in states.items() if state != "ended"]


def of_switches(street: Street, commands: Sequence[CommandRow], kills: int = 0) -> list[str]:
    """What differs from a campaign that nothing disturbs: one command for each, proved, and every lamp out.

    A frame that was on its way when a service died may go out once more, and says the same.
    """
    found, again = list[str](), min(kills, 1)
    for number, one in street.remembered.items():
        own = [command for command in commands if command.asset_id == number]
        if [command.state for command in own] not in (["applied"], ["confirmed"]):
            found.append(f"armoire {number} : ordres {[command.state for command in own]}")
        elif not 1 <= len(one.switches) <= own[0].attempts + again:
            found.append(f"armoire {number} : commutée {len(one.switches)} fois en {own[0].attempts} émissions")
        if len(set(one.switches)) != 1:
            found.append(f"armoire {number} : {len(set(one.switches))} ordres différents reçus")
    found += [f"relais {number} allumé" for number, relay in street.relays.items() if relay.on]
    for number, relay in street.relays.items():
        if any(parse_switch_command(payload) for payload in street.remembered[number].switches):
            found.append(f"relais {number} rallumé, alors resté {'allumé' if relay.on else 'éteint'}")
    for number, clock in street.clocks.items():
        asked = [read_override(payload) for payload in street.remembered[number].switches]
        if any(one is None or one.level for one in asked):
            found.append(f"horloge {number} : forçage qui n'éteint pas")
        if clock.levels(now_us()) != [0] or clock.outcome != APPLIED:
            found.append(f"horloge {number} : {clock.levels(now_us())} %, issue {clock.outcome}")
    return found


async def _of_programs(street: Street, kills: int) -> list[str]:
    """What differs from clocks that nothing disturbs: each holds the program, and the platform knows it."""
    pool, clocks, found = street.real.pool, street.clocks, list[str]()
    rows = await pool.fetch(READ_PROGRAMS, street.real.tenant_id)
    if {row["asset_id"] for row in rows} != set(clocks):
        found.append(f"{len(rows)} programmes pour {len(clocks)} horloges")
    for row in rows:
        number, clock = row["asset_id"], clocks[row["asset_id"]]
        received = street.remembered[number].programs
        if row["state"] != "applied":
            found.append(f"horloge {number} : programme {row['state']} {row['rejected'] or ''}")
        if not 1 <= len(received) <= row["attempts"] + min(kills, 1) or len(set(received)) != 1:
            found.append(f"horloge {number} : {len(received)} programmes en {row['attempts']} émissions")
        if not clock.program or not is_the_program(read_program(clock.program), street.place):
            found.append(f"horloge {number} : tient {clock.program.hex() or 'rien'}")
        own = program_hash(clock.program).hex()
        if own != row["hash"]:
            found.append(f"horloge {number} : tient {own}, noté {row['hash']}")
    return found


def is_the_program(held: Held, place: Place) -> bool:
    """Whether a clock there holds what `PROGRAM` says."""
    if held.latitude is None or held.longitude is None:
        return False
    is_there = max(abs(held.latitude - place.latitude), abs(held.longitude - place.longitude)) < PLACED_WITHIN
    return is_there and held.nights == (NIGHT,) and not held.rules and held.coefficient == COEFFICIENT
