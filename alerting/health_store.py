"""SQL of sensors' health: which sensors there are, and what is stored of a batch of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from alerting.frame_loss_store import READ_GATEWAYS, READ_VISIBLE_GATEWAYS, read_device_outages
from alerting.rules.sensor_health import NEVER_STILL, Frozen, ReceivedUplink, SensorFacts, counted_over
from core.messages.measurements import SOUND, Flag
from core.model.frame_loss import CountedUplink
from core.runtime.postgres import Connection
from lorawan.commands.dev_status import EXTERNAL_POWER, DevStatusAns
from registry.listing import numbered
from registry.places import ANYWHERE, Place, in_commune, values_of, within
from registry.rows import fetch_all

HEARD_MOST = 20
BATTERY_OVER = timedelta(days=180)
REJECTED_WITHIN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Sensor:
    """A sensor in service, and what it serves. `since`: it serves that, or is registered."""

    id: int
    dev_eui: bytes
    name: str
    device_profile_id: int
    vendor: str
    model: str
    expected_interval: timedelta
    since: datetime
    asset_id: int | None
    asset_name: str | None
    asset_kind: str | None
    commune: str | None
    insee: str | None


@dataclass(frozen=True, slots=True)
class SensorFilter:
    """Which sensors; what is None does not matter."""

    tenant_id: int | None = None
    model: str | None = None
    device_profile_id: int | None = None
    asset_kind: str | None = None
    dev_eui: bytes | None = None
    tag: str | None = None
    quarter: str | None = None
    place: Place = ANYWHERE

    def values(self) -> dict[str, Any]:
        """By the names of the statement's parameters."""
        return values_of(self)


