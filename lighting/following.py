"""Relays follow the programs that they are assigned: the platform switches them, for they hold none.

What people have asked for since the program's last change holds until its next. Who will not be lit is named
before (`lighting.dusk`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from core.runtime.postgres import Connection, Pool
from lighting import circuit_store, command_store
from lighting.circuit_store import Circuit
from lighting.command_store import Command
from lighting.commands import LONGEST_OFF, RejectedLightingCommand
from lighting.expected import LampRow, read_lamps
from lighting.phases import EARLY, SPREAD, Phase, phase_of
from lighting.requests import LightingRequest, request_command
from lighting.restoring import octets_for
from lighting.swept import Swept, alone

PROGRAM = "programme"  # As lists name who asked; `is_automatic` tells it from a key of that name.
# An "off" is lit again at its end: one that goes on, by day in summer, is asked for again before.
RENEWED_BEFORE = timedelta(minutes=15)
PAGE = 500

# Relays whose program, of a circuit its own or its cabinet's, somebody has assigned; one that is disabled is among
# them. A circuit with a clock of its own follows it.
READ_FOLLOWING = """
SELECT id FROM (
    SELECT DISTINCT coalesce(c.id, s.id) AS id
    FROM assignment g
    JOIN device v ON v.id = g.device_id
    JOIN device_profile p ON p.id = v.device_profile_id AND 'switch' = ANY(p.capabilities)
    JOIN asset s ON s.id = g.asset_id AND s.kind IN ('lighting_cabinet', 'lighting_circuit')
                 AND s.archived_at IS NULL
    LEFT JOIN asset c ON c.parent_id = s.id AND c.kind = 'lighting_circuit' AND c.archived_at IS NULL
    WHERE g.during @> now()
      AND NOT EXISTS (SELECT FROM lighting_shadow o WHERE o.asset_id IN (s.id, c.id) AND o.holds_program)) AS relay
WHERE lighting_switches(id) ORDER BY id
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Following:
    """The lamps of a relay that follows a program, and what this says now."""

    lamps: LampRow
    phase: Phase


def request_of(phase: Phase, last: Command | None, now: datetime) -> LightingRequest | None:
    """What the program asks of a relay after its last command; None: nothing now. Pure.

    Of one that was never commanded nothing is asked before the program's next change: when many are assigned one,
    they do not switch all at once.
    """
    if last is None and now - phase.since > SPREAD:
        return None
    is_done = last is not None and last.created_at >= phase.since
    if phase.on:
        if is_done or _is_put_out_by_people(last, now):
            return None
        return LightingRequest("on", PROGRAM, "allumage du programme", owes_light=True, is_automatic=True)
    if _is_put_out_by_people(last, now) or (is_done and not _ends_too_early(last, phase, now)):
        return None
    until = min(phase.until, now + LONGEST_OFF)
    return LightingRequest("off", PROGRAM, "extinction du programme", off_until=until, is_automatic=True)


def _ends_too_early(last: Command | None, phase: Phase, now: datetime) -> bool:
    """Whether an "off" of the program is about to end by day."""
    until = None if last is None or last.action != "off" or not last.is_automatic else last.off_until
    return until is not None and until <= min(now + RENEWED_BEFORE, phase.until - EARLY)


def _is_put_out_by_people(last: Command | None, now: datetime) -> bool:
    return (
        last is not None
        and last.action == "off"
        and not last.is_automatic
        and last.off_until is not None
        and last.off_until > now
    )


async def read_following(pool: Pool, now: datetime) -> dict[int, Following]:
    """The circuits that the platform switches by their programs, so far as anybody can say what these say now."""
    found: dict[int, Following] = {}
    async with pool.acquire() as connection:
        ids = [row["id"] for row in await connection.fetch(READ_FOLLOWING)]
        for first in range(0, len(ids), PAGE):
            found |= await _read_phases(connection, ids[first : first + PAGE], now)
    return found


async def follow_programs(pool: Pool, following: Mapping[int, Following], now: datetime) -> Swept:
    """Ask every relay that follows a program for what it says now."""
    swept = Swept()
    async with pool.acquire() as connection:
        due = await _due(connection, following, now)
    for asset_id in due:
        with alone("program", asset_id):
            async with pool.acquire() as connection, connection.transaction():
                await circuit_store.lock_asset(connection, asset_id)
                # Another replica may have asked meanwhile, or somebody.
                by_now = await _read_phases(connection, [asset_id], now)
                request = (await _due(connection, by_now, now)).get(asset_id)
                if request is not None:
                    await _ask(connection, asset_id, request, now, swept)
    return swept


async def _read_phases(connection: Connection, asset_ids: Sequence[int], now: datetime) -> dict[int, Following]:
    rows = await read_lamps(connection, asset_ids)
    return {
        asset_id: Following(row, phase)
        for asset_id, row in rows.items()
        if (phase := phase_of(row, now)) is not None
    }


async def _due(
    connection: Connection, following: Mapping[int, Following], now: datetime
) -> dict[int, LightingRequest]:
    commands = await command_store.last_commands(connection, list(following))
    found: dict[int, LightingRequest] = {}
    for asset_id, one in following.items():
        request = request_of(one.phase, commands.get(asset_id), now)
        if request is not None:
            found[asset_id] = request
    return found


async def _ask(
    connection: Connection, asset_id: int, request: LightingRequest, now: datetime, swept: Swept
) -> None:
    circuit = await circuit_store.find_circuit(connection, asset_id)
    if circuit is None or circuit.device_id is None or not _can_be_asked(circuit, request):
        return
    try:
        octets = await octets_for(connection, circuit, circuit.device_id, {}, request.asked_at(now))
        async with connection.transaction():
            requested = await request_command(connection, circuit, request, octets, now)
    except RejectedLightingCommand as rejected:
        log.warning("program_not_followed", asset=asset_id, action=request.action, reason=str(rejected))
        swept.outcomes.append("not_followed")
    else:
        swept.slots.add(requested.slot)
        swept.outcomes.append("followed")


def _can_be_asked(circuit: Circuit, request: LightingRequest) -> bool:
    return bool(circuit.enabled) and (request.action == "on" or not circuit.is_protected)
