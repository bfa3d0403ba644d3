"""What concerns a dwelling or a person is found, exported and erased: nothing of it is in a dump any more."""

import asyncio
import csv
import hashlib
import io
import json
import subprocess
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from alerting.queue import WebhookMessage, enqueue
from core.runtime.bus import Bus
from core.runtime.postgres import Pool, connect, open_pool
from ingest.maintenance.erasures import Eraser
from registry import audit_chain
from registry.entering import ENTER_BY_KEY
from registry.erasures import read_ledger
from registry.keys import KeyWrap
from registry.people import enter_person
from services.supervisor.postgres import binaries, libpq_environment
from tests.api.conftest import KEK, client_of, make_tenancy, person_client

NOW = datetime.now(UTC).replace(microsecond=0)
RARE = 7340.8125
SUBJECT = "Logement Trevarez 12"
OCCUPANT = "Maëlle Kerguelen"
FORMER = "Maëlle Lanvaux"
EMAIL = "maelle.kerguelen@foyer.example"
DEV_EUI = "e7a51c0ffee0d00d"
KEYS = KeyWrap("kek-1", KEK)
ADD_ALERT = """
INSERT INTO alert (tenant_id, rule_id, asset_id, device_id, datastream_id, severity, message, condition, opened_at,
                   value, acknowledged_by)
SELECT $1, r.id, $2, $3, $4, 'warning', $5, 'firing', now(), 80, $6 FROM alert_rule r
WHERE r.tenant_id = $1 ORDER BY r.id LIMIT 1 RETURNING id
"""
ADD_NOTICE = """
INSERT INTO alert_notice (id, tenant_id, alert_id, event, severity, cadence, at, message, body)
VALUES (gen_random_uuid(), $1, $2, 'alert.opened', 'warning', 'now', now(), $3, $4) RETURNING id
"""


def eraser(pool: Pool, bus: Bus, ledger: Path | None = None, most: int = 20_000) -> Eraser:
    async def ask(question: Any) -> bool:
        return await question(bus)

    return Eraser(pool, KEYS, ledger, timedelta(0), ask, most=most)


