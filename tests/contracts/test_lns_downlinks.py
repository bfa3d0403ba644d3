"""One contract for every LNS that takes downlinks: a row is handed over once, and says what became of it."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.model.downlinks import Downlink
from core.runtime.mqtt import MqttSession
from registry.downlinks import enqueue, move_to_slot_of_device, read_downlink
from tests.contracts.lns_rig import Bench, SourceOfTest, now_us, until
from tests.contracts.lns_samples import SAMPLES, SampleUplink
from tests.contracts.lns_takers import AS_KEY, BrokerApi, HttpApi, Taken, broker_api, deliver, http_api, says

PAYLOAD = bytes.fromhex("ff03b004")
NETWORKS = ["127.0.0.0/8"]
ADDRESSES = {"chirpstack": "application/4a3c/device/{eui}", "the_things_stack": "v3/bennes@ttn/devices/benne-12"}


@dataclass(frozen=True)
class Way:
    """How downlinks get to an LNS, and what it reports of them."""

    sample: str
    mqtt: bool = False
    user: str | None = None
    tells_acknowledgement: bool = True


WAYS = {
    "chirpstack, MQTT": Way("chirpstack", mqtt=True),
    "the_things_stack, MQTT": Way("the_things_stack", mqtt=True),
    "the_things_stack, webhook": Way("the_things_stack"),
    "thingpark": Way("thingpark, texts", user="TWA_1.1", tells_acknowledgement=False),
    "wanesy": Way("wanesy", user="territoire"),
}


@dataclass
class Carried:
    """A device that another LNS carries, and that LNS."""

    bench: Bench
    lns: MqttSession
    http: HttpApi
    broker: BrokerApi
    source: SourceOfTest = field(default_factory=lambda: SourceOfTest(0, ""))
    heard: SampleUplink = field(default_factory=lambda: SampleUplink(now_us() - 500_000))
    device_id: int = 0
    kind: str = ""

    async def plant(self, name: str, *, sample: str | None = None, address: bool = True) -> None:
        way = WAYS.get(name, Way(sample or name))
        self.kind = SAMPLES[way.sample].kind
        url = None
        if not way.mqtt and self.kind != "generic":
            url = {"downlink_url": self.http.url, "downlink_user": way.user}
        secret = None if self.kind == "generic" else AS_KEY
        chosen = replace(SAMPLES[way.sample], over_mqtt=self._filter()) if way.mqtt else SAMPLES[way.sample]
        self.source = await self.bench.source(chosen, mqtt=way.mqtt, downlinks=url, secret=secret)
        self.device_id = await self.bench.device(self.heard)
        await self.bench.pool.execute("UPDATE tenant SET webhook_allow_list = $1", NETWORKS)
        await self.carry(self.source.id)
        if address and self.kind in ADDRESSES:
            await self.route()

    def _filter(self) -> str:
        return "application/+/device/+/event/+" if self.kind == "chirpstack" else "v3/+/devices/#"

    async def carry(self, source_id: int | None) -> None:
        await self.bench.pool.execute(
            "UPDATE device SET lns_source_id = $2 WHERE id = $1", self.device_id, source_id
        )

    async def route(self) -> None:
        """As an uplink would have shown it."""
        topic = ADDRESSES[self.kind].format(eui=self.heard.dev_eui.hex())
        address = "bennes/benne-12" if self.source.token else self.bench.topic(topic)
        await self.bench.pool.execute(
            "INSERT INTO lns_route (source_id, device_id, tenant_id, address, seen_at) "
            "VALUES ($1, $2, $3, $4, now())",
            self.source.id,
            self.device_id,
            self.bench.tenant_id,
            address,
        )

    async def row(self, *, confirmed: bool = True, for_s: float = 600) -> int:
        not_after = datetime.now(UTC) + timedelta(seconds=for_s)
        async with self.bench.pool.acquire() as connection:
            made = await enqueue(
                connection,
                self.device_id,
                f_port=85,
                payload=PAYLOAD,
                not_after=not_after,
                confirmed=confirmed,
            )
        return made.id

    async def read(self, row_id: int) -> Downlink:
        row = await read_downlink(self.bench.pool, row_id)
        assert row is not None
        return row

    async def is_now(self, row_id: int, state: str, within_s: float = 20) -> Downlink:
        async def there() -> bool:
            return (await self.read(row_id)).state == state

        await until(there, within_s)
        return await self.read(row_id)

    async def handed(self, row_id: int) -> Downlink:
        async def noted() -> bool:
            handed_at = "SELECT handed_at IS NOT NULL FROM downlink WHERE id = $1"
            return await self.bench.pool.fetchval(handed_at, row_id)

        await until(noted)
        return await self.read(row_id)

    @property
    def taken(self) -> list[Taken]:
        return self.http.taken + self.broker.taken

    async def says(self, event: str, item: str) -> None:
        await deliver(self.bench, self.lns, self.source, says(self.kind, event, item, self.heard))


@pytest.fixture
async def carried(bench: Bench, lns: MqttSession) -> AsyncGenerator[Carried]:
    async with AsyncExitStack() as opened:
        http = await opened.enter_async_context(http_api())
        broker = await opened.enter_async_context(broker_api(bench))
        yield Carried(bench, lns, http, broker)


@pytest.mark.parametrize("name", WAYS)
async def test_a_row_is_handed_over_once_and_says_what_their_lns_says(carried: Carried, name: str) -> None:
    await carried.plant(name)
    async with carried.bench.intake():
        row_id = await carried.row()
        queued = await carried.handed(row_id)
        taken = carried.taken[0]
        await carried.says("sent", taken.item)
        sent = await carried.is_now(row_id, "sent")
        if WAYS[name].tells_acknowledgement:
            await carried.says("acknowledged", taken.item)
            await carried.is_now(row_id, "acknowledged")
            await carried.says("sent", taken.item)  # Late, or twice: it changes nothing.
            await carried.says("failed", taken.item)

        last = await carried.read(row_id)
        assert (queued.slot, queued.state, queued.attempts) == (16, "sending", 1)
        assert queued.reason == "LNS_QUEUED_UNTIL_UPLINK"
        assert (taken.f_port, taken.payload, taken.confirmed) == (85, PAYLOAD, True)
        assert sent.sent_at is not None
        assert sent.f_cnt_down == (None if name == "wanesy" else 7)
        assert last.state == ("acknowledged" if WAYS[name].tells_acknowledgement else "sent")
    assert len(carried.taken) == 1


async def test_live_objects_is_asked_what_became_of_a_command(carried: Carried) -> None:
    await carried.plant("live_objects")
    carried.http.status = "PROCESSED"
    async with carried.bench.intake():
        row = await carried.is_now(await carried.row(), "acknowledged")

    assert (row.sent_at is None, len(carried.taken)) == (False, 1)
    assert carried.http.headers["x-api-key"] == AS_KEY


@pytest.mark.parametrize("name", ["chirpstack, MQTT", "the_things_stack, webhook", "wanesy"])
async def test_what_their_lns_could_not_send_has_failed_and_says_why(carried: Carried, name: str) -> None:
    await carried.plant(name)
    async with carried.bench.intake():
        row_id = await carried.row()
        await carried.handed(row_id)
        await carried.says("failed", carried.taken[0].item)
        failed = await carried.is_now(row_id, "failed")

    assert failed.reason


@pytest.mark.parametrize("name", ["chirpstack, MQTT", "the_things_stack, MQTT", "thingpark"])
async def test_a_report_that_no_text_column_takes_stops_neither_its_row_nor_the_next_report(
    carried: Carried, name: str
) -> None:
    await carried.plant(name)
    async with carried.bench.intake():
        row_id = await carried.row()
        await carried.handed(row_id)
        item = carried.taken[0].item
        for odd in ("\0", "x" * 10_000, "\ud7ff\0"):
            await carried.says("sent", odd)
        failed = says(carried.kind, "failed", item, carried.heard)
        body = failed.body.replace(b'"x"', b'"a\\u0000b"').replace(b'"DA"', b'"D\\u0000A"')
        await deliver(carried.bench, carried.lns, carried.source, replace(failed, body=body))

        assert (await carried.is_now(row_id, "failed")).reason


@pytest.mark.parametrize("name", ["chirpstack, MQTT", "the_things_stack, webhook"])
async def test_a_downlink_without_acknowledgement_is_sent_three_times(carried: Carried, name: str) -> None:
    await carried.plant(name)
    async with carried.bench.intake():
        row_id = await carried.row()
        for attempt in (1, 2, 3):

            async def is_taken(count: int = attempt) -> bool:
                return len(carried.taken) == count and (await carried.read(row_id)).attempts == count

            await until(is_taken)
            await carried.says("refused", carried.taken[-1].item)
        failed = await carried.is_now(row_id, "failed")

    assert failed.reason == "DEVICE_NO_ACK"
    assert len({taken.item for taken in carried.taken}) == 3


async def test_a_device_unknown_to_their_lns_waits_for_its_first_uplink(
    carried: Carried,
) -> None:
    await carried.plant("the_things_stack, webhook", address=False)
    async with carried.bench.intake():
        row_id = await carried.row()

        async def says_why() -> bool:
            return (await carried.read(row_id)).reason == "LNS_DEVICE_UNHEARD"

        await until(says_why)
        await carried.bench.post(carried.source, SAMPLES["the_things_stack"].write(carried.heard))
        await carried.handed(row_id)

    assert len(carried.taken) == 1


@pytest.mark.parametrize("status", [500, 503, 429, 401])
async def test_while_their_api_does_not_take_it_a_row_waits_and_then_goes(carried: Carried, status: int) -> None:
    await carried.plant("the_things_stack, webhook")
    carried.http.refuse_with = status
    async with carried.bench.intake():
        row_id = await carried.row()
        waiting = "SELECT reason, detail FROM downlink WHERE id = $1 AND state = 'queued' AND not_before > now()"

        async def waits() -> Any:
            return await carried.bench.pool.fetchrow(waiting, row_id)

        await until(waits)
        waited = await waits()
        carried.http.refuse_with = None
        await carried.bench.pool.execute("UPDATE downlink SET not_before = now()")  # The clock is moved.
        await carried.handed(row_id)

        assert (waited["reason"], waited["detail"]) == ("LNS_ANSWERED", f"{status} : nope")
        assert len(carried.taken) == 1


async def test_what_their_api_rejects_has_failed(carried: Carried) -> None:
    await carried.plant("the_things_stack, webhook")
    carried.http.refuse_with = 404
    async with carried.bench.intake():
        failed = await carried.is_now(await carried.row(), "failed")

    assert (failed.reason, failed.detail) == ("LNS_ANSWERED", "404 : nope")


async def test_a_login_of_wanesy_that_is_over_is_made_anew(carried: Carried) -> None:
    await carried.plant("wanesy")
    async with carried.bench.intake():
        await carried.handed(await carried.row())
        carried.http.token = "jwt-2"
        await carried.handed(await carried.row())
        await carried.handed(await carried.row())

    assert (len(carried.taken), carried.http.logins) == (3, 2)


async def test_an_inner_address_that_the_operator_did_not_allow_is_never_connected_to(carried: Carried) -> None:
    await carried.plant("the_things_stack, webhook")
    await carried.bench.pool.execute("UPDATE tenant SET webhook_allow_list = '{}'")
    async with carried.bench.intake():
        row_id = await carried.row()

        async def is_rejected() -> bool:
            row = await carried.read(row_id)
            return row.reason == "LNS_ADDRESS_REFUSED" and "n'est pas une adresse publique" in (row.detail or "")

        await until(is_rejected)

    assert not carried.http.came.is_set()


@pytest.mark.parametrize("name", ["generic", "chirpstack"])
async def test_a_source_that_takes_no_downlinks_says_so_at_once(carried: Carried, name: str) -> None:
    await carried.plant("generic")
    await carried.bench.pool.execute("UPDATE lns_source SET kind = $1", name)
    async with carried.bench.intake():
        failed = await carried.is_now(await carried.row(), "failed")

    assert (failed.reason or "").startswith("SOURCE_")


async def test_two_replicas_hand_each_row_over_once(carried: Carried) -> None:
    await carried.plant("thingpark")
    rows = [await carried.row(confirmed=False) for _ in range(30)]
    async with carried.bench.intake("b"), carried.bench.intake():
        rows += [await carried.row(confirmed=False) for _ in range(30)]
        for row_id in rows:
            await carried.handed(row_id)

    items = await carried.bench.pool.fetch("SELECT lns_item FROM downlink ORDER BY id")
    assert [taken.item for taken in carried.taken] == [row["lns_item"] for row in items]
    assert len({taken.item for taken in carried.taken}) == 60


@pytest.mark.parametrize("name", ["chirpstack, MQTT", "thingpark"])
async def test_what_a_dead_owner_had_in_hand_is_handed_over_again_under_the_same_item(
    carried: Carried, name: str
) -> None:
    await carried.plant(name)
    row_id = await carried.row()
    item = "57433366-50a6-4dc2-8145-2df1bbc70d9e"
    in_hand = "UPDATE downlink SET state = 'sending', lns_item = $1, updated_at = now() - interval '20 seconds'"
    await carried.bench.pool.execute(in_hand, item)
    async with carried.bench.intake():
        await carried.handed(row_id)

    assert [taken.item for taken in carried.taken] == [item]


async def test_a_hand_over_that_is_under_way_when_the_service_stops_is_written(carried: Carried) -> None:
    await carried.plant("thingpark")
    async with carried.bench.intake():
        row_id = await carried.row()
        await carried.http.came.wait()
    # It ended while the answer was on its way.
    handed = await carried.bench.pool.fetchval("SELECT handed_at FROM downlink WHERE id = $1", row_id)

    assert handed is not None
    assert len(carried.taken) == 1


async def test_rows_without_a_report_end_after_not_after(carried: Carried) -> None:
    await carried.plant("thingpark")
    await carried.bench.pool.execute("UPDATE lns_source SET enabled = false")
    never, silent = await carried.row(), await carried.row()
    unheard = await carried.row()
    clock = (
        "UPDATE downlink SET not_after = now() - $2::interval, state = $3::text::downlink_state, {} WHERE id = $1"
    )
    await carried.bench.pool.execute(clock.format("reason = NULL"), never, timedelta(seconds=1), "queued")
    handed = "lns_item = 'A', handed_at = now() - interval '3 hours'"
    await carried.bench.pool.execute(clock.format(handed), silent, timedelta(hours=2), "sending")
    await carried.bench.pool.execute(clock.format("lns_item = 'B'"), unheard, timedelta(minutes=2), "sending")
    async with carried.bench.intake():
        ended = [await carried.is_now(row_id, "expired") for row_id in (never, silent, unheard)]

    assert [row.reason for row in ended] == ["NOT_AFTER", "LNS_NO_REPORT", "LNS_NO_REPORT"]
    assert not carried.http.came.is_set()


async def test_rows_go_with_their_device_from_our_network_to_theirs_and_back(carried: Carried) -> None:
    await carried.plant("thingpark")
    await carried.carry(None)
    row_id = await carried.row()
    ours = await carried.read(row_id)
    await carried.carry(carried.source.id)
    theirs = await carried.read(row_id)
    await carried.carry(None)
    back = await carried.read(row_id)

    own_slot = carried.heard.dev_eui[0] & 15
    assert [row.slot for row in (ours, theirs, back)] == [own_slot, 16, own_slot]
    assert [row.lns_source_id for row in (ours, theirs, back)] == [None, carried.source.id, None]


async def test_a_join_in_our_network_leaves_alone_what_their_lns_has_in_hand(carried: Carried) -> None:
    """As network moves the rows of a device whose session moves it to another slot."""
    await carried.plant("thingpark")
    row_id = await carried.row()

    async with carried.bench.pool.acquire() as connection:
        await move_to_slot_of_device(connection, [carried.device_id])

    assert (await carried.read(row_id)).slot == 16


async def test_a_report_of_another_source_about_the_same_item_changes_nothing(carried: Carried) -> None:
    await carried.plant("thingpark")
    other = await carried.bench.source(SAMPLES["thingpark, texts"], secret=AS_KEY)
    async with carried.bench.intake():
        row_id = await carried.row()
        await carried.handed(row_id)
        message = says("thingpark", "sent", carried.taken[0].item, carried.heard)
        answer = await deliver(carried.bench, carried.lns, other, message)

        assert answer == "ignored"
        assert (await carried.read(row_id)).state == "sending"
