"""Quiet hours, the digest and the ladder, on the real schema; the clock is an argument."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any

import msgspec
import pytest

from alerting import alert_store, store, teams
from alerting.dispatch import Dispatched, dispatch, waited_text
from alerting.health_report import report_health
from alerting.mail import compose, subject_of
from alerting.message_formats import read_content
from alerting.notifications import Notification, enqueue_notification
from alerting.queue import WebhookMessage, decode_message
from core.runtime.postgres import Pool
from tests.alerting.alert_scenario import PARIS
from tests.alerting.sending import KEYS
from tests.proved import create_proved_endpoint, proved_address

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=PARIS)  # A Wednesday.
NIGHT = datetime(2026, 11, 25, 23, 0, tzinfo=PARIS)
MORNING = datetime(2026, 11, 26, 7, 30, tzinfo=PARIS)
HALF_HOUR = timedelta(minutes=30)
NOTHING = Dispatched(0, 0)


@dataclass
class Crew:
    """A team that is quiet from 20 to 7, with contacts up to rung 2, and alerts for it."""

    pool: Pool
    place: Any
    team_id: int
    endpoints: dict[str, int]
    alerts: int = 0
    queued: dict[int, WebhookMessage] = field(default_factory=dict[int, WebhookMessage])

    async def alert(self, at: datetime, severity: str = "major", event: str = "alert.opened") -> int:
        """As the engine opens it and notifies."""
        self.alerts += 1
        rule = await self.pool.fetchval(
            "INSERT INTO alert_rule (tenant_id, name, kind, severity, message, team_id) "
            "VALUES ($1, $2, 'silence', 'major', 'm', $3) RETURNING id",
            self.place.tenant_id,
            f"rule_{self.alerts}",
            self.team_id,
        )
        alert_id = await self.pool.fetchval(
            "INSERT INTO alert (tenant_id, rule_id, team_id, severity, message, condition, opened_at, fired_at, "
            "notified_severity) VALUES ($1, $2, $3, $4::alert_severity, 'm', 'firing', $5, $5, "
            "$4::alert_severity) RETURNING id",
            self.place.tenant_id,
            rule,
            self.team_id,
            severity,
            at,
        )
        await self.insert_notification(alert_id, at, severity, event)
        return alert_id

    async def insert_notification(
        self, alert_id: int, at: datetime, severity: str = "major", event: str = "alert.opened"
    ) -> None:
        body = {"type": event, "timestamp": at, "data": {"alert": alert_id, "message": "Bac", "link": "https://l"}}
        notice = Notification(
            self.place.tenant_id, self.team_id, alert_id, event, severity, "now", at, f"Bac {alert_id} plein.",
            msgspec.json.encode(body),
        )  # fmt: skip
        await self.messages()  # Those that a newer one takes the place of were queued all the same.
        async with self.pool.acquire() as connection, connection.transaction():
            await enqueue_notification(connection, notice)

    async def resolve(self, alert_id: int, at: datetime, severity: str = "major") -> None:
        await self.pool.execute(
            "UPDATE alert SET workflow = 'resolved', resolved_at = $2 WHERE id = $1", alert_id, at
        )
        await self.insert_notification(alert_id, at, severity, "alert.resolved")

    async def sent(self) -> list[tuple[str, str]]:
        """What is queued, in order: to whom, and the event."""
        names = {id_: name for name, id_ in self.endpoints.items()}
        return [(names[one.endpoint_id], msgspec.json.decode(one.body)["type"]) for one in await self.messages()]

    async def messages(self) -> list[WebhookMessage]:
        rows = await self.pool.fetch("SELECT id, payload FROM jobs.pgqueuer ORDER BY id")
        self.queued |= {row["id"]: decode_message(row["payload"]) for row in rows}
        return list(self.queued.values())


@pytest.fixture
async def crew(pool: Pool, place: Any) -> Crew:
    hours = {
        "name": "Voirie",
        "quiet_from": time(20),
        "quiet_until": time(7),
        "quiet_on_days_off": False,
        "digest_at": MORNING.time(),
        "sensor_health": False,
    }
    endpoints: dict[str, int] = {}
    async with pool.acquire() as connection, connection.transaction():
        team = await teams.create_team(connection, place.tenant_id, hours)
        for rung, name in enumerate(("agent", "chef", "directeur")):
            endpoint, _ = await create_proved_endpoint(
                connection, KEYS, place.tenant_id, f"https://{name}.example"
            )
            endpoints[name] = endpoint.id
            await teams.create_contact(connection, team.id, name, rung, 1800, endpoint.id)
    return Crew(pool, place, team.id, endpoints)


async def test_the_first_contact_is_notified_at_once_outside_quiet_hours(pool: Pool, crew: Crew) -> None:
    await crew.alert(NOON)

    assert await crew.sent() == [("agent", "alert.opened")]
    assert await dispatch(pool, NOON + timedelta(minutes=29)) == NOTHING


async def test_a_nights_notifications_are_one_digest_at_half_past_seven_and_critical_ones_are_sent_at_once(
    pool: Pool, crew: Crew
) -> None:
    first = await crew.alert(NIGHT, "warning")
    second = await crew.alert(NIGHT + timedelta(minutes=5))
    over = await crew.alert(NIGHT + timedelta(minutes=10))
    await crew.resolve(over, NIGHT + timedelta(hours=2))
    critical = await crew.alert(NIGHT, "critical")
    by_night = await crew.sent()
    await pool.execute("UPDATE alert SET workflow = 'acknowledged' WHERE id = $1", critical)
    early = await dispatch(pool, MORNING - timedelta(seconds=1))
    done = await dispatch(pool, MORNING)
    again = await dispatch(pool, MORNING + timedelta(minutes=1))
    digest = msgspec.json.decode((await crew.messages())[-1].body)

    assert by_night == [("agent", "alert.opened")]
    assert (early, done, again) == (NOTHING, Dispatched(1, 0), NOTHING)
    assert await crew.sent() == [("agent", "alert.opened"), ("agent", "team.digest")]
    assert digest["data"]["message"] == "3 alertes en attente pour l'équipe Voirie, dont 1 déjà terminée."
    assert [(line["alert"], line["is_over"]) for line in digest["data"]["alerts"]] == [
        (second, False),
        (over, True),
        (first, False),
    ]


async def test_an_end_is_not_notified_before_its_opening(pool: Pool, crew: Crew) -> None:
    """It begins in quiet hours, and ends after them but before the digest."""
    alert = await crew.alert(NIGHT)
    await crew.resolve(alert, MORNING - timedelta(minutes=10))

    assert await crew.sent() == []
    assert await dispatch(pool, MORNING) == Dispatched(1, 0)


async def test_a_long_night_stays_under_the_size_of_a_message(pool: Pool, crew: Crew) -> None:
    for number in range(45):
        await crew.alert(NIGHT + timedelta(seconds=number))
    await pool.execute("UPDATE alert_notice SET message = repeat('é', 2000)")
    await dispatch(pool, MORNING)
    body = (await crew.messages())[-1].body

    assert len(body) < 20_000
    assert msgspec.json.decode(body)["data"]["more"] == 15


async def test_without_an_acknowledgement_each_contact_is_notified_in_turn_and_once(
    pool: Pool, crew: Crew
) -> None:
    await crew.alert(NOON)
    turns = [await dispatch(pool, NOON + HALF_HOUR * half) for half in (0.9, 1, 1, 1.9, 2, 3, 10)]
    messages = await crew.messages()

    assert [turn.escalations for turn in turns] == [0, 1, 0, 0, 1, 0, 0]
    assert await crew.sent() == [
        ("agent", "alert.opened"),
        ("chef", "alert.escalated"),
        ("directeur", "alert.escalated"),
    ]
    assert len({message.message_id for message in messages}) == 3
    texts = [msgspec.json.decode(message.body)["data"]["message"] for message in messages[1:]]
    assert [text.split(" : ")[0] for text in texts] == [
        "Non prise en charge depuis 30 min",
        "Non prise en charge depuis 60 min",
    ]


async def test_two_replicas_at_once_notify_a_rung_once(pool: Pool, crew: Crew) -> None:
    for _ in range(5):
        await crew.alert(NOON)
    await asyncio.gather(*(dispatch(pool, NOON + HALF_HOUR) for _ in range(4)))
    sent = await crew.sent()

    assert sent.count(("chef", "alert.escalated")) == 5
    assert len(sent) == 10


@pytest.mark.parametrize(
    "change",
    [
        "workflow = 'acknowledged', acknowledged_at = now()",
        "muted_by = 'silence'",
        "workflow = 'resolved', resolved_at = now()",
    ],
)
async def test_an_acknowledgement_or_a_silence_ends_the_escalation(pool: Pool, crew: Crew, change: str) -> None:
    alert = await crew.alert(NOON)
    await pool.execute(f"UPDATE alert SET {change} WHERE id = $1", alert)

    assert await dispatch(pool, NOON + HALF_HOUR * 4) == NOTHING


async def test_an_acknowledgement_under_way_is_waited_for(pool: Pool, crew: Crew) -> None:
    alert = await crew.alert(NOON)
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await alert_store.acknowledge(connection, alert, "chef")
        climbing = asyncio.create_task(dispatch(pool, NOON + HALF_HOUR))
        async with asyncio.timeout(30):
            while not await pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await transaction.commit()

    assert await climbing == NOTHING


async def test_a_reopened_alert_is_escalated_again(pool: Pool, crew: Crew) -> None:
    alert = await crew.alert(NOON)
    await dispatch(pool, NOON + HALF_HOUR)
    await crew.insert_notification(alert, NOON + HALF_HOUR * 2, event="alert.reopened")
    await dispatch(pool, NOON + HALF_HOUR * 3)

    assert (await crew.sent()).count(("chef", "alert.escalated")) == 2


async def test_contacts_of_an_escalation_are_notified_of_what_follows(pool: Pool, crew: Crew) -> None:
    alert = await crew.alert(NOON)
    await dispatch(pool, NOON + HALF_HOUR)
    await crew.insert_notification(alert, NOON + HALF_HOUR * 1.2, event="alert.raised")
    await crew.resolve(alert, NOON + HALF_HOUR * 1.5)
    await crew.insert_notification(alert, NOON + HALF_HOUR * 2, event="alert.reopened")

    assert sorted((await crew.sent())[2:4]) == [("agent", "alert.raised"), ("chef", "alert.raised")]
    assert sorted((await crew.sent())[4:6]) == [("agent", "alert.resolved"), ("chef", "alert.resolved")]
    assert (await crew.sent())[6:] == [("agent", "alert.reopened")]


async def test_a_flapping_alert_escalates_from_its_flapping_notification_on(pool: Pool, crew: Crew) -> None:
    """A flapping alert's openings are not notified: the last one that was is long over."""
    alert = await crew.alert(NOON)
    await crew.insert_notification(alert, NOON + HALF_HOUR * 3, event="alert.flapping")
    turns = [await dispatch(pool, NOON + HALF_HOUR * half) for half in (3.9, 4)]
    await crew.insert_notification(alert, NOON + HALF_HOUR * 4.5, event="alert.digest")

    assert [turn.escalations for turn in turns] == [0, 1]
    assert (await crew.sent())[2:] == [
        ("chef", "alert.escalated"),
        ("agent", "alert.digest"),
        ("chef", "alert.digest"),
    ]


