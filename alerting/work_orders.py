"""Work orders in the database: made, changed, listed, with their history. Row security bounds every statement.

Each change writes a row of history in its own transaction; `alerting.work_order_dispatch` makes a webhook message
of it. Why the history is the outbox: docs/decisions/0089-the-history-of-a-work-order-is-its-outbox.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import to_builtins

from alerting import alert_store
from alerting.rules.work_order_states import ENDED, ImpossibleChange, Standing, action_of, standing_after
from core.runtime.postgres import Connection, UniqueViolationError
from registry.listing import Ask, Key, Listing, Part, rows_in_order
from registry.places import ANYWHERE, Place, distance, in_commune, values_of, within
from registry.rows import fetch_all, fetch_one

COLUMNS = """w.id, w.tenant_id, w.state, w.origin, w.priority, w.title, w.description, w.team_id, t.name AS team,
w.assignee, w.due_at, w.campaign_id, w.external_reference, w.resolution, w.version, w.reported_at, w.created_at,
w.created_by, w.updated_at, w.closed_at, w.closed_by,
ARRAY(SELECT l.asset_id FROM work_order_link l WHERE l.work_order_id = w.id AND l.asset_id IS NOT NULL
      ORDER BY l.id) AS asset_ids,
ARRAY(SELECT l.alert_id FROM work_order_link l WHERE l.work_order_id = w.id AND l.alert_id IS NOT NULL
      ORDER BY l.id) AS alert_ids,
s.name AS asset, coalesce(s.commune, '') AS commune, coalesce(s.street, '') AS street, s.latitude, s.longitude"""
# The first of its assets that is visible says where it is.
OF_ORDERS = """work_order w LEFT JOIN team t ON t.id = w.team_id
LEFT JOIN LATERAL (SELECT a.name, a.kind, a.commune, a.insee, a.quarter, a.tags, a.street, a.latitude, a.longitude
                   FROM work_order_link l JOIN asset a ON a.id = l.asset_id
                   WHERE l.work_order_id = w.id ORDER BY l.id LIMIT 1) AS s ON true"""
# To who sees every tenant: the first that the work order's own tenant may see.
OF_ORDERS_SHOWN = OF_ORDERS.replace(
    "ORDER BY l.id", "AND a.id IN (SELECT assets_shown_to(w.tenant_id, ARRAY[a.id])) ORDER BY l.id"
)
WANTED = f"""
(:state::text[] IS NULL OR w.state = ANY(:state))
  AND (:priority::text[] IS NULL OR w.priority = ANY(:priority))
  AND (:origin::text IS NULL OR w.origin = :origin) AND (:team_id::int IS NULL OR w.team_id = :team_id)
  AND (:assignee::text IS NULL OR w.assignee = :assignee)
  AND (:asset_id::int IS NULL OR w.id IN (SELECT work_order_id FROM work_order_link WHERE asset_id = :asset_id))
  AND (:alert_id::bigint IS NULL OR w.id IN (SELECT work_order_id FROM work_order_link WHERE alert_id = :alert_id))
  AND (:campaign_id::int IS NULL OR w.campaign_id = :campaign_id)
  AND (:external_reference::text IS NULL OR w.external_reference = :external_reference)
  AND (:kind::text IS NULL OR s.kind = :kind)
  AND (:tag::text IS NULL OR :tag = ANY(s.tags)) AND (:quarter::text IS NULL OR s.quarter = :quarter)
  AND (:late_at::timestamptz IS NULL OR (w.due_at < :late_at AND w.state NOT IN ('done', 'cancelled')))
  AND {in_commune("s")} AND {within("s")}
"""
# The most urgent first; of states the one that was furthest from its end.
KEYS = {
    "created_at": Key("created_at", "timestamptz"),
    "due_at": Key("due_at", "timestamptz"),
    "priority": Key("array_position(ARRAY['urgent', 'high', 'normal', 'low'], priority)", "bigint"),
    "state": Key("array_position(ARRAY['open', 'assigned', 'in_progress', 'done', 'cancelled'], state)", "bigint"),
    "distance": Key("distance", "float8"),
}
LIST = Listing(
    f"""
SELECT w.id, w.created_at, w.due_at, w.priority, w.state,
       CASE WHEN :near_radius::float8 IS NOT NULL THEN {distance("s")} END AS distance
