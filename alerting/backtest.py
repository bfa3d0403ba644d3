"""Backtests a rule on the measurements of the last thirty days: which notifications it would have sent."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from alerting.alert_writer import shown_of, threshold_of
from alerting.engine_store import LIGHTING, Watched
from alerting.past import MOST_MEASUREMENTS, Past, Row
from alerting.rule_store import list_calendars
from alerting.rulebook import place, read_calendar
from alerting.rules import lighting_series
from alerting.rules.alert_lifecycle import NotificationEvent
from alerting.rules.calendar import Calendar
from alerting.rules.model import Place, Rule
from alerting.rules.replay import ReplayedNotification, replay
from alerting.wording import (
    Facts,
    Subject,
    digest_text,
    flapping_text,
    instant_text,
    opened_text,
    resolved_text,
    unit_of,
)
from core.model.region import METROPOLITAN, Region, region_of
from core.runtime.postgres import Connection
from registry.rows import entity

DAYS = 30
MOST_DATASTREAMS = 2_000

NOTICES_SHOWN = 500
OPENINGS = (NotificationEvent.OPENED, NotificationEvent.REOPENED)

# $1 tenant, $2 quantity (NULL: all), $3 kinds, $4 tags, $5 asset.
SELECT_DATASTREAMS = f"""
SELECT s.id, s.tenant_id, s.asset_id, s.device_id, s.position, s.quantity, a.kind AS asset_kind,
       p.expected_interval, coalesce(a.tags, '{{}}') AS tags, a.latitude, a.longitude,
       a.attributes ->> 'calendar' AS calendar,
       f.program, coalesce(f.rated_power_w, lighting_rated_power_w(a.id, a.attributes)) AS rated_power_w,
       t.slug AS tenant, a.name AS asset, coalesce(a.street, '') AS street,
       coalesce(a.commune, '') AS commune, d.name AS device, s.unit, t.department,
       (SELECT timezone FROM deployment) AS timezone, NULL::timestamptz AS replaced_at,
       NULL::timestamptz AS fine_until, s.channel, {LIGHTING}
FROM datastream s
JOIN tenant t ON t.id = s.tenant_id
JOIN device d ON d.id = s.device_id
JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN asset a ON a.id = s.asset_id
LEFT JOIN lighting_program_in_force f ON f.asset_id = s.asset_id
WHERE s.tenant_id = $1 AND ($2::text IS NULL OR s.quantity = $2) AND ($3::text[] IS NULL OR a.kind = ANY($3))
  AND (cardinality($4::text[]) = 0 OR a.tags && $4) AND ($5::int IS NULL OR s.asset_id = $5)
ORDER BY s.asset_id, s.id LIMIT $6
"""
# Places where devices served and nothing was ever measured: a silence is of these, too. $5, $6: between when.
SELECT_UNMEASURED = """
SELECT DISTINCT ON (g.asset_id, g.position) NULL::int AS id, g.tenant_id, g.asset_id, g.device_id, g.position,
       '' AS quantity, a.kind AS asset_kind, p.expected_interval, a.tags, a.latitude, a.longitude,
       NULL AS calendar, NULL::jsonb AS program, NULL::float8 AS rated_power_w, t.slug AS tenant, a.name AS asset,
       coalesce(a.street, '') AS street, coalesce(a.commune, '') AS commune, d.name AS device, '1' AS unit,
       t.department, (SELECT timezone FROM deployment) AS timezone, NULL::timestamptz AS replaced_at,
       NULL::timestamptz AS fine_until, '' AS channel, NULL::jsonb AS lighting
FROM assignment g
JOIN tenant t ON t.id = g.tenant_id
JOIN asset a ON a.id = g.asset_id
JOIN device d ON d.id = g.device_id
JOIN device_profile p ON p.id = d.device_profile_id
WHERE g.tenant_id = $1 AND ($2::text[] IS NULL OR a.kind = ANY($2))
  AND (cardinality($3::text[]) = 0 OR a.tags && $3) AND ($4::int IS NULL OR g.asset_id = $4)
  AND g.during && tstzrange($5, $6)
  AND NOT EXISTS (SELECT FROM datastream s WHERE s.asset_id = g.asset_id AND s.position = g.position)
ORDER BY g.asset_id, g.position LIMIT $7
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
    "program_mismatch": "cette règle ne se rejoue pas : elle suit ce que les horloges disent de leur programme",
    "export_drop": "cette règle ne se rejoue pas : elle suit les dépôts de fichiers qui n'arrivent pas",
    "relight_failed": "cette règle ne se rejoue pas : elle suit les rallumages que rien ne prouve",
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
class BacktestDay:
    """A local day of a backtest: how many alerts would have opened, and how many notifications been sent."""

    day: date
    opened: int
    sent: int


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
    days: tuple[BacktestDay, ...]  # Every one, also without any.
    outages_known_since: datetime | None  # Of before nobody knows what was away; None: of the whole time.

    @property
    def summary(self) -> str:
        """The result in one French sentence."""
        if not self.datastreams:
            return "Aucune mesure n'est concernée : vérifiez la grandeur, les types et les étiquettes de la règle."
        seen = f"{self.measurements} {self.read}{_s(self.measurements)} de {self.datastreams} flux"
        if not self.sent:
            return f"Sur {DAYS} jours ({seen}), cette règle n'aurait rien envoyé.{self._unknown}"
        return (
            f"Sur {DAYS} jours ({seen}), cette règle aurait ouvert {self.opened} alerte{_s(self.opened)} sur "
            f"{self.assets} actif{_s(self.assets)} et envoyé {self.sent} message{_s(self.sent)}.{self._unknown}"
        )

    @property
    def _unknown(self) -> str:
        """Of which of these days nobody knows what was away."""
        known_since = self.outages_known_since
        if known_since is not None and known_since <= self.since:
            return ""
        if known_since is None:
            return " Pannes de cette période : inconnu."
        return f" Pannes avant {instant_text(known_since)} : inconnu."


