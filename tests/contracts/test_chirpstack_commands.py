"""`command/down` of ChirpStack v4, as a partner's own client sends it by its own broker."""

from datetime import datetime
from typing import Any

from tests.contracts.lns_rig import now_us
from tests.contracts.lns_samples import SampleUplink
from tests.contracts.partner_rig import Partner

DOWNLINKS = "SELECT * FROM downlink ORDER BY id"


async def test_a_command_becomes_one_downlink_however_often_it_comes(partner: Partner) -> None:
    bench, item = partner.bench, "6a1e6f3c-2d8f-4f57-9d53-1d1c4f1a7f10"
    async with bench.intake():
        await partner.is_kept()
        for _ in range(3):
            await partner.speak(partner.command(id=item, confirmed=True, expiresAt=in_an_hour()))
        await partner.speak(partner.command(fPort=11))
        await partner.wait_for_state("commands", 2)
        rows = await bench.pool.fetch(DOWNLINKS)
        await bench.pool.execute(
            "UPDATE downlink SET state = 'acknowledged', f_cnt_down = 3 WHERE id = $1", rows[0]["id"]
        )
        ack = (await partner.collect("ack"))[0]

    assert [(row["f_port"], row["payload"], row["confirmed"]) for row in rows] == [
        (10, b"\1\2\3", True),
        (11, b"\1\2\3", False),
    ]
    assert (ack["queueItemId"], ack["acknowledged"], ack["fCntDown"]) == (item, True, 3)


async def test_what_we_hand_over_to_chirpstack_on_the_same_broker_is_no_command_for_us(partner: Partner) -> None:
    pool, item = partner.bench.pool, "0b1e6f3c-2d8f-4f57-9d53-1d1c4f1a7f10"
    await pool.execute("UPDATE device SET lns_source_id = $2 WHERE id = $1", partner.device_id, partner.source.id)
    handed = await partner.downlink()
    await pool.execute("UPDATE downlink SET state = 'sending', lns_item = $2 WHERE id = $1", handed, item)
    async with partner.bench.intake():
        await partner.is_kept()
        await partner.speak(partner.command(id=item))
        await partner.speak(partner.command(fPort=11))
        await partner.wait_for_state("commands", 1)

    assert [row["f_port"] for row in await pool.fetch(DOWNLINKS)] == [10, 11]


async def test_a_command_that_was_sent_while_no_replica_ran_is_taken_by_the_next(partner: Partner) -> None:
    async with partner.bench.intake():
        await partner.is_kept()
    await partner.speak(partner.command())
    async with partner.bench.intake():
        await partner.wait_for_state("commands", 1)

    assert len(await partner.bench.pool.fetch(DOWNLINKS)) == 1


async def test_what_cannot_be_carried_out_is_counted_and_holds_up_nothing(partner: Partner) -> None:
    pool, theirs_heard = partner.bench.pool, SampleUplink(now_us())
    theirs = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('quimper', 'Q') RETURNING id")
    await partner.bench.device(theirs_heard, theirs)
    dev_eui = theirs_heard.dev_eui.hex()
    wrong: list[Any] = [
        b"\xff\xfe",
        b"[" * 16_000,
        b"{" + b" " * 20_000 + b"}",
        {"fPort": 10, "data": "AQID"},
        partner.command(devEui=dev_eui),
        partner.command(devEui="zz"),
        partner.command(fPort=0),
        partner.command(fPort=224),
        partner.command(data="AA" * 400),
        partner.command(data="", object={"on": True}),
        partner.command(expiresAt="2020-01-01T00:00:00Z"),
        partner.command(expiresAt="2190-01-01T00:00:00Z"),
        partner.command(id="x" * 101),
        partner.command(id="\0"),
    ]
    async with partner.bench.intake():
        await partner.is_kept()
        for body in wrong:
            await partner.speak(body)
        await partner.speak(partner.command(devEui=dev_eui), dev_eui=dev_eui)
        await partner.speak(partner.command())
        await partner.wait_for_state("commands", 1)
        await partner.wait_for_state("commands_refused", len(wrong) + 1)

    assert [row["device_id"] for row in await pool.fetch(DOWNLINKS)] == [partner.device_id]


async def test_lights_are_switched_by_nobody_this_way(partner: Partner) -> None:
    await partner.bench.pool.execute("UPDATE device_profile SET capabilities = '{switch}'")
    async with partner.bench.intake():
        await partner.is_kept()
        await partner.speak(partner.command())
        await partner.wait_for_state("commands_refused", 1)

    assert await partner.bench.pool.fetch(DOWNLINKS) == []


def in_an_hour() -> str:
    return datetime.fromtimestamp(now_us() / 1e6 + 3600).astimezone().isoformat()