# Tables, and the views by which the API's role sees what its tenant may see.
SCHEMAS = ("observation.", "")
# Devices are in order before anything is joined to them: what they
# serve is looked up for those of the page and not for all.
SENSORS = numbered(
    f"""
SELECT d.id, d.dev_eui, d.name, d.device_profile_id, p.vendor, p.model, p.expected_interval,
       coalesce(lower(g.during), d.created_at) AS since,
       a.id AS asset_id, a.name AS asset_name, a.kind AS asset_kind, a.commune, a.insee
FROM (SELECT id, dev_eui, name, device_profile_id, created_at FROM device
      WHERE id > :after AND enabled AND archived_at IS NULL AND (:tenant_id::int IS NULL OR tenant_id = :tenant_id)
        AND (:device_profile_id::int IS NULL OR device_profile_id = :device_profile_id)
        AND (:dev_eui::bytea IS NULL OR dev_eui = :dev_eui)
      ORDER BY id) AS d
JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN assignment g ON g.device_id = d.id AND g.during @> :now::timestamptz
LEFT JOIN asset a ON a.id = g.asset_id
WHERE a.archived_at IS NULL AND (:model::text IS NULL OR p.model = :model)
  AND (:asset_kind::text IS NULL OR a.kind = :asset_kind) AND (:tag::text IS NULL OR :tag = ANY(a.tags))
  AND (:quarter::text IS NULL OR a.quarter = :quarter) AND {in_commune("a")} AND {within("a")}
ORDER BY d.id LIMIT :most
"""
)
# Receptions are read once a device, from the first of these uplinks on: the view asks each time who may see them.
HEARD, VISIBLE_HEARD = (
    f"""
SELECT d.id AS device_id, u.time AS at, u.received_at, u.status, u.reason,
       nullif((u.radio ->> 'spreading_factor')::int, 0) AS spreading_factor, u.rssi, u.snr,
       encode(g.gateway_id, 'hex') AS gateway
FROM unnest($1::int[]) AS d (id)
CROSS JOIN LATERAL (
    WITH heard AS MATERIALIZED (
        SELECT uplink_id, time, received_at, status, reason, radio FROM {schema}uplink
        WHERE device_id = d.id AND time <= $2 ORDER BY time DESC LIMIT $3
    ), best AS MATERIALIZED (
        SELECT DISTINCT ON (time, uplink_id) time, uplink_id, rssi, snr, gateway_id FROM {schema}reception
        WHERE device_id = d.id AND time >= (SELECT min(time) FROM heard) AND time <= $2
        ORDER BY time, uplink_id, snr DESC
    )
    SELECT h.*, r.rssi, r.snr, r.gateway_id
    FROM heard h LEFT JOIN best r ON r.time = h.time AND r.uplink_id = h.uplink_id) AS u
LEFT JOIN gateway g ON g.id = u.gateway_id
ORDER BY d.id, u.time DESC
"""
    for schema in SCHEMAS
)
FRAMES, VISIBLE_FRAMES = (
    f"""
SELECT d.id AS device_id, min(u.time) AS at, u.session_id, u.f_cnt
FROM unnest($1::int[], $2::timestamptz[]) AS d (id, since)
JOIN {schema}uplink u ON u.device_id = d.id AND u.time > d.since AND u.time > $4 AND u.time <= $3
WHERE u.f_cnt IS NOT NULL GROUP BY d.id, u.session_id, u.f_cnt ORDER BY at
"""
    for schema in SCHEMAS
)
BATTERY, VISIBLE_BATTERY = (
    f"""
SELECT s.device_id, r.bucket AS at, r.sum / r.n AS percent FROM datastream s
JOIN {schema}rollup_day r ON r.datastream_id = s.id AND r.bucket > $2 AND r.bucket <= $3 AND r.n > 0
WHERE s.device_id = ANY($1::int[]) AND s.quantity = 'battery_level'
UNION ALL
SELECT s.device_id, l.time, l.value FROM datastream s JOIN {schema}latest l ON l.datastream_id = s.id
WHERE s.device_id = ANY($1::int[]) AND s.quantity = 'battery_level' AND l.time <= $3
ORDER BY 1, 2
"""
    for schema in SCHEMAS
)
STATUS, VISIBLE_STATUS = (
    f"""
SELECT v.id AS device_id, t.battery, t.margin,
       (SELECT l.value <> 0 FROM datastream s JOIN {schema}latest l ON l.datastream_id = s.id
        WHERE s.device_id = v.id AND s.quantity = 'low_battery' ORDER BY l.time DESC LIMIT 1) AS is_low
FROM device v LEFT JOIN device_status t ON t.device_id = v.id WHERE v.id = ANY($1::int[])
"""
    for schema in SCHEMAS
)
FROZEN, VISIBLE_FROZEN = (
    f"""
SELECT s.device_id, s.quantity, count(*)::int AS readings, min(m.value) AS lowest, max(m.value) AS highest,
       min(m.time) AS first_at
FROM datastream s JOIN {schema}measurement m ON m.datastream_id = s.id AND m.time > $2 AND m.time <= $3
WHERE s.device_id = ANY($1::int[]) AND s.quantity = ANY($4::text[]) AND m.{SOUND} AND m.flags & {Flag.MANUAL:d} = 0
GROUP BY s.id, s.device_id, s.quantity
"""
    for schema in SCHEMAS
)
# Of data frames with a wrong MIC the device is a guess.
REJECTIONS = """
SELECT d.id AS device_id, r.reason, r.last_at FROM frame_refusal r
JOIN device d ON r.device_id = d.id OR (r.device_id IS NULL AND r.subject = d.dev_eui)
WHERE d.id = ANY($1::int[]) AND r.last_at > $2 AND r.last_at <= $3 AND r.times > r.forgiven
  AND (octet_length(r.subject) = 8 OR r.reason <> 'mic')
ORDER BY r.last_at DESC
"""


@dataclass(frozen=True, slots=True)
class Source:
    """The statements of one role."""

    heard: str
    frames: str
    battery: str
    status: str
    frozen: str
    gateways: str


