"""Relays follow the programs that they are assigned: the platform switches them, for they hold none.

They go on early and off late, each by its own minutes: not all at once, and no street dark before its time. What
people have asked for since the program's last change holds until its next.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from core.model.lighting import changes, night_of
from core.runtime.postgres import Connection, Pool
from lighting import store
from lighting.commands import LONGEST_OFF, RejectedLightingCommand
from lighting.expected import LampRow, read_lamps
from lighting.requests import LightingRequest, request_command
from lighting.restoring import octets_for
from lighting.store import Circuit, Command
from lighting.swept import Swept, alone

PROGRAM = "programme"
DAY = timedelta(days=1)
# Time enough for a command's repetitions, beside the minutes by which cabinets differ.
EARLY, SPREAD = timedelta(minutes=8), timedelta(minutes=10)
# An "off" is lit again at its end: one that goes on, by day in summer, is asked for again before.
RENEWED_BEFORE = timedelta(minutes=15)
PAGE = 500

# Relays whose program, of a circuit its own or its cabinet's, somebody has assigned. What the upgrade made of
# attributes was no word about switching. A circuit with a clock of its own follows it.
READ_FOLLOWING = """
SELECT DISTINCT coalesce(c.id, w.asset_id) AS id
FROM lighting_shadow w
LEFT JOIN asset c ON c.parent_id = w.asset_id AND c.kind = 'lighting_circuit' AND c.archived_at IS NULL
JOIN lighting_program_in_force f ON f.asset_id = coalesce(c.id, w.asset_id)
JOIN lighting_program_version v ON v.id = f.version_id AND v.author <> 'mise à jour'
WHERE NOT w.holds_program AND coalesce(c.id, w.asset_id) > $1
  AND NOT EXISTS (SELECT FROM lighting_shadow o WHERE o.asset_id = c.id AND o.holds_program)
ORDER BY 1 LIMIT $2
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Phase:
    """What a relay should do now, since when, and until when."""

    on: bool
    since: datetime
    until: datetime


def spread_of(asset_id: int) -> timedelta:
    """By how much this one's switchings differ from the program's."""
    return SPREAD * (asset_id * 7_919 % 600 / 600)


def phase_of(row: LampRow, now: datetime) -> Phase | None:
    """On, from before the program lights until after it puts out. None: nobody can say. Pure."""
    spread = spread_of(row.asset_id)
    night = night_of(now, row.place.region)
    first = last = None
    lit: list[tuple[datetime, datetime]] = []
    for day in (night - DAY, night, night + DAY):
        found = changes(row.lamps.program, row.place, day)
        if found is None:
            return None
        begin: datetime | None = None
        for change in found:
            if change.level and begin is None:
                begin = change.at - EARLY - spread
            elif not change.level and begin is not None:
                lit.append((begin, change.at + spread))
                begin = None
    for begin, end in lit:
        if begin <= now < end:
            return Phase(True, begin, end)
        if end <= now:
            last = end
        elif first is None:
            first = begin
    return Phase(False, last or now - DAY, first or now + DAY)


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
        return LightingRequest("on", PROGRAM, "allumage du programme", owes_light=True)
    if _is_put_out_by_people(last, now) or (is_done and not _ends_too_early(last, phase, now)):
        return None
    return LightingRequest(
        "off", PROGRAM, "extinction du programme", off_until=min(phase.until, now + LONGEST_OFF)
    )


def _ends_too_early(last: Command | None, phase: Phase, now: datetime) -> bool:
    """Whether an "off" of the program is about to end by day."""
    until = None if last is None or last.action != "off" or last.requested_by != PROGRAM else last.off_until
    return until is not None and until <= min(now + RENEWED_BEFORE, phase.until - EARLY)


def _is_put_out_by_people(last: Command | None, now: datetime) -> bool:
    return (
        last is not None
        and last.action == "off"
        and last.requested_by != PROGRAM
        and last.off_until is not None
        and last.off_until > now
    )


async def follow_programs(pool: Pool, now: datetime) -> Swept:
    """Ask every relay that follows a program for what it says now."""
    swept, after = Swept(), 0
    while True:
        async with pool.acquire() as connection:
            ids = [row["id"] for row in await connection.fetch(READ_FOLLOWING, after, PAGE)]
            due = await _due(connection, ids, now)
        for asset_id in due:
            with alone("program", asset_id):
                async with pool.acquire() as connection, connection.transaction():
                    await store.lock_asset(connection, asset_id)
                    # Another replica may have asked meanwhile, or somebody.
                    request = (await _due(connection, [asset_id], now)).get(asset_id)
                    if request is not None:
                        await _ask(connection, asset_id, request, now, swept)
        if len(ids) < PAGE:
            return swept
        after = ids[-1]


async def _due(connection: Connection, asset_ids: list[int], now: datetime) -> dict[int, LightingRequest]:
    rows = await read_lamps(connection, asset_ids)
    commands = await store.last_commands(connection, asset_ids)
    found: dict[int, LightingRequest] = {}
    for asset_id, row in rows.items():
        phase = phase_of(row, now)
        request = None if phase is None else request_of(phase, commands.get(asset_id), now)
        if request is not None:
            found[asset_id] = request
    return found


async def _ask(
    connection: Connection, asset_id: int, request: LightingRequest, now: datetime, swept: Swept
) -> None:
    circuit = await store.find_circuit(connection, asset_id)
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