async def dump_of(url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        binaries() / "pg_dump", stdout=subprocess.PIPE, env=libpq_environment(url)
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode("utf-8", "replace").lower()


def found_in(dump: str, *markers: str) -> list[str]:
    """The markers that a search finds: as they are, and as the octets of their text or of themselves."""
    forms = [(one, form.lower()) for one in markers for form in (one, one.encode().hex())]
    forms += [(one, bytes.fromhex(one)[::-1].hex()) for one in markers if one == DEV_EUI]
    return sorted({one for one, form in forms if form in dump})


async def plant(client: httpx.AsyncClient, registry: Any, observations: Any, pool: Pool) -> dict[str, Any]:
    """A dwelling with all that can be of it, by the routes where there is one, as the services otherwise."""
    dwelling = await registry.asset(kind="dwelling", name=SUBJECT, street="3 venelle Trevarez", privacy_class=2)
    meter = await registry.asset(kind="water_meter", name="compteur Trevarez", privacy_class=2)
    assert (await client.put(f"/v1/assets/{meter['id']}/parent", json={"parent_id": dwelling["id"]})).is_success
    await registry.device(dev_eui=DEV_EUI, name="sonde Trevarez", asset_id=meter["id"])
    shared = await registry.device(asset_id=dwelling["id"])
    elsewhere = await registry.asset()
    gateway = (await registry.gateway())["gateway_id"]
    tenant = dwelling["tenant_id"]
    datastream = await observations.datastream(DEV_EUI, meter["id"], "temperature", "Cel")
    device_id = await observations.device_id(DEV_EUI)
    await observations.readings(datastream, {NOW - timedelta(hours=n): RARE + n for n in range(30)})
    for n in range(3):
        await observations.uplink(DEV_EUI, NOW - timedelta(hours=n), gateways=[gateway])
    # What a device that moved on said here goes, what it says elsewhere stays.
    await observations.uplink(shared["dev_eui"], NOW)
    await pool.execute(
        "UPDATE assignment SET during = tstzrange(now() - interval '2 days', now() + interval '1 s') "
        "WHERE asset_id = $1", dwelling["id"],
    )  # fmt: skip
    shared_id = await observations.device_id(shared["dev_eui"])
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id, during) VALUES ($1, $2, $3, "
        "tstzrange(now() + interval '1 s', NULL))", tenant, elsewhere["id"], shared_id,
    )  # fmt: skip
    await observations.uplink(shared["dev_eui"], NOW + timedelta(hours=1))
    for path, body in (
        (
            "/v1/silences",
            {"reason": f"chez {OCCUPANT}", "ends_at": "2100-01-01T00:00:00Z", "asset_id": meter["id"]},
        ),
        (
            "/v1/maintenance-windows",
            {"reason": f"chez {OCCUPANT}", "ends_at": "2100-01-01T00:00:00Z", "asset_id": dwelling["id"]},
        ),
        (f"/v1/devices/{DEV_EUI}/downlinks", {"f_port": 1, "payload": "00"}),
        ("/v1/redecodes", {"dev_eui": DEV_EUI}),
    ):
        answer = await client.post(path, json=body)
        assert answer.is_success, answer.text
    reading = {"time": (NOW - timedelta(hours=1)).isoformat(), "value": RARE}
    assert (await client.post(f"/v1/datastreams/{datastream}/manual-readings", json=reading)).is_success
    endpoint = (await client.post("/v1/webhook-endpoints", json={"url": "https://si.example.fr/t"})).json()["id"]
    text = f"{SUBJECT} : fuite chez {OCCUPANT}"
    body = json.dumps({"type": "alert.opened", "asset": SUBJECT, "text": text}, ensure_ascii=False).encode()
    async with pool.acquire() as connection, connection.transaction():
        alert = await connection.fetchval(ADD_ALERT, tenant, meter["id"], device_id, datastream, text, "Jean")
        notice = await connection.fetchval(ADD_NOTICE, tenant, alert, text, body)
        await connection.execute(
            "INSERT INTO alert_notice_recipient (notice_id, endpoint_id, tenant_id, alert_id, sequence, "
            "message_id, state) VALUES ($1, $2, $3, $4, 1, $1, 'queued')", notice, endpoint, tenant, alert,
        )  # fmt: skip
        await enqueue(connection, [WebhookMessage(f"msg_{notice.hex}", endpoint, alert, body)])
        # A digest: of several alerts, and of none.
        await enqueue(connection, [WebhookMessage("msg_digest", endpoint, 0, body)])
        await connection.execute(
            "INSERT INTO webhook_attempt (tenant_id, endpoint_id, message_id, alert_id, attempt, outcome, at, "
            "duration_ms, answer) VALUES ($1, $2, $3, $4, 1, 'failed', now(), 5, $5)",
            tenant, endpoint, f"msg_{notice.hex}", alert, f"inconnu : {text}",
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO alert_event (tenant_id, alert_id, at, action, note) "
            "VALUES ($1, $2, now(), 'commented', $3)",
            tenant, alert, text,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO observation.quarantine (at, service, subject, sequence, reason, data, detail) "
            "VALUES (now(), 'network', 's', 1, 'x', $1, $2)",
            b"frame " + bytes.fromhex(DEV_EUI)[::-1], f"device {DEV_EUI.upper()}",
        )  # fmt: skip
        for table in ("rollup_hour", "rollup_day"):
            await connection.execute(
                f"INSERT INTO observation.{table} (datastream_id, bucket, n, suspects, sum) "
                "VALUES ($1, '2026-01-01T00:00Z', 1, 0, $2)", datastream, RARE,
            )  # fmt: skip
        await connection.execute(
            "INSERT INTO frame_refusal (subject, reason, device_id, gateway_id, times, first_at, last_at, "
            "forgiven) VALUES ($1, 'unknown_device', NULL, $2, 1, now(), now(), 0)",
            bytes.fromhex(DEV_EUI), bytes.fromhex(gateway),
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO alert_request (tenant_id, kind, facts, at) VALUES ($1, 'clock', $2, now())",
            tenant, {"dev_eui": DEV_EUI},
        )  # fmt: skip
    patched = await client.patch(f"/v1/assets/{dwelling['id']}", json={"attributes": {"occupant": OCCUPANT}})
    assert patched.is_success
    return {"dwelling": dwelling, "meter": meter, "shared": shared_id, "elsewhere": elsewhere, "alert": alert}