FROM {OF_ORDERS} WHERE {WANTED}
""",
    KEYS,
)
READ_THESE = f"SELECT {COLUMNS} FROM {OF_ORDERS} WHERE w.id = ANY($1)"
READ = f"SELECT {COLUMNS} FROM {OF_ORDERS} WHERE w.id = $1"
READ_SHOWN = f"SELECT {COLUMNS} FROM {OF_ORDERS_SHOWN} WHERE w.id = $1"
LOCK = "SELECT state, team_id, assignee, resolution FROM work_order WHERE id = $1 FOR UPDATE"
FIND_REFERENCE = "SELECT id FROM work_order WHERE external_reference = $1"
INSERT = """
INSERT INTO work_order (tenant_id, state, origin, priority, title, description, team_id, assignee, due_at,
                        campaign_id, external_reference, resolution, created_by, closed_at, closed_by, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, CASE WHEN $14 THEN now() END,
        CASE WHEN $14 THEN $13::text END, 1)
RETURNING id
"""
# The columns that a person decides, by their names in a change; `standing` writes the others.
PATCHED = ("title", "description", "priority", "due_at", "campaign_id", "external_reference")
UPDATE = """
UPDATE work_order SET
    state = $2, team_id = $3, assignee = $4, resolution = $5,
    title = CASE WHEN $6::jsonb ? 'title' THEN $6 ->> 'title' ELSE title END,
    description = CASE WHEN $6 ? 'description' THEN $6 ->> 'description' ELSE description END,
    priority = CASE WHEN $6 ? 'priority' THEN $6 ->> 'priority' ELSE priority END,
    due_at = CASE WHEN $6 ? 'due_at' THEN ($6 ->> 'due_at')::timestamptz ELSE due_at END,
    campaign_id = CASE WHEN $6 ? 'campaign_id' THEN ($6 ->> 'campaign_id')::int ELSE campaign_id END,
    external_reference = CASE WHEN $6 ? 'external_reference' THEN $6 ->> 'external_reference'
                              ELSE external_reference END,
    reported_at = coalesce($8, reported_at),
    closed_at = CASE WHEN $2 IN ('done', 'cancelled') THEN coalesce(closed_at, now()) END,
    closed_by = CASE WHEN $2 NOT IN ('done', 'cancelled') THEN NULL WHEN closed_at IS NULL THEN $7::text
                     ELSE closed_by END
WHERE id = $1
"""
# What the transaction may see: the keys alone would let it name anybody's.
KNOWS_TEAM = "SELECT EXISTS (SELECT FROM team WHERE id = $1)"
KNOWS_CAMPAIGN = "SELECT EXISTS (SELECT FROM lighting_campaign WHERE id = $1)"
UNKNOWN_ASSETS = (
    "SELECT id FROM unnest($1::int[]) AS v (id) WHERE NOT EXISTS (SELECT FROM asset a WHERE a.id = v.id)"
)
UNKNOWN_ALERTS = """
SELECT id FROM unnest($1::bigint[]) AS v (id) WHERE NOT EXISTS (SELECT FROM alert a WHERE a.id = v.id)
"""
UNLINK_ASSETS = "DELETE FROM work_order_link WHERE work_order_id = $1 AND asset_id <> ALL($2::int[])"
UNLINK_ALERTS = "DELETE FROM work_order_link WHERE work_order_id = $1 AND alert_id <> ALL($2::bigint[])"
LINK_ASSETS = """
INSERT INTO work_order_link (tenant_id, work_order_id, asset_id)
SELECT w.tenant_id, w.id, v.id FROM work_order w, unnest($2::int[]) WITH ORDINALITY AS v (id, place)
WHERE w.id = $1 ORDER BY v.place ON CONFLICT DO NOTHING
"""
LINK_ALERTS = """
INSERT INTO work_order_link (tenant_id, work_order_id, alert_id, fired_at)
SELECT w.tenant_id, w.id, a.id, a.fired_at FROM work_order w, alert a
WHERE w.id = $1 AND a.id = ANY($2::bigint[]) ORDER BY a.id ON CONFLICT DO NOTHING
"""
ASSETS_OF_ALERTS = """
SELECT DISTINCT asset_id FROM alert WHERE id = ANY($1::bigint[]) AND asset_id IS NOT NULL ORDER BY 1
"""
# Of its own tenant: another's is that one's to end.
OPEN_ALERTS = """
SELECT a.id FROM work_order_link l JOIN alert a ON a.id = l.alert_id AND a.tenant_id = l.tenant_id
WHERE l.work_order_id = $1 AND a.workflow IN ('open', 'acknowledged', 'in_progress') ORDER BY a.id
"""
ADD_EVENT = """
INSERT INTO work_order_event (tenant_id, work_order_id, actor, source_id, action, version, note, changes)
SELECT tenant_id, id, $2, $3, $4, version, $5, $6 FROM work_order WHERE id = $1
"""
COUNT_UP = "UPDATE work_order SET version = version + 1, updated_at = now() WHERE id = $1 RETURNING version"
LIST_EVENTS = """
SELECT id, work_order_id, at, actor, source_id, action, version, note, changes FROM work_order_event
WHERE work_order_id = $1 ORDER BY id LIMIT 1000
"""
# Alerts of rules that open work orders, that people were notified of: what is muted, or explained by another
# alert, opens none. Of an alert that fired again since its work order has ended, there is another one.
OPEN_FOR_ALERTS = """
SELECT a.id, a.tenant_id, a.asset_id, a.team_id, a.severity::text AS severity, a.message,
       r.kind = 'relight_failed' AS is_of_lighting
