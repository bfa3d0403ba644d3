from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from core.runtime.postgres import Pool

NOW = datetime.now(UTC).replace(microsecond=0)


async def store(
    pool: Pool,
    device: dict[str, Any],
    detail: str | None,
    *,
    ago: timedelta = timedelta(hours=1),
    payload: str = "01",
) -> None:
    """A frame as ingest stores it; `detail` None: it was read."""
    await pool.execute(
        "INSERT INTO observation.uplink (device_id, time, uplink_id, f_cnt, f_port, payload, received_at, status, "
        "reason, codec, codec_version, detail) "
        "SELECT id, $2, $3, 1, 85, $4, $2, $5, $6, 'milesight.em400', 1, $7 FROM device WHERE dev_eui = $1",
        bytes.fromhex(device["dev_eui"]),
        NOW - ago,
        uuid4(),
        bytes.fromhex(payload),
        "decoded" if detail is None else "undecodable",
        None if detail is None else "unreadable",
        detail,
    )


def instant(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


async def test_frames_that_failed_alike_are_one_line_of_their_device(client, registry, pool: Pool) -> None:
    one, other = await registry.device(), await registry.device()
    await store(
        pool, one, "canal 0a de type 7d inconnu à l'octet 25 : 0367ee00", ago=timedelta(hours=3), payload="aa"
    )
    await store(pool, one, "canal 0b de type 7e inconnu à l'octet 3 : 01", ago=timedelta(hours=2), payload="bb")
    await store(pool, one, "f_port 3 : les trames de ce profil arrivent sur 85", ago=timedelta(hours=1))
    await store(pool, other, "canal 0a de type 7d inconnu à l'octet 2 : 03", ago=timedelta(minutes=1))
    await store(pool, other, None)

    items = (await client.get("/v1/failed-frames")).json()["items"]

    assert [(item["dev_eui"], item["frames"]) for item in items] == [
        (other["dev_eui"], 1), (one["dev_eui"], 1), (one["dev_eui"], 2),
    ]  # fmt: skip
    assert items[2] == {
        "dev_eui": one["dev_eui"],
        "device_name": one["name"],
        "codec": "milesight.em400",
        "codec_version": 1,
        "frames": 2,
        "first_at": instant(NOW - timedelta(hours=3)),
        "last_at": instant(NOW - timedelta(hours=2)),
        "reason": "Trame illisible par milesight.em400 v1 : canal 0b de type 7e inconnu à l'octet 3 : 01",
        "reason_code": "unreadable",
        "f_port": 85,
        "payload": "bb",
    }


async def test_failed_frames_of_a_period_a_device_a_profile(client, registry, pool: Pool) -> None:
    profile = await registry.profile()
    one, other = await registry.device(profile), await registry.device()
    for device in (one, other):
        for days in (1, 40):
            await store(pool, device, "illisible", ago=timedelta(days=days))

    async def found(**query: Any) -> list[tuple[str, int]]:
        items = (await client.get("/v1/failed-frames", params=query)).json()["items"]
        return sorted((item["dev_eui"], item["frames"]) for item in items)

    both = sorted([(one["dev_eui"], 1), (other["dev_eui"], 1)])
    assert await found() == both
    assert await found(**{"from": instant(NOW - timedelta(days=50))}) == [(eui, 2) for eui, _ in both]
    assert await found(to=instant(NOW - timedelta(days=30))) == both
    assert await found(to=instant(NOW - timedelta(days=80))) == []
    assert await found(dev_eui=one["dev_eui"]) == [(one["dev_eui"], 1)]
    assert await found(device_profile_id=profile["id"]) == [(one["dev_eui"], 1)]


async def test_another_tenants_failed_frames_are_not_seen(client, other_registry, pool: Pool) -> None:
    await store(pool, await other_registry.device(), "illisible")

    assert (await client.get("/v1/failed-frames")).json()["items"] == []


async def test_a_redecode_is_asked_for_followed_and_cancelled(client, registry, pool: Pool) -> None:
    device = await registry.device()
    asked = await client.post(
        "/v1/redecodes",
        json={"dev_eui": device["dev_eui"], "from": "2026-11-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"},
    )
    assert asked.status_code == 201, asked.text
    job = asked.json()
    assert (job["state"], job["dev_eui"], job["progress"]) == ("waiting", device["dev_eui"], None)
    assert job["from"] == "2026-11-01T00:00:00Z"
    assert job["to"] <= instant(datetime.now(UTC))

    await pool.execute("UPDATE redecode SET state = 'running', frames = 200, frames_done = 50")
    followed = (await client.get(f"/v1/redecodes/{job['id']}")).json()
    assert (followed["state"], followed["progress"]) == ("running", 0.25)

    cancelled = await client.post(f"/v1/redecodes/{job['id']}/cancel", json={})
    assert cancelled.json()["state"] == "cancelled"
    assert cancelled.json()["ended_at"] is not None
    again = await client.post(f"/v1/redecodes/{job['id']}/cancel", json={})
    assert again.status_code == 409
    actions = await pool.fetch("SELECT action FROM audit WHERE entity = 'redecode' ORDER BY id")
    assert [row["action"] for row in actions] == ["redecode.request", "redecode.cancel"]


async def test_redecodes_are_listed_the_last_first_in_pages(client, registry) -> None:
    profile = await registry.profile()
    made = [
        (
            await client.post("/v1/redecodes", json={"device_profile_id": profile["id"], "only_failed": True})
        ).json()["id"]
        for _ in range(3)
    ]

    first = (await client.get("/v1/redecodes", params={"limit": 2})).json()
    rest = (await client.get("/v1/redecodes", params={"limit": 2, "cursor": first["next"]})).json()

    assert [job["id"] for job in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"dev_eui": "ab" * 8}, "pas de capteur abababababababab dans la collectivité"),
        ({"device_profile_id": 999_999}, "pas de profil 999999"),
        ({"dev_eui": "ab" * 8, "device_profile_id": 1}, "pas les deux"),
        ({"codec": "milesight.em400"}, "un décodeur se choisit pour un capteur ou pour un profil"),
        ({"codec": "milesight.em400", "codec_version_id": 1}, "pas les deux"),
        ({"from": "2100-01-01T00:00:00Z"}, "la période est vide"),
    ],
)
async def test_what_cannot_be_done_is_rejected_in_french(client, body: dict[str, Any], message: str) -> None:
    answer = await client.post("/v1/redecodes", json=body)

    assert answer.status_code == 422
    assert message in answer.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"codec": "rien"}, "pas de décodeur intégré « rien »"),
        ({"codec_version_id": 999_999}, "pas de version 999999"),
    ],
)
async def test_a_codec_that_does_not_exist_is_rejected(client, registry, given, message: str) -> None:
    device = await registry.device()

    answer = await client.post("/v1/redecodes", json={"dev_eui": device["dev_eui"], **given})

    assert (answer.status_code, message in answer.text) == (422, True)


