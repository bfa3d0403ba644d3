import base64
import os
import zlib
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.runtime.postgres import Pool
from lab.certificates import Authority

GATEWAY_ID = "0080e115000a9b72"
ONE, ALL = f"/v1/gateways/{GATEWAY_ID}/station-order", "/v1/station-orders"
UPDATES = "/v1/station-updates"
REPORT = """
INSERT INTO station_report (gateway_id, station, model, package, cups_uri, tc_uri, cups_cred_crc, tc_cred_crc,
                            keys)
SELECT id, '2.0.6', 'linux', 'v1', 'https://c.example:443', 'wss://b.example:443', 1, 2, '{7}' FROM gateway
"""


def signed_update(content: bytes = b"#!/bin/sh\n", curve: ec.EllipticCurve | None = None) -> dict[str, Any]:
    key = ec.generate_private_key(curve or ec.SECP256R1())
    return {
        "name": "v2",
        "package": "v2",
        "content": base64.b64encode(content).decode(),
        "signature": base64.b64encode(key.sign(content, ec.ECDSA(SHA512()))).decode(),
        "public_key": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    }


async def give_station_work(client: httpx.AsyncClient, gateway_id: str) -> int:
    """A program, and something that is wanted of a station; the number of the program."""
    await client.patch(f"/v1/gateways/{gateway_id}/station-order", json={"tc_uri": "wss://b.example:443"})
    return (await client.post(UPDATES, json=signed_update())).json()["id"]


async def test_what_is_wanted_of_one_station_and_of_all_is_shown_until_it_has_arrived(
    client, registry, pool: Pool, tmp_path: Path
) -> None:
    await registry.gateway(gateway_id=GATEWAY_ID)
    await registry.gateway(gateway_id="ff" * 8)
    trust = Authority(tmp_path).certificate.read_text()
    both = trust + Authority(tmp_path, "autre").certificate.read_text()

    async def cups() -> Any:
        return (await client.get(f"/v1/gateways/{GATEWAY_ID}")).json()["cups"]

    assert await cups() is None
    rejected = [
        await client.patch(ONE, json=body)
        for body in (
            {},
            {"new_token": True},  # No authority is known.
            {"new_token": True, "trust": "rien"},
            {"new_token": True, "trust": both},
            {"new_token": True, "trust": trust, "tc_uri": "ws://b.example:3001"},
            {"tc_uri": "https://b.example:443"},
            {"tc_uri": "wss://" + "a" * 122 + ":443"},
            {"update_id": 1},
        )
    ]
    assert {answer.status_code for answer in rejected} == {422}
    assert await cups() is None
    assert (await client.delete(ONE)).status_code == 404

    update = (await client.post(UPDATES, json=signed_update())).json()
    wanted = {"tc_uri": "wss://b.example:443", "new_token": True, "trust": trust, "update_id": update["id"]}
    shown = (await client.patch(ONE, json=wanted)).json()["cups"]
    assert (shown["reported_at"], shown["awaited"]) == (None, ["tc_uri", "token", "update"])
    await pool.execute(REPORT)  # Both are stations from now on.
    assert (await cups())["awaited"] == ["token", "update"]

    assert (await client.post(ALL, json={"new_token": True})).json() == {
        "stations": 1
    }  # The other has no authority.
    assert (await client.post(ALL, json={"new_token": True, "trust": trust})).json() == {"stations": 2}
    assert await pool.fetchval("SELECT count(*) FROM station_order WHERE token_wanted_at IS NOT NULL") == 2
    sent = "UPDATE station_report SET token_crc = tc_cred_crc, token_for = token_wanted_at, package = 'v2'"
    await pool.execute(f"{sent} FROM station_order o WHERE o.gateway_id = station_report.gateway_id")
    assert [one["cups"]["awaited"] for one in (await client.get("/v1/gateways")).json()["items"]] == [[], []]

    assert (await client.delete(f"{UPDATES}/{update['id']}")).status_code == 204
    assert (await client.delete(ONE)).status_code == 204
    lines = await pool.fetch("SELECT action FROM audit WHERE entity IN ('station_order', 'station_update')")
    assert sorted(line["action"] for line in lines) == ["create", "delete", "delete", "order", "order", "order"]


async def test_a_program_is_kept_when_its_signature_is_verified_and_never_shown(client, pool: Pool) -> None:
    good, large = signed_update(), os.urandom(3 << 20)  # More than any other body may have.
    key = base64.b64decode("".join(good["public_key"].splitlines()[1:-1]))[-64:]
    other = signed_update()

    kept = await client.post(UPDATES, json=good)
    rejected = [
        await client.post(UPDATES, json=body)
        for body in (
            good | {"name": "w", "signature": other["signature"]},
            good | {"name": "w", "public_key": other["public_key"]},
            good | {"name": "w", "public_key": "rien"},
            good | {"name": "w", "package": None},
            good | {"name": "w", "content": ""},
            signed_update(curve=ec.SECP384R1()) | {"name": "w"},
        )
    ]
    again = await client.post(UPDATES, json=good)
    largest = await client.post(UPDATES, json=signed_update(large) | {"name": "grand"})

    assert (kept.status_code, kept.json()["key_crc"]) == (201, zlib.crc32(key))
    assert ("content" in kept.json(), "signature" in kept.json()) == (False, False)
    assert {answer.status_code for answer in rejected} == {422}
    assert (again.status_code, largest.status_code) == (409, 201)
    assert [one["name"] for one in (await client.get(UPDATES)).json()["items"]] == ["v2", "grand"]
    assert await pool.fetchval("SELECT content FROM station_update WHERE name = 'grand'") == large
