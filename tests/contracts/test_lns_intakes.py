"""One contract for every LNS: a message in, a row in observation.uplink, whatever happens in between."""

import asyncio
import base64
import hashlib
import secrets
from dataclasses import replace
from uuid import UUID

import pytest

from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.topics import shard_of_slot
from core.messages.uplinks import Reception as HeardBy
from core.messages.uplinks import Uplink
from core.model.identities import F_CNT_END, uplink_identity
from core.runtime.bus import connect_bus
from core.runtime.mqtt import MqttSession
from integrations.lns.http_push import ACKNOWLEDGED_WITHIN_S
from registry.changes import POLL_S
from services.supervisor.mosquitto import SIMULATOR
from tests.contracts.lns_rig import Bench, MortalNats, SourceOfTest, now_us, until
from tests.contracts.lns_samples import EM400, LNS_DELAY_US, SAMPLES, Message, Sample, SampleUplink
from tests.core.runtime.test_mqtt import counted, publish_without_guarantee

OVER_MQTT = [name for name, sample in SAMPLES.items() if sample.over_mqtt]
LIVE_WITHIN_S = POLL_S + 3


async def assert_stored(bench: Bench, sample: Sample, sample_uplink: SampleUplink, device_id: int) -> None:
    row = (await bench.stored(1))[0]
    await bench.drained()
    assert len(await bench.rows()) == 1
    assert (row["device_id"], row["session_id"], row["f_port"], row["payload"]) == (device_id, None, 85, EM400)
    assert row["status"] == "decoded"
    expected_us = sample_uplink.heard_at_us + (LNS_DELAY_US if sample.time_is == "lns" else 0)
    assert round(row["time"].timestamp() * 1e6) == expected_us
    if sample.counts:
        assert row["f_cnt"] == sample_uplink.f_cnt
        assert row["uplink_id"] == UUID(bytes=uplink_identity(device_id, 0, sample_uplink.f_cnt, 85, EM400))
    else:
        assert row["f_cnt"] >= F_CNT_END
    assert await bench.receptions() == ({sample_uplink.gateway_id} if sample.names_gateways else set())
    assert await bench.pool.fetchval("SELECT count(*) FROM observation.measurement") == 4


@pytest.mark.parametrize("name", SAMPLES)
async def test_what_is_pushed_by_http_is_stored_once_however_often_it_comes(bench: Bench, name: str) -> None:
    sample, heard = SAMPLES[name], SampleUplink(now_us() - 500_000)
    device_id, source = await bench.device(heard), await bench.source(sample)
    async with bench.intake(), bench.ingest():
        answers = [await bench.post(source, sample.write(heard)) for _ in range(3)]

        assert [answer.status_code for answer in answers] == [200] * 3
        await assert_stored(bench, sample, heard, device_id)


@pytest.mark.parametrize("name", OVER_MQTT)
async def test_what_is_read_by_mqtt_is_stored_once_however_often_it_comes(
    bench: Bench, lns: MqttSession, name: str
) -> None:
    sample, heard = SAMPLES[name], SampleUplink(now_us() - 500_000)
    device_id = await bench.device(heard)
    await bench.source(sample, mqtt=True)
    message = sample.write(heard)
    async with bench.intake(), bench.ingest():

        async def somebody_listens() -> bool:
            return await lns.publish(bench.topic(message.topic), message.body)

        await until(somebody_listens)
        await lns.publish(bench.topic(message.topic), message.body)

        await assert_stored(bench, sample, heard, device_id)


@pytest.mark.parametrize("name", SAMPLES)
async def test_an_lns_that_pushes_for_an_unregistered_device_gets_the_answer_that_suits_it(
    bench: Bench, name: str
) -> None:
    sample, heard = SAMPLES[name], SampleUplink(now_us())
    source = await bench.source(sample)
    async with bench.intake():
        unknown = await bench.post(source, sample.write(heard))
        unreadable = await bench.post(source, Message(b'{"a": 1}'))

        assert unknown.status_code == sample.unknown_device_status
        assert unreadable.status_code == 422
        assert heard.dev_eui.hex() in unknown.json()["detail"]

    listed = await bench.pool.fetchrow("SELECT * FROM lns_unknown_device")
    state = await bench.pool.fetchrow("SELECT * FROM lns_source_state")
    kept = await bench.pool.fetchrow("SELECT * FROM observation.quarantine")
    assert (listed["dev_eui"], listed["messages"]) == (heard.dev_eui, 1)
    assert (state["accepted"], state["refused"]) == (0, 2)
    assert (kept["service"], kept["data"]) == ("intake", b'{"a": 1}')
    assert (kept["reason"], kept["detail"]) == ("unreadable_message", state["last_error"])


