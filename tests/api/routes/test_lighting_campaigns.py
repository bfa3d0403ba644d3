"""Campaigns as their author, an approver and the sweep meet them; downlinks are moved by hand, as by network."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from core.runtime.postgres import Pool
from decoders.territoire.clock import CODEC, STATE_PORT
from decoders.territoire.clock_program import hash_of
from ingest.pipeline import as_json
from lab.device.application import Message
from lab.device.lamp_clock import LampClock
from lighting import campaign_sweep
from lighting.group_sending import encode_for_group
from lighting.shadows import read_reports, write_desired
from lighting.sweep import advance_commands
from lorawan.airtime import downlink_airtime_us
from lorawan.instants import to_us
from lorawan.regions import EU868
from registry.datastreams import make_datastream
from registry.tenants import create_api_key
from tests.api.conftest import make_tenancy, person_client
from tests.api.routes.test_codecs import codec, version
from tests.entering import transfer
from tests.lighting.only_when_due import only_when_due

advance_campaigns = only_when_due(campaign_sweep.advance_campaigns)

PATH = "/v1/lighting-campaigns"
# Noon in winter: no dusk within half an hour.
REASON = "essai de nuit"
CUT = {"name": "Coupure", "program": {"default": {"night_cut": ["23:30", "05:00"]}}}


def received_by(gateways: list[str]) -> str:
    """As the network server keeps it: the loudest last here, since it is the SNR that decides."""
    receptions = [
        [base64.b64encode(bytes.fromhex(gateway)).decode(), "", 0, 868_100_000, 7, 125_000, -100.0, float(snr)]
        for snr, gateway in enumerate(reversed(gateways))
    ]
    return json.dumps(receptions)


@pytest.fixture
async def cabinets(registry, pool: Pool):
    """Makes so many cabinets, each heard by these gateways, the best first."""

    async def make(count: int, *gateways: str, **fields) -> list[int]:
        ids = [(await registry.cabinet(**fields))["id"] for _ in range(count)]
        await pool.execute(
            "INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, "
            "last_uplink_at, first_uplink_at, last_heard_by, rx2_data_rate) "
            "SELECT a.device_id, decode(lpad(to_hex(a.device_id), 8, '0'), 'hex'), 'x', 'x', 'k', now(), now(), "
            "$2::text::jsonb, 3 FROM assignment a WHERE a.asset_id = ANY($1::int[])",
            ids,
            received_by(list(gateways)),
        )
        return ids

    return make


async def sweep(pool: Pool, now: datetime) -> None:
    await advance_campaigns(pool, now)
    await pool.execute("UPDATE downlink SET state = 'sent', sent_at = $1 WHERE state = 'queued'", now)
    await advance_commands(pool, now)


async def obey(pool: Pool, now: datetime, *, but: frozenset[int] = frozenset()) -> None:
    """Every cabinet that was sent something says that it is off."""
    for row in await pool.fetch("SELECT * FROM lighting_command WHERE state IN ('sent', 'acknowledged')"):
        if row["asset_id"] in but:
            continue
        stream = await make_datastream(
            pool, tenant_id=row["tenant_id"], asset_id=row["asset_id"], device_id=row["device_id"], position="",
            channel="", quantity="switch_state", unit="1",
        )  # fmt: skip
        at = now + timedelta(seconds=1)
        await pool.execute(
            "INSERT INTO observation.uplink (device_id, time, uplink_id, payload, received_at, status) "
            "VALUES ($1, $2, $3, '', $2, 'decoded') ON CONFLICT DO NOTHING",
            row["device_id"], at, uuid4(),
        )  # fmt: skip
        await pool.execute(
            "INSERT INTO observation.measurement VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING", stream.id, at
        )


def body(**fields) -> dict:
    now = datetime.now(UTC)
    return {
        "name": "Coupure", "action": "off", "off_until": (now + timedelta(hours=3)).isoformat(), "reason": REASON,
        "targets": {"commune": "Landerneau"},
    } | fields  # fmt: skip


RIGHTS = ("read", "lighting", "lighting_approve")
DEV_EUIS = (
    "SELECT d.dev_eui FROM assignment a JOIN device d ON d.id = a.device_id WHERE a.asset_id = ANY($1::int[])"
)


async def approved(author, approver, **fields) -> str:
    """The address of a campaign that one has prepared and the other approved."""
    path = f"{PATH}/{(await author.post(PATH, json=body(**fields))).json()['id']}"
    await approver.post(f"{path}/approval")
    return path


async def make_group(client, pool: Pool, number: int, asset_ids: list[int]) -> None:
    """A multicast group of the devices that serve these."""
    keys = {"nwk_s_key": "00" * 16, "app_s_key": "01" * 16}
    given = {"name": f"g{number}", "dev_addr": f"0000000{number}"} | keys
    group = (await client.post("/v1/multicast-groups", json=given)).json()
    members = [row[0].hex() for row in await pool.fetch(DEV_EUIS, asset_ids)]
    answer = await client.put(f"/v1/multicast-groups/{group['id']}/devices", json={"dev_euis": members})
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def author(pool: Pool, tenancy, client_of_key):
    async with client_of_key(await create_api_key(pool, tenancy.id, "clé du service", RIGHTS)) as opened:
        yield opened


@pytest.fixture
async def approver(pool: Pool, tenancy, client_of_key):
    async with client_of_key(await create_api_key(pool, tenancy.id, "clé du maire", RIGHTS)) as opened:
        yield opened


async def test_a_campaign_goes_from_preview_by_approval_and_canary_to_its_end(
    client, author, approver, client_with, cabinets, registry, pool: Pool, monkeypatch
) -> None:
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    near = await cabinets(20, "0016c001f0000001", "0016c001f0000002")
    far = await cabinets(4, "0016c001f0000002")
    no_device = await registry.asset(kind="lighting_cabinet")

    created = await author.post(PATH, json=body())
    campaign = created.json()
    path = f"{PATH}/{campaign['id']}"
    preview = campaign["preview"]
    async with client_with("read", "lighting") as without:
        without_right = await without.post(f"{path}/approval")
    by_author = await author.post(f"{path}/approval")
    now = datetime.now(UTC)
    await sweep(pool, now)
    before_approval = await pool.fetchval("SELECT count(*) FROM downlink")
    approved = await approver.post(f"{path}/approval")
    again = await approver.post(f"{path}/approval")
    await sweep(pool, now)
    await sweep(pool, now)
    canary = (await client.get(path)).json()
    for minute in range(1, 12):
        await obey(pool, now + timedelta(minutes=minute))
        await sweep(pool, now + timedelta(minutes=minute, seconds=2))
    ended = (await client.get(path)).json()
    targets = (await client.get(f"{path}/targets", params={"limit": 100})).json()["items"]

    assert created.status_code == 201, created.text
    assert (preview["targets"], preview["canary"]) == (24, 5)
    assert [(one["asset_id"], "aucun équipement" in one["reason"]) for one in preview["rejected"]] == [
        (no_device["id"], True)
    ]
    # Command and question are of 5 and 4 octets, at SF9 164.864 ms each (the LoRa calculator's).
    shares = {one["gateway"]: (one["targets"], one["airtime_s"], one["left_s"]) for one in preview["gateways"]}
    assert shares == {"0016c001f0000001": (20, 6.595, 180.0), "0016c001f0000002": (4, 1.319, 180.0)}
    assert (by_author.status_code, "autre personne" in by_author.json()["detail"]) == (409, True)
    assert (without_right.status_code, before_approval) == (403, 0)
    assert (approved.json()["state"], approved.json()["approved_by"]) == ("approved", "clé du maire")
    assert again.status_code == 409
    # Two of the five are the neighbour's, which does not send while the first gateway does.
    assert (canary["state"], canary["canary"]["under_way"], canary["others"]["waiting"]) == ("canary", 3, 19)
    assert (ended["state"], ended["canary"]["proved"], ended["others"]["proved"]) == ("ended", 5, 19)
    assert {one["asset_id"] for one in targets} == {*near, *far}
    assert {one["state"] for one in targets} == {"applied"}
    assert await pool.fetchval("SELECT count(*) FROM lighting_command") == 24


async def test_a_campaign_whose_canary_does_not_follow_halts_and_sends_nothing_more(
    client, approver, cabinets, pool: Pool, monkeypatch
) -> None:
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    ids = await cabinets(30, "0016c001f0000001")
    path = await approved(client, approver)
    now = datetime.now(UTC)
    for minute in range(60):
        await obey(pool, now + timedelta(minutes=minute), but=frozenset(ids[:1]))
        await sweep(pool, now + timedelta(minutes=minute, seconds=2))
    halted = (await client.get(path)).json()
    resumed = await approver.post(f"{path}/resumption")

    assert (halted["state"], halted["halted_for"]) == ("halted", "canary_failed")
    assert halted["others"]["waiting"] == 25
    assert "premières armoires" in halted["halted_message"]
    assert resumed.status_code == 409
    assert await pool.fetchval("SELECT count(DISTINCT asset_id) FROM lighting_command") == 5


async def test_nothing_goes_out_while_a_campaign_is_paused_or_at_dusk_and_another_tenant_sees_nothing_of_it(
    client, approver, cabinets, other_client, pool: Pool
) -> None:
    await cabinets(6, "0016c001f0000001", latitude=48.39, longitude=-4.49)
    given = body(action="on", off_until=None, not_after=in_hours(20))
    path = f"{PATH}/{(await client.post(PATH, json=given)).json()['id']}"
    await approver.post(f"{path}/approval")
    paused = await client.post(f"{path}/pause")
    await sweep(pool, datetime.now(UTC))
    while_paused = await pool.fetchval("SELECT count(*) FROM downlink")
    await approver.post(f"{path}/resumption")
    # Sunset at Brest, by ephem.
    dusk = datetime(2026, 12, 21, 16, 26, tzinfo=UTC)
    await pool.execute("UPDATE lighting_campaign SET not_after = $1", dusk + timedelta(hours=2))
    for minutes in (-33, -29, 0, 29):
        await sweep(pool, dusk + timedelta(minutes=minutes))
    at_dusk = await pool.fetchval("SELECT count(*) FROM downlink")
    # What was released before waits for its gateway until dusk is near, and has its turn again when it is over.
    await advance_campaigns(pool, dusk - timedelta(minutes=36))
    latest = await pool.fetchval("SELECT max(not_after) FROM downlink")
    released = await pool.fetchval("SELECT count(*) FROM downlink")
    await pool.execute("UPDATE downlink SET state = 'expired'")
    for minutes in (-32, -30, 0, 29):
        await sweep(pool, dusk + timedelta(minutes=minutes))
    kept_back = await pool.fetchval("SELECT count(*) FROM downlink")
    await sweep(pool, dusk + timedelta(minutes=31))
    after = await pool.fetch("SELECT state::text, attempts FROM lighting_command")
    cancelled = await client.post(f"{path}/cancellation")

    assert paused.json()["state"] == "paused"
    assert (while_paused, at_dusk) == (0, 0)
    assert latest < dusk - timedelta(minutes=31)
    assert (released, kept_back) == (5, 5)
    assert [tuple(row) for row in after] == [("sent", 2)] * 5
    assert cancelled.json()["state"] == "cancelled"
    assert (await other_client.get(path)).status_code == 404
    assert (await other_client.post(f"{path}/pause")).status_code == 404
    assert (await client.get(f"{path}/preview")).json()["targets"] == 1  # The others have been commanded.


async def test_of_a_campaign_that_was_stopped_nothing_is_repeated_and_what_waits_for_a_gateway_is_withdrawn(
    client, approver, cabinets, pool: Pool, monkeypatch
) -> None:
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    await cabinets(5, "0016c001f0000001")
    path = await approved(client, approver)
    now = datetime.now(UTC)
    await advance_campaigns(pool, now)
    waiting = await pool.fetchval("SELECT max(id) FROM downlink")

    async def attempts(minutes: range) -> list[int]:
        for minute in minutes:
            at = now + timedelta(minutes=minute)
            await advance_campaigns(pool, at)
            await pool.execute(
                "UPDATE downlink SET state = 'sent', sent_at = $1 WHERE state = 'queued' AND id <> $2", at, waiting
            )
            await advance_commands(pool, at)
        return [row[0] for row in await pool.fetch("SELECT attempts FROM lighting_command ORDER BY downlink_id")]

    await attempts(range(1))
    await client.post(f"{path}/pause")
    while_paused = await attempts(range(1, 5))
    still_waits = await pool.fetchval("SELECT state::text FROM downlink WHERE id = $1", waiting)
    await approver.post(f"{path}/resumption")
    resumed = await attempts(range(5, 7))
    await client.post(f"{path}/cancellation")
    cancelled = await attempts(range(7, 80))
    states = await pool.fetch("SELECT state::text, downlink_id = $1 FROM lighting_command", waiting)

    assert (while_paused, still_waits) == ([1] * 5, "queued")
    assert sorted(resumed) == [1, 2, 2, 2, 2]
    assert cancelled == resumed
    assert sorted(map(tuple, states)) == [("failed", False)] * 4 + [("superseded", True)]
    assert await pool.fetchval("SELECT state::text FROM downlink WHERE id = $1", waiting) == "cancelled"


async def test_a_campaign_does_not_put_out_what_somebody_has_lit_since_its_approval(
    client, approver, cabinets, pool: Pool, monkeypatch
) -> None:
    """Neither a failure nor a proof of it; what was asked for before the approval was known to who approved."""
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    before, since, *_ = await cabinets(3, "0016c001f0000001")
    order = {"action": "on", "reason": "bal"}
    await client.post("/v1/lighting/commands", json=order | {"asset_id": before})
    path = await approved(client, approver)
    await client.post("/v1/lighting/commands", json=order | {"asset_id": since})
    now = datetime.now(UTC)
    for minute in range(2):
        await sweep(pool, now + timedelta(minutes=minute))
        await obey(pool, now + timedelta(minutes=minute), but=frozenset([since]))
    await sweep(pool, now + timedelta(minutes=2))
    put_out = await pool.fetch("SELECT asset_id FROM lighting_command WHERE action = 'off'")
    ended = (await client.get(path)).json()
    rejected = [one["rejected"] for one in (await client.get(f"{path}/targets")).json()["items"]]

    assert before in {row[0] for row in put_out}
    assert since not in {row[0] for row in put_out}
    assert ended["state"] == "ended"
    assert (ended["canary"]["proved"], ended["canary"]["superseded"], ended["canary"]["failed"]) == (2, 1, 0)
    assert rejected.count("quelqu'un a demandé la lumière là depuis l'approbation de cette campagne") == 1


def in_hours(hours: int) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def test_all_on_shows_its_end_and_lights_a_commune_without_a_second_person(
    client, approver, cabinets, pool: Pool
) -> None:
    """What was about to put it out is suspended."""
    await cabinets(12, "0016c001f0000001")
    putting_out = f"{PATH}/{(await client.post(PATH, json=body())).json()['id']}"
    await approver.post(f"{putting_out}/approval")
    await cabinets(3, "0016c001f0000001", commune="Brest")
    asked = {"commune": "Landerneau", "reason": "accident"}

    shown = (await client.post("/v1/lighting/all-on", json=asked)).json()
    nothing = await pool.fetchval("SELECT count(*) FROM lighting_campaign")
    done = (await client.post("/v1/lighting/all-on", json=asked | {"preview": False})).json()
    # Prepared for another device than the one that serves it by now.
    await pool.execute(
        "UPDATE lighting_campaign_target SET octets = jsonb_set(octets, '{frames,on}', '[9, \"00\"]')"
    )
    now = datetime.now(UTC)
    for train in range(2):
        await advance_campaigns(pool, now + timedelta(seconds=4 * train))

    assert (shown["campaign_id"], shown["preview"]["targets"], nothing) == (None, 12, 1)
    assert (await client.get(putting_out)).json()["state"] == "paused"
    assert shown["preview"]["ends_at"] is not None
    assert done["campaign_id"] is not None
    rows = await pool.fetch(
        "SELECT c.action, c.state::text, d.priority, c.relight_at IS NOT NULL, encode(d.payload, 'hex') "
        "FROM lighting_command c JOIN downlink d ON d.id = c.downlink_id"
    )
    # Before all else on the air, and repeated until each says that it is lit.
    assert [tuple(row) for row in rows] == [("on", "queued", 0, True, "1150000601")] * 12


async def test_a_cabinet_that_was_given_away_meanwhile_is_not_switched_by_a_campaign_of_its_former_owner(
    client, approver, cabinets, tenancy, other_tenancy, api_pool: Pool, pool: Pool, monkeypatch
) -> None:
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    kept, given = await cabinets(2, "0016c001f0000001")
    await approved(client, approver)
    await transfer(pool, tenancy.id, given, other_tenancy.id)

    now = datetime.now(UTC)
    for second in range(0, 30, 10):
        await sweep(pool, now + timedelta(seconds=second))

    assert [row[0] for row in await pool.fetch("SELECT asset_id FROM lighting_command")] == [kept]
    why = "SELECT rejected FROM lighting_campaign_target WHERE asset_id = $1"
    assert await pool.fetchval(why, given) == "ce circuit n'est plus dans l'inventaire de cette collectivité"


async def test_nobody_approves_a_campaign_that_they_wrote_by_a_key_of_their_own_making(
    app, tenancy, client_of_key, cabinets, pool: Pool
) -> None:
    await cabinets(1, "0016c001f0000001")
    wanted = {"name": "À moi", "roles": ["read", "manage", "lighting"]}
    answers = []
    async with (
        await person_client(app, pool, tenancy.id, "service_manager") as person,
        await person_client(app, pool, tenancy.id, "service_manager") as somebody_else,
    ):
        first = (await person.post("/v1/api-keys", json=wanted)).json()["key"]
        async with client_of_key(first) as by_first:
            second = (await by_first.post("/v1/api-keys", json=wanted)).json()["key"]
            async with client_of_key(second) as by_second:
                for writer in (by_first, by_second):
                    path = f"{PATH}/{(await writer.post(PATH, json=body())).json()['id']}/approval"
                    answers += [(await one.post(path)).status_code for one in (person, somebody_else)]

    assert answers == [409, 200, 409, 200]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"targets": {"commune": "Nulle part"}}, "aucun circuit à commander"),
        ({"targets": {}}, "une commune, une étiquette ou un programme"),
        ({"off_until": None}, "une extinction a une fin"),
        ({"not_after": "2020-01-01T00:00:00Z"}, "la fin de la campagne"),
        ({"action": "dim", "off_until": None, "level": 50}, "variateur"),
    ],
)
async def test_a_campaign_that_cannot_be_says_why(client, cabinets, changed, why) -> None:
    await cabinets(1, "0016c001f0000001")

    answer = await client.post(PATH, json=body(**changed))

    assert answer.status_code == 422
    assert why in answer.text


@pytest.fixture
async def clocks(registry, cabinets, pool: Pool):
    """Makes so many cabinets whose clocks hold programs, and the simulated clocks by the device of each."""

    async def make(count: int, gateway: str, **fields) -> tuple[list[int], dict[int, LampClock]]:
        ids = await cabinets(count, gateway, latitude=48.39, longitude=-4.49, **fields)
        profile = await registry.profile(codec="territoire.clock", device_class="C", capabilities=["switch"])
        rows = await pool.fetch("SELECT device_id FROM assignment WHERE asset_id = ANY($1::int[])", ids)
        devices = [row["device_id"] for row in rows]
        await pool.execute(
            "UPDATE device SET device_profile_id = $2 WHERE id = ANY($1::int[])", devices, profile["id"]
        )
        return ids, {device: LampClock((100,)) for device in devices}

    return make


async def report_state(pool: Pool, device: int, clock: LampClock, at: datetime) -> None:
    """Its state, as ingest stores it."""
    message = clock.next_message(to_us(at))
    decoded = CODEC.decode(message.f_port, message.payload, to_us(at), {})
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, f_port, payload, received_at, status, codec, "
        "codec_version, decoded) "
        "VALUES ($1, $2, $3, $4, $5, $2, 'decoded', 'territoire.clock', 1, $6::text::jsonb)",
        device, at, uuid4(), STATE_PORT, message.payload, as_json(decoded).decode(),
    )  # fmt: skip


async def play(
    pool: Pool, held: dict[int, LampClock], now: datetime, *, deaf: frozenset[int] = frozenset()
) -> None:
    """What was sent reaches the clocks that hear it, and each of them says its state."""
    await pool.execute(
        "UPDATE downlink SET state = 'sent', sent_at = $1, created_at = $1 WHERE state = 'queued'", now
    )
    for row in await pool.fetch("SELECT device_id, f_port, payload FROM downlink WHERE sent_at = $1", now):
        if row["device_id"] in deaf or row["device_id"] not in held:
            continue
        clock = held[row["device_id"]]
        at = now + timedelta(seconds=20)
        clock.on_downlink(Message(row["f_port"], row["payload"]), to_us(at))
        await report_state(pool, row["device_id"], clock, at)


async def test_a_campaign_gives_clocks_their_program_and_the_hash_that_they_report_proves_it(
    client, author, approver, clocks, cabinets, pool: Pool, monkeypatch
) -> None:
    """Relays hold none; what is not heard comes again at its turn, and drift is repaired by the next campaign."""
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    ids, held = await clocks(30, "0016c001f0000001")
    relay = (await cabinets(1, "0016c001f0000001"))[0]
    program = (await client.post("/v1/lighting-programs", json=CUT)).json()
    wanted = {"program_id": program["id"], "version": 1, "asset_ids": [*ids, relay]}
    assigned = await client.post("/v1/lighting-programs/assignments", json=wanted)
    assert assigned.status_code == 200, assigned.text
    asked = body(action="set_program", off_until=None)

    created = await author.post(PATH, json=asked)
    preview = created.json()["preview"]
    path = f"{PATH}/{created.json()['id']}"
    await approver.post(f"{path}/approval")
    now = datetime.now(UTC)
    devices = list(held)
    # One hears nothing before the third time.
    for minute in range(12):
        at = now + timedelta(minutes=minute)
        await advance_campaigns(pool, at)
        await play(pool, held, at, deaf=frozenset(devices[:1] if minute < 3 else []))
    ended = (await client.get(path)).json()
    targets = (await client.get(f"{path}/targets", params={"limit": 100})).json()["items"]
    await write_desired(pool, now)
    await read_reports(pool, now + timedelta(minutes=20))
    again = await author.post(PATH, json=asked)
    drifted = await author.post(PATH, json=asked | {"targets": {"drifted": True}})
    held[devices[1]].program = b""
    await report_state(pool, devices[1], held[devices[1]], now + timedelta(minutes=21))
    await read_reports(pool, now + timedelta(minutes=22))
    repair = await author.post(PATH, json=asked | {"targets": {"drifted": True}})

    assert created.status_code == 201, created.text
    assert (preview["targets"], preview["canary"]) == (30, 5)
    assert [(one["asset_id"], one["reason"]) for one in preview["rejected"]] == [
        (relay, "cette armoire ne garde pas de programme : son éclairage dépend de la plateforme")
    ]
    # The program's octets and 13 of LoRaWAN, without a question: a clock answers by itself.
    octets = (await pool.fetchrow("SELECT payload FROM downlink LIMIT 1"))["payload"]
    assert preview["gateways"][0]["airtime_s"] == round(
        30 * downlink_airtime_us(13 + len(octets), EU868.data_rates[3]) / 1e6, 3
    )
    assert (ended["state"], ended["canary"]["proved"], ended["others"]["proved"]) == ("ended", 5, 25)
    assert {one["state"] for one in targets} == {"applied"}
    assert sorted(one["attempts"] for one in targets)[-2:] == [1, 3]
    assert {one["program_hash"] for one in targets} == {hash_of(octets).hex()}
    assert await pool.fetchval("SELECT count(*) FROM lighting_command") == 0
    assert await pool.fetchval("SELECT count(*) FROM lighting_unknown_act") == 0
    assert (again.status_code, "tient déjà ce programme" in again.text) == (422, True)
    assert (drifted.status_code, drifted.json()["detail"]) == (
        422,
        "aucun circuit à commander : aucune armoire ici",
    )
    assert (repair.status_code, repair.json()["preview"]["targets"]) == (201, 1)


async def test_a_program_campaign_whose_canary_takes_nothing_halts(
    client, approver, clocks, pool: Pool, monkeypatch
) -> None:
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    _, held = await clocks(21, "0016c001f0000001")
    path = f"{PATH}/{(await client.post(PATH, json=body(action='set_program', off_until=None))).json()['id']}"
    await approver.post(f"{path}/approval")
    now = datetime.now(UTC)
    for minute in range(20):
        at = now + timedelta(minutes=minute)
        await advance_campaigns(pool, at)
        await play(pool, held, at, deaf=frozenset(held))
    halted = (await client.get(path)).json()

    assert (halted["state"], halted["halted_for"], halted["others"]["waiting"]) == ("halted", "canary_failed", 16)
    # Four times each, as a command.
    assert await pool.fetchval("SELECT count(*) FROM downlink") == 20


VENDOR_CLOCK = """
codec: horloge
frames:
  - fields:
      - {type: u16, name: cut_start}
      - {type: u16, name: cut_end}
