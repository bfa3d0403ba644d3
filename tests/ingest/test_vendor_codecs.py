"""Devices whose frames a vendor's script reads, from the bus to the tables, with real worker processes."""

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from core.messages import topics
from core.messages.uplinks import Uplink
from core.runtime.bus import Bus
from core.runtime.postgres import Pool, Record
from registry.codecs import publish_version, read_version, release_version
from tests.ingest.conftest import Planted

TEMPERATURE = [{"path": "temperature", "quantity": "temperature", "channel": "", "unit": "°C"}]
THERMOMETER = """
function decodeUplink(input) {
  if (input.bytes[0] === 255) return { errors: ['capteur débranché'] };
  if (input.bytes[0] === 254) throw new Error('imprévu');
  var warnings = input.bytes[0] > 200 ? ['chaud'] : [];
  return { data: { temperature: input.bytes[0] / 10, texte: 'ok' }, warnings: warnings };
}
"""
ENDLESS = "function decodeUplink(input) { for (;;) {} }"
DECLARED = """
codec: sonde
frames:
  - fields:
      - {type: u8, quantity: temperature, scale: 0.1}
"""
Send = Callable[..., Awaitable[None]]


class Codecs:
    """Publishes codecs for the planted tenant, and points profiles at them."""

    def __init__(self, planted: Planted) -> None:
        self.pool = planted.pool
        self.planted = planted

    async def version(
        self, source: str, *, language: str = "javascript", shared: bool = False, name: str | None = None
    ) -> int:
        tenant = None if shared else self.planted.tenant_id
        name = name or f"essai.{hashlib.sha256(source.encode()).hexdigest()[:8]}"
        codec = await self.pool.fetchval(
            "INSERT INTO codec (tenant_id, name) VALUES ($1, $2) ON CONFLICT (tenant_id, name) "
            "DO UPDATE SET vendor = codec.vendor RETURNING id",
            tenant,
            name,
        )
        async with self.pool.acquire() as connection, connection.transaction():
            made, _ = await publish_version(
                connection, codec, language=language, source=source, form=None, author="essai"
            )
        return made

    async def profile(
        self,
        version: int | None,
        mapping: Sequence[dict[str, Any]] = TEMPERATURE,
        *,
        shadow: int | None = None,
        codec: str = "essai",
        shared: bool = False,
    ) -> int:
        return await self.pool.fetchval(
            "INSERT INTO device_profile (tenant_id, name, vendor, model, codec, codec_version_id, "
            "shadow_version_id, mapping) "
            "VALUES ($1, gen_random_uuid()::text, 'v', 'm', $2, $3, $4, $5) RETURNING id",
            None if shared else self.planted.tenant_id,
            codec,
            version,
            shadow,
            list(mapping),
        )

    async def stored(self, device_id: int) -> list[Record]:
        return await self.pool.fetch(
            "SELECT status, reason, detail, decoded, codec, codec_version, payload FROM observation.uplink "
            "WHERE device_id = $1 ORDER BY f_cnt",
            device_id,
        )

    async def values(self, device_id: int) -> list[tuple[str, float]]:
        rows = await self.pool.fetch(
            "SELECT d.quantity, m.value "
            "FROM observation.measurement m JOIN datastream d ON d.id = m.datastream_id "
            "WHERE d.device_id = $1 ORDER BY m.time, d.quantity",
            device_id,
        )
        return [(row["quantity"], row["value"]) for row in rows]


@pytest.fixture
def codecs(planted: Planted) -> Codecs:
    return Codecs(planted)


