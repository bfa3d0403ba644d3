"""SQL of the engine: what it watches, and the state of each rule for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from alerting.rules.model import Condition, RuleState, past_of
from core.runtime.postgres import Connection, Pool, Record
from registry.rows import arrays, fetch_all

# Of a cabinet or circuit of lamps: alerting.rulebook reads it.
LIGHTING = """CASE WHEN a.kind IN ('lighting_cabinet', 'lighting_circuit')
            THEN lighting_facts(s.id, s.asset_id, f.version_id) END AS lighting"""
READ_WATCHED = f"""
SELECT s.id, s.tenant_id, s.asset_id, s.device_id, s.quantity, a.kind AS asset_kind, p.expected_interval,
       coalesce(a.tags, '{{}}') AS tags, a.latitude, a.longitude, a.attributes ->> 'calendar' AS calendar,
       f.program, coalesce(f.rated_power_w, lighting_rated_power_w(a.id, a.attributes)) AS rated_power_w,
       s.fine_until, t.department,
       (SELECT timezone FROM deployment) AS timezone, {LIGHTING},
       (SELECT lower(g.during) FROM assignment g
        WHERE g.asset_id = s.asset_id AND g.position = s.position AND g.during @> now()
          AND EXISTS (SELECT FROM assignment f WHERE f.asset_id = g.asset_id AND f.position = g.position
                      AND f.device_id <> g.device_id AND upper(f.during) <= lower(g.during))) AS replaced_at
FROM datastream s
JOIN tenant t ON t.id = s.tenant_id
JOIN device d ON d.id = s.device_id
JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN asset a ON a.id = s.asset_id
LEFT JOIN lighting_program_in_force f ON f.asset_id = s.asset_id
WHERE s.id = ANY($1::int[]) AND a.archived_at IS NULL AND (s.fine_until IS NULL OR s.fine_until > $2)
"""
STATE_COLUMNS = """st.tenant_id, st.rule_id, st.datastream_id, st.device_id, st.gateway_id,
st.condition::text AS condition, st.since, st.recent, st.evaluated_until, st.value, st.alert_id, st.rung,
st.due_at, st.memo, st.past, st.slot"""
READ_STATES = f"""
SELECT {STATE_COLUMNS} FROM rule_state st
JOIN unnest($1::int[], $2::int[], $3::int[], $4::int[]) AS key (rule_id, datastream_id, device_id, gateway_id)
  ON st.rule_id = key.rule_id AND st.datastream_id IS NOT DISTINCT FROM key.datastream_id
 AND st.device_id IS NOT DISTINCT FROM key.device_id AND st.gateway_id IS NOT DISTINCT FROM key.gateway_id
"""
# The key's own columns, by the index: what IS NOT DISTINCT FROM does not use.
READ_STATES_OF_DATASTREAMS = f"""
SELECT {STATE_COLUMNS} FROM rule_state st
JOIN unnest($1::int[], $2::int[]) AS key (rule_id, datastream_id)
  ON st.rule_id = key.rule_id AND st.datastream_id = key.datastream_id
"""
LOCK_STATES_OF_DEVICES = f"""
SELECT {STATE_COLUMNS} FROM rule_state st JOIN datastream s ON s.id = st.datastream_id
WHERE s.device_id = ANY($1::int[]) ORDER BY st.rule_id, st.datastream_id FOR UPDATE OF st
"""
# States of datastreams only: frame loss is evaluated at the full hour, and only its next value ends it.
LOCK_DUE_STATES = f"""
SELECT {STATE_COLUMNS} FROM rule_state st
WHERE st.due_at <= $1 AND st.slot = ANY($2::smallint[]) AND st.datastream_id IS NOT NULL
ORDER BY st.due_at, st.rule_id, st.datastream_id LIMIT $3 FOR UPDATE OF st
"""
STATES_OF_ALERT = "SELECT rule_id, datastream_id, device_id, gateway_id FROM rule_state WHERE alert_id = $1"
# What was evaluated just before its asset went to another tenant, or its rule was removed, is void.
# $9 to $16 are empty where no row has any: unnest fills the shorter arrays up with NULL.
SAVE_STATES = """
INSERT INTO rule_state (tenant_id, rule_id, datastream_id, condition, since, evaluated_until, value, slot,
                        device_id, gateway_id, recent, alert_id, rung, due_at, memo, past)
