"""Sensors' health: what is wrong with which sensor, how often models fail, how long nothing is heard of assets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerting.defaults import DEFAULT_RULES
from alerting.health_store import Sensor, SensorFilter, Source, list_sensors, read_facts
from alerting.rules.sensor_health import Limits, SensorHealth, judge
from alerting.silences import GATEWAY
from core.runtime.postgres import Connection
from registry.rows import fetch_all

_RULES = {rule.name: rule for rule in DEFAULT_RULES}
LIMITS = Limits(
    loss_percent=_RULES["sensor_loss"].fire_value or 0.0,
    battery_percent=_RULES["battery_low"].fire_value or 0.0,
    flat_for=timedelta(seconds=_RULES["sensor_flat"].for_seconds),
)
AT_ONCE = 250
# Of a search for what is rare: a page may end before it is full, and the next one goes on.
LOOKED_AT_MOST = 1_000

# Times of service and of silence within $1 and $2. A silence is an alert of the rule that nothing was received.
SILENCES = """
SELECT al.id AS alert_id, al.device_id, al.asset_id, al.occurrences, al.notified_severity,
       tstzrange(greatest(al.opened_at, $1), greatest(least(coalesce(al.resolved_at, $2), $2), $1)) AS during
FROM alert al JOIN alert_rule r ON r.id = al.rule_id AND r.kind = 'silence' AND r.quantity IS NULL
WHERE al.opened_at < $2 AND coalesce(al.resolved_at, $2) > $1
"""
IS_WATCHED = """EXISTS (SELECT FROM alert_rule r WHERE r.tenant_id = {tenant} AND r.enabled AND r.kind = 'silence'
                        AND r.quantity IS NULL)"""
DAYS = "extract(epoch FROM upper({span}) - lower({span}))::float8 / 86400"
MODELS = f"""
WITH silence AS ({SILENCES}),
served AS (
    SELECT d.id, p.vendor, p.model, d.tenant_id, sum({DAYS.format(span="s.span")}) AS days
    FROM device d JOIN device_profile p ON p.id = d.device_profile_id
    JOIN assignment g ON g.device_id = d.id AND g.during && tstzrange($1, $2)
    CROSS JOIN LATERAL (SELECT g.during * tstzrange($1, $2) AS span) AS s
    GROUP BY d.id, p.vendor, p.model, d.tenant_id
), failed AS (
    SELECT device_id, sum(occurrences)::int AS failures, sum({DAYS.format(span="during")}) AS days
    FROM silence s
    -- One that nobody could hear has not failed: it spoke again with its gateway, before anybody was notified.
    WHERE s.notified_severity IS NOT NULL OR NOT EXISTS (
        SELECT FROM alert_event e
        WHERE e.alert_id = s.alert_id AND e.action = 'muted' AND e.note LIKE '{GATEWAY} %')
    GROUP BY device_id
)
SELECT v.vendor, v.model, count(*)::int AS sensors, sum(v.days) AS served_days,
       CASE WHEN bool_and({IS_WATCHED.format(tenant="v.tenant_id")}) THEN coalesce(sum(f.failures), 0)::int END
           AS failures,
       coalesce(sum(f.days), 0) AS silent_days
FROM served v LEFT JOIN failed f ON f.device_id = v.id
GROUP BY v.vendor, v.model ORDER BY v.vendor, v.model LIMIT $3
"""
MODEL_NAMES = """
SELECT DISTINCT p.model FROM device d JOIN device_profile p ON p.id = d.device_profile_id
WHERE d.enabled AND d.archived_at IS NULL ORDER BY p.model LIMIT $1
"""
UNAVAILABLE = f"""
WITH silence AS ({SILENCES})
SELECT a.id, a.kind, a.name, a.commune, a.insee,
       coalesce((SELECT sum({DAYS.format(span="span")}) FROM (
           SELECT unnest(range_agg(g.during * tstzrange($1, $2))) AS span FROM assignment g
           WHERE g.asset_id = a.id AND g.during && tstzrange($1, $2)) AS s), 0) AS served_days,
       CASE WHEN {IS_WATCHED.format(tenant="a.tenant_id")} THEN
           coalesce((SELECT sum({DAYS.format(span="span")}) FROM (
               SELECT unnest(range_agg(s.during)) AS span FROM silence s WHERE s.asset_id = a.id) AS s), 0)
       END AS unavailable_days