MARKERS = (SUBJECT, OCCUPANT, "Trevarez", DEV_EUI, str(RARE))


async def test_nothing_of_an_erased_dwelling_is_found_in_a_fresh_dump(
    client, registry, observations, pool: Pool, bus: Bus, database, tmp_path: Path
) -> None:
    planted = await plant(client, registry, observations, pool)
    kept = await registry.device()
    await audit_chain.seal(pool)
    assert found_in(await dump_of(database.admin_url), *MARKERS) == sorted(MARKERS)
    path = f"/v1/data-subjects/asset-{planted['dwelling']['id']}"

    listed = (await client.get("/v1/data-subjects", params={"q": "trevarez"})).json()["items"]
    shown = (await client.get(path)).json()
    export = await client.get(f"{path}/export")
    unnamed = await client.post(f"{path}/erasure", json={"reason": "demande", "confirm": "autre"})
    asked = await client.post(f"{path}/erasure", json={"reason": "demande", "confirm": SUBJECT})
    twice = await client.post(f"{path}/erasure", json={"reason": "demande", "confirm": SUBJECT})

    assert [one["id"].split("-")[0] for one in listed] == ["asset", "asset", "device"]
    assert shown["asset_ids"] == [planted["dwelling"]["id"], planted["meter"]["id"]]
    assert shown["shared_device_ids"] == [planted["shared"]]
    assert shown["rows"].items() >= {"uplink": 4, "measurement": 30, "alert": 1, "alert_notice": 1}.items()
    check_export(export)
    assert (unnamed.status_code, asked.status_code, twice.status_code) == (422, 202, 409)

    # The ledger has it before anything is erased; a kill between two batches loses nothing.
    ledger, erasure = tmp_path / "effacements.jsonl", f"/v1/erasures/{asked.json()['id']}"
    async with open_pool(database.url_of("maintenance"), "maintenance", size=2) as maintenance:
        first = eraser(maintenance, bus, tmp_path / "not" / "there", most=5)
        with pytest.raises(OSError, match="not"):
            await first.work()
        assert (await client.get(erasure)).json()["state"] == "waiting"
        state = await eraser(maintenance, bus, ledger)._begin(asked.json()["id"])
        await maintenance.fetchval("SELECT erase_some($1, 5)", asked.json()["id"])
        assert (state, (await client.get(erasure)).json()["erased"] > 0) == ("running", True)
        while (await client.get(erasure)).json()["state"] != "done":
            await eraser(maintenance, bus, ledger, most=5).work()

    receipt = (await client.get(erasure)).json()
    await audit_chain.seal(pool)
    dump = await dump_of(database.admin_url)
    assert found_in(dump, *MARKERS) == []
    assert kept["dev_eui"] in dump
    assert receipt["counts"].items() >= {
        "observation.measurement": 30, "observation.uplink": 4, "observation.correction": 2, "asset": 2,
        "device": 1,
        "jobs.pgqueuer": 2, "alert": 1, "observation.quarantine": 1, "silence": 1, "downlink": 1,
    }.items()  # fmt: skip
    assert (receipt["subjects"], receipt["erased"]) == (3, sum(receipt["counts"].values()))
    assert len(receipt["sha256"]) == 64
    assert [len(entry.digests) for entry in read_ledger(ledger)] == [3 + 1]  # Its key is named.
    assert not any(marker.lower() in ledger.read_text().lower() for marker in MARKERS)
    async with pool.acquire() as connection:
        chain = await audit_chain.verify(connection)
    assert (chain.problem_count, chain.unnamed > 0, chain.erased > 0) == (0, True, True)
    assert (
        await pool.fetchval("SELECT count(*) FROM observation.uplink WHERE device_id = $1", planted["shared"]) == 1
    )
    assert (await client.get(path)).status_code == 404
    assert (await client.get(f"/v1/assets/{planted['elsewhere']['id']}")).is_success