async def test_an_escalation_repeats_the_last_notification(pool: Pool, crew: Crew) -> None:
    alert = await crew.alert(NOON, "warning")
    body = {"type": "alert.raised", "timestamp": NOON, "data": {"alert": alert, "message": "Bac", "value": 91}}
    notice = Notification(
        crew.place.tenant_id, crew.team_id, alert, "alert.raised", "major", "now", NOON, "Bac à 91 %.",
        msgspec.json.encode(body),
    )  # fmt: skip
    async with pool.acquire() as connection, connection.transaction():
        await enqueue_notification(connection, notice)
    await dispatch(pool, NOON + HALF_HOUR)
    data = msgspec.json.decode((await crew.messages())[-1].body)["data"]

    assert data["message"] == "Non prise en charge depuis 30 min : Bac à 91 %."
    assert data["value"] == 91


async def test_a_rung_without_a_usable_contact_is_skipped(pool: Pool, crew: Crew) -> None:
    await store.set_endpoint_enabled(pool, crew.endpoints["chef"], enabled=False)
    await crew.alert(NOON)
    done = await dispatch(pool, NOON + HALF_HOUR)

    assert done == Dispatched(0, 1)
    assert await crew.sent() == [("agent", "alert.opened"), ("directeur", "alert.escalated")]


