"""Writes what rules decide about alerts, in the caller's transaction: rows, lifecycle, notifications."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from alerting import alert_rows
from alerting.alert_rows import AlertRow, NewAlert
from alerting.engine_store import About
from alerting.notifications import Notification, enqueue_notification
from alerting.rules.alert_lifecycle import (
    REOPENS_WITHIN,
    AlertLifecycle,
    NotificationEvent,
    Suppression,
    begin,
    end,
    look,
    raise_to,
)
from alerting.rules.faults import Fault, fault_of
from alerting.rules.lighting_series import Said, said
from alerting.rules.model import NOWHERE, Doubt, Opened, Place, Raised, Rule, is_graver
from alerting.silences import find_suppression
from alerting.wording import Facts, Subject, body, digest_text, flapping_text, opened_text, resolved_text, unit_of
from core.model.identities import NO_TRACE
from core.runtime.postgres import Connection

# How often one alert is looked at in one sweep: each look settles one deadline, and an alert has at most three.
LOOKS_MOST = 4
# What a relay said longer ago says nothing of why lamps are dark now.
RELAY_WITHIN = timedelta(hours=2)
RELAY_SAYS = {
    True: "Son relais se dit fermé : le courant n'arrive plus aux lampes, disjoncteur déclenché ou câble coupé.",
    False: "Son relais se dit ouvert : rien ne l'a allumée.",
}


class _More(NamedTuple):
    said: Said | None
    note: str


@dataclass(slots=True)
class AlertWriter:
    """The alerts of one transaction; the caller opened it and holds the shard's lease in it."""

    connection: Connection
    alert_link: str
    """Where people find an alert, with {alert} in place of its number."""
    now: datetime
    opened: list[str] = field(default_factory=list[str])
    """The rules of the alerts that were opened, to be counted once it is committed."""
    notified: list[tuple[UUID, Notification]] = field(default_factory=list[tuple[UUID, Notification]])
    """The notifications that were enqueued, each with its id, to be traced once the transaction is committed."""
    trace_id: bytes = NO_TRACE
    """The trace of the frame whose value is being judged; empty: the clock or a person caused it."""

    async def begin(
        self, rule: Rule, about: About, opened: Opened, slot: int, place: Place = NOWHERE
    ) -> int | None:
        """Open the alert, or reopen the one that ended less than a day ago; returns its id.

        None: the rule was removed a moment ago. `place`: where the value was measured.
        """
        if not await alert_rows.hold_rule(self.connection, rule.id):
            return None
        severity = rule.severity_at(opened.rung)
        new = NewAlert(
            rule.tenant_id, rule.id, about, rule.team_id, slot, severity, opened.since, opened.value,
            threshold_of(rule), opened.learnt_at,
        )  # fmt: skip
        last = await alert_rows.lock_last(self.connection, rule.tenant_id, rule.id, about)
        if last is not None and last.lifecycle.is_live:  # Another datastream of the same asset has opened it.
            await self.raise_to(rule, last.id, Raised(opened.at, opened.value, opened.rung, opened.doubt))
            return last.id
        ended_at = None if last is None else last.lifecycle.ended_at
        if last is None or ended_at is None or opened.at - ended_at > REOPENS_WITHIN:
            return await self._open(rule, new, opened, place)
        subject = await self._subject(rule, rule.tenant_id, about)
        text = self._text(rule, subject, last.id, new, opened.doubt, await self._more(rule, new, opened, place))
        await alert_rows.set_firing(self.connection, last.id, new, text)
        now_known = replace(
            last, severity=severity, message=text, value=opened.value, fired_at=opened.since,
            learnt_at=opened.learnt_at,
        )  # fmt: skip
        mute = await self._suppression(rule, now_known)
        life, event = begin(last.lifecycle, opened.at, severity, mute)
        await self._write_lifecycle(now_known, life, opened.at, "reopened")
        await self._notify(rule, now_known, life, event, subject)
        self.opened.append(rule.name)
        return last.id

    async def _open(self, rule: Rule, new: NewAlert, opened: Opened, place: Place) -> int:
        alert_id = await alert_rows.insert_alert(self.connection, new)
        subject = await self._subject(rule, new.tenant_id, new.about)
        text = self._text(rule, subject, alert_id, new, opened.doubt, await self._more(rule, new, opened, place))
        await alert_rows.set_message(self.connection, alert_id, text)
        alert = await alert_rows.lock_alert(self.connection, alert_id)
        assert alert is not None  # noqa: S101 - It was inserted just now.
        life, event = begin(None, opened.at, alert.severity, await self._suppression(rule, alert))
        await self._write_lifecycle(alert, life, opened.at, "opened")
        await self._notify(rule, alert, life, event, subject)
        self.opened.append(rule.name)
        return alert_id

    async def raise_to(self, rule: Rule, alert_id: int, raised: Raised) -> None:
        """Raise the alert to the rung's severity and notify; nothing when it is as grave already."""
        alert = await alert_rows.lock_alert(self.connection, alert_id)
        severity = rule.severity_at(raised.rung)
        if alert is None or not is_graver(severity, alert.severity):
            return
        subject = await self._subject(rule, alert.tenant_id, alert.about)
        new = NewAlert(
            alert.tenant_id, rule.id, alert.about, alert.team_id, 0, severity, alert.fired_at, raised.value,
            alert.threshold, alert.learnt_at,
        )  # fmt: skip
        text = self._text(rule, subject, alert_id, new, raised.doubt)
        await alert_rows.set_severity(self.connection, alert_id, severity, raised.value, text)
        now_known = replace(alert, severity=severity, message=text, value=raised.value)
        life, event = raise_to(alert.lifecycle, severity, await self._suppression(rule, now_known))
        await self._write_lifecycle(now_known, life, raised.at, "raised", severity)
        await self._notify(rule, now_known, life, event, subject)

    async def end(
        self,
        rule: Rule | None,
        alert_id: int,
        at: datetime,
        cause: str,
        value: float | None,
        *,
        is_ok: bool = True,
    ) -> None:
        """Resolve the alert for `cause` and notify; `rule` None: it was removed a moment ago."""
        alert = await alert_rows.lock_alert(self.connection, alert_id)
        if alert is None:
            return
        mute = None if rule is None else await self._suppression(rule, alert)
        life, event = end(alert.lifecycle, at, mute)
        await alert_rows.set_over(self.connection, alert_id, cause, value, is_ok=is_ok)
        if alert.lifecycle.is_live:
            await self._write_lifecycle(alert, life, at, "resolved", cause)
        else:
            await alert_rows.save_lifecycle(self.connection, alert_id, life)
        over = replace(alert, value=alert.value if value is None else value)
        subject = await self._subject(rule, alert.tenant_id, alert.about)
        await self._notify(rule, over, life, event, subject, cause)

    async def look(self, rule: Rule | None, alert: AlertRow, *, is_watching: bool = True) -> None:
        """Settle the alert's deadlines that have passed: suppressions that end, hourly digests, reopening.

        `is_watching`: the rule is not switched off.
        """
        for _ in range(LOOKS_MOST):
            life_before = alert.lifecycle
            if life_before.due_at is None or life_before.due_at > self.now:
                break
            mute = None if rule is None else await self._suppression(rule, alert)
            # An alert whose rule is gone or switched off is not opened again.
            is_firing = alert.is_firing and rule is not None and is_watching
            life, event = look(life_before, self.now, alert.severity, mute, is_firing=is_firing)
            is_back = life.is_live and not life_before.is_live
            if is_back:
                await self._write_lifecycle(alert, life, self.now, "reopened")
            elif life_before.is_flapping and not life.is_flapping:
                await self._write_lifecycle(alert, life, self.now, "settled")
            else:
                await alert_rows.save_lifecycle(self.connection, alert.id, life)
            if event is not None:
                subject = await self._subject(rule, alert.tenant_id, alert.about)
                changes = life_before.pending_changes
                cause = alert.cause if event is NotificationEvent.RESOLVED else None
                await self._notify(rule, alert, life, event, subject, cause, changes)
            alert = replace(alert, lifecycle=life)

    async def _suppression(self, rule: Rule, alert: AlertRow) -> Suppression | None:
        about, severity = alert.about, alert.severity
        return await find_suppression(
            self.connection, alert.tenant_id, rule, about, severity, alert.fired_at, self.now
        )

    async def _write_lifecycle(
        self, alert: AlertRow, lifecycle: AlertLifecycle, at: datetime, action: str, note: str = ""
    ) -> None:
        """Save the alert's lifecycle, and add `action` to its history."""
        await alert_rows.save_lifecycle(self.connection, alert.id, lifecycle)
        await alert_rows.add_event(self.connection, alert.tenant_id, alert.id, at, action, note)
        if lifecycle.muted_by is not None and lifecycle.muted_by != alert.lifecycle.muted_by:
            await alert_rows.add_event(self.connection, alert.tenant_id, alert.id, at, "muted", lifecycle.muted_by)
        if lifecycle.is_flapping and not alert.lifecycle.is_flapping:
            await alert_rows.add_event(self.connection, alert.tenant_id, alert.id, at, "flapping")

    async def _subject(self, rule: Rule | None, tenant_id: int, about: About) -> Subject:
        found = await alert_rows.read_subject(self.connection, tenant_id, about)
        return found if rule is None else replace(found, unit=unit_of(rule.series, rule.kind, found.unit))

    async def _more(self, rule: Rule, new: NewAlert, opened: Opened, place: Place) -> "_More":
        """What the text of an alert about lamps says besides the value."""
        relay: float | None = None
        if fault_of(rule) is Fault.DARK and new.about.asset_id is not None:
            relay = await alert_rows.read_relay(self.connection, new.about.asset_id, opened.at - RELAY_WITHIN)
        note = "" if relay is None else f" {RELAY_SAYS[relay > 0]}"
        return _More(said(rule.series, place, opened.at, opened.value), note)

    def _text(
        self,
        rule: Rule,
        subject: Subject,
        alert_id: int,
        new: NewAlert,
        doubt: Doubt | None,
        more: "_More | None" = None,
    ) -> str:
        more = more or _More(None, "")
        facts = Facts(
            alert_id, rule.name, new.severity, rule.message, new.since, new.value, new.threshold,
            doubt=doubt, learnt_at=new.learnt_at, said=more.said, note=more.note,
        )  # fmt: skip
        return opened_text(subject, facts, self._link(alert_id))

    async def _notify(
        self,
        rule: Rule | None,
        alert: AlertRow,
        lifecycle: AlertLifecycle,
        event: NotificationEvent | None,
        subject: Subject,
        cause: str | None = None,
        changes: int = 0,
    ) -> None:
        if event is None:
            return
        name = await alert_rows.read_rule_name(self.connection, alert.rule_id) if rule is None else rule.name
        shown = alert.value if rule is None else shown_of(rule, alert.value)
        match event:
            case NotificationEvent.RESOLVED:
                text = resolved_text(subject, cause or "", shown, alert.message)
            case NotificationEvent.FLAPPING:
                text = flapping_text(subject, name, alert.message)
            case NotificationEvent.DIGEST:
                text = digest_text(subject, name, changes, shown, alert.message, is_open=lifecycle.is_live)
            case _:
                text = alert.message
        link = self._link(alert.id)
        facts = Facts(
            alert.id,
            name,
            alert.severity,
            text,
            alert.fired_at,
            alert.value,
            alert.threshold,
            lifecycle.occurrences,
            learnt_at=alert.learnt_at,
        )
        content = body(
            event, self.now, subject, facts, link, cause if event is NotificationEvent.RESOLVED else None
        )
        cadence = "now" if rule is None else rule.cadence
        notification = Notification(
            alert.tenant_id, alert.team_id, alert.id, event, alert.severity, cadence, self.now, text, content,
            self.trace_id,
        )  # fmt: skip
        self.notified.append((await enqueue_notification(self.connection, notification), notification))

    def _link(self, alert_id: int) -> str:
        return self.alert_link.replace("{alert}", str(alert_id))


def shown_of(rule: Rule, value: float | None) -> float | None:
    """The value shown when an alert ends; None for booleans, whose message says the state in words."""
    return None if rule.kind == "boolean" else value


def threshold_of(rule: Rule) -> float | None:
    """The limit that the alert's text names; None when the rule has none."""
    return None if rule.kind in ("boolean", "flat") else rule.fire_value
