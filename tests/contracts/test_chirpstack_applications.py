"""ChirpStack v4's application events, as a partner's own client sees them at its own broker."""

import json
from datetime import datetime
from uuid import UUID

from integrations.lns.adapters import chirpstack
from integrations.lns.lns_uplink import LnsMessage, LnsUplink
from lorawan.identifiers import DevAddr
from network.join_store import NewSession, open_sessions
from registry.applications import set_devices
from registry.keys import KeyWrap, row_owner
from services.supervisor.mosquitto import BRIDGE, PrivateMosquitto
from services.supervisor.ports import LOOPBACK, free_tcp_port
from tests.contracts.lns_rig import KEK, now_us, until
from tests.contracts.lns_samples import EM400, SampleUplink
from tests.contracts.partner_rig import Partner

WAITING = "SELECT count(*) FROM observation.application_event"


async def test_an_uplink_becomes_chirpstacks_up_event(partner: Partner) -> None:
    bench, heard = partner.bench, partner.heard
    async with bench.intake(), bench.ingest():
        await partner.uplink()
        event = (await partner.collect("up"))[0]

    row = (await bench.rows())[0]
    assert event["deduplicationId"] == str(row["uplink_id"])
    assert event["deviceInfo"] | {"tenantId": "", "deviceProfileId": "", "deviceProfileName": ""} == {
        "tenantId": "",
        "tenantName": "Brest",
        "applicationId": str(partner.application_id),
        "applicationName": "Hyperviseur",
        "deviceProfileId": "",
        "deviceProfileName": "",
        "deviceName": "d",
        "devEui": heard.dev_eui.hex(),
    }
    assert UUID(event["deviceInfo"]["tenantId"])
    assert (event["fCnt"], event["fPort"], event["dr"], event["confirmed"]) == (1234, 85, 5, True)
    assert event["data"] == "AXVcA2cBAQSCRAgFAAE="
    # README of em400-udl: 92 %, 25.7 Cel, 2116 mm.
    assert {"battery_level": 92.0, "temperature": 25.7, "distance": 2116.0}.items() <= event["object"].items()
    assert event["txInfo"] == {
        "frequency": 868100000,
        "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7, "codeRate": "CR_4_5"}},
    }
    assert [(heard_by["gatewayId"], heard_by["rssi"], heard_by["snr"]) for heard_by in event["rxInfo"]] == [
        (heard.gateway_id.hex(), -104, 5.5)
    ]
    assert datetime.fromisoformat(event["time"]) == row["time"]


async def test_an_up_event_is_read_by_our_own_chirpstack_adapter(partner: Partner) -> None:
    bench, heard = partner.bench, partner.heard
    async with bench.intake(), bench.ingest():
        await partner.uplink()
        await partner.collect("up")

    topic, event = partner.received[0]
    read = chirpstack.read(LnsMessage(json.dumps(event).encode(), topic))

    assert isinstance(read, LnsUplink)
    assert (read.dev_eui, read.f_cnt, read.f_port, read.payload) == (heard.dev_eui, 1234, 85, EM400)
    assert (read.frequency, read.spreading_factor, read.bandwidth) == (868_100_000, 7, 125_000)
    assert [copy.gateway_id for copy in read.receptions] == [heard.gateway_id]


async def test_an_uplink_delivered_again_gives_one_event(partner: Partner) -> None:
    bench = partner.bench
    async with bench.ingest():
        async with bench.intake():
            for _ in range(3):
                await partner.uplink()
            await bench.drained()
        later = SampleUplink(
            partner.heard.heard_at_us + 1_000, partner.heard.dev_eui, partner.heard.gateway_id, 1235
        )
        async with bench.intake():
            await partner.uplink(later)
            await partner.collect("up", 2)

    assert [event["fCnt"] for event in partner.events("up")] == [1234, 1235]
    assert await bench.pool.fetchval(WAITING) == 0


async def test_events_of_while_no_replica_ran_are_published_by_the_next(partner: Partner) -> None:
    first = await partner.downlink(confirmed=True)
    for state in ("sending", "sent", "acknowledged"):
        await partner.bench.pool.execute(
            "UPDATE downlink SET state = $2::text::downlink_state, f_cnt_down = 7, gateway_id = $3 WHERE id = $1",
            first,
            state,
            partner.heard.gateway_id,
        )
    second = await partner.downlink(confirmed=True)
    await partner.bench.pool.execute(
        "UPDATE downlink SET state = 'failed', f_cnt_down = 8, reason = 'DEVICE_NO_ACK' WHERE id = $1", second
    )
    third = await partner.downlink()
    await partner.bench.pool.execute("UPDATE downlink SET state = 'expired' WHERE id = $1", third)
    assert await partner.bench.pool.fetchval(WAITING) == 4

    async with partner.bench.intake():
        acks, txacks, logs = (
            await partner.collect("ack", 2),
            await partner.collect("txack"),
            await partner.collect("log"),
        )
        await partner.wait_for_state("published", 4)

    assert [(ack.get("acknowledged", False), ack["fCntDown"]) for ack in acks] == [(True, 7), (False, 8)]
    assert (txacks[0]["fCntDown"], txacks[0]["gatewayId"]) == (7, partner.heard.gateway_id.hex())
    assert txacks[0]["queueItemId"] == acks[0]["queueItemId"] != acks[1]["queueItemId"]
    assert (logs[0]["level"], logs[0]["code"]) == ("ERROR", "EXPIRED")
    assert UUID(logs[0]["context"]["queue_item_id"])
    assert await partner.bench.pool.fetchval(WAITING) == 0


