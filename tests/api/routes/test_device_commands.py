"""Typed commands: encoded, read back where that exists, shown, and only then sent."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from ingest.workers import open_workers
from registry.keys import KeyWrap
from tests.api.routes.test_codecs import SWITCHING, codec, version

VALVE = """
function decodeUplink(input) { return { data: {} }; }
function encodeDownlink(input) {
  if (input.data.minutes > 200) return { errors: ['durée trop longue'] };
  return { bytes: [1, input.data.minutes], fPort: 10 };
}
"""
READ_BACK = VALVE + "function decodeDownlink(input) { return { data: { minutes: input.bytes[1] } }; }"
MISREAD = VALVE + "function decodeDownlink(input) { return { data: { minutes: input.bytes[1] + 1 } }; }"
OPEN = {
    "name": "open_valve",
    "label_fr": "Ouvrir la vanne",
    "parameters": [{"name": "minutes", "label_fr": "Durée", "minimum": 1, "maximum": 240, "unit": "min"}],
    "data": {"minutes": "$minutes"},
    "switches": True,
}


@pytest.fixture
async def app(api_pool: Pool, bus: Bus) -> AsyncGenerator[FastAPI]:
    async with open_workers(1) as workers:
        yield create_app(api_pool, bus, KeyWrap("kek-1", bytes(range(16))), 4, workers)


async def valve(client: httpx.AsyncClient, registry: Any, source: str) -> str:
    made = await version(client, (await codec(client, "acme.vanne"))["id"], source)
    profile = await registry.profile(
        codec=None, codec_version_id=made["id"], capabilities=["switch"], commands=[OPEN]
    )
    return f"/v1/devices/{(await registry.device(profile))['dev_eui']}/commands"


async def downlinks(pool: Pool) -> list[tuple[int, bytes]]:
    return [(row["f_port"], row["payload"]) for row in await pool.fetch("SELECT f_port, payload FROM downlink")]


async def test_a_command_is_shown_first_and_sent_when_asked(client, registry, pool: Pool) -> None:
    path = await valve(client, registry, READ_BACK)

    [listed] = (await client.get(path)).json()["items"]
    preview = await client.post(f"{path}/open_valve", json={"parameters": {"minutes": 30}})
    before = await downlinks(pool)
    sent = await client.post(
        f"{path}/open_valve", json={"parameters": {"minutes": 30}, "preview": False, "reason": "essai"}
    )

    assert listed["parameters"][0]["maximum"] == 240
    assert (preview.status_code, preview.json()["downlink"]) == (200, None)
    assert (preview.json()["f_port"], preview.json()["payload"]) == (10, "011e")
    assert (preview.json()["decoded_back"], preview.json()["agrees"]) == ({"minutes": 30}, True)
    assert before == []
    assert (sent.status_code, sent.json()["downlink"]["state"]) == (201, "queued")
    assert await downlinks(pool) == [(10, bytes([1, 30]))]


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        ({}, 422, "« minutes » (Durée) est obligatoire"),
        ({"minutes": 0}, 422, "va de 1 à 240 min, pas 0"),
        ({"minutes": "30"}, 422, "nombre entier"),
        ({"minutes": 30, "couleur": 1}, 422, "reçu : couleur"),
        ({"minutes": 210}, 422, "l'encodeur du fabricant refuse : durée trop longue"),
    ],
)
async def test_what_a_command_rejects_is_said_in_french_and_not_sent(
    client, registry, pool: Pool, parameters: dict[str, Any], status: int, message: str
) -> None:
    path = await valve(client, registry, VALVE)

    answer = await client.post(
        f"{path}/open_valve", json={"parameters": parameters, "preview": False, "reason": "essai"}
    )

    assert answer.status_code == status
    assert message in answer.json()["detail"]
    assert await downlinks(pool) == []


async def test_a_command_that_is_read_back_otherwise_is_shown_with_a_warning_and_not_sent(
    client, registry, pool: Pool
) -> None:
    path = await valve(client, registry, MISREAD)

    preview = await client.post(f"{path}/open_valve", json={"parameters": {"minutes": 30}})
    sent = await client.post(
        f"{path}/open_valve", json={"parameters": {"minutes": 30}, "preview": False, "reason": "essai"}
    )

    assert preview.json()["agrees"] is False
    assert "ne dit pas la même chose" in preview.json()["warnings"][0]
    assert sent.status_code == 422
    assert await downlinks(pool) == []


async def test_what_acts_on_the_territory_takes_the_right_to_switch(client, client_with, registry) -> None:
    path = await valve(client, registry, VALVE)

    async with client_with("read", "manage") as manager:
        refused = await manager.post(f"{path}/open_valve", json={"parameters": {"minutes": 30}})
    unread = await client.post(f"{path}/open_valve", json={"parameters": {"minutes": 30}})

    assert refused.status_code == 403
    assert (unread.json()["decoded_back"], unread.json()["agrees"]) == (None, None)


async def test_a_declared_codec_has_its_own_commands(client, registry) -> None:
    made = await version(client, (await codec(client, "vanne"))["id"], SWITCHING, language="declarative")
    declared = await registry.profile(codec=None, codec_version_id=made["id"], capabilities=["switch"])
    path = f"/v1/devices/{(await registry.device(declared))['dev_eui']}/commands"

    opened = await client.post(f"{path}/open", json={"parameters": {"minutes": 30}})
    unknown = await client.post(f"{path}/dance", json={})

    assert (opened.json()["f_port"], opened.json()["payload"]) == (1, "1e")
    assert (unknown.status_code, unknown.json()["detail"]) == (
        404,
        "ce capteur n'a pas de commande « dance » (connues : open)",
    )


async def test_a_command_that_switches_asks_for_the_capability(client, registry) -> None:
    profile = await registry.profile()

    answer = await client.patch(f"/v1/device-profiles/{profile['id']}", json={"commands": [OPEN]})

    assert answer.status_code == 422
    assert "capacité « switch »" in answer.json()["detail"]


CLOCK = """
function decodeUplink(input) { return { data: {} }; }
function encodeDownlink(input) { return { bytes: [input.data.what, input.data.level || 0], fPort: 10 }; }
"""


def _clock_command(name: str, what: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "label_fr": name, "data": {"what": what}, "switches": what < 3} | more


async def test_a_vendors_script_is_encoded_at_the_request_and_its_octets_are_kept_to_the_end(
    client, registry, pool: Pool
) -> None:
    """The service has no script engine: command, question and lighting again are in the row; of an act, too."""
    made = await version(client, (await codec(client, "acme.horloge"))["id"], CLOCK)
    level = {"name": "level", "label_fr": "niveau", "minimum": 1, "maximum": 100}
    commands = [
        *(_clock_command("switch_off", 0), _clock_command("switch_on", 1)),
        _clock_command("dim", 2, parameters=[level], data={"what": 2, "level": "$level"}),
        _clock_command("read_state", 3),
    ]
    profile = await registry.profile(
        codec=None, codec_version_id=made["id"], capabilities=["switch"], commands=commands
    )
    asset = await registry.asset(kind="lighting_cabinet")
    device = await registry.device(profile, asset_id=asset["id"])
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    path = "/v1/lighting/commands"

    off = await client.post(path, json={"asset_id": asset["id"], "action": "off", "off_until": until})
    dim = await client.post(path, json={"asset_id": asset["id"], "action": "dim", "level": 40})
    typed = await client.post(
        f"/v1/devices/{device['dev_eui']}/commands/switch_off", json={"preview": False, "reason": "essai"}
    )
    raw = {"f_port": 10, "payload": "0000", "reason": "essai"}
    assert (await client.post(f"/v1/devices/{device['dev_eui']}/downlinks", json=raw)).status_code == 201
    first, second = await pool.fetch("SELECT octets FROM lighting_command ORDER BY id")
    [act] = await pool.fetch("SELECT octets FROM lighting_unknown_act")

    assert (off.status_code, dim.status_code, typed.status_code) == (201, 201, 422), off.text + dim.text
    assert await downlinks(pool) == [(10, b"\x00\x00"), (10, b"\x02\x28"), (10, b"\x00\x00")]
    frames = {"on": [10, "0100"], "off": [10, "0000"], "question": [10, "0300"]}
    assert first["octets"] == act["octets"]
    assert (first["octets"]["frames"], first["octets"]["channels"]) == (frames, [""])
    assert second["octets"]["frames"] == frames | {"dim": [10, "0228"]}