commands:
  set_program:
    f_port: 9
    switches: false
    fields:
      - {type: u16, name: cut_start, default: 65535}
      - {type: u16, name: cut_end, default: 65535}
"""
ASKED = "  read_program:\n    f_port: 10\n    switches: false\n    fields:\n      - {type: u8, equals: 1}\n"


async def test_programs_of_other_makes_clocks_are_proved_by_the_answer_to_read_program_or_by_nothing(
    client, approver, registry, cabinets, pool: Pool, monkeypatch
) -> None:
    """What answers with another cut is sent its program again; what was given another program since is not."""
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    ids = await cabinets(8, "0016c001f0000001", latitude=48.39, longitude=-4.49)
    rows = await pool.fetch("SELECT asset_id, device_id FROM assignment WHERE asset_id = ANY($1::int[])", ids)
    device_of = {row["asset_id"]: row["device_id"] for row in rows}
    for name, source, of in (("relue", VENDOR_CLOCK + ASKED, ids[:7]), ("muette", VENDOR_CLOCK, ids[7:])):
        made = await version(client, (await codec(client, name))["id"], source, language="declarative")
        profile = await registry.profile(
            codec=None, codec_version_id=made["id"], capabilities=["switch", "program"], device_class="C"
        )
        devices = [device_of[one] for one in of]
        await pool.execute(
            "UPDATE device SET device_profile_id = $2 WHERE id = ANY($1::int[])", devices, profile["id"]
        )
    assign = "/v1/lighting-programs/assignments"
    program = (await client.post("/v1/lighting-programs", json=CUT)).json()
    wanted = {"program_id": program["id"], "version": 1, "asset_ids": ids}
    assert (await client.post(assign, json=wanted)).status_code == 200

    created = await client.post(PATH, json=body(action="set_program", off_until=None))
    path = f"{PATH}/{created.json()['id']}"
    later = (await client.get(f"{path}/preview")).json()
    other = (await client.post("/v1/lighting-programs", json=CUT | {"name": "Autre"})).json()
    changed = wanted | {"program_id": other["id"], "asset_ids": ids[5:6]}
    assert (await client.post(assign, json=changed)).status_code == 200
    await approver.post(f"{path}/approval")
    now = datetime.now(UTC)
    asked = dict.fromkeys(device_of.values(), 0)
    for minute in range(10):
        at = now + timedelta(minutes=minute)
        await advance_campaigns(pool, at)
        for row in await pool.fetch("SELECT id, device_id, f_port, payload FROM downlink WHERE state = 'queued'"):
            await pool.execute(
                "UPDATE downlink SET state = 'sent', sent_at = $2, created_at = $2 WHERE id = $1", row["id"], at
            )
            if row["f_port"] == 9:
                continue
            asked[row["device_id"]] += 1
            # The first holds another cut until it was sent its program twice.
            is_other = row["device_id"] == device_of[ids[0]] and asked[row["device_id"]] == 1
            held = {"cut_start": 1 if is_other else 1410, "cut_end": 300}
            await pool.execute(
                "INSERT INTO observation.uplink (device_id, time, uplink_id, f_port, payload, received_at, "
                "status, codec, codec_version, decoded) "
                "VALUES ($1, $2, $3, 9, '', $2, 'decoded', 'relue', 1, $4)",
                row["device_id"], at + timedelta(seconds=20), uuid4(), held,
            )  # fmt: skip
    ended = (await client.get(path)).json()
    targets = {one["asset_id"]: one for one in (await client.get(f"{path}/targets")).json()["items"]}

    assert created.status_code == 201, created.text
    preview = created.json()["preview"]
    assert (preview["targets"], preview["canary"], preview["unproven"], later["unproven"]) == (8, 5, 1, 1)
    frames = [downlink_airtime_us(13 + size, EU868.data_rates[3]) for size in (4, 1)]
    assert preview["gateways"][0]["airtime_s"] == round((8 * frames[0] + 7 * frames[1]) / 1e6, 3)
    assert not targets[ids[7]]["is_canary"]
    assert {one["payload"].hex() for one in await pool.fetch("SELECT payload FROM downlink WHERE f_port = 9")} == {
        "0582012c"
    }
    assert [targets[one]["state"] for one in ids] == ["applied"] * 5 + [None, "applied", "unproven"]
    assert (targets[ids[0]]["attempts"], asked[device_of[ids[7]]]) == (2, 0)
    assert "a changé depuis la préparation" in targets[ids[5]]["rejected"]
    counts = ended["others"]
    assert (ended["state"], ended["canary"]["proved"]) == ("halted", 5)
    assert (counts["proved"], counts["failed"], counts["unproven"]) == (1, 1, 1)
    assert await pool.fetchval("SELECT count(*) FROM lighting_unknown_act") == 0


async def test_dusk_is_that_of_each_circuit_and_light_points_of_a_commune_are_targets(
    client, approver, cabinets, registry, pool: Pool
) -> None:
    """Of a light point that is its cabinet's the cabinet is one, and drafts that wait are counted."""
    west = (await cabinets(1, "0016c001f0000001", latitude=48.39, longitude=-4.49))[0]
    east = (await cabinets(1, "0016c001f0000001", latitude=49.12, longitude=6.18))[0]
    lamp = await registry.asset(kind="light_point", latitude=49.12, longitude=6.18)
    await registry.device(await registry.cabinet_profile(), asset_id=lamp["id"])
    served = await registry.asset(kind="light_point", name="lampe 1")
    await pool.execute("UPDATE asset SET parent_id = $1 WHERE id = $2", west, served["id"])
    created = (await client.post(PATH, json=body(action="on", off_until=None, not_after=in_hours(20)))).json()
    path = f"{PATH}/{created['id']}"
    tenant = await pool.fetchval("SELECT tenant_id FROM asset WHERE id = $1", west)
    await pool.execute("INSERT INTO quota VALUES ($1, 'campaign_drafts', 1)", tenant)
    one_more = await client.post(PATH, json=body())
    all_on = await client.post("/v1/lighting/all-on", json={"reason": "accident", "preview": False})
    await client.post(f"{PATH}/{all_on.json()['campaign_id']}/cancellation")
    await approver.post(f"{path}/approval")
    # Sunset at Metz; at Brest it is 46 minutes later (ephem).
    dusk = datetime(2026, 12, 21, 15, 40, tzinfo=UTC)
    await pool.execute("UPDATE lighting_campaign SET not_after = $1", dusk + timedelta(hours=2))
    await sweep(pool, dusk)
    at_dusk = [row[0] for row in await pool.fetch("SELECT asset_id FROM lighting_command")]

    assert created["preview"]["targets"] == 3
    assert (one_more.status_code, "campagnes à approuver" in one_more.text) == (409, True)
    assert all_on.status_code == 200, all_on.text
    assert at_dusk == [west]
    assert {one["asset_id"] for one in (await client.get(f"{path}/targets")).json()["items"]} == {
        west,
        east,
        lamp["id"],
    }


