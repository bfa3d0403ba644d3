"""The workshop of codecs, from a pasted script to a version that serves, without JavaScript."""

import html
import json
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from ingest.workers import open_workers
from registry.keys import KeyWrap
from tests.api.console.conftest import hidden

LINE = "  return { data: { temperature: input.bytes[0], niveau: input.bytes[1] } };"
SCRIPT = f"function decodeUplink(input) {{\n{LINE}\n}}"


@pytest.fixture
async def app(api_pool: Pool, bus: Bus) -> AsyncGenerator[FastAPI]:
    async with open_workers(1) as workers:
        yield create_app(api_pool, bus, KeyWrap("kek-1", bytes(range(16))), 4, workers)


def form_of(page: httpx.Response, action: str, **typed: str) -> dict[str, list[str]]:
    """Every field of the form that goes to `action`, as a browser would send it, with what was typed."""
    forms = re.findall(rf'<form method="post" action="{action}">.*?</form>', page.text, re.DOTALL)
    [form] = [form for form in forms if re.search('name="(?:source|version)"', form)]
    fields: dict[str, list[str]] = {}
    for name, value in re.findall(r'<input (?:[^>]*? )?name="(\w+)"[^>]*?value="([^"]*)"', form):
        if not re.search(rf'type="checkbox" name="{name}"', form):
            fields.setdefault(name, []).append(html.unescape(value))
    for name, value in re.findall(r'<textarea [^>]*name="(\w+)"[^>]*>\n?(.*?)</textarea>', form, re.DOTALL):
        fields[name] = [html.unescape(value)]
    for name, options in re.findall(r'<select [^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
        fields[name] = [chosen[1] if chosen else ""]
    return fields | {name: [value] for name, value in typed.items()}


def kept(level: float) -> str:
    """What a shadow keeps of a frame that the two read otherwise."""
    values = [[0, "", "fill_level", level], [0, "", "temperature", 21.0]]
    return json.dumps({"reason": None, "values": values, "warnings": []})


async def test_a_script_is_tried_mapped_published_compared_switched_and_rolled_back(
    enter, registry, observations, client, pool: Pool, tenancy
) -> None:
    browser = await enter(tenancy.id, "service_manager")
    device = await registry.device()
    await observations.uplink(device["dev_eui"], datetime.now(UTC))
    empty = await browser.get("/atelier/essai")

    broken = await browser.post(
        "/atelier/essai",
        data=form_of(empty, "/atelier/essai", act="try", source="var a = 1;\r\nlet <b> = ;", frames="2:15"),
    )
    typo = await browser.post(
        "/atelier/essai", data=form_of(empty, "/atelier/essai", act="try", source=SCRIPT, frames="2:15 07\nxyz")
    )
    tried = await browser.post(
        "/atelier/essai",
        data=form_of(
            empty,
            "/atelier/essai",
            act="try",
            source=SCRIPT,
            frames="2:15 07",
            dev_eui=device["dev_eui"],
            last="5",
        ),
    )

    assert (broken.status_code, typo.status_code, tried.status_code) == (422, 422, 200)
    assert re.search(r"ne se charge pas.*?\(ligne 2\)", broken.text, re.DOTALL)
    assert "2 | let &lt;b&gt; = ;" in broken.text
    assert "ligne 2 : port, deux-points" in typo.text
    assert "2:15 07" in typo.text
    assert "2 trames lues" in tried.text
    assert "temperature = 21 °C" in tried.text
    assert "temperature = 1 °C" in tried.text
    assert 'name="path" value="temperature"' in tried.text
    assert (await client.get("/v1/codecs")).json()["items"] == []

    published = await browser.post(
        "/atelier/essai",
        data=form_of(
            tried,
            "/atelier/essai",
            act="publish",
            name="boreal.c2",
            vendor="Boréal",
            model="C2",
            use="new",
            profile_name="Boréal <C2>",
            interval="60",
        ),
    )
    assert published.status_code == 303, published.text
    address = published.headers["location"]
    profile = await browser.get(address)
    profile_id = int(address.rpartition("/")[2])
    saved = form_of(profile, address, act="mapping")
    place = saved["path"].index("")
    for name, value in {"path": "niveau", "quantity": "fill_level", "unit": "%"}.items():
        saved[name][place] = value
    wrong = await browser.post(address, data=saved | {"quantity": ["temperature", "n'importe quoi", "", ""]})
    mapped = await browser.post(address, data=saved)
    stale = await browser.post(address, data=saved)
    overview = await browser.get("/atelier")

    assert re.fullmatch(r"/atelier/profils/\d+", address)
    assert "Boréal &lt;C2&gt;" in profile.text
    assert (wrong.status_code, mapped.status_code) == (422, 303)
    assert 'value="niveau"' in wrong.text
    assert 'value="n&#39;importe quoi"' in wrong.text
    decoding = (await client.get(f"/v1/device-profiles/{profile_id}/decoding")).json()
    assert [(rule["path"], rule["quantity"]) for rule in decoding["mapping"]] == [
        ("temperature", "temperature"),
        ("niveau", "fill_level"),
    ]
    assert stale.status_code == 412
    assert "Quelqu’un a changé cette correspondance" in stale.text
    assert "boreal.c2" in overview.text

    second = await browser.post(
        "/atelier/essai",
        data=form_of(
            await browser.get(f"/atelier/essai?version={decoding['codec_version_id']}&profil={profile_id}"),
            "/atelier/essai",
            act="publish",
            source=SCRIPT.replace("bytes[1]", "bytes[1] + 1"),
            use=str(profile_id),
        ),
    )
    version = (await client.get(f"/v1/device-profiles/{profile_id}/decoding")).json()["shadow_version_id"]
    await pool.execute(
        "INSERT INTO codec_shadow (tenant_id, device_profile_id, shadow_version_id, compared, different, "
        "live_failed, shadow_failed, dropped) VALUES ($1, $2, $3, 3, 1, 0, 0, 0)",
        tenancy.id,
        profile_id,
        version,
    )
    await pool.execute(
        "INSERT INTO codec_difference (tenant_id, device_profile_id, shadow_version_id, device_id, uplink_id, "
        "time, f_port, payload, live, shadow) SELECT $1, $2, $3, id, gen_random_uuid(), now(), 2, '\\x1507', "
        f"'{kept(7)}', '{kept(8)}' "
        "FROM device WHERE dev_eui = $4",
        tenancy.id,
        profile_id,
        version,
        bytes.fromhex(device["dev_eui"]),
    )
    beside = await browser.get(address)
    token = {"csrf": hidden(beside, "csrf")}
    asked = await browser.post(address, data=token | {"act": "switch"})
    untouched = (await client.get(f"/v1/device-profiles/{profile_id}/decoding")).json()["codec_version_id"]
    await browser.post(address, data=token | {"act": "switch", "confirm": "yes"})
    switched = (await client.get(f"/v1/device-profiles/{profile_id}/decoding")).json()["codec_version_id"]
    back = await browser.post(address, data=token | {"act": "rollback", "confirm": "yes"})
    now = (await client.get(f"/v1/device-profiles/{profile_id}/decoding")).json()["codec_version_id"]
    codec = (await client.get("/v1/codecs")).json()["items"][0]
    compared = await browser.get(f"/atelier/decodeurs/{codec['id']}?version={version}&avec={now}")

    assert second.headers["location"] == address
    assert "3 trames comparées" in beside.text
    assert re.search(r"<mark>fill_level = 7</mark>.*<mark>fill_level = 8</mark>", beside.text, re.DOTALL)
    assert "Mettre en service la version à l’essai ?" in asked.text
    assert (untouched, switched, now) == (decoding["codec_version_id"], version, decoding["codec_version_id"])
    assert back.status_code == 303
    assert "+  return { data: { temperature: input.bytes[0], niveau: input.bytes[1] + 1 } };" in compared.text


async def test_what_is_to_be_confirmed_is_decided_and_what_was_stored_is_decoded_again(
    enter, registry, observations, client, pool: Pool, tenancy, other_tenancy
) -> None:
    made = await client.post("/v1/codecs", json={"name": "acme.niveau"})
    codec = made.json()["id"]
    version = (await client.post(f"/v1/codecs/{codec}/versions", json={"source": SCRIPT})).json()["id"]
    rules = [
        {"path": path, "quantity": "fill_level", "channel": path, "to_confirm": "unit_not_stated"}
        for path in ("a", "b")
    ]
    profile = await registry.profile(codec=None, codec_version_id=version, mapping=rules)
    device = await registry.device(profile)
    await observations.uplink(device["dev_eui"], datetime.now(UTC) - timedelta(hours=1), status="undecodable")
    browser, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    other = await enter(other_tenancy.id, "service_manager")
    address = f"/atelier/profils/{profile['id']}"
    overview, page = await browser.get("/atelier"), await browser.get(address)
    token = {"csrf": hidden(page, "csrf")}

    await browser.post(
        address, data=token | {"act": "confirm", "path": "a", "quantity": "temperature", "unit": "°F"}
    )
    await browser.post(address, data=token | {"act": "remove", "path": "b"})
    unknown = await browser.post(address, data=token | {"act": "confirm", "path": "zz"})
    after = (await client.get(f"/v1/device-profiles/{profile['id']}/decoding")).json()["mapping"]
    asked = await browser.post(
        "/atelier/relectures", data=token | {"device_profile_id": str(profile["id"]), "only_failed": "true"}
    )
    began = await browser.post(
        "/atelier/relectures",
        data=token
        | {"device_profile_id": hidden(asked, "device_profile_id"), "only_failed": "true", "confirm": "yes"},
    )
    job = began.headers["location"]
    waiting = await browser.get(f"{job}/avancement")
    await pool.execute("UPDATE redecode SET state = 'running', frames = 4, frames_done = 1")
    running = await browser.get(job)
    await browser.post(job, data=token)
    stopped = await browser.get(f"{job}/avancement")

    assert "2 champs à confirmer" in overview.text
    assert "canal inconnu" in overview.text
    assert "pas des mesures tant que personne" in page.text
    assert [(rule["path"], rule["quantity"], rule["unit"], rule.get("to_confirm")) for rule in after] == [
        ("a", "temperature", "°F", None)
    ]
    assert (unknown.status_code, "aucune règle" in unknown.text) == (422, True)
    assert "Relire ces trames ?" in asked.text
    assert "attend son tour" in waiting.text
    assert f'hx-get="{job}/avancement"' in waiting.text
    assert re.search(r'<progress [^>]*value="0.25"', running.text)
    assert "arrêtée" in stopped.text
    assert "hx-get" not in stopped.text
    assert 'method="post" action="/atelier' not in (await reader.get(address)).text
    assert (await reader.get("/atelier/essai")).status_code == 403
    assert (await other.get(address)).status_code == 404
    assert (await other.get(job)).status_code == 404
    theirs = {"csrf": hidden(await other.get("/compte"), "csrf"), "act": "remove", "path": "a"}
    assert (await other.post(address, data=theirs)).status_code == 404
