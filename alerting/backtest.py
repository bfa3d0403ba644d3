"""Backtests a rule on the measurements of the last thirty days: which notifications it would have sent."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerting.alert_writer import shown_of, threshold_of
from alerting.engine_store import Watched
from alerting.frame_loss_store import READ_VISIBLE_GATEWAYS, read_device_outages
from alerting.rule_store import list_calendars
from alerting.rulebook import OF_DEVICES, place, read_calendar
from alerting.rules.alert_lifecycle import NotificationEvent
from alerting.rules.calendar import Calendar
from alerting.rules.doubts import observation_of
from alerting.rules.frame_loss import OVER, CountedUplink, hourly_frame_loss
from alerting.rules.model import Observation, Rule
from alerting.rules.replay import ReplayedNotification, replay
from alerting.wording import Facts, Subject, digest_text, flapping_text, opened_text, resolved_text, unit_of
from core.messages.measurements import DOUBTFUL, Flag
from core.runtime.postgres import Connection, Record
from registry.rows import entity

DAYS = 30
MOST_DATASTREAMS = 2_000
MOST_MEASUREMENTS = 400_000
NOTICES_SHOWN = 500
# Values that a person typed (flag 4) do not show that the device works.
NO_SIGNS = Flag.MANUAL

# $1 tenant, $2 quantity (NULL: all), $3 kinds, $4 tags, $5 asset.
SELECT_DATASTREAMS = """
SELECT s.id, s.tenant_id, s.asset_id, s.device_id, s.quantity, a.kind AS asset_kind, p.expected_interval,
       coalesce(a.tags, '{}') AS tags, a.latitude, a.longitude, a.attributes ->> 'calendar' AS calendar,
       a.attributes -> 'lighting' AS lighting, t.slug AS tenant, a.name AS asset, coalesce(a.street, '') AS street,
       coalesce(a.commune, '') AS commune, d.name AS device, s.unit, t.department,
       (SELECT timezone FROM deployment) AS timezone
FROM datastream s
JOIN tenant t ON t.id = s.tenant_id
JOIN device d ON d.id = s.device_id
JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN asset a ON a.id = s.asset_id
WHERE s.tenant_id = $1 AND ($2::text IS NULL OR s.quantity = $2) AND ($3::text[] IS NULL OR a.kind = ANY($3))
  AND (cardinality($4::text[]) = 0 OR a.tags && $4) AND ($5::int IS NULL OR s.asset_id = $5)
ORDER BY s.asset_id, s.id LIMIT $6
"""
# $5: flags that count for nothing.
READ_VALUES = """
SELECT datastream_id, time, value, flags FROM measurement
WHERE datastream_id = ANY($1::int[]) AND time > $2 AND time <= $3 AND flags & $5 = 0
ORDER BY datastream_id, time LIMIT $4
"""
READ_FRAMES = """
SELECT time, session_id, f_cnt FROM uplink
WHERE device_id = $1 AND time > $2 AND time <= $3 AND f_cnt IS NOT NULL ORDER BY time LIMIT $4
"""
# Why a rule of a kind that watches no measurements cannot be replayed, and how to try it instead (in French).
NOT_TO_TRY = {
    "gateway": "cette règle ne se rejoue pas : d'une passerelle on garde le dernier instant où elle a été vue, et "
    "par heure ce qu'elle a reçu, trop peu pour retrouver un silence de quelques minutes ; créez-la suspendue "
    "(`enabled: false`), posez un silence sur elle pour quelques jours (POST /v1/silences), puis activez-la : ses "
    "alertes se lisent alors dans GET /v1/alerts, sans un message",
    "gateway_address": "cette règle ne se rejoue pas : elle suit les changements d'adresse des passerelles",
    "codec": "cette règle ne se rejoue pas : elle suit les codecs suspendus",
    "clock": "cette règle ne se rejoue pas : elle suit les horloges fausses des sources et des capteurs",
    "partner": "cette règle ne se rejoue pas : elle suit ce que déclare un système partenaire",
}


class NotToTry(ValueError):
    """This rule cannot be replayed; the message says why, in French."""


@dataclass(frozen=True, slots=True)
class BacktestNotification:
    """A notification that would have been sent."""

    at: datetime
    event: str
    severity: str
    asset_id: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a rule would have sent; `notices` has the first notifications, in the order of time."""

    since: datetime
    until: datetime
    datastreams: int
    measurements: int
    sent: int
    opened: int
    assets: int
    read: str  # What was counted: measures, or frames.
    notices: tuple[BacktestNotification, ...]

    @property
    def summary(self) -> str:
        """The result in one French sentence."""
        if not self.datastreams:
            return "Aucune mesure n'est concernée : vérifiez la grandeur, les types et les étiquettes de la règle."
        seen = f"{self.measurements} {self.read}{_s(self.measurements)} de {self.datastreams} flux"
        if not self.sent:
            return f"Sur {DAYS} jours ({seen}), cette règle n'aurait rien envoyé."
        return (
            f"Sur {DAYS} jours ({seen}), cette règle aurait ouvert {self.opened} alerte{_s(self.opened)} sur "
            f"{self.assets} actif{_s(self.assets)} et envoyé {self.sent} message{_s(self.sent)}."
        )