FROM asset a
WHERE a.id > $3 AND a.archived_at IS NULL AND ($5::text IS NULL OR a.commune = $5 OR a.insee = $5)
  AND ($6::text IS NULL OR a.kind = $6)
  AND EXISTS (SELECT FROM assignment g WHERE g.asset_id = a.id AND g.during && tstzrange($1, $2))
ORDER BY a.id LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class JudgedSensor:
    """A sensor and how it is."""

    sensor: Sensor
    health: SensorHealth

    @property
    def id(self) -> int:
        """By which the list goes on."""
        return self.sensor.id


@dataclass(frozen=True, slots=True)
class Found:
    """Sensors that were looked for; `after` is where the search goes on, None: it is over."""

    sensors: list[JudgedSensor]
    after: int | None


@dataclass(frozen=True, slots=True)
class ModelReliability:
    """How often sensors of a model fell silent. `failures` None: no rule watches for it."""

    vendor: str
    model: str
    sensors: int
    served_days: float
    failures: int | None
    silent_days: float

    @property
    def mtbf_days(self) -> float | None:
        """Days in service for each time that one fell silent; None: none did, or nobody knows."""
        up = max(self.served_days - self.silent_days, 0.0)
        return round(up / self.failures, 1) if self.failures else None


@dataclass(frozen=True, slots=True)
class Unavailability:
    """How long nothing was heard of an asset that a sensor served. `unavailable_days` None: no rule watches it."""

    id: int
    kind: str
    name: str
    commune: str
    insee: str | None
    served_days: float
    unavailable_days: float | None


async def judge_sensors(
    connection: Connection, source: Source, sensors: Sequence[Sensor], now: datetime
) -> list[JudgedSensor]:
    """How these sensors are at `now`."""
    facts = await read_facts(connection, source, sensors, now, LIMITS.flat_for) if sensors else {}
    return [JudgedSensor(one, judge(facts[one.id], LIMITS, now)) for one in sensors]


async def find_sensors(
    connection: Connection,
    source: Source,
    wanted: SensorFilter,
    now: datetime,
    *,
    after: int = 0,
    most: int = 100,
    looked_at_most: int | None = LOOKED_AT_MOST,
    is_wanted: Callable[[JudgedSensor], bool] = lambda _: True,
) -> Found:
    """Up to `most` sensors, by id, beyond `after`; of `looked_at_most` that were judged."""
    found, looked_at = list[JudgedSensor](), 0
    at_once = min(AT_ONCE, most)
    while True:
        sensors = await list_sensors(connection, wanted, now, after, at_once)
        for one in await judge_sensors(connection, source, sensors, now):
            after = one.id
            if is_wanted(one):
                found.append(one)
                if len(found) == most:
                    return Found(found, after)
        looked_at += len(sensors)
        if len(sensors) < at_once:
            return Found(found, None)
        if looked_at_most is not None and looked_at >= looked_at_most:
            return Found(found, after)
        at_once = AT_ONCE


async def list_model_names(connection: Connection, most: int = 1000) -> list[str]:
    """Models of sensors in service."""
    return [row["model"] for row in await connection.fetch(MODEL_NAMES, most)]


async def list_models(
    connection: Connection, since: datetime, until: datetime, most: int = 1000
) -> list[ModelReliability]:
    """How reliable each model was between these instants."""
    return await fetch_all(connection, ModelReliability, MODELS, since, until, most)


async def list_unavailable(
    connection: Connection,
    since: datetime,
    until: datetime,
    *,
    after: int = 0,
    most: int = 100,
    commune: str | None = None,
    kind: str | None = None,
) -> list[Unavailability]:
    """Assets that a sensor served between these instants, by id, beyond `after`."""
    return await fetch_all(connection, Unavailability, UNAVAILABLE, since, until, after, most, commune, kind)