async def test_the_digest_has_the_last_of_several_notifications_of_one_instant(pool: Pool, crew: Crew) -> None:
    for _ in range(8):
        alert = await crew.alert(NIGHT, "warning")
        await crew.insert_notification(alert, NIGHT, "major", "alert.raised")
    await dispatch(pool, MORNING)
    digest = msgspec.json.decode((await crew.messages())[-1].body)

    assert {line["severity"] for line in digest["data"]["alerts"]} == {"major"}


async def test_by_night_only_what_is_critical_climbs_and_the_rest_from_the_digest_on(
    pool: Pool, crew: Crew
) -> None:
    await crew.alert(NIGHT, "critical")
    await crew.alert(NIGHT, "major")
    by_night = await dispatch(pool, NIGHT + HALF_HOUR)
    await dispatch(pool, MORNING)
    await pool.execute("UPDATE alert SET workflow = 'acknowledged' WHERE severity = 'critical'")
    too_early = await dispatch(pool, MORNING + timedelta(minutes=29))
    by_day = await dispatch(pool, MORNING + HALF_HOUR)

    assert by_night == Dispatched(0, 1)
    assert (too_early.escalations, by_day.escalations) == (0, 1)


async def test_what_becomes_critical_by_night_climbs_by_night_and_each_rung_once(pool: Pool, crew: Crew) -> None:
    """Its opening waits for the morning; the rise does not."""
    alert = await crew.alert(NIGHT)
    await crew.insert_notification(alert, NIGHT + HALF_HOUR, "critical", "alert.raised")
    await pool.execute("UPDATE alert SET severity = 'critical'")
    by_night = [(await dispatch(pool, NIGHT + HALF_HOUR * half)).escalations for half in (1.9, 2, 3, 4)]
    by_day = [(await dispatch(pool, MORNING + HALF_HOUR * half)).escalations for half in (0, 1, 2, 3)]

    assert (by_night, by_day) == ([0, 1, 1, 0], [0, 0, 0, 0])
    assert [event for _, event in await crew.sent()] == [
        "alert.raised", "alert.escalated", "alert.escalated", "team.digest",
    ]  # fmt: skip


