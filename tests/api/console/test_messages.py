"""What a device is told from its page: shown before it is sent, asked once, taken back while it waits."""

import re

from core.runtime.postgres import Pool
from tests.api.console.conftest import hidden

QUEUED = (
    "SELECT f_port, encode(payload, 'hex') AS payload, confirmed, state::text AS state FROM downlink ORDER BY id"
)


async def test_a_message_and_a_command_are_shown_asked_once_queued_and_taken_back(
    enter, registry, tenancy, other_tenancy, client, pool: Pool
) -> None:
    device = await registry.device()
    path = f"/capteurs/{device['dev_eui']}"
    browser = await enter(tenancy.id, "service_manager")
    page = await browser.get(path)
    form = await browser.get(f"{path}/message")
    typed = {"csrf": hidden(form, "csrf"), "f_port": "85", "payload": "FF 03:b0 04", "confirmed": "oui"}
    until = re.search(r'name="not_after" type="datetime-local" value="([^"]+)"', form.text)
    assert until is not None
    typed |= {"not_after": until[1], "reason": "relevé <avant> travaux"}

    odd = await browser.post(f"{path}/message", data=typed | {"payload": "ff0", "confirm": "oui"})
    port = await browser.post(f"{path}/message", data=typed | {"f_port": "224"})
    late = await browser.post(f"{path}/message", data=typed | {"not_after": "2020-01-01T00:00"})
    asked = await browser.post(f"{path}/message", data=typed)
    nothing_yet = await pool.fetch(QUEUED)
    sent = await browser.post(f"{path}/message", data=typed | {"confirm": "oui"})
    after = await browser.get(path)

    for said in (
        f'href="{path}/message"',
        f'href="{path}/commandes/set_report_interval"',
        "Aucun message ne l’attend",
    ):
        assert said in page.text, said
    assert (odd.status_code, "par octet" in odd.text, 'value="ff0"' in odd.text) == (422, True, True)
    assert (port.status_code, 'value="224"' in port.text) == (422, True)
    assert (late.status_code, "à venir" in late.text) == (422, True)
    for said in ("ff03b004", "4 octets", "à la suite de sa prochaine trame", "relevé &lt;avant&gt; travaux"):
        assert said in asked.text, said
    assert (asked.status_code, nothing_yet) == (200, [])
    assert sent.status_code == 303, sent.text
    assert [tuple(row) for row in await pool.fetch(QUEUED)] == [(85, "ff03b004", True, "queued")]
    assert "Le message est en file" in after.text
    part = await browser.get(f"{path}/messages", headers={"HX-Request": "true"})
    for one in (after, part):
        assert f'hx-get="{path}/messages"' in one.text
    withdrawal = re.search(rf'action="({path}/messages/\d+/retrait)"', part.text)
    assert withdrawal is not None

    command = f"{path}/commandes/set_report_interval"
    fields = await browser.get(command)
    name = re.search(r'name="(p\.\w+)"', fields.text)
    assert name is not None, fields.text
    given = typed | {name[1]: "0"}
    bounds = await browser.post(command, data=given)
    preview = await browser.post(command, data=given | {name[1]: "1200"})
    unknown = await browser.get(f"{path}/commandes/inconnue")
    ordered = await browser.post(command, data=given | {name[1]: "1200", "confirm": "oui"})

    assert bounds.status_code == 422
    assert f'id="{name[1]}-error"' in bounds.text
    assert preview.status_code == 200, preview.text
    octets = re.search(r'<code class="octets">([0-9a-f]+)</code>', preview.text)
    assert octets is not None
    assert unknown.status_code == 404
    assert ordered.status_code == 303, ordered.text
    assert [row["payload"] for row in await pool.fetch(QUEUED)] == ["ff03b004", octets[1]]

    stranger, agent = await enter(other_tenancy.id, "service_manager"), await enter(tenancy.id, "field_agent")
    for other, status in ((stranger, 404), (agent, 403)):
        theirs = {"csrf": hidden(await other.get("/compte"), "csrf")}
        for address in (f"{path}/message", command, withdrawal[1]):
            answer = await other.post(address, data=given | theirs | {"confirm": "oui"})
            assert answer.status_code == status, address
    assert '/message"' not in (await agent.get(path)).text
    taken = await browser.post(withdrawal[1], data={"csrf": typed["csrf"]})
    again = await browser.post(withdrawal[1], data={"csrf": typed["csrf"]})
    assert (taken.status_code, again.status_code) == (303, 303)
    assert "n&#39;attend plus" in (await browser.get(path)).text
    assert [row["state"] for row in await pool.fetch(QUEUED)] == ["cancelled", "queued"]
    (_, first) = (await client.get(f"/v1/devices/{device['dev_eui']}/downlinks")).json()["items"]
    assert first["explanation"] == "retiré de la file par une personne"


async def test_what_switches_says_why_and_an_order_of_lighting_is_not_taken_back_as_a_message(
    enter, registry, tenancy, client, pool: Pool
) -> None:
    cabinet = await registry.cabinet(name="Armoire 7")
    dev_eui = (await client.get(f"/v1/assets/{cabinet['id']}")).json()["devices"][0]["dev_eui"]
    path = f"/capteurs/{dev_eui}"
    browser = await enter(tenancy.id, "service_manager")
    typed = {"csrf": hidden(await browser.get(f"{path}/message"), "csrf"), "f_port": "125", "not_after": ""}

    silent = await browser.post(f"{path}/message", data=typed | {"payload": "1150000601"})
    off = {"payload": "1150000600", "reason": "essai", "confirm": "oui"}
    endless = await browser.post(f"{path}/message", data=typed | off)
    await client.post("/v1/lighting/commands", json={"asset_id": cabinet["id"], "action": "on", "reason": "x"})
    downlink = await pool.fetchval("SELECT downlink_id FROM lighting_command")
    kept = await browser.post(f"{path}/messages/{downlink}/retrait", data={"csrf": typed["csrf"]})

    assert (silent.status_code, 'id="reason-error"' in silent.text) == (422, True)
    # Nobody knows what such a message does to the lamps: the platform brings them back to their program.
    assert endless.status_code == 303
    assert await pool.fetchval("SELECT due_at < now() + interval '12 hours' FROM lighting_unknown_act")
    assert kept.status_code == 303
    assert "ordre contraire" in (await browser.get(path)).text
    assert await pool.fetchval("SELECT state::text FROM downlink WHERE id = $1", downlink) == "queued"