@pytest.fixture
async def syndicat(client, other_client, tenancy, other_tenancy, client_of_key, pool: Pool):
    """The other tenant is the first one's syndicat, and commands its cabinets: two keys of it, and the grant."""
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", other_tenancy.id, tenancy.id)
    wanted = {"tenant": other_tenancy.slug, "asset_kind": "lighting_cabinet", "role": "operator"}
    offered = await client.post("/v1/grants", json=wanted)
    assert offered.status_code == 201, offered.text
    grant = offered.json()
    assert (await other_client.post(f"/v1/grants/{grant['id']}/accept")).status_code == 200
    keys = [await create_api_key(pool, other_tenancy.id, name, RIGHTS) for name in ("régie", "présidence")]
    async with client_of_key(keys[0]) as writer, client_of_key(keys[1]) as decider:
        yield writer, decider, grant["id"]


async def test_a_syndicat_commands_the_cabinets_of_a_member_by_its_grant_and_nothing_beyond_it(
    client, syndicat, cabinets, registry, tenancy, other_tenancy, pool: Pool, monkeypatch
) -> None:
    """Both read what was done. Without the grant nothing more goes out; what a bound forbids never does."""
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    writer, decider, grant = syndicat
    first, second = await cabinets(2, "0016c001f0000001")
    lamp = await registry.asset(kind="light_point")
    await registry.device(await registry.cabinet_profile(), asset_id=lamp["id"])
    asked = body(targets={"asset_ids": [first, second, lamp["id"]]})

    created = await writer.post(PATH, json=asked)
    path = f"{PATH}/{created.json()['id']}"
    approved = await decider.post(f"{path}/approval")
    now = datetime.now(UTC)
    await pool.execute(
        "UPDATE lighting_campaign_target SET is_canary = false WHERE asset_id = $1 AND campaign_id = $2",
        second, created.json()["id"],
    )  # fmt: skip
    await sweep(pool, now)
    revoked = await client.delete(f"/v1/grants/{grant}")
    await obey(pool, now + timedelta(minutes=1))
    for minute in (2, 3):
        await sweep(pool, now + timedelta(minutes=minute))
    commands = [
        tuple(row) for row in await pool.fetch("SELECT asset_id, tenant_id, requested_by FROM lighting_command")
    ]
    why = await pool.fetchval("SELECT rejected FROM lighting_campaign_target WHERE asset_id = $1", second)
    of_member = (await client.get("/v1/audit", params={"entity": "lighting_campaign"})).json()["items"]
    after = await writer.post(PATH, json=asked)
    left = (await writer.get(f"{path}/targets")).json()["items"]

    assert created.status_code == 201, created.text
    assert created.json()["preview"]["targets"] == 2
    assert created.json()["preview"]["gateways"][0]["gateway"] == "0016c001f0000001"
    assert [one["asset_id"] for one in created.json()["preview"]["rejected"]] == [lamp["id"]]
    assert (approved.status_code, revoked.status_code) == (200, 204)
    # In the member's history, with who asked.
    assert commands == [(first, tenancy.id, "présidence (autre)")]
    assert "plus dans l'inventaire" in why
    assert sorted(one["action"] for one in of_member) == ["approve", "create"]
    assert {("autre" in one["actor"], one["details"]["targets"]) for one in of_member} == {(True, 2)}
    assert (await client.get(path)).status_code == 404
    assert after.status_code == 422
    # What a syndicat reads of its member it reads still, by that and not by the grant.
    assert {one["asset_id"] for one in left} <= {first, second}