async def test_a_suspended_version_is_rejected(client, registry, pool: Pool, tenancy) -> None:
    device = await registry.device()
    codec = await pool.fetchval("INSERT INTO codec (tenant_id, name) VALUES ($1, 'x') RETURNING id", tenancy.id)
    version = await pool.fetchval(
        "INSERT INTO codec_version (codec_id, version, language, source, sha256, author, quarantined_at, "
        "quarantine_reason) VALUES ($1, 1, 'javascript', 'x', $2, 'a', now(), 'lent') RETURNING id",
        codec,
        bytes(32),
    )

    answer = await client.post("/v1/redecodes", json={"dev_eui": device["dev_eui"], "codec_version_id": version})

    assert answer.status_code == 422
    assert "x v1 est suspendu" in answer.text


async def test_another_tenants_device_and_job_are_out_of_reach(client, other_client, other_registry) -> None:
    theirs = await other_registry.device()
    job = (await other_client.post("/v1/redecodes", json={"dev_eui": theirs["dev_eui"]})).json()["id"]

    assert (await client.post("/v1/redecodes", json={"dev_eui": theirs["dev_eui"]})).status_code == 422
    assert (await client.get(f"/v1/redecodes/{job}")).status_code == 404
    assert (await client.post(f"/v1/redecodes/{job}/cancel", json={})).status_code == 404
    assert (await client.get("/v1/redecodes")).json()["items"] == []