def _s(count: int) -> str:
    return "s" if count > 1 else ""


async def try_rule(connection: Connection, rule: Rule, now: datetime, asset_id: int | None = None) -> Backtest:
    """What `rule` would have sent in the last thirty days, by the measurements that the connection's role may see.

    It is played as it was received, with the outages that were recorded. Silences, maintenance and other alerts
    that explain it are left out of account. `asset_id`: of this asset alone.

    Raises:
        NotToTry: no history is kept of what the rule watches, or there is too much of it to replay.
    """
    if rule.kind in NOT_TO_TRY:
        raise NotToTry(NOT_TO_TRY[rule.kind])
    since = now - timedelta(days=DAYS)
    about = rule.asset_kinds, rule.tags, asset_id
    rows = await connection.fetch(SELECT_DATASTREAMS, rule.tenant_id, rule.quantity, *about, MOST_DATASTREAMS + 1)
    if rule.kind == "silence" and rule.quantity is None:
        rows += await connection.fetch(SELECT_UNMEASURED, rule.tenant_id, *about, since, now, MOST_DATASTREAMS + 1)
    if len(rows) > MOST_DATASTREAMS:
        raise NotToTry(f"plus de {MOST_DATASTREAMS} flux : précisez le type, une étiquette ou un actif")
    calendars = await _calendars(connection)
    if rule.schedule in ("open", "closed") and rule.calendar_id not in (None, *calendars.by_id):
        raise NotToTry(
            "cette règle suit des heures d'ouverture que seule sa collectivité peut lire : elle l'essaiera"
        )
    watched_rows = [dict(row.items()) for row in rows]
    past = await Past.read(connection, rule, watched_rows, since, now)
    notifications = list[tuple[ReplayedNotification, Row, Place]]()
    for group in past.groups(watched_rows):
        watched = entity(Watched, group[0])
        streams = await past.streams(group)
        if past.measurements > MOST_MEASUREMENTS:
            raise NotToTry("il y a trop de mesures à rejouer : précisez le type, une étiquette ou un actif")
        where = place(watched, calendars.of(rule, watched))
        suppress = await past.suppression(group[0]) if rule.kind == "silence" else None
        found = replay(rule, where, streams, now, past.unjudged_spans, suppress)
        notifications += [(one, group[0], where) for one in found]
        await asyncio.sleep(0)  # Let other tasks of the event loop run: a replay computes for long.
    notifications.sort(key=lambda found: found[0].at)
    opened = [(one, row) for one, row, _ in notifications if one.event in OPENINGS]
    region = _region(watched_rows)
    return Backtest(
        since,
        now,
        len(rows),
        past.measurements,
        len(notifications),
        len(opened),
        len({row["asset_id"] for _, row in opened}),
        "trame" if rule.kind == "loss" else "mesure",
        tuple(_backtest_notification(rule, *one) for one in notifications[:NOTICES_SHOWN]),
        _days(region, (since, now), [one.at for one, _ in opened], [one.at for one, _, _ in notifications]),
        past.outages_since,
    )


def _region(rows: Sequence[Row]) -> Region:
    """Where days begin and end."""
    return region_of(rows[0]["department"], rows[0]["timezone"]) if rows else METROPOLITAN


def _days(
    region: Region, span: tuple[datetime, datetime], opened: Iterable[datetime], sent: Iterable[datetime]
) -> tuple[BacktestDay, ...]:
    """What falls on each local day, from the first to the last."""
    first, last = (region.local(at).date() for at in span)
    opened_on, sent_on = (Counter(region.local(at).date() for at in instants) for instants in (opened, sent))
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(BacktestDay(day, opened_on[day], sent_on[day]) for day in every)


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


def _backtest_notification(
    rule: Rule, replayed: ReplayedNotification, row: Row, where: Place
) -> BacktestNotification:
    subject = Subject(
        row["tenant"], row["asset_id"], row["asset_kind"], row["asset"], row["street"], row["commune"],
        row["device"], unit_of(rule.series, rule.kind, row["unit"]), None, row["department"], row["timezone"],
        row["channel"],
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
                0,
                rule.name,
                replayed.severity,
                rule.message,
                replayed.since,
                replayed.value,
                threshold_of(rule),
                doubt=replayed.doubt,
                learnt_at=replayed.learnt_at,
                said=lighting_series.said(rule.series, where, replayed.at, replayed.value),
            )
            text = opened_text(subject, facts)
    return BacktestNotification(replayed.at, replayed.event, replayed.severity, row["asset_id"], text)
