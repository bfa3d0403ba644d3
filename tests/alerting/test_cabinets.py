"""Faults of lighting cabinets as people are notified of them: one cause, one message, with what was expected."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from alerting import silences
from core.runtime.postgres import Pool
from registry.datastreams import make_datastream
from tests.alerting.alert_scenario import AlertScenario, on
from tests.alerting.watching import Watch, watch

CONTRACT = {"rated_power_w": 2000, "contract_power_kva": 9}
STREAMS = (
    ("a", "voltage", "phase_a", "V"), ("b", "voltage", "phase_b", "V"), ("c", "voltage", "phase_c", "V"),
    ("breaker", "breaker_tripped", "", "1"), ("door", "open", "door", "1"), ("relay", "switch_state", "", "1"),
    ("va", "apparent_power", "", "V.A"), ("hand", "local_override", "", "1"),
)  # fmt: skip
FINE = {"a": 231.0, "b": 229.0, "c": 230.0}
COMMAND = """
WITH sent AS (INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, not_after, by_lighting)
              VALUES ($1, $3, 0, 1, '', $7, true) RETURNING id)
INSERT INTO lighting_command (tenant_id, asset_id, device_id, action, level, off_until, requested_by, state,
                              not_after, created_at, downlink_id)
SELECT $1, $2, $3, $4, $5, $6, 'chef', 'applied', $7, $7, id FROM sent
"""
TEXTS = (
    "1900 W au lieu de 2000 W depuis le 16/11/2026 à 19 h 45 : il manque au moins une lampe",
    "phase 2 perdue depuis le 16/11/2026 à 21 h 45, 8 V au lieu de 230 V : vérifier son fusible",
    "disjoncteur déclenché depuis le 16/11/2026 à 23 h 45 : chercher le défaut",
    "éteinte alors qu'elle devrait éclairer, depuis le 17/11/2026 à 1 h 45",
    "9,9 kVA pour 9 kVA souscrits depuis le 17/11/2026 à 3 h 45 : le compteur peut couper",
)
Cabinet = tuple[Watch, Callable[..., Awaitable[list[tuple[str, str]]]]]


@pytest.fixture
async def cabinet(pool: Pool) -> Cabinet:
    """One of twenty lamps, on the evening of the 16th, and what its device says every quarter of an hour."""

    async def inhabit(scenario: AlertScenario) -> None:
        made = await scenario.add_asset(
            "lighting_cabinet", "Armoire", "active_power", "W", lambda _: 0, interval_h=0.25, attributes=CONTRACT
        )
        await pool.execute(
            "INSERT INTO asset (tenant_id, kind, name, parent_id, attributes) "
            "SELECT $1, 'light_point', n::text, $2, '{\"power_w\": 100}' FROM generate_series(1, 20) n",
            scenario.tenant_id,
            made.asset_id,
        )

    watching = await watch(pool, inhabit)
    thing = watching.town.things[0]
    streams = {"power": thing.datastream_id}
    for name, quantity, channel, unit in STREAMS:
        stream = await make_datastream(
            pool, tenant_id=watching.town.tenant_id, asset_id=thing.asset_id, device_id=thing.device_id,
            position="", channel=channel, quantity=quantity, unit=unit,
        )  # fmt: skip
        streams[name] = stream.id
    watching.now = on(16, 19)
    known = 0

    async def says(times: int = 4, **values: float) -> list[tuple[str, str]]:
        """What people are notified of meanwhile: the event and the rule."""
        nonlocal known
        for _ in range(times):
            watching.now += timedelta(minutes=15)
            await pool.executemany(
                "INSERT INTO observation.latest VALUES ($1, $2, $3, 0) "
                "ON CONFLICT (datastream_id) DO UPDATE SET time = excluded.time, value = excluded.value",
                [(streams[name], watching.now, value) for name, value in values.items()],
            )
            await watching.receive({streams[name]: value for name, value in values.items()})
            await watching.pass_time(seconds=1)
        before, found = known, await watching.notifications()
        known = len(found)
        return found[before:]

    return watching, says


async def texts(pool: Pool) -> list[str]:
    rows = await pool.fetch(
        "SELECT message FROM alert_notice WHERE event IN ('alert.opened', 'alert.reopened') ORDER BY at, id"
    )
    return [row["message"].replace("\u00a0", " ") for row in rows]


async def test_faults_of_a_cabinet_are_one_message_each_with_value_expected_and_place(
    pool: Pool, cabinet: Cabinet
) -> None:
    says = cabinet[1]
    assert await says(2, power=2000, va=2100, breaker=0, door=0, **FINE) == []

    assert await says(power=1900, **FINE) == [("opened", "under_power")]
    assert await says(power=2000, **FINE) == [("resolved", "under_power")]
    # A phase takes its lamps with it.
    assert await says(power=1330, **FINE | {"b": 8.0}) == [("opened", "lost_phase")]
    assert await says(power=2000, **FINE) == [("resolved", "lost_phase")]
    # A breaker explains the dark, and all phases behind it.
    assert await says(power=0, breaker=1, a=0, b=0, c=0) == [("opened", "breaker")]
    assert await says(power=2000, breaker=0, **FINE) == [("resolved", "breaker")]
    # Under the breaker it was dark once already.
    assert await says(power=0, relay=1, **FINE) == [("reopened", "dark")]
    assert await says(power=2000, relay=1, **FINE) == [("resolved", "dark")]
    assert await says(power=2000, va=9900, **FINE) == [("opened", "contract_power")]
    assert await says(power=2000, va=2100, **FINE) == [("resolved", "contract_power")]
    said = await texts(pool)
    muted = await pool.fetch(
        "SELECT r.name, c.name AS cause FROM alert_event e JOIN alert a ON a.id = e.alert_id "
        "JOIN alert_rule r ON r.id = a.rule_id "
        "JOIN alert p ON e.note = format('expliquée par l''alerte n° %s', p.id) "
        "JOIN alert_rule c ON c.id = p.rule_id"
    )

    assert all(text.startswith("Armoire (rue de Siam, Brest) : ") for text in said)
    for text, begins in zip(said, TEXTS, strict=True):
        assert text.removeprefix("Armoire (rue de Siam, Brest) : ").startswith(begins)
    assert "Son relais se dit fermé : le courant n'arrive plus aux lampes" in said[3]
    assert {(row["name"], row["cause"]) for row in muted} == {
        ("under_power", "lost_phase"), ("dark", "breaker"), ("lost_phase", "dark"),
    }  # fmt: skip


async def test_an_order_a_hand_at_the_cabinet_and_works_explain_what_they_do(pool: Pool, cabinet: Cabinet) -> None:
    watching, says = cabinet
    thing, tenant = watching.town.things[0], watching.town.tenant_id

    async def command(action: str, level: int | None = None, hours: float | None = None) -> None:
        until = None if hours is None else watching.now + timedelta(hours=hours)
        about = tenant, thing.asset_id, thing.device_id
        await pool.execute(COMMAND, *about, action, level, until, watching.now)

    await command("dim", 50)
    assert await says(power=1000, **FINE) == []
    await command("off", hours=2)
    assert await says(power=0, a=0, b=0, c=0) == []
    await command("on")
    # Not dimmed any more: what is missing now is missing.
    assert await says(power=1100, **FINE) == [("opened", "under_power")]
    assert await says(power=2000, **FINE) == [("resolved", "under_power")]
    assert await says(power=1500, hand=1, **FINE) == []
    assert await says(power=2000, hand=0, **FINE) == []
    # A door that is forced at night is one message, a door left open by day another, and works are none.
    assert await says(2, power=2000, door=1) == [("opened", "intrusion")]
    assert await says(1, door=0) == [("resolved", "intrusion")]
    watching.now = on(17, 10)
    assert await says(2, power=0, door=1) == [("reopened", "cabinet_door")]
    assert await says(1, power=0, door=0) == [("resolved", "cabinet_door")]
    async with pool.acquire() as connection:
        works = {"asset_id": thing.asset_id, "reason": "relampage", "ends_at": watching.now + timedelta(hours=6)}
        await silences.create_window(connection, tenant, "chef", works | {"starts_at": watching.now})
    assert await says(2, power=0, door=1) == []
    assert await says(1, power=0, door=0) == []


async def test_a_lamp_that_the_inventory_learns_of_is_heard_of_once(pool: Pool, cabinet: Cabinet) -> None:
    await pool.execute("DELETE FROM registry_change")
    await pool.execute("UPDATE asset SET attributes = '{\"power_w\": 50}' WHERE kind = 'light_point'")
    heard = await pool.fetch("SELECT entity_id FROM registry_change WHERE entity = 'lighting'")

    assert [row["entity_id"] for row in heard] == [cabinet[0].town.tenant_id]