async def eventually(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await check():  # noqa: ASYNC110 - Another process writes it, and the database has no event for it.
            await asyncio.sleep(0.05)


async def test_an_uplink_of_a_vendors_codec_becomes_a_measurement_with_its_text_and_version(
    planted: Planted, codecs: Codecs, ingesting, send: Send, until_drained, make_uplink
) -> None:
    device_id = await planted.device(await codecs.profile(await codecs.version(THERMOMETER, name="acme.t")))
    async with ingesting():
        await send(make_uplink(device_id, 1, bytes([215])), make_uplink(device_id, 2, bytes([180])))
        await until_drained()

    first, second = await codecs.stored(device_id)
    assert await codecs.values(device_id) == [("temperature", 21.5), ("temperature", 18.0)]
    assert (first["status"], first["codec"], first["codec_version"]) == ("decoded", "acme.t", 1)
    assert first["decoded"] == {"temperature": 21.5, "texte": "ok", "warnings": ["chaud"]}
    assert second["decoded"] == {"temperature": 18, "texte": "ok"}


SENSECAP = """
function decodeUplink(input) {
  var b = input.bytes;
  return { data: { messages: [{ measurementId: 4096 + b[0], measurementValue: b[1] / 10, type: 'report' }] } };
}
"""
BY_NUMBER = [
    {"path": f"messages[measurementId={number}].measurementValue", "quantity": quantity}
    for number, quantity in ((4097, "temperature"), (4098, "relative_humidity"))
]


async def test_values_named_by_number_are_measured_and_the_uplink_names_the_rules_that_matched_nothing(
    planted: Planted, codecs: Codecs, ingesting, send: Send, until_drained, make_uplink
) -> None:
    version = await codecs.version(SENSECAP, name="sensecap.s")
    mapped = await planted.device(await codecs.profile(version, BY_NUMBER))
    unmapped = await planted.device(await codecs.profile(version, []))
    async with ingesting():
        await send(make_uplink(mapped, 1, bytes([1, 215])), make_uplink(mapped, 2, bytes([9, 215])))
        await send(make_uplink(unmapped, 1, bytes([1, 215])))
        await until_drained()

    measured, nothing = await codecs.stored(mapped)
    [without_mapping] = await codecs.stored(unmapped)
    assert await codecs.values(mapped) == [("temperature", 21.5)]
    assert (measured["status"], measured["reason"]) == ("decoded", None)
    assert measured["decoded"]["unmatched_rules"] == [BY_NUMBER[1]["path"]]
    assert nothing["status"] == "decoded"
    assert nothing["reason"] == "no_rule_applies"
    assert nothing["decoded"]["unmatched_rules"] == [rule["path"] for rule in BY_NUMBER]
    assert without_mapping["reason"] == "no_mapping"


async def test_a_rule_to_confirm_is_decoded_and_shown_and_measures_nothing_and_alerts_nobody(
    planted: Planted, codecs: Codecs, ingesting, send: Send, until_drained, make_uplink
) -> None:
    source = "function decodeUplink(input) { return { data: { temperature: 21.5, battery: input.bytes[0] } }; }"
    battery = {"path": "battery", "quantity": "battery_level", "channel": "", "to_confirm": "may_be_a_code"}
    device_id = await planted.device(
        await codecs.profile(await codecs.version(source, name="acme.t"), [*TEMPERATURE, battery])
    )
    async with ingesting():
        await send(make_uplink(device_id, 1, bytes([3])))
        await until_drained()

    (stored,) = await codecs.stored(device_id)
    assert await codecs.values(device_id) == [("temperature", 21.5)]
    (shown,) = stored["decoded"].pop("to_confirm")
    assert (shown["quantity"], shown["value"], shown["unit"]) == ("battery_level", 3, "%")
    assert stored["decoded"] == {"temperature": 21.5, "battery": 3}
    assert not await planted.pool.fetchval("SELECT count(*) FROM datastream WHERE quantity = 'battery_level'")


async def test_a_frame_of_which_everything_is_to_be_confirmed_has_that_for_a_reason(
    planted: Planted, codecs: Codecs, ingesting, send: Send, until_drained, make_uplink
) -> None:
    waiting = [TEMPERATURE[0] | {"to_confirm": "value_implausible"}]
    device_id = await planted.device(
        await codecs.profile(await codecs.version(THERMOMETER, name="acme.t"), waiting)
    )
    async with ingesting():
        await send(make_uplink(device_id, 1, bytes([180])))
        await until_drained()

    (stored,) = await codecs.stored(device_id)
    assert await codecs.values(device_id) == []
    assert stored["reason"] == "to_confirm"


async def test_a_frame_that_the_script_rejects_or_fails_on_is_kept_with_its_reason_and_its_neighbours_go_on(
    planted: Planted, codecs: Codecs, ingesting, send: Send, until_drained, make_uplink
) -> None:
    vendor = await planted.device(await codecs.profile(await codecs.version(THERMOMETER, name="acme.t")))
    broken = await planted.device(
        await codecs.profile(await codecs.version("function decodeUplink( {", name="acme.b"))
    )
    native = await planted.device(await planted.profile("milesight.em400"))
    async with ingesting():
        await send(
            make_uplink(vendor, 1, bytes([255])),
            make_uplink(vendor, 2, bytes([254])),
            make_uplink(vendor, 3, bytes([200])),
            make_uplink(broken, 1, bytes([200])),
            make_uplink(native, 1),
        )
        await until_drained()

    refused, failed, read = await codecs.stored(vendor)
    assert [row["status"] for row in (refused, failed, read)] == ["undecodable", "undecodable", "decoded"]
    assert (refused["reason"], refused["detail"]) == ("unreadable", "capteur débranché")
    assert "imprévu" in failed["detail"]
    assert failed["payload"] == bytes([254])
    assert "ne se charge pas" in (await codecs.stored(broken))[0]["detail"]
    assert await codecs.values(vendor) == [("temperature", 20.0)]
    assert (await codecs.stored(native))[0]["status"] == "decoded"


async def test_a_declared_codec_reads_frames_as_a_native_one_does(
    planted: Planted, codecs: Codecs, ingesting, send: Send, until_drained, make_uplink
) -> None:
    version = await codecs.version(DECLARED, language="declarative", name="sonde.simple")
    device_id = await planted.device(await codecs.profile(version, []))
    async with ingesting():
        await send(make_uplink(device_id, 1, bytes([215])))
        await until_drained()

    [row] = await codecs.stored(device_id)
    assert (row["status"], row["codec"], row["codec_version"]) == ("decoded", "sonde.simple", 1)
    assert await codecs.values(device_id) == [("temperature", 21.5)]


async def test_a_version_that_overruns_five_times_is_suspended_and_its_frames_wait_until_it_is_released(
    planted: Planted, codecs: Codecs, ingesting, send: Send, until_drained, make_uplink
) -> None:
    version = await codecs.version(ENDLESS, name="acme.lent")
    device_id = await planted.device(await codecs.profile(version))
    native = await planted.device(await planted.profile("milesight.em400"))

    async def suspended() -> bool:
        found = await read_version(codecs.pool, version)
        return found is not None and found.quarantined_at is not None

    async with ingesting():
        await send(*(make_uplink(device_id, f_cnt, b"\x01") for f_cnt in range(1, 8)), make_uplink(native, 1))
        await until_drained()
        await eventually(suspended)
        await send(make_uplink(device_id, 8, b"\x01"))
        await until_drained()

    reasons = [(row["reason"], row["detail"]) for row in await codecs.stored(device_id)]
    assert all("plus de 100 ms" in detail for _, detail in reasons[:5])
    assert reasons[7] == ("codec_suspended", None)
    assert len(reasons) == 8
    assert (await codecs.stored(native))[0]["status"] == "decoded"
    [request] = await codecs.pool.fetch("SELECT tenant_id, kind, facts FROM alert_request")
    assert (request["tenant_id"], request["kind"]) == (planted.tenant_id, "codec")
    assert request["facts"] == {"codec": "acme.lent v1", "reason": "overran", "detail": None}
    async with codecs.pool.acquire() as connection:
        assert await release_version(connection, version, "exploitant")
        assert not await release_version(connection, version, "exploitant")


async def test_a_new_version_is_live_without_restart_and_an_override_is_for_its_tenant_only(
    planted: Planted, codecs: Codecs, bus: Bus, ingesting, send: Send, until_drained, make_uplink
) -> None:
    pool: Pool = codecs.pool
    shared = await codecs.version(THERMOMETER, shared=True, name="acme.t")
    profile = await codecs.profile(shared, shared=True)
    device_id = await planted.device(profile)
    other_tenant = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('quimper', 'Q') RETURNING id")
    theirs = await planted.device(profile)
    await pool.execute("UPDATE device SET tenant_id = $1 WHERE id = $2", other_tenant, theirs)
    doubled = await codecs.version(THERMOMETER.replace("/ 10", "/ 5"), name="brest.t")

    counter = itertools.count(1)

    async def reads(*expected: float) -> None:
        """At the next frames, within the 5 s after which a replica that nobody nudged has seen the change."""
        async with asyncio.timeout(30):
            while True:
                f_cnt = next(counter)
                await send(make_uplink(device_id, f_cnt, bytes([100])), make_uplink(theirs, f_cnt, bytes([100])))
                await until_drained()
                last = (await codecs.values(device_id))[-1][1], (await codecs.values(theirs))[-1][1]
                if last == expected:
                    return

    async with ingesting():
        await reads(10, 10)
        await pool.execute(
            "INSERT INTO device_profile_override (tenant_id, device_profile_id, codec_version_id, mapping) "
            "VALUES ($1, $2, $3, $4)",
            planted.tenant_id,
            profile,
            doubled,
            TEMPERATURE,
        )
        await bus.nudge(topics.REGISTRY_CHANGED)
        await reads(20, 10)
        await pool.execute("DELETE FROM device_profile_override")
        await bus.nudge(topics.REGISTRY_CHANGED)
        await reads(10, 10)

    names = [(row["codec"], row["codec_version"]) for row in await codecs.stored(device_id)]
    assert [name for name, _ in itertools.groupby(names)] == [("acme.t", 1), ("brest.t", 1), ("acme.t", 1)]


async def test_a_shadow_stores_nothing_but_what_it_reads_otherwise(
    planted: Planted, codecs: Codecs, ingesting, send: Send, until_drained, make_uplink
) -> None:
    live = await codecs.version(THERMOMETER, name="acme.t")
    shadow = await codecs.version(THERMOMETER.replace("=== 254", "=== 100"), name="acme.t")
    profile = await codecs.profile(live, shadow=shadow)
    device_id = await planted.device(profile)
    uplinks: list[Uplink] = [
        make_uplink(device_id, f_cnt, bytes([value])) for f_cnt, value in enumerate((99, 100, 254))
    ]

    async def compared() -> bool:
        return await codecs.pool.fetchval("SELECT sum(compared) FROM codec_shadow") == 3

    async with ingesting():
        await send(*uplinks)
        await until_drained()
        await eventually(compared)

    count = await codecs.pool.fetchrow("SELECT * FROM codec_shadow")
    different = await codecs.pool.fetch("SELECT payload, live, shadow FROM codec_difference ORDER BY payload")
    assert count is not None
    assert (count["different"], count["live_failed"], count["shadow_failed"]) == (2, 1, 1)
    assert [row["payload"] for row in different] == [bytes([100]), bytes([254])]
    assert different[0]["live"]["values"][0][2:] == ["temperature", 10.0]
    assert "imprévu" in different[0]["shadow"]["reason"]
    assert different[1]["live"]["reason"] is not None
    assert [row["status"] for row in await codecs.stored(device_id)] == ["decoded", "decoded", "undecodable"]