async def test_a_device_of_another_tenant_is_not_found_and_one_that_is_registered_is_found_at_once(
    bench: Bench,
) -> None:
    sample, heard = SAMPLES["generic"], SampleUplink(now_us())
    other = await bench.pool.fetchval("INSERT INTO tenant (slug, name) VALUES ('autre', 'Autre') RETURNING id")
    theirs, source = replace(heard, dev_eui=secrets.token_bytes(8)), await bench.source(sample)
    await bench.device(theirs, other)
    async with bench.intake():
        refused = [(await bench.post(source, sample.write(one))).status_code for one in (theirs, heard)]
        await bench.device(heard)

        async def is_found() -> bool:
            return (await bench.post(source, sample.write(heard))).status_code == 200

        await until(is_found, LIVE_WITHIN_S)
        disabled = await bench.pool.execute("UPDATE device SET enabled = false WHERE dev_eui = $1", heard.dev_eui)

        async def is_disabled() -> bool:
            return (await bench.post(source, sample.write(heard))).status_code == 409

        await until(is_disabled, LIVE_WITHIN_S)

    assert refused == [404, 404]
    assert disabled == "UPDATE 1"


async def test_only_the_sources_own_token_opens_it_and_only_until_it_is_withdrawn(bench: Bench) -> None:
    sample, heard = SAMPLES["wanesy"], SampleUplink(now_us())
    await bench.device(heard)
    source, other = await bench.source(sample), await bench.source(sample)
    message = sample.write(heard)
    basic = base64.b64encode(f"wmc:{source.token}".encode()).decode()
    async with bench.intake():
        url = f"http://127.0.0.1:{bench.http_port}/lns/{source.id}/dataUp"
        wrong = [
            await bench.post(source, message, token) for token in (other.token, "no", "lns_1_é", source.token[:-1])
        ]
        nobody = await bench.post(SourceOfTest(999_999, source.token), message)
        by_basic = await bench.http.post(url, content=message.body, headers={"Authorization": f"Basic {basic}"})
        too_large = await bench.post(source, Message(b" " * (1 << 20) + b"{}"))
        await bench.pool.execute("UPDATE lns_source SET enabled = false WHERE id = $1", source.id)

        async def is_rejected() -> bool:
            return (await bench.post(source, message)).status_code == 401

        await until(is_rejected, LIVE_WITHIN_S)

        assert [answer.status_code for answer in (*wrong, nobody)] == [401] * 5
        assert wrong[0].headers["content-type"] == "application/problem+json"
        assert by_basic.status_code == 200
        assert too_large.status_code == 413


async def test_a_thingpark_source_with_an_as_key_demands_its_token(bench: Bench) -> None:
    sample, heard, key = SAMPLES["thingpark, texts"], SampleUplink(now_us()), secrets.token_hex(16)
    await bench.device(heard)
    source = await bench.source(sample, secret=key)
    message = sample.write(heard)
    query = f"LrnDevEui={heard.dev_eui.hex().upper()}&LrnFPort=85&LrnInfos=TWA_1&AS_ID=brest"
    signed = f"100006356{heard.dev_eui.hex().upper()}85{heard.f_cnt}{EM400.hex()}{query}{key}"
    token = hashlib.sha256(signed.encode()).hexdigest()
    async with bench.intake():
        url = f"http://127.0.0.1:{bench.http_port}/lns/{source.id}"
        right = await bench.http.post(f"{url}?{query}&Token={token}", content=message.body)
        wrong = await bench.http.post(f"{url}?{query}&Token={token[::-1]}", content=message.body)
        without = await bench.post(source, message)

        assert [answer.status_code for answer in (right, wrong, without)] == [200, 401, 401]


async def test_while_the_bus_is_away_http_is_answered_503_and_nothing_is_lost_or_doubled(
    bench: Bench, mortal_nats: MortalNats
) -> None:
    sample, heard = SAMPLES["wanesy"], SampleUplink(now_us())
    device_id, source = await bench.device(heard), await bench.source(sample)
    url = mortal_nats.server.url
    async with bench.intake(nats_url=url):
        await mortal_nats.kill()
        away = await bench.post(source, sample.write(heard))
        stored = await bench.rows()
        await mortal_nats.start()

        async def is_taken() -> bool:
            return (await bench.post(source, sample.write(heard))).status_code == 200

        await until(is_taken, 3 * ACKNOWLEDGED_WITHIN_S)
        async with bench.ingest(nats_url=url):
            rows = await bench.stored(1)
            await bench.drained(url)

            assert away.status_code == 503
            assert int(away.headers["retry-after"]) > 0
            assert away.json()["detail"]
            assert stored == []
            assert [row["device_id"] for row in rows] == [device_id]
            assert len(await bench.rows()) == 1