SERVICE = Source(HEARD, FRAMES, BATTERY, STATUS, FROZEN, READ_GATEWAYS)
API = Source(VISIBLE_HEARD, VISIBLE_FRAMES, VISIBLE_BATTERY, VISIBLE_STATUS, VISIBLE_FROZEN, READ_VISIBLE_GATEWAYS)


async def list_sensors(
    connection: Connection, wanted: SensorFilter, now: datetime, after: int, most: int
) -> list[Sensor]:
    """Sensors in service at `now`, by id, beyond `after`."""
    given = wanted.values() | {"now": now, "after": after, "most": most}
    return await fetch_all(connection, Sensor, SENSORS.sql, *SENSORS.values(given))


@dataclass(slots=True)
class _Stored:
    """What the statements gave, by device."""

    heard: dict[int, list[ReceivedUplink]] = field(default_factory=lambda: defaultdict(list))
    frames: dict[int, list[CountedUplink]] = field(default_factory=lambda: defaultdict(list))
    battery: dict[int, list[tuple[datetime, float]]] = field(default_factory=lambda: defaultdict(list))
    frozen: dict[int, list[Frozen]] = field(default_factory=lambda: defaultdict(list))
    rejections: dict[int, list[tuple[str, datetime]]] = field(default_factory=lambda: defaultdict(list))


async def read_facts(
    connection: Connection, source: Source, sensors: Sequence[Sensor], now: datetime, flat_for: timedelta
) -> dict[int, SensorFacts]:
    """What is stored of these sensors at `now`, by their ids."""
    ids = [one.id for one in sensors]
    since = [now - counted_over(one.expected_interval) for one in sensors]

    async def ask(statement: str, *values: object) -> Sequence[Any]:
        return await connection.fetch(statement, ids, *values)

    stored = _Stored()
    names = ("at", "status", "reason", "spreading_factor", "rssi", "snr", "gateway", "received_at")
    for row in await ask(source.heard, now, HEARD_MOST):
        stored.heard[row["device_id"]].append(ReceivedUplink(*(row[name] for name in names)))
    for row in await ask(source.frames, since, now, min(since, default=now)):
        stored.frames[row["device_id"]].append(CountedUplink(row["at"], row["session_id"], row["f_cnt"]))
    for row in await ask(source.battery, now - BATTERY_OVER, now):
        stored.battery[row["device_id"]].append((row["at"], row["percent"]))
    for row in await ask(source.frozen, now - flat_for, now, list(NEVER_STILL)):
        stored.frozen[row["device_id"]].append(
            Frozen(row["quantity"], row["readings"], row["lowest"], row["highest"], row["first_at"])
        )
    for row in await ask(REJECTIONS, now - REJECTED_WITHIN, now):
        stored.rejections[row["device_id"]].append((row["reason"], row["last_at"]))
    status = {row["device_id"]: row for row in await ask(source.status)}
    outages = await read_device_outages(connection, ids, min(since, default=now), now, source.gateways)
    facts = dict[int, SensorFacts]()
    for one in sensors:
        row = status.get(one.id)
        answered = None if row is None or row["battery"] is None else DevStatusAns(row["battery"], row["margin"])
        fraction = None if answered is None else answered.battery_fraction
        heard = stored.heard[one.id]
        last_heard_at = max((seen.received_at or seen.at for seen in heard), default=None)
        facts[one.id] = SensorFacts(
            one.since,
            one.expected_interval,
            heard,
            stored.frames[one.id],
            outages.get(one.id, []),
            stored.battery[one.id],
            None if fraction is None else round(100 * fraction, 1),
            None if row is None else row["is_low"],
            answered is not None and answered.battery == EXTERNAL_POWER,
            stored.frozen[one.id],
            # What was accepted since has mended it.
            [code for code, at in stored.rejections[one.id] if last_heard_at is None or at > last_heard_at],
        )
    return facts