FROM alert_rule r JOIN alert a ON a.rule_id = r.id AND a.tenant_id = r.tenant_id
WHERE r.opens_work_order AND a.workflow IN ('open', 'acknowledged', 'in_progress') AND a.condition <> 'ok'
  AND a.notified_severity IS NOT NULL AND a.muted_by IS NULL AND a.message <> ''
  AND NOT EXISTS (
      SELECT FROM work_order_link l JOIN work_order w ON w.id = l.work_order_id
      WHERE l.alert_id = a.id AND (w.state NOT IN ('done', 'cancelled') OR l.fired_at >= a.fired_at))
ORDER BY a.id LIMIT $1
"""
TO_SEND = """
SELECT e.id, e.work_order_id, e.at, e.actor, e.source_id, e.action, e.version, e.note, e.changes, e.message_id,
       n.slug AS tenant
FROM work_order_event e JOIN tenant n ON n.id = e.tenant_id
WHERE e.sent_at IS NULL ORDER BY e.id LIMIT $1 FOR UPDATE OF e SKIP LOCKED
"""
MARK_SENT = "UPDATE work_order_event SET sent_at = now() WHERE id = ANY($1::bigint[])"
TITLE_MOST = 200
DESCRIPTION_MOST = 4000


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """A work order as the API shows it, with where the first of its assets is."""

    id: int
    tenant_id: int
    state: str
    origin: str
    priority: str
    title: str
    description: str
    team_id: int | None
    team: str | None
    assignee: str | None
    due_at: datetime | None
    campaign_id: int | None
    external_reference: str | None
    resolution: str
    version: int
    reported_at: datetime | None
    created_at: datetime
    created_by: str | None
    updated_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    asset_ids: tuple[int, ...]
    alert_ids: tuple[int, ...]
    asset: str | None
    commune: str
    street: str
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True, slots=True)
class WorkOrderEvent:
    """A line of the history; `changes` has of each changed field the value before and after."""

    id: int
    work_order_id: int
    at: datetime
    actor: str | None
    source_id: int | None
    action: str
    version: int
    note: str
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventToSend:
    """A line of history of which no webhook message has been made."""

    id: int
    work_order_id: int
    at: datetime
    actor: str | None
    source_id: int | None
    action: str
    version: int
    note: str
    changes: dict[str, Any]
    message_id: Any  # A UUID.
    tenant: str


@dataclass(frozen=True, slots=True)
class AlertToOpenFor:
    """An alert whose rule opens a work order, and which has none."""

    id: int
    tenant_id: int
    asset_id: int | None
    team_id: int | None
    severity: str
    message: str
    is_of_lighting: bool


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes a work order: a person or a key, a partner's system, or (None) the platform."""

    name: str | None
    source_id: int | None = None
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WantedWorkOrders:
    """Which work orders; None: whatever they are. Where one is, is where the first of its assets is.

    `late_at` keeps those that should be done by then and are not.
    """

    state: Sequence[str] | None = None
    priority: Sequence[str] | None = None
    origin: str | None = None
    team_id: int | None = None
    assignee: str | None = None
    asset_id: int | None = None
    alert_id: int | None = None
    campaign_id: int | None = None
    external_reference: str | None = None
    late_at: datetime | None = None
    kind: str | None = None
    tag: str | None = None
    quarter: str | None = None
    place: Place = ANYWHERE

    def values(self) -> dict[str, Any]:
        """By the names of the statement's parameters."""
        return values_of(self)