async def test_a_member_proposes_beyond_its_bounds_and_the_syndicat_approves_or_refuses(
    client, approver, syndicat, cabinets, other_client, tenancy, pool: Pool
) -> None:
    """Where nobody knows the place nobody can say that a bound is kept."""
    writer, decider, _ = syndicat
    (cabinet,) = await cabinets(1, "0016c001f0000001")
    unbound = (await client.post(PATH, json=body(targets={"asset_ids": [cabinet]}))).json()
    await other_client.put(f"/v1/lighting/bounds/{tenancy.id}", json={"earliest_cut": "23:00"})
    outdated = await approver.post(f"{PATH}/{unbound['id']}/approval")
    await client.post(f"{PATH}/{unbound['id']}/cancellation")
    order = {"asset_id": cabinet, "action": "off", "off_until": in_hours(1), "reason": "fête"}

    alone = await client.post("/v1/lighting/commands", json=order)
    lit = await client.post("/v1/lighting/commands", json={"asset_id": cabinet, "action": "on"})
    by_grant = await writer.post(PATH, json=body(targets={"asset_ids": [cabinet]}))
    first, second = [(await client.post(PATH, json=body())).json() for _ in range(2)]
    by_member = await approver.post(f"{PATH}/{first['id']}/approval")
    listed = (await decider.get(PATH, params={"state": "draft"})).json()["items"]
    circuits = (await decider.get(f"{PATH}/{first['id']}/targets")).json()["items"]
    cancelled = await decider.post(f"{PATH}/{first['id']}/cancellation")
    await sweep(pool, datetime.now(UTC))
    before = await pool.fetchval("SELECT count(*) FROM lighting_command WHERE action = 'off'")
    approved = await decider.post(f"{PATH}/{first['id']}/approval")
    refused = await decider.post(f"{PATH}/{second['id']}/refusal", json={"reason": "la rue du collège"})
    again = await decider.post(f"{PATH}/{second['id']}/approval")
    shown = (await client.get(f"{PATH}/{second['id']}")).json()
    await sweep(pool, datetime.now(UTC))

    # Prepared before there was a bound, it is no proposal, and no more the member's to decide.
    assert (unbound["decided_by"], outdated.status_code) == (None, 409)
    assert "hors des bornes du syndicat" in outdated.text
    assert (alone.status_code, "hors des bornes" in alone.text, "le propose" in alone.text) == (403, True, True)
    assert lit.status_code == 201
    assert (by_grant.status_code, "hors des bornes" in by_grant.text) == (422, True)
    assert (first["state"], "borne fixée par" in first["outside"]) == ("draft", True)
    assert (by_member.status_code, "qui seul en décide" in by_member.text) == (403, True)
    assert [(one["id"], one["proposed_by"]) for one in listed] == [(second["id"], "sdef"), (first["id"], "sdef")]
    assert [one["asset_id"] for one in circuits] == [cabinet]
    assert (cancelled.status_code, before) == (403, 0)
    assert (approved.json()["state"], approved.json()["approved_by"]) == ("approved", "présidence (autre)")
    assert (refused.json()["state"], shown["refused_for"], again.status_code) == (
        "refused",
        "la rue du collège",
        409,
    )
    assert (
        await pool.fetchval("SELECT requested_by FROM lighting_command WHERE action = 'off'")
        == "présidence (autre)"
    )