def check_export(answer: httpx.Response) -> None:
    """A zip with every table twice, that says what is kept."""
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        assert file.testzip() is None
        measured = json.loads(file.read("measurement.json"))
        rows = list(csv.DictReader(io.StringIO(file.read("measurement.csv").decode())))
        assets, audit = json.loads(file.read("asset.json")), file.read("audit_line.json").decode()
        assert json.loads(file.read("lighting_command.json")) == []
    assert len(measured) == len(rows) == 30
    assert {float(row["value"]) for row in rows} == {one["value"] for one in measured}
    assert assets[0]["attributes"] == {"occupant": OCCUPANT}
    assert OCCUPANT in audit


async def test_nothing_of_an_erased_person_is_found_in_a_fresh_dump(
    app: FastAPI, client, client_with, registry, tenancy, pool: Pool, bus: Bus, database
) -> None:
    async with pool.acquire() as connection:
        person = await enter_person(connection, tenancy.id, EMAIL, FORMER, "secret de Maelle", "reader")
    # Renamed since; one campaign is of before former names were kept.
    await pool.execute("UPDATE person SET name = $2 WHERE id = $1", person, OCCUPANT)
    await pool.execute(
        "INSERT INTO lighting_campaign (tenant_id, name, action, reason, author, author_id, approved_by, "
        "approver_id, approved_at, not_after) SELECT $1, 'c', 'on', '', author, 'personne ' || $2::int, 'x', "
        "'clé 1', now(), now() FROM unnest($3::text[]) AS author",
        tenancy.id, person, [FORMER, "Maëlle K."],
    )  # fmt: skip
    await pool.execute(
        "WITH p AS (INSERT INTO lighting_program (tenant_id, name) VALUES ($1, 'p') RETURNING id) "
        "INSERT INTO lighting_program_version (tenant_id, program_id, version, program, author) "
        "SELECT $1, id, 1, '{}', $2 FROM p", tenancy.id, FORMER,
    )  # fmt: skip
    team = (await client.post("/v1/teams", json={"name": "Voirie"})).json()["id"]
    for name in (OCCUPANT, "Astreinte"):
        email = EMAIL if name == OCCUPANT else "astreinte@ville.example"
        assert (await client.post(f"/v1/teams/{team}/contacts", json={"name": name, "email": email})).is_success
    invited = {"email": EMAIL, "name": OCCUPANT, "role": "reader"}
    async with await person_client(app, pool, tenancy.id, "service_manager") as manager:
        assert (await manager.post("/v1/invitations", json=invited)).is_success
        wrong = await client_of(app, None).post("/v1/sessions", json={"email": EMAIL, "password": "faux"})
        assert wrong.status_code == 401
        asset = await registry.asset()
        await pool.execute(ADD_ALERT, tenancy.id, asset["id"], None, None, "plein", OCCUPANT)
        await pool.execute(
            "INSERT INTO alert_event (tenant_id, alert_id, at, action, actor, note) "
            "SELECT $1, id, now(), 'acknowledged', $2, 'vu par ' || $2 FROM alert", tenancy.id, OCCUPANT,
        )  # fmt: skip
        await pool.execute(
            "INSERT INTO audit (tenant_id, actor, action, entity, entity_id, details) "
            "VALUES ($1, $2, 'update', 'asset', '1', $3)",
            tenancy.id, f"personne {person}", {"person": person, "name": OCCUPANT},
        )  # fmt: skip
        markers = (EMAIL, OCCUPANT, FORMER, "Maëlle K.")
        assert found_in(await dump_of(database.admin_url), *markers) == sorted(markers)
        path = f"/v1/data-subjects/person-{person}"
        shown = (await manager.get(path)).json()
        async with client_with("manage") as key:
            refused = await key.get(path)

        async with pool.acquire() as connection:
            above = await enter_person(connection, tenancy.id, "chef@ville.example", "Chef", "", "operator")
        too_much = await manager.post(
            f"/v1/data-subjects/person-{above}/erasure", json={"reason": "x", "confirm": "Chef"}
        )
        asked = await manager.post(f"{path}/erasure", json={"reason": "départ", "confirm": OCCUPANT})
        async with open_pool(database.url_of("maintenance"), "maintenance", size=2) as maintenance:
            for _ in range(2):
                await eraser(maintenance, bus).work()
        done = (await manager.get(f"/v1/erasures/{asked.json()['id']}")).json()

    assert (refused.status_code, too_much.status_code) == (403, 403)
    assert len(shown["contact_ids"]) == 1
    assert (done["state"], done["counts"]["person"], done["counts"]["webhook_endpoint"]) == ("done", 1, 1)
    assert found_in(await dump_of(database.admin_url), *markers) == []
    assert await pool.fetchval("SELECT acknowledged_by FROM alert") == "personne effacée"
    assert await pool.fetchval("SELECT note FROM alert_event") == "vu par personne effacée"
    assert await pool.fetchval("SELECT count(*) FROM contact") == 1