EVERY_ORDER, NEWEST_FIRST = WantedWorkOrders(), Ask("-id", None, 100)


class UnknownReference(ImpossibleChange):
    """It names a team, a campaign, an asset or an alert that is not there."""


async def create_work_order(
    connection: Connection, tenant_id: int, actor: Actor, given: Mapping[str, Any], origin: str = "person"
) -> WorkOrder:
    """A new work order, in its history as opened.

    Raises:
        ImpossibleChange: what its state demands is missing, or its reference is taken.
        UnknownReference: what it names is not visible.
    """
    await _check_references(connection, given)
    after = standing_after(Standing(), given)
    alerts: Sequence[int] = given.get("alert_ids") or ()
    assets = list(dict.fromkeys(given.get("asset_ids") or ()))
    if alerts and not assets:
        assets = [row["asset_id"] for row in await connection.fetch(ASSETS_OF_ALERTS, list(alerts))]
    try:
        async with connection.transaction():
            order_id: int = await connection.fetchval(
                INSERT, tenant_id, after.state, origin, given.get("priority", "normal"), given["title"],
                given.get("description", ""), after.team_id, after.assignee, given.get("due_at"),
                given.get("campaign_id"), given.get("external_reference"), after.resolution, actor.name,
                after.state in ENDED,
            )  # fmt: skip
    except UniqueViolationError:
        raise _taken(given) from None
    await connection.execute(LINK_ASSETS, order_id, assets)
    await connection.execute(LINK_ALERTS, order_id, list(alerts))
    await connection.execute(ADD_EVENT, order_id, actor.name, actor.source_id, "opened", "", {})
    return await _stored(connection, order_id)


async def list_work_orders(
    connection: Connection, ask: Ask = NEWEST_FIRST, wanted: WantedWorkOrders = EVERY_ORDER
) -> tuple[list[WorkOrder], Part]:
    """A page of the visible work orders."""
    part = await LIST.page(connection, ask, wanted.values())
    return await rows_in_order(connection, WorkOrder, READ_THESE, part.ids), part


async def read_work_order(connection: Connection, order_id: int) -> WorkOrder | None:
    """One work order."""
    return await fetch_one(connection, WorkOrder, READ, order_id)


async def read_shown_work_order(connection: Connection, order_id: int) -> WorkOrder | None:
    """To alerting, which sees every tenant: as its own tenant sees it."""
    return await fetch_one(connection, WorkOrder, READ_SHOWN, order_id)


async def find_by_reference(connection: Connection, reference: str) -> int | None:
    """The id of the work order that a partner's system calls so."""
    return await connection.fetchval(FIND_REFERENCE, reference)


async def list_events(connection: Connection, order_id: int) -> list[WorkOrderEvent]:
    """What happened to a work order, in order."""
    return await fetch_all(connection, WorkOrderEvent, LIST_EVENTS, order_id)


