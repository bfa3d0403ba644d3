"""Sends a clock the program that it should hold; its shadow says afterwards whether it does."""

from dataclasses import dataclass
from datetime import datetime

from core.runtime.postgres import Connection
from lighting.expected import read_lamps
from lighting.program_targets import ON_PLATFORM, USEFUL_FOR, RejectedProgram, compiled_for
from lighting.requests import send
from registry.downlinks import Enqueued
from registry.rows import fetch_one

NO_DRIFT = "aucun écart : l'horloge tient son programme, ou n'a encore rien dit"
NOT_SENDABLE = "le programme de cette horloge ne s'envoie pas d'ici"

# The clock that the last sweep saw, while it still serves the asset.
READ_CLOCK = """
SELECT s.device_id, s.holds_program, s.drifts, p.codec
FROM lighting_shadow s
JOIN assignment g ON g.asset_id = s.asset_id AND g.device_id = s.device_id AND g.during @> now()
JOIN device d ON d.id = s.device_id AND d.enabled
JOIN device_profile p ON p.id = d.device_profile_id
WHERE s.asset_id = $1
"""


@dataclass(frozen=True, slots=True)
class Clock:
    """The device that switches an asset, and whether it holds what it should."""

    device_id: int
    holds_program: bool
    drifts: bool
    codec: str


@dataclass(frozen=True, slots=True)
class SentProgram:
    """The message that carries a program, and the hash by which the clock will report it."""

    downlink: Enqueued
    device_id: int
    program_hash: str
    not_after: datetime


async def send_program(connection: Connection, asset_id: int, now: datetime) -> SentProgram:
    """Enqueue the program of a clock that drifts; after the commit nudge `topics.downlink_due` of its shard.

    Raises:
        RejectedProgram: it holds none, or nothing else than it should.
    """
    clock = await fetch_one(connection, Clock, READ_CLOCK, asset_id)
    if clock is None or not clock.holds_program:
        raise RejectedProgram(ON_PLATFORM)
    if not clock.drifts:
        raise RejectedProgram(NO_DRIFT)
    row = (await read_lamps(connection, [asset_id]))[asset_id]
    frame, program_hash = compiled_for(clock.codec, row, now, NOT_SENDABLE)
    not_after = now + USEFUL_FOR
    downlink = await send(connection, clock.device_id, frame, not_after)
    return SentProgram(downlink, clock.device_id, program_hash, not_after)