async def test_what_the_bus_did_not_take_stays_with_their_broker_and_comes_again_to_another_replica(
    bench: Bench, lns: MqttSession, mortal_nats: MortalNats
) -> None:
    sample, heard = SAMPLES["chirpstack"], SampleUplink(now_us())
    await bench.device(heard)
    await bench.source(sample, mqtt=True)
    url, message = mortal_nats.server.url, sample.write(heard)
    async with bench.intake(nats_url=url):

        async def somebody_listens() -> bool:
            return await lns.publish(bench.topic("application/a/device/b/event/join"), b"{}")

        await until(somebody_listens)
        await mortal_nats.kill()
        await lns.publish(bench.topic(message.topic), message.body)

        async def was_received() -> bool:
            # Only the broker shows that it is in hand: it has nothing more to send.
            await asyncio.sleep(0.3)
            return True

        await until(was_received)
    await mortal_nats.start()
    async with bench.intake(instance="b", nats_url=url), bench.ingest(nats_url=url):
        rows = await bench.stored(1)

    assert [(row["f_cnt"], row["payload"]) for row in rows] == [(heard.f_cnt, EM400)]


async def test_what_came_without_guarantee_beyond_what_may_wait_is_counted_beside_its_source(
    bench: Bench, lns: MqttSession, mortal_nats: MortalNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.runtime.mqtt.WAITING_AT_MOST", 2)
    sample, first = SAMPLES["the_things_stack"], SampleUplink(now_us())
    await bench.device(first)
    source = await bench.source(sample, mqtt=True)
    heard = [replace(first, f_cnt=first.f_cnt + number) for number in range(7)]
    messages = [sample.write(one) for one in heard]
    where, broker = bench.topic(messages[0].topic), bench.broker.url(SIMULATOR)
    url, before = mortal_nats.server.url, counted()

    async def of_source(query: str) -> bool:
        return await bench.pool.fetchval(query, source.id)

    async with bench.intake(nats_url=url):

        async def somebody_listens() -> bool:
            return await lns.publish(where, messages[0].body)

        async def is_published() -> bool:
            return await of_source("SELECT accepted > 0 FROM lns_source_state WHERE source_id = $1")

        await until(somebody_listens)
        await until(is_published)
        await mortal_nats.kill()
        await publish_without_guarantee(broker, where, [messages[1].body])
        await asyncio.sleep(0.5)  # It is in hand, and waits for the bus.
        await publish_without_guarantee(broker, where, [message.body for message in messages[2:]])

        async def all_came() -> bool:
            return counted() == before + 3

        await until(all_came)
        await mortal_nats.start()
        async with bench.ingest(nats_url=url):
            rows = await bench.stored(4)

            async def is_said() -> bool:
                return await of_source("SELECT refused > 0 FROM lns_source_state WHERE source_id = $1")

            await until(is_said)

    state = await bench.pool.fetchrow(
        "SELECT refused, last_error FROM lns_source_state WHERE source_id = $1", source.id
    )
    assert state is not None
    assert {row["f_cnt"] for row in rows} == {one.f_cnt for one in heard[:4]}
    assert state["refused"] == 3
    assert "3" in state["last_error"]
    assert "QoS 0" in state["last_error"]


async def publish_as_network(bench: Bench, sample_uplink: SampleUplink, device_id: int, session_id: int) -> None:
    """What our network service publishes of the frame: under its session, received by a gateway of ours."""
    uplink = Uplink(
        uplink_identity(device_id, session_id, sample_uplink.f_cnt, sample_uplink.f_port, sample_uplink.payload),
        device_id,
        session_id,
        sample_uplink.f_cnt,
        sample_uplink.f_port,
        sample_uplink.payload,
        sample_uplink.confirmed,
        sample_uplink.heard_at_us,
        sample_uplink.heard_at_us + 40_000,
        868_100_000,
        7,
        125_000,
        late=False,
        receptions=[HeardBy(sample_uplink.gateway_id, 0, -90.0, 7.0)],
    )
    async with connect_bus(bench.nats_url, "network") as bus:
        await bus.publish(topics.uplinks(shard_of_slot(sample_uplink.dev_eui[0] & 15, 4)), encode_batch([uplink]))


@pytest.mark.parametrize("name", ["chirpstack", "the_things_stack", "thingpark, texts", "wanesy"])
@pytest.mark.parametrize("ours_first", [True, False])
async def test_received_by_us_and_by_another_lns_at_once_it_is_one_uplink_with_the_receptions_of_both(
    bench: Bench, name: str, ours_first: bool
) -> None:
    sample, theirs = SAMPLES[name], SampleUplink(now_us() - 500_000)
    ours = replace(theirs, gateway_id=secrets.token_bytes(8), heard_at_us=theirs.heard_at_us - 2_000)
    device_id, source = await bench.device(theirs), await bench.source(sample)
    await bench.gateway(ours.gateway_id)
    async with bench.intake(), bench.ingest():
        if ours_first:
            await publish_as_network(bench, ours, device_id, session_id=7)
            await bench.stored(1)
        taken = await bench.post(source, sample.write(theirs))
        await bench.stored(1)
        if not ours_first:
            await publish_as_network(bench, ours, device_id, session_id=7)
        await bench.drained()

        assert taken.status_code == 200
        assert len(await bench.rows()) == 1
        assert await bench.receptions() == {ours.gateway_id, theirs.gateway_id}
        assert await bench.pool.fetchval("SELECT count(*) FROM observation.measurement") == 4


async def test_a_device_that_moves_keeps_one_history_without_gap_or_double(bench: Bench) -> None:
    """It moves from Wanesy to The Things Stack, which both push two frames in between, then to us."""
    first = SampleUplink(now_us() - 20_000_000)
    frames = [replace(first, f_cnt=100 + n, heard_at_us=first.heard_at_us + n * 2_000_000) for n in range(8)]
    device_id = await bench.device(first)
    old, new = SAMPLES["wanesy"], SAMPLES["the_things_stack"]
    from_old, from_new = await bench.source(old), await bench.source(new)
    async with bench.intake(), bench.ingest():
        for frame in frames[:4]:
            await bench.post(from_old, old.write(frame))
        for frame in frames[2:6]:
            await bench.post(from_new, new.write(frame))
        await bench.drained()
        for frame in frames[5:]:
            await publish_as_network(bench, frame, device_id, session_id=7)
        rows = await bench.stored(8)
        await bench.drained()

        assert [row["f_cnt"] for row in rows] == [frame.f_cnt for frame in frames]
        assert len(await bench.rows()) == 8
        assert await bench.pool.fetchval("SELECT count(DISTINCT device_id) FROM datastream") == 1


async def test_equal_readings_of_a_device_without_counter_are_all_stored(bench: Bench) -> None:
    sample, first = SAMPLES["generic"], SampleUplink(now_us() - 300_000_000)
    await bench.device(first)
    source = await bench.source(sample)
    async with bench.intake(), bench.ingest():
        for number in range(3):
            frame = replace(first, f_cnt=number, heard_at_us=first.heard_at_us + number * 60_000_000)
            for _ in range(2):
                await bench.post(source, sample.write(frame))

        await bench.stored(3)
        await bench.drained()
        assert len(await bench.rows()) == 3


async def test_one_replica_reads_a_source_and_another_takes_over(bench: Bench, lns: MqttSession) -> None:
    sample, heard = SAMPLES["chirpstack"], SampleUplink(now_us())
    await bench.device(heard)
    source = await bench.source(sample, mqtt=True)
    owner = "SELECT owner FROM shard_lease WHERE service = $1 AND expires_at > now()"

    async def owned_by() -> str | None:
        return await bench.pool.fetchval(owner, f"intake_source_{source.id}")

    async with bench.intake("b"):
        async with bench.intake():
            await until(owned_by)
            first = await owned_by()
            async with bench.ingest():
                message = sample.write(heard)

                async def somebody_listens() -> bool:
                    return await lns.publish(bench.topic(message.topic), message.body)

                await until(somebody_listens)
                await bench.stored(1)
        await until(owned_by)
        second = await owned_by()
        await bench.pool.execute("UPDATE lns_source SET enabled = false")

        async def nobody() -> bool:
            return await owned_by() is None

        await until(nobody, LIVE_WITHIN_S)

    assert first in {"a", "b"}
    assert second == "b"