async def update_work_order(
    connection: Connection,
    order_id: int,
    actor: Actor,
    given: Mapping[str, Any],
    note: str = "",
    *,
    resolves_alerts: bool = True,
) -> WorkOrder | None:
    """The work order after a change, in which a field that is absent stays as it is; None: there is none.

    Done, it resolves the open alerts that it is about, unless `resolves_alerts` is false. A change that changes
    nothing, and says nothing, is none.

    Raises:
        ImpossibleChange: see `standing_after`; or its reference is taken.
        UnknownReference: what it names is not visible.
    """
    row = await connection.fetchrow(LOCK, order_id)
    former = None if row is None else await read_work_order(connection, order_id)
    if row is None or former is None:
        return None
    await _check_references(connection, given)
    before = Standing(row["state"], row["team_id"], row["assignee"], row["resolution"])
    after = standing_after(before, given)
    patch = {name: given[name] for name in PATCHED if name in given}
    if "asset_ids" in given:
        await connection.execute(UNLINK_ASSETS, order_id, list(given["asset_ids"]))
        await connection.execute(LINK_ASSETS, order_id, list(given["asset_ids"]))
    if "alert_ids" in given:
        await connection.execute(UNLINK_ALERTS, order_id, list(given["alert_ids"]))
        await connection.execute(LINK_ALERTS, order_id, list(given["alert_ids"]))
    try:
        async with connection.transaction():
            await connection.execute(
                UPDATE, order_id, after.state, after.team_id, after.assignee, after.resolution, patch, actor.name,
                actor.reported_at,
            )  # fmt: skip
    except UniqueViolationError:
        raise _taken(given) from None
    changed = await _stored(connection, order_id)
    differing = _changes(former, changed)
    action = action_of(before, after)
    if action == "changed" and not differing:
        if not note:
            return changed
        action = "commented"
    said = note or (after.resolution if after.state in ENDED else "")
    await _record(connection, order_id, actor, action, said, differing)
    if after.state == "done" and before.state != "done" and resolves_alerts:
        for alert in await connection.fetch(OPEN_ALERTS, order_id):
            await alert_store.resolve(connection, alert["id"], actor.name or "", after.resolution[:1000])
    return await _stored(connection, order_id)


async def comment_work_order(connection: Connection, order_id: int, actor: Actor, text: str) -> bool:
    """Add a remark to the history; False: there is no such work order."""
    return await _record(connection, order_id, actor, "commented", text, {})


async def read_alerts_to_open_for(connection: Connection, most: int) -> list[AlertToOpenFor]:
    """To alerting: the alerts that are to have a work order and have none."""
    return await fetch_all(connection, AlertToOpenFor, OPEN_FOR_ALERTS, most)


async def take_events_to_send(connection: Connection, most: int) -> list[EventToSend]:
    """To alerting: the oldest lines of history that were not sent, marked as sent with this transaction."""
    events = await fetch_all(connection, EventToSend, TO_SEND, most)
    await connection.execute(MARK_SENT, [event.id for event in events])
    return events


async def _record(
    connection: Connection, order_id: int, actor: Actor, action: str, note: str, changes: Mapping[str, Any]
) -> bool:
    if await connection.fetchval(COUNT_UP, order_id) is None:
        return False
    await connection.execute(ADD_EVENT, order_id, actor.name, actor.source_id, action, note, dict(changes))
    return True


async def _stored(connection: Connection, order_id: int) -> WorkOrder:
    stored = await read_work_order(connection, order_id)
    assert stored is not None  # noqa: S101 - This transaction has written it.
    return stored


async def _check_references(connection: Connection, given: Mapping[str, Any]) -> None:
    for name, word, statement in (("team_id", "équipe", KNOWS_TEAM), ("campaign_id", "campagne", KNOWS_CAMPAIGN)):
        if given.get(name) is not None and not await connection.fetchval(statement, given[name]):
            raise UnknownReference(f"{word} {given[name]} introuvable")
    for name, word, statement in (("asset_ids", "actif", UNKNOWN_ASSETS), ("alert_ids", "alerte", UNKNOWN_ALERTS)):
        unknown = await connection.fetch(statement, list(given.get(name) or ())) if given.get(name) else []
        if unknown:
            raise UnknownReference(f"{word} {unknown[0]['id']} introuvable")


def _taken(given: Mapping[str, Any]) -> ImpossibleChange:
    return ImpossibleChange(f"une intervention porte déjà la référence {given.get('external_reference')}")


OF_HISTORY = (
    *("state", "title", "description", "priority", "team_id", "assignee", "due_at", "campaign_id"),
    *("external_reference", "resolution", "asset_ids", "alert_ids"),
)


def _changes(former: WorkOrder, after: WorkOrder) -> dict[str, Any]:
    """Of each field that differs, the value before and after, as JSON has them."""
    differing = (name for name in OF_HISTORY if getattr(former, name) != getattr(after, name))
    return {name: [to_builtins(getattr(former, name)), to_builtins(getattr(after, name))] for name in differing}