async def test_what_is_of_no_dwelling_is_the_operators_to_erase_and_another_tenants_is_nobodys(
    client_with, registry, other_client, app: FastAPI, pool: Pool, tenancy, bus: Bus, database, observations
) -> None:
    asset = await registry.asset()
    former, later = await registry.device(asset_id=asset["id"]), await registry.device()
    datastream = await observations.datastream(former["dev_eui"], asset["id"], "fill_level", "%")
    await observations.readings(datastream, {NOW - timedelta(hours=3): 41, NOW: 42})
    await pool.execute(
        "UPDATE assignment SET during = tstzrange(now() - interval '1 day', now() - interval '1 hour')"
    )
    former_id, later_id = [await observations.device_id(one["dev_eui"]) for one in (former, later)]
    await pool.execute(
        "INSERT INTO assignment (tenant_id, asset_id, device_id, during) "
        "VALUES ($1, $2, $3, tstzrange(now() - interval '1 hour', NULL))", tenancy.id, asset["id"], later_id,
    )  # fmt: skip
    path, body = f"/v1/data-subjects/device-{former_id}", {"reason": "x", "confirm": former["name"]}
    async with client_with("manage") as manager:
        refused = await manager.post(f"{path}/erasure", json=body)
        assert not (await manager.get(path)).json()["may_erase"]
    foreign = await other_client.post(f"{path}/erasure", json=body)
    operator = await make_tenancy(pool, "exploitant")
    async with client_of(app, operator.key) as theirs:
        elsewhere = await theirs.post(f"{path}/erasure", json=body)
        asked = await theirs.post(f"{path}/erasure", params={"tenant": tenancy.slug}, json=body)
        async with open_pool(database.url_of("maintenance"), "maintenance", size=2) as maintenance:
            for _ in range(2):
                await eraser(maintenance, bus).work()
        done = await theirs.get(f"/v1/erasures/{asked.json()['id']}", params={"tenant": tenancy.slug})

    assert (refused.status_code, foreign.status_code, elsewhere.status_code) == (403, 404, 404)
    assert done.json()["state"] == "done", done.text
    # The asset's history goes on with what its next device measured.
    assert [tuple(row) for row in await pool.fetch("SELECT device_id, value FROM observation.measurement m "
            "JOIN datastream d ON d.id = m.datastream_id")] == [(later_id, 42.0)]  # fmt: skip
    # The API's role asks for nothing that it has not entered, and erases nothing.
    api = await connect(database.api_url)
    key_id, secret = tenancy.key.split("_", 2)[1:]
    async with api.transaction():
        await api.fetchval(ENTER_BY_KEY, key_id, hashlib.sha256(secret.encode()).digest())
        own = await api.fetchval("SELECT refusal FROM subject_scope('asset', $1, current_tenant())", asset["id"])
        other = await api.fetchval("SELECT refusal FROM subject_scope('asset', $1, $2)", asset["id"], operator.id)
    await api.close()
    assert (own, other) == (None, "unknown")