async def test_how_it_goes_on_waits_for_the_digest_with_its_beginning(pool: Pool, crew: Crew) -> None:
    """It begins in quiet hours, and becomes graver after them but before the digest."""
    alert = await crew.alert(NIGHT, "warning")
    await crew.insert_notification(alert, MORNING - timedelta(minutes=10), "major", "alert.raised")
    early = await crew.sent()
    await dispatch(pool, MORNING)
    digest = msgspec.json.decode((await crew.messages())[-1].body)

    assert early == []
    assert [line["severity"] for line in digest["data"]["alerts"]] == ["major"]


async def test_alerts_of_a_removed_team_go_to_all_endpoints_of_the_tenant(pool: Pool, crew: Crew) -> None:
    await pool.execute("DELETE FROM contact WHERE team_id = $1", crew.team_id)
    await crew.alert(NOON)
    night = await crew.alert(NIGHT)
    await pool.execute("DELETE FROM team WHERE id = $1", crew.team_id)
    await dispatch(pool, MORNING)
    sent = await crew.sent()

    assert sent[:3] == [(name, "alert.opened") for name in ("agent", "chef", "directeur")]
    assert sent[3:] == [(name, "team.digest") for name in ("agent", "chef", "directeur")]
    assert msgspec.json.decode((await crew.messages())[-1].body)["data"]["alerts"][0]["alert"] == night


async def test_a_persons_address_is_notified_by_its_team_only(pool: Pool, crew: Crew) -> None:
    async with pool.acquire() as connection, connection.transaction():
        crew.endpoints["courrier"] = await proved_address(connection, KEYS, crew.place.tenant_id, "a@b.example")
    await pool.execute("DELETE FROM contact WHERE team_id = $1", crew.team_id)
    await crew.alert(NOON)

    assert "courrier" not in {name for name, _ in await crew.sent()}


def test_a_wait_is_shown_in_minutes_then_in_hours() -> None:
    waits = [timedelta(minutes=minutes) for minutes in (30, 119, 120, 185)]

    assert [waited_text(wait) for wait in waits] == ["30 min", "119 min", "2 h", "3 h"]


async def test_the_health_of_sensors_is_sent_once_a_week_on_monday_to_the_team_that_wants_it(
    pool: Pool, crew: Crew
) -> None:
    monday = datetime(2026, 11, 30, 7, 30, tzinfo=PARIS)
    week = timedelta(days=7)
    await pool.execute("UPDATE device SET created_at = $1", NOON - week)
    assert await report_health(pool, monday) == 0
    await pool.execute("UPDATE team SET sensor_health = true")
    assert await pool.fetchval("SELECT now() - sensor_health_at < interval '1 minute' FROM team")
    await pool.execute("UPDATE team SET sensor_health_at = $1", NOON)

    sent = [await report_health(pool, at) for at in (monday - HALF_HOUR, monday)]
    # Two replicas, and the same instant again: nothing more, until the next Monday.
    sent += await asyncio.gather(*(report_health(pool, monday + HALF_HOUR) for _ in range(3)))
    sent += [await report_health(pool, at) for at in (monday + week - HALF_HOUR, monday + week, monday + 4 * week)]

    assert sent == [0, 1, 0, 0, 0, 0, 1, 1]
    assert await crew.sent() == [("agent", "team.sensor_health")] * 3
    content = read_content((await crew.messages())[0].body)
    mail = compose("territoire@ville.example", "agent@ville.example", "m", (await crew.messages())[0].body, monday)
    assert content.data.message.startswith("Santé des capteurs de la semaine : ")
    assert subject_of(content) == content.data.message
    assert content.data.lines[0].split(" : ")[0] in mail.get_content().replace("\n", " ")