def _s(count: int) -> str:
    return "s" if count > 1 else ""


async def try_rule(connection: Connection, rule: Rule, now: datetime, asset_id: int | None = None) -> Backtest:
    """What `rule` would have sent in the last thirty days, by the measurements that the connection's role may see.

    Silences, maintenance and causes that explain others are left out of account. `asset_id`: of this asset alone.

    Raises:
        NotToTry: no history is kept of what the rule watches, or there is too much of it to replay.
    """
    if rule.kind in NOT_TO_TRY:
        raise NotToTry(NOT_TO_TRY[rule.kind])
    since = now - timedelta(days=DAYS)
    rows = await connection.fetch(
        SELECT_DATASTREAMS, rule.tenant_id, rule.quantity, rule.asset_kinds, rule.tags, asset_id,
        MOST_DATASTREAMS + 1,
    )  # fmt: skip
    if len(rows) > MOST_DATASTREAMS:
        raise NotToTry(f"plus de {MOST_DATASTREAMS} flux : précisez le type, une étiquette ou un actif")
    calendars = await _calendars(connection)
    if rule.schedule in ("open", "closed") and rule.calendar_id not in (None, *calendars.by_id):
        raise NotToTry(
            "cette règle suit des heures d'ouverture que seule sa collectivité peut lire : elle l'essaiera"
        )
    measurements, told = 0, list[tuple[ReplayedNotification, Record]]()
    for group in _groups(rule, rows):
        watched = entity(Watched, group[0])
        streams, read = await _history(connection, rule, group, since, now)
        measurements += read
        if measurements > MOST_MEASUREMENTS:
            raise NotToTry("il y a trop de mesures à rejouer : précisez le type, une étiquette ou un actif")
        calendar = calendars.of(rule, watched)
        tells = replay(rule, place(watched, calendar), watched.expected_interval, streams, now)
        told += [(one, group[0]) for one in tells]
        await asyncio.sleep(0)  # Let other tasks of the event loop run: a replay computes for long.
    told.sort(key=lambda pair: pair[0].at)
    opened = [row for one, row in told if one.event in (NotificationEvent.OPENED, NotificationEvent.REOPENED)]
    return Backtest(
        since,
        now,
        len(rows),
        measurements,
        len(told),
        len(opened),
        len({row["asset_id"] for row in opened}),
        "trame" if rule.kind == "loss" else "mesure",
        tuple(_backtest_notification(rule, one, row) for one, row in told[:NOTICES_SHOWN]),
    )


@dataclass(frozen=True, slots=True)
class _Calendars:
    """The visible calendars, found by (tenant, name): a name belongs to one tenant."""

    by_id: Mapping[int, Calendar]
    by_name: Mapping[tuple[int, str], Calendar]

    def of(self, rule: Rule, watched: Watched) -> Calendar | None:
        """The asset's own, else the rule's."""
        named = self.by_name.get((watched.tenant_id, watched.calendar or ""))
        return self.by_id.get(rule.calendar_id or 0) if named is None else named