SELECT v.tenant_id, v.rule_id, v.datastream_id, v.condition, v.since, v.evaluated_until, v.value, v.slot,
       v.device_id, v.gateway_id, coalesce(v.recent, 0), v.alert_id, coalesce(v.rung, 0), v.due_at,
       coalesce(v.memo, ''), coalesce(v.past, '')
FROM unnest($1::int[], $2::int[], $3::int[], $4::alert_condition[], $5::timestamptz[], $6::timestamptz[],
            $7::float8[], $8::smallint[], $9::int[], $10::int[], $11::bigint[], $12::bigint[], $13::smallint[],
            $14::timestamptz[], $15::bytea[], $16::bytea[])
     AS v (tenant_id, rule_id, datastream_id, condition, since, evaluated_until, value, slot,
           device_id, gateway_id, recent, alert_id, rung, due_at, memo, past)
JOIN alert_rule r ON r.id = v.rule_id
LEFT JOIN datastream s ON s.id = v.datastream_id
WHERE v.datastream_id IS NULL OR s.tenant_id = v.tenant_id
FOR KEY SHARE OF r
ON CONFLICT (rule_id, datastream_id, device_id, gateway_id) DO UPDATE
SET condition = excluded.condition, since = excluded.since, recent = excluded.recent,
    evaluated_until = excluded.evaluated_until, value = excluded.value, alert_id = excluded.alert_id,
    rung = excluded.rung, due_at = excluded.due_at, memo = excluded.memo, past = excluded.past,
    slot = excluded.slot
