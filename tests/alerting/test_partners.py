"""A partner's alarm goes through the engine: it is told, and told to be over."""

from datetime import UTC, datetime, timedelta
from typing import Any

from alerting import partners
from alerting.engine import Engine
from alerting.rulebook import Rulebook, slot_of
from core.messages.shards import shard_of_slot
from core.runtime.lease import take_lease
from core.runtime.postgres import Pool, tenant_transaction
from tests.alerting.sending import KEYS

SHARDS = 4


async def test_the_engine_tells_its_beginning_and_its_end(
    pool: Pool, api_pool: Pool, place: Any, receiver: Any
) -> None:
    await place.endpoint(receiver)
    async with pool.acquire() as connection, connection.transaction():
        made = await partners.create_source(connection, KEYS, place.tenant_id, "Centrale", None)
    assert made is not None
    sender = partners.Sender(made[0].id, place.tenant_id, "Centrale", None)
    rulebook = Rulebook(pool)
    engine = Engine(pool, rulebook, SHARDS, least_watch=timedelta(0), orphans_every_s=0)
    lease = await take_lease(pool, "alerting", shard_of_slot(slot_of(place.asset_id, 0), SHARDS), "test")
    leases = [lease]
    if shard_of_slot(0, SHARDS) != lease.shard:  # Where such an alert is told from.
        leases.append(await take_lease(pool, "alerting", shard_of_slot(0, SHARDS), "test"))

    async def event(message_id: str, *, is_over: bool) -> None:
        alarm = partners.Alarm("feu", is_over, "zone 3", "critical", place.asset_id, datetime.now(UTC))
        async with tenant_transaction(api_pool, place.tenant_id) as connection:
            await partners.take(connection, sender, message_id, alarm)
        await rulebook.load()
        for one in leases:
            engine._watching[one.shard] = datetime.now(UTC)
        await engine.sweep(leases)

    await event("msg_1", is_over=False)
    await event("msg_2", is_over=True)
    rows = await pool.fetch("SELECT event, severity::text, message FROM alert_notice ORDER BY at, event")
    [alert] = await place.alerts()

    assert [tuple(row.values()) for row in rows] == [
        ("alert.opened", "critical", "Centrale : zone 3"),
        (
            "alert.resolved",
            "critical",
            "Bac 12 (3 rue de Siam, Brest) : fin d'alerte, le système partenaire signale la fin.",
        ),
    ]
    assert alert.workflow == "resolved"