async def test_a_proposal_beyond_the_bounds_of_two_levels_is_decided_by_both_the_nearest_first(
    client, syndicat, cabinets, other_client, client_of_key, tenancy, other_tenancy, pool: Pool
) -> None:
    """Each reads it while it decides and afterwards; nobody decides in another's place."""
    _, nearest, _ = syndicat
    (cabinet,) = await cabinets(1, "0016c001f0000001")  # Nobody knows where: no bound is known to be kept.
    above = await make_tenancy(pool, "departement")
    await pool.execute("UPDATE tenant SET member_of = $1 WHERE id = $2", above.id, other_tenancy.id)
    async with client_of_key(above.key) as farthest:
        for by in (farthest, other_client):
            answer = await by.put(f"/v1/lighting/bounds/{tenancy.id}", json={"earliest_cut": "23:00"})
            assert answer.status_code == 200, answer.text
        made, other = [
            (await client.post(PATH, json=body(targets={"asset_ids": [cabinet]}))).json() for _ in range(2)
        ]
        approval, refusal = f"{PATH}/{made['id']}/approval", f"{PATH}/{other['id']}/refusal"

        too_early = await farthest.post(approval)
        handed_on = await nearest.post(approval)
        twice = await nearest.post(approval)
        seen = await nearest.get(f"{PATH}/{made['id']}/targets")
        listed = (await farthest.get(PATH, params={"state": "draft"})).json()["items"]
        approved = await farthest.post(approval)
        await nearest.post(f"{PATH}/{other['id']}/approval")
        refused = await farthest.post(refusal, json={"reason": "non"})

    assert (made["decided_by"], made["then_decided_by"]) == (other_tenancy.id, [above.id])
    assert ["borne fixée par" in one for one in (made["outside"], *made["then_outside"])] == [True, True]
    assert (too_early.status_code, twice.status_code) == (404, 404)
    after = handed_on.json()
    assert (after["state"], after["decided_by"], after["decided_before"]) == (
        "draft",
        above.id,
        [other_tenancy.id],
    )
    assert (after["approved_by"], len(seen.json()["items"])) == (None, 1)
    assert [one["id"] for one in listed] == [made["id"]]
    assert (approved.json()["state"], approved.json()["approved_by"]) == (
        "approved",
        "clé de departement (departement)",
    )
    assert (refused.json()["state"], refused.json()["refused_for"]) == ("refused", "non")