async def test_a_join_gives_an_event_and_an_imported_session_none(partner: Partner) -> None:
    pool = partner.bench.pool
    imported = (
        "INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id) "
        "VALUES ($1, $2, '', '', 'k')"
    )
    await pool.execute(imported, partner.device_id, bytes.fromhex("0a0b0c0d"))
    async with pool.acquire() as connection, connection.transaction():
        joined = NewSession(partner.device_id, DevAddr(bytes.fromhex("01020304")), b"", b"", b"", 7, 1, 5, 3)
        await open_sessions(connection, [joined], "k")
    async with partner.bench.intake():
        joins = await partner.collect("join")
        await partner.wait_for_state("published", 1)

    assert [join["devAddr"] for join in joins] == ["01020304"]


async def test_a_devices_battery_and_margin_give_a_status_event(partner: Partner) -> None:
    for battery in (127, 0, 255):
        await partner.bench.pool.execute(
            "INSERT INTO device_status VALUES ($1, $2, -7, now()) "
            "ON CONFLICT (device_id) DO UPDATE SET battery = excluded.battery",
            partner.device_id,
            battery,
        )
    async with partner.bench.intake():
        half, powered, unknown = await partner.collect("status", 3)

    assert (half["margin"], half["batteryLevel"]) == (-7, 50.0)
    assert powered["externalPowerSource"]
    assert unknown["batteryLevelUnavailable"]


async def test_a_broker_that_is_away_holds_up_no_other_and_loses_only_the_oldest(partner: Partner) -> None:
    away = await partner.plant(free_tcp_port(), "absent")
    async with partner.bench.intake(backlog=2):
        await partner.is_kept()
        for number in range(4):
            await partner.bench.pool.execute(
                "INSERT INTO observation.application_event (application_id, device_id, kind, time, what) "
                "VALUES ($1, $2, 'join', now(), jsonb_build_object('dev_addr', $3::text))",
                away,
                partner.device_id,
                f"0000000{number}",
            )
    async with partner.bench.intake(backlog=2):
        partner.application = away
        await partner.wait_for_state("dropped", 3)

    kept = await partner.bench.pool.fetch("SELECT what FROM observation.application_event ORDER BY id")
    assert [row["what"]["dev_addr"] for row in kept] == ["00000002", "00000003"]
    error = await partner.bench.pool.fetchval(
        "SELECT last_error FROM application_state WHERE application_id = $1", away
    )
    assert error is not None


async def test_an_event_that_a_broker_rejects_waits_and_is_published_once_it_is_allowed(
    partner: Partner, mosquitto_server: PrivateMosquitto
) -> None:
    """The account of a gateway bridge may publish nothing of an application."""
    pool = partner.bench.pool
    sealed_for = await pool.fetchval("SELECT sealed_for FROM application")
    await pool.execute(
        "UPDATE application SET mqtt_url = 'mqtt://' || $1, takes_commands = false",
        (f"{LOOPBACK}:{mosquitto_server.port}"),
    )
    await pool.execute(
        "UPDATE application SET secret_wrapped = $1",
        KeyWrap("kek-1", KEK).wrap_text(mosquitto_server.accounts[BRIDGE], row_owner("application", sealed_for)),
    )
    await pool.execute("INSERT INTO device_status VALUES ($1, 1, 1, now())", partner.device_id)

    async def is_rejected() -> bool:
        return await pool.fetchval("SELECT last_error LIKE '%refuse%' FROM application_state") is True

    async with partner.bench.intake():
        await until(is_rejected)
    waits = await pool.fetchval("SELECT not_before > now() FROM observation.application_event")
    await pool.execute("UPDATE observation.application_event SET not_before = now()")
    await pool.execute(
        "UPDATE application SET mqtt_url = 'mqtt://' || $1, secret_wrapped = $2",
        f"{LOOPBACK}:{partner.bench.broker.port}",
        KeyWrap("kek-1", KEK).wrap_text(
            partner.bench.broker.accounts[BRIDGE], row_owner("application", sealed_for)
        ),
    )
    async with partner.bench.intake():
        await partner.collect("status")
        await partner.wait_for_state("published", 1)

    assert waits
    assert len(partner.events("status")) == 1


async def test_an_application_receives_of_its_devices_only(partner: Partner) -> None:
    pool, other = partner.bench.pool, SampleUplink(now_us())
    not_listed = await partner.bench.device(other)
    theirs = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('quimper', 'Q') RETURNING id")
    foreign = await partner.bench.device(SampleUplink(now_us()), theirs)
    async with pool.acquire() as connection:
        await set_devices(connection, partner.application, [partner.heard.dev_eui])
    for device_id in (not_listed, foreign, partner.device_id):
        await pool.execute("INSERT INTO device_status VALUES ($1, 1, 1, now())", device_id)

    told = await pool.fetch("SELECT device_id FROM observation.application_event")

    assert [row["device_id"] for row in told] == [partner.device_id]


async def test_a_device_that_went_to_another_tenant_gives_no_more_events(partner: Partner) -> None:
    pool = partner.bench.pool
    theirs = await pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('quimper', 'Q') RETURNING id")
    await pool.execute("INSERT INTO device_status VALUES ($1, 1, 1, now())", partner.device_id)
    await pool.execute("UPDATE device SET tenant_id = $2 WHERE id = $1", partner.device_id, theirs)
    async with partner.bench.intake():
        await partner.wait_for_state("dropped", 1)

    assert partner.received == []
    assert await pool.fetchval(WAITING) == 0