async def _calendars(connection: Connection) -> _Calendars:
    read = [(stored, read_calendar(stored)) for stored in await list_calendars(connection)]
    known = [(stored, calendar) for stored, calendar in read if calendar is not None]
    return _Calendars(
        {stored.id: calendar for stored, calendar in known},
        {(stored.tenant_id, stored.name): calendar for stored, calendar in known},
    )


def _groups(rule: Rule, rows: Sequence[Record]) -> list[list[Record]]:
    """Datastreams whose values concern one alert."""
    groups: dict[tuple[str, int], list[Record]] = {}
    for row in rows:
        if rule.kind in OF_DEVICES:
            key = ("device", row["device_id"])
        elif rule.scope == "asset" and row["asset_id"] is not None:
            key = ("asset", row["asset_id"])
        else:
            key = ("datastream", row["id"])
        groups.setdefault(key, []).append(row)
    return list(groups.values())


async def _history(
    connection: Connection, rule: Rule, group: Sequence[Record], since: datetime, until: datetime
) -> tuple[Mapping[int, list[Observation]], int]:
    """The observations by datastream (or one stream for the device), and how many rows were read for them."""
    device_id = group[0]["device_id"]
    if rule.kind == "loss":
        rows = await connection.fetch(READ_FRAMES, device_id, since - OVER, until, MOST_MEASUREMENTS + 1)
        frames = [CountedUplink(*row) for row in rows]
        away = await read_device_outages(connection, [device_id], since - OVER, until, READ_VISIBLE_GATEWAYS)
        return {device_id: hourly_frame_loss(frames, since, until, away[device_id])}, len(rows)
    without = NO_SIGNS if rule.kind == "silence" else 0 if rule.judges_improbable else DOUBTFUL
    streams = await _values(connection, group, since, until, without)
    read = sum(len(values) for values in streams.values())
    if rule.kind == "silence":
        signs = sorted({value.at for values in streams.values() for value in values})
        return {device_id: [Observation(at, 0.0) for at in signs]}, read
    return streams, read


async def _values(
    connection: Connection, group: Sequence[Record], since: datetime, until: datetime, without: int
) -> Mapping[int, list[Observation]]:
    ids = [row["id"] for row in group]
    rows = await connection.fetch(READ_VALUES, ids, since, until, MOST_MEASUREMENTS + 1, without)
    streams: dict[int, list[Observation]] = {}
    quantities = {row["id"]: row["quantity"] for row in group}
    for row in rows:
        id_, at, value = row["datastream_id"], row["time"], row["value"]
        judged = observation_of(quantities[id_], at, value, row["flags"])
        if judged is not None or without == NO_SIGNS:
            streams.setdefault(id_, []).append(judged or Observation(at, value))
    return streams


def _backtest_notification(rule: Rule, replayed: ReplayedNotification, row: Record) -> BacktestNotification:
    subject = Subject(
        row["tenant"], row["asset_id"], row["asset_kind"], row["asset"], row["street"], row["commune"],
        row["device"], unit_of(rule.series, rule.kind, row["unit"]), None, row["department"], row["timezone"],
    )  # fmt: skip
    match replayed.event:
        case NotificationEvent.RESOLVED:
            text = resolved_text(subject, replayed.cause, shown_of(rule, replayed.value))
        case NotificationEvent.FLAPPING:
            text = flapping_text(subject, rule.name)
        case NotificationEvent.DIGEST:
            value = shown_of(rule, replayed.value)
            text = digest_text(subject, rule.name, replayed.changes, value, is_open=replayed.is_open)
        case _:
            facts = Facts(
                0, rule.name, replayed.severity, rule.message, replayed.since, replayed.value, threshold_of(rule)
            )
            text = opened_text(subject, facts)
    return BacktestNotification(replayed.at, replayed.event, replayed.severity, row["asset_id"], text)