async def test_one_frame_commands_a_multicast_group_and_who_does_not_echo_it_is_sent_its_own(
    client, approver, clocks, pool: Pool, monkeypatch
) -> None:
    """A group with a member that is no target is not used: the frame would reach it, too.

    A member that has not acknowledged the group's keys is sent its own at once.
    """
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    ids, _ = await clocks(8, "0016c001f0000001")
    (alone,), _ = await clocks(1, "0016c001f0000001", commune="Brest")
    for number, of in enumerate(([ids[5], alone], ids)):
        await make_group(client, pool, number, of)
    await pool.execute(
        "UPDATE multicast_member m SET keys_given_at = now(), keys_acknowledged_at = now() FROM assignment a "
        "WHERE a.device_id = m.device_id AND a.asset_id = ANY($1::int[])",
        [*ids[:5], *ids[6:]],
    )
    draft = (await client.post(PATH, json=body())).json()
    later = (await client.get(f"{PATH}/{draft['id']}/preview")).json()
    path = f"{PATH}/{draft['id']}"
    await approver.post(f"{path}/approval")
    now = datetime.now(UTC)
    group = await pool.fetchrow("SELECT repeats, data_rate FROM multicast_group WHERE name = 'g1'")
    own = "SELECT count(*) FROM downlink d JOIN assignment a ON a.device_id = d.device_id AND a.asset_id = $1"
    own += " WHERE multicast_message_id IS NULL"
    deaf = ids[7]
    frames: list[int] = []
    for minute in range(24):
        at = now + timedelta(minutes=minute)
        await sweep(pool, at)
        await pool.execute("UPDATE multicast_message SET state = 'sent' WHERE state = 'queued'")
        await obey(pool, at, but=frozenset([deaf]))
        frames.append(await pool.fetchval(own, deaf))
    messages = await pool.fetch(
        "SELECT g.name, m.by_lighting, m.payload FROM multicast_message m JOIN multicast_group g "
        "ON g.id = m.group_id"
    )
    carried = await pool.fetch(
        "SELECT a.asset_id, d.payload FROM downlink d JOIN assignment a ON a.device_id = d.device_id "
        "WHERE d.multicast_message_id IS NOT NULL ORDER BY a.asset_id"
    )
    ended = (await client.get(path)).json()

    # Five by themselves, one without its keys, and one frame for the two others.
    own_us = downlink_airtime_us(13 + 8, EU868.data_rates[3])
    group_us = group["repeats"] * downlink_airtime_us(13 + 8, EU868.data_rates[group["data_rate"]])
    for shown in (draft["preview"], later):
        assert shown["gateways"][0]["targets"] == 8
        assert shown["gateways"][0]["airtime_s"] == round((6 * own_us + group_us) / 1e6, 3)
    assert [(row["name"], row["by_lighting"]) for row in messages] == [("g1", True)]
    assert [tuple(row) for row in carried] == [(one, messages[0]["payload"]) for one in ids[6:]]
    assert await pool.fetchval("SELECT count(*) FROM lighting_unknown_act") == 0
    # Five went first by themselves; two of the three that followed did it: one by the group, one without its keys.
    assert await pool.fetchval(own, ids[5]) > 0
    assert ended["others"]["proved"] == 2
    assert (frames[:16], frames[-1] > 0) == ([0] * 16, True)
    airtimes = await pool.fetch(
        "SELECT airtime_us FROM lighting_campaign_target WHERE asset_id = ANY($1::int[])", ids[6:]
    )
    once = downlink_airtime_us(13 + 8, EU868.data_rates[3])
    assert {row[0] for row in airtimes} == {2 * once // 2}


async def test_a_group_with_a_member_that_somebody_has_lit_since_is_not_commanded_by_one_frame(
    client, approver, clocks, pool: Pool, monkeypatch
) -> None:
    """The frame would put it out again, and nothing would know that it did."""
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    ids, _ = await clocks(8, "0016c001f0000001")
    await make_group(client, pool, 1, ids)
    await approved(client, approver)
    now, lit = datetime.now(UTC), frozenset[int]()
    for minute in range(4):
        at = now + timedelta(minutes=minute)
        await sweep(pool, at)
        done = await pool.fetch("SELECT asset_id FROM lighting_command WHERE state = 'applied' AND action = 'off'")
        if len(done) == 5 and not lit:
            lit = frozenset([done[0][0]])
            order = {"asset_id": done[0][0], "action": "on", "reason": "bal"}
            assert (await client.post("/v1/lighting/commands", json=order)).status_code == 201
        await obey(pool, at, but=lit)
    commands = await pool.fetch("SELECT DISTINCT asset_id FROM lighting_command WHERE action = 'off'")

    assert len(lit) == 1
    assert await pool.fetchval("SELECT count(*) FROM multicast_message") == 0
    assert {row[0] for row in commands} == set(ids)  # Each by a frame of its own.


async def test_all_on_by_many_groups_is_committed_group_by_group_within_one_sweep(
    client, clocks, pool: Pool, monkeypatch
) -> None:
    """Nothing goes out before its transaction ends: one for thousands of lamps would take minutes.

    A clock that joins a group between its reading and that end is brought back, as after any act of others.
    """
    monkeypatch.setattr("lighting.campaign_sweep.MOST_AT_ONCE", 2)
    ids, _ = await clocks(6, "0016c001f0000001")
    (joiner,), _ = await clocks(1, "0016c001f0000001", commune="Brest")
    for number in range(3):
        await make_group(client, pool, number, ids[2 * number : 2 * number + 2])
    await pool.execute("UPDATE multicast_member SET keys_given_at = now(), keys_acknowledged_at = now()")
    asked = {"commune": "Landerneau", "reason": "accident"}
    preview = await client.post("/v1/lighting/all-on", json=asked)
    lit = await client.post("/v1/lighting/all-on", json=asked | {"preview": False})
    group_id = await pool.fetchval("SELECT id FROM multicast_group WHERE name = 'g0'")
    joining: list[asyncio.Task[str]] = []

    async def encode(*args: Any, **given: Any) -> Any:
        encoded = await encode_for_group(*args, **given)
        if not joining:
            join = "INSERT INTO multicast_member (group_id, device_id, tenant_id) "
            join += "SELECT $1, device_id, tenant_id FROM assignment WHERE asset_id = $2"
            joining.append(asyncio.create_task(pool.execute(join, group_id, joiner)))
            waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
            while not joining[0].done():
                if await pool.fetchval(waits):
                    break
                await asyncio.sleep(0.01)
        return encoded

    monkeypatch.setattr("lighting.campaign_sweep.encode_for_group", encode)
    await advance_campaigns(pool, datetime.now(UTC))
    await joining[0]

    acts = [row["asset_id"] for row in await pool.fetch("SELECT asset_id FROM lighting_unknown_act")]
    assert acts == [joiner]
    # Three frames to groups, five times each, and nothing more than what is not heard.
    data_rate = await pool.fetchval("SELECT max(data_rate) FROM multicast_group")
    frame_us = downlink_airtime_us(13 + 8, EU868.data_rates[data_rate])
    assert preview.json()["preview"]["gateways"][0]["airtime_s"] == round(15 * frame_us / 1e6, 3)
    assert lit.status_code == 200, lit.text
    in_groups = "SELECT count(DISTINCT multicast_message_id), count(*) FILTER (WHERE multicast_message_id IS NULL)"
    assert tuple(await pool.fetchrow(f"{in_groups} FROM downlink")) == (3, 0)
    # The time at which its transaction began.
    assert await pool.fetchval("SELECT count(DISTINCT created_at) FROM multicast_message") == 3


async def test_nothing_is_repeated_once_the_grant_has_ended(
    client, syndicat, cabinets, pool: Pool, monkeypatch
) -> None:
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    writer, decider, grant = syndicat
    (cabinet,) = await cabinets(1, "0016c001f0000001")
    await approved(writer, decider, targets={"asset_ids": [cabinet]})
    now, deaf = datetime.now(UTC), frozenset([cabinet])
    await sweep(pool, now)
    await obey(pool, now, but=deaf)
    assert (await client.delete(f"/v1/grants/{grant}")).status_code == 204

    for minute in range(1, 12):
        await sweep(pool, now + timedelta(minutes=minute))
        await obey(pool, now + timedelta(minutes=minute), but=deaf)

    off = await pool.fetchval("SELECT payload FROM downlink ORDER BY id LIMIT 1")
    assert await pool.fetchval("SELECT count(*) FROM downlink WHERE payload = $1", off) == 1


async def test_what_a_member_lights_in_an_emergency_its_syndicat_does_not_put_out(
    client, syndicat, cabinets, pool: Pool, monkeypatch
) -> None:
    monkeypatch.setattr("lighting.campaign_sweep.out_before", lambda now, _dusks: now + timedelta(days=1))
    writer, decider, _ = syndicat
    (cabinet,) = await cabinets(1, "0016c001f0000001")
    path = await approved(writer, decider, targets={"asset_ids": [cabinet]})
    lit = await client.post("/v1/lighting/all-on", json={"reason": "accident", "preview": False})
    await sweep(pool, datetime.now(UTC))
    (target,) = (await writer.get(f"{path}/targets")).json()["items"]

    assert lit.status_code == 200, lit.text
    assert [row[0] for row in await pool.fetch("SELECT action FROM lighting_command")] == ["on"]
    assert target["rejected"] == "tout a été allumé là depuis la préparation de cette campagne"