"""
READ_FLAGS = "SELECT flags FROM observation.measurement WHERE datastream_id = $1 AND time = $2"
# Gateways of tenants with a rule for them, by the rule; `tags` and kinds do not apply to gateways.
READ_GATEWAYS_SEEN = """
SELECT g.id, g.tenant_id, s.last_seen_at FROM gateway g JOIN gateway_state s ON s.gateway_id = g.id
WHERE g.tenant_id = ANY($1::int[]) ORDER BY g.id
"""


@dataclass(frozen=True, slots=True)
class Watched:
    """A datastream as the engine needs it."""

    id: int
    tenant_id: int
    asset_id: int | None
    device_id: int
    quantity: str
    asset_kind: str | None
    expected_interval: timedelta
    tags: tuple[str, ...] = ()
    latitude: float | None = None
    longitude: float | None = None
    calendar: str | None = None  # The name of the asset's own calendar.
    program: Any = None  # Of its lamps, as it is stored.
    rated_power_w: float | None = None  # Of its lamps together.
    department: str | None = None  # The tenant's.
    timezone: str = "Europe/Paris"  # The deployment's.
    replaced_at: datetime | None = None  # When the device that serves its place took another's.
    fine_until: datetime | None = None  # When the consent to what is finer than a day ends.
    lighting: Any = None  # Of a cabinet or circuit of lamps what its meter is judged by.


class About(NamedTuple):
    """What an alert is about; None is "nothing in particular"."""

    asset_id: int | None = None
    device_id: int | None = None
    datastream_id: int | None = None
    gateway_id: int | None = None


class StateKey(NamedTuple):
    """One fingerprint: a rule with a datastream, with a device (silence, loss), or with a gateway."""

    rule_id: int
    datastream_id: int | None = None
    device_id: int | None = None
    gateway_id: int | None = None


OF_EVERY_STATE = (
    "tenant_id, key.rule_id, key.datastream_id, state.condition, state.since, state.evaluated_until, state.value, "
    "slot"
)
# A state at rest, as nearly all are, has none of these.
OF_FEW_STATES = (
    "key.device_id, key.gateway_id, state.recent, alert_id, state.rung, state.due_at, state.memo, "
    "state.past_octets"
)


class StateRow(NamedTuple):
    """Where a fingerprint stands, its open alert, and the slot whose owner sees to its deadline."""

    tenant_id: int
    key: StateKey
    state: RuleState
    alert_id: int | None
    slot: int


@dataclass(frozen=True, slots=True)
class GatewaySeen:
    """When a gateway was last seen by its bridge."""

    id: int
    tenant_id: int
    last_seen_at: datetime


States = dict[StateKey, StateRow]


async def read_watched(connection: Connection | Pool, ids: Sequence[int], now: datetime) -> list[Watched]:
    """Datastreams by id; without those that may be watched no more: archived, or their consent has ended."""
    return await fetch_all(connection, Watched, READ_WATCHED, ids, now)


def _state(row: Record) -> StateRow:
    key = StateKey(row["rule_id"], row["datastream_id"], row["device_id"], row["gateway_id"])
    state = RuleState(
        Condition(row["condition"]),
        row["since"],
        row["recent"],
        row["evaluated_until"],
        row["value"],
        alerting=row["alert_id"] is not None,
        rung=row["rung"],
        due_at=row["due_at"],
        memo=row["memo"],
        past=past_of(row["past"]),
    )
    return StateRow(row["tenant_id"], key, state, row["alert_id"], row["slot"])


def _states(rows: Sequence[Record]) -> States:
    return {found.key: found for found in map(_state, rows)}


async def read_states_of_datastreams(connection: Connection | Pool, keys: Sequence[StateKey]) -> States:
    """The states of these fingerprints of datastreams; new ones are absent."""
    rule_ids, datastream_ids = [key.rule_id for key in keys], [key.datastream_id for key in keys]
    return _states(await connection.fetch(READ_STATES_OF_DATASTREAMS, rule_ids, datastream_ids))


async def read_states(connection: Connection, keys: Sequence[StateKey]) -> States:
    """The states of these few fingerprints of any kind; new ones are absent."""
    if not keys:
        return {}
    columns = list(zip(*keys, strict=True))
    return _states(await connection.fetch(READ_STATES, *(list(column) for column in columns)))


async def lock_states_of_devices(connection: Connection, device_ids: Sequence[int]) -> States:
    """The states of every datastream that these devices serve now."""
    return _states(await connection.fetch(LOCK_STATES_OF_DEVICES, device_ids))


async def lock_due_states(connection: Connection, now: datetime, slots: Sequence[int], most: int) -> States:
    """States of these slots whose own deadline has passed."""
    return _states(await connection.fetch(LOCK_DUE_STATES, now, slots, most))


async def states_of_alert(connection: Connection, alert_id: int) -> set[StateKey]:
    """The fingerprints whose open alert this is, as the table has them."""
    return {StateKey(*row) for row in await connection.fetch(STATES_OF_ALERT, alert_id)}


async def save_states(connection: Connection, rows: Mapping[StateKey, StateRow]) -> None:
    """Write each fingerprint's state."""
    if not rows:
        return
    states = rows.values()
    seldom = (column if any(column) else [] for column in arrays(states, OF_FEW_STATES))
    await connection.execute(SAVE_STATES, *arrays(states, OF_EVERY_STATE), *seldom)


async def read_flags(connection: Connection, datastream_id: int, at: datetime) -> int:
    """The flags of a measurement; 0 when it is gone."""
    return await connection.fetchval(READ_FLAGS, datastream_id, at) or 0


async def read_gateways_seen(connection: Connection | Pool, tenant_ids: Sequence[int]) -> list[GatewaySeen]:
    """When each gateway of these tenants was last seen; one that never spoke is absent."""
    return await fetch_all(connection, GatewaySeen, READ_GATEWAYS_SEEN, tenant_ids)
