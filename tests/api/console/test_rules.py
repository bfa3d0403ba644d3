"""Alert rules in the console: in words, tried, changed by two people at once, removed."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx

from alerting.defaults import DEFAULT_RULES
from alerting.rules.model import Rule
from alerting.wording import NO_BREAK
from api.console.language import ENGLISH, FRENCH, Language
from api.console.rules import words
from api.console.rules.words import duration, parse_duration
from core.model.region import PARIS
from tests.api.console.conftest import hidden


def fields_of(page: httpx.Response) -> dict[str, list[str]]:
    """What a browser would send of the page's long form, untouched."""
    form = page.text.partition('class="long">')[2].partition("</form>")[0]
    sent: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if attributes.get("type") != "checkbox" or " checked" in tag:
            sent.setdefault(attributes["name"], []).append(unescape(attributes.get("value", "")))
    for name, options in re.findall(r'<select id="\w+" name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        values = re.findall(r'<option value="([^"]*)"( selected)?', options)
        sent[name] = [unescape(next((value for value, is_chosen in values if is_chosen), values[0][0]))]
    for name, text in re.findall(r'<textarea id="\w+" name="(\w+)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        sent[name] = [unescape(text)]
    return sent


def without_order(rule: dict[str, Any]) -> dict[str, Any]:
    return rule | {"asset_kinds": rule["asset_kinds"] and sorted(rule["asset_kinds"])}


def test_rules_are_said_in_words_in_both_languages() -> None:
    def describe(rule: Rule, language: Language) -> str:
        return words.describe(rule, language).replace(NO_BREAK, " ")

    french, english = Language(FRENCH, PARIS), Language(ENGLISH, PARIS)
    rules = {rule.name: rule for rule in DEFAULT_RULES}

    assert describe(rules["bin_75"], french) == "Remplissage à 75 % ou plus, 2 mesures de suite"
    assert describe(rules["co2_800"], french) == "CO2 à 800 ppm ou plus pendant 30 min, aux heures d’ouverture"
    assert describe(rules["co2_800"], english) == "CO2 at 800 ppm or more for 30 min, during opening hours"
    assert describe(rules["gateway_down"], french) == "Passerelle muette pendant 10 min"
    assert describe(rules["over_power"], french).endswith("à plus de 110 % pendant 5 min, armoire d’éclairage")
    for rule in DEFAULT_RULES:
        assert "%(" not in describe(rule, english)
    for seconds in (0, 45, 90, 600, 5400, 7200, 86_400, 129_600):
        assert parse_duration(duration(seconds, french)) == parse_duration(duration(seconds, english)) == seconds
    assert [parse_duration(text) for text in ("15", "1,5 h", "2 jours", "bientôt", "-3")] == [
        900,
        5400,
        172_800,
        None,
        None,
    ]


async def test_a_rule_is_tried_made_changed_by_two_people_and_removed(
    enter, registry, observations, tenancy, client, pool
) -> None:
    asset = await registry.asset(name="Borne <7>", street="quai Léon", kind="glass_container")
    device = await registry.device(asset_id=asset["id"])
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    first = datetime.now(UTC) - timedelta(days=20)
    await observations.readings(
        stream, {first + timedelta(hours=n): value for n, value in enumerate((20, 90, 95, 10))}
    )
    jeanne, marc = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "service_manager")
    reader = await enter(tenancy.id, "reader")

    form = await jeanne.get("/regles/nouvelle?genre=threshold")
    typed = fields_of(form) | {"name": ["verre_80"], "quantity": ["fill_level"], "fire_value": ["80,5"]}
    typed |= {"clear_value": ["50"], "asset_kinds": ["glass_container"], "for_readings": ["2"], "tags": []}
    typed |= {"rung0_severity": ["major"], "rung0_how": ["value"], "rung0_op": [">="], "rung0_amount": ["92"]}
    wrong = await jeanne.post(
        "/regles/nouvelle", data=typed | {"act": ["save"], "clear_value": ["x"], "for_seconds": ["?"]}
    )
    odd = await jeanne.post("/regles/nouvelle", data=typed | {"act": ["save"], "clear_value": ["90"]})
    tried = await jeanne.post("/regles/nouvelle", data=typed | {"act": ["try"]})
    made = await jeanne.post("/regles/nouvelle", data=fields_of(tried) | {"act": ["save"]})

    assert wrong.status_code == 422
    assert "Un nombre, par exemple 7,5." in wrong.text
    assert 'value="80,5"' in wrong.text
    assert odd.status_code == 422
    assert "est au-delà du seuil de déclenchement" in odd.text
    assert tried.status_code == 200
    assert "cette règle aurait ouvert 1 alerte" in tried.text
    assert tried.text.count("<rect ") == 31
    assert "Borne &lt;7&gt;" in tried.text
    page = await jeanne.get(made.headers["location"])
    rule_id = made.headers["location"].removeprefix("/regles/")
    stored = (await client.get(f"/v1/alert-rules/{rule_id}")).json()
    assert (stored["fire_value"], stored["clear_value"], stored["for_readings"]) == (80.5, 50, 2)
    assert (stored["asset_kinds"], stored["ladder"][0]["value"]) == (["glass_container"], 92)
    assert "Remplissage à 80,5\u00a0% ou plus, 2 mesures de suite, borne à verre" in page.text

    # Both have opened the same form; the second to save is told, and sees what the first has written.
    first_form, second_form = fields_of(page), fields_of(await marc.get(f"/regles/{rule_id}"))
    saved = await marc.post(f"/regles/{rule_id}", data=second_form | {"act": ["save"], "fire_value": ["85"]})
    late = await jeanne.post(f"/regles/{rule_id}", data=first_form | {"act": ["save"], "fire_value": ["70"]})
    assert saved.status_code == 303
    assert late.status_code == 412
    assert "Quelqu’un d’autre a changé cela" in late.text
    assert re.search(r"<td class=\"wide\">85</td><td class=\"wide\">70</td>", late.text)
    assert (await client.get(f"/v1/alert-rules/{rule_id}")).json()["fire_value"] == 85
    again = await jeanne.post(f"/regles/{rule_id}", data=fields_of(late) | {"act": ["save"]})
    assert again.status_code == 303
    after = (await client.get(f"/v1/alert-rules/{rule_id}")).json()
    assert after == stored | {"fire_value": 70}

    token = {"csrf": hidden(page, "csrf")}
    await jeanne.post(f"/regles/{rule_id}", data=token | {"act": "disable"})
    assert (await client.get(f"/v1/alert-rules/{rule_id}")).json()["enabled"] is False
    await observations.alert(tenancy.id, asset["id"], "verre_80")
    listed = await reader.get("/regles")
    assert f'<a href="/alertes?regle={rule_id}">1</a>' in listed.text
    assert "/regles/nouvelle" not in listed.text
    seen = await reader.get(f"/regles/{rule_id}?essai=oui")
    assert 'class="long"' not in seen.text
    assert "cette règle aurait ouvert" in seen.text
    asked = await jeanne.get(f"/regles/{rule_id}/suppression")
    assert "dont non terminées : 1" in re.sub(r"\s+", " ", asked.text)
    gone = await jeanne.post(f"/regles/{rule_id}/suppression", data=token | {"version": hidden(asked, "version")})
    assert gone.status_code == 303, gone.text
    assert gone.headers["location"] == "/regles"
    assert await pool.fetchval("SELECT count(*) FROM alert") == 0
    assert (await jeanne.get(f"/regles/{rule_id}")).status_code == 404


async def test_every_rule_that_there_is_comes_back_from_its_form_as_it_was(
    enter, tenancy, other_tenancy, client, other_client
) -> None:
    browser = await enter(tenancy.id, "service_manager")
    rules = (await client.get("/v1/alert-rules")).json()["items"]
    foreign = (await other_client.get("/v1/alert-rules")).json()["items"][0]

    for rule in rules:
        page = await browser.get(f"/regles/{rule['id']}")
        saved = await browser.post(f"/regles/{rule['id']}", data=fields_of(page) | {"act": ["save"]})
        assert saved.status_code == 303, (rule["name"], saved.text)
    after = (await client.get("/v1/alert-rules")).json()["items"]
    for now, before in zip(after, rules, strict=True):
        assert without_order(now) == without_order(before)
    for address in (f"/regles/{foreign['id']}", f"/regles/{foreign['id']}/suppression"):
        assert (await browser.get(address)).status_code == 404
