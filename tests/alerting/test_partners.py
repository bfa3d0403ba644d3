"""A partner's alarm goes through the engine: its beginning and its end are notified."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerting import alert_rows, partners
from alerting.alert_rows import Orphan
from alerting.engine import Engine
from alerting.rulebook import Rulebook, slot_of
from core.messages.topics import shard_of_slot
from core.runtime.lease import Lease, take_lease
from core.runtime.postgres import Pool
from registry.entering import ByEventSource
from tests.alerting.sending import KEYS
from tests.entering import tenant_transaction

SHARDS = 4
SINCE = re.compile(r"depuis le \d\d/\d\d/\d{4} à \d+\u00a0h\u00a0\d\d")


@dataclass
class Partner:
    """A fire panel, and the engine that notifies of its alarms."""

    pool: Pool
    api_pool: Pool
    place: Any
    sender: partners.Sender
    engine: Engine
    rulebook: Rulebook
    leases: Sequence[Lease]
    events: int = 0

    async def says(self, *, is_over: bool = False, subject: str | None = None, at_asset: bool = True) -> None:
        self.events += 1
        asset_id = self.place.asset_id if at_asset else None
        alarm = partners.Alarm("feu", is_over, "zone 3", "critical", asset_id, subject, datetime.now(UTC))
        async with tenant_transaction(self.api_pool, self.place.tenant_id) as connection:
            await partners.apply_event(connection, self.sender, f"msg_{self.events}", alarm)

    async def sweep(self) -> None:
        await self.rulebook.load()
        for one in self.leases:
            self.engine._watching[one.shard] = datetime.now(UTC)
        await self.engine.sweep(self.leases)

    async def notifications(self) -> list[tuple[str, str]]:
        rows = await self.pool.fetch("SELECT event, message FROM alert_notice ORDER BY number")
        return [(row["event"].removeprefix("alert."), SINCE.sub("depuis…", row["message"])) for row in rows]


@pytest.fixture
async def partner(pool: Pool, api_pool: Pool, place: Any, receiver: Any) -> Partner:
    await place.endpoint(receiver)
    async with pool.acquire() as connection, connection.transaction():
        made = await partners.create_source(connection, KEYS, place.tenant_id, "Centrale", None)
    assert made is not None
    sender = partners.Sender(made[0].id, place.tenant_id, "Centrale", None, ByEventSource(made[0].id, b"unasked"))
    rulebook = Rulebook(pool)
    engine = Engine(pool, rulebook, SHARDS, least_watch=timedelta(0), orphans_every_s=0)
    shards = {shard_of_slot(slot, SHARDS) for slot in (slot_of(place.asset_id, 0), slot_of(None, 0), 0)}
    leases = [await take_lease(pool, "alerting", shard, "test") for shard in sorted(shards)]
    return Partner(
        pool, api_pool, place, sender, engine, rulebook, [lease for lease in leases if lease is not None]
    )


async def test_the_engine_notifies_of_a_partner_alarms_opening_and_end(partner: Partner) -> None:
    await partner.says()
    await partner.sweep()
    await partner.says(is_over=True)
    await partner.sweep()
    [alert] = await partner.place.alerts()

    assert await partner.notifications() == [
        ("opened", "Bac 12 (3 rue de Siam, Brest) : zone 3, depuis… (Centrale)."),
        ("resolved", "Bac 12 (3 rue de Siam, Brest) : fin d'alerte, le système partenaire signale la fin."),
    ]
    assert alert.workflow == "resolved"


async def test_the_end_of_an_alarm_without_an_asset_says_which(partner: Partner) -> None:
    for subject in ("porte-3", "porte-4"):
        await partner.says(subject=subject, at_asset=False)
    await partner.sweep()
    await partner.says(is_over=True, subject="porte-3", at_asset=False)
    await partner.sweep()
    states = {alert.subject: alert.workflow for alert in await partner.place.alerts()}

    assert (await partner.notifications())[2:] == [
        ("resolved", "Centrale, porte-3 : zone 3, depuis… : fin d'alerte, le système partenaire signale la fin.")
    ]
    assert states == {"porte-3": "resolved", "porte-4": "open"}


async def test_a_flapping_partner_alarm_is_notified_once(partner: Partner) -> None:
    for _ in range(4):
        await partner.says()
        await partner.sweep()
        await partner.says(is_over=True)
        await partner.sweep()
    [alert] = await partner.place.alerts()

    assert [event for event, _ in await partner.notifications()] == [
        "opened", "resolved", "reopened", "resolved", "reopened", "flapping",
    ]  # fmt: skip
    assert (alert.is_flapping, alert.occurrences) == (True, 4)


async def test_a_partner_alarm_raised_again_before_its_end_was_notified_does_not_end(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await partner.says()
    await partner.sweep()
    await partner.says(is_over=True)
    find = alert_rows.find_orphans

    async def find_then_receive(pool: Pool, slots: Collection[int], most: int) -> list[Orphan]:
        found = await find(pool, slots, most)
        await partner.says()
        return found

    monkeypatch.setattr(alert_rows, "find_orphans", find_then_receive)
    await partner.sweep()
    [alert] = await partner.place.alerts()

    assert [event for event, _ in await partner.notifications()] == ["opened"]
    assert (alert.condition, alert.workflow) == ("firing", "open")
