"""Recipients and teams in the console: made, proved, tried, sent to again, removed."""

import re

import msgspec

from alerting import proof
from alerting.queue import WebhookMessage, decode_message
from tests.api.console.conftest import hidden


async def test_a_team_is_made_and_its_mailbox_is_proved_by_the_code_that_arrived_there(
    enter, tenancy, other_tenancy, client, pool
) -> None:
    browser, reader = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "reader")
    stranger = await enter(other_tenancy.id, "service_manager")
    empty = [await browser.get(address) for address in ("/equipes", "/destinataires")]
    token = {"csrf": hidden(await browser.get("/equipes/nouvelle"), "csrf")}

    half = await browser.post("/equipes/nouvelle", data=token | {"name": "Voirie 🚛", "quiet_from": "20:00"})
    hours = {"name": "Voirie 🚛", "quiet_from": "20:00", "quiet_until": "07:00", "quiet_on_days_off": "true"}
    made = await browser.post("/equipes/nouvelle", data=token | hours)
    address = made.headers["location"]
    wrong = await browser.post(address, data=token | {"act": "add", "name": "Chef", "after_seconds": "tantôt"})
    contact = {"act": "add", "name": "Chef <d’équipe>", "email": "chef@mairie.fr", "rung": "0"}
    added = await browser.post(address, data=token | contact)

    assert "chaque alerte prévient tous les destinataires" in empty[0].text
    assert "Personne n’est prévenu" in empty[1].text
    assert half.status_code == 422
    assert "vont ensemble" in half.text
    assert 'value="Voirie 🚛"' in half.text
    assert wrong.status_code == 422
    assert added.status_code == 303
    page = await browser.get(address)
    assert "Chef &lt;d’équipe&gt;" in page.text
    assert "Personne n’est joignable à l’échelon 0" in page.text
    endpoint = (await client.get("/v1/webhook-endpoints")).json()["items"][0]
    recipient = f"/destinataires/{endpoint['id']}"
    payload = await pool.fetchval("SELECT payload FROM jobs.pgqueuer")
    code = proof.secret_in(decode_message(payload).body)
    mistaken = await browser.post(recipient, data=token | {"act": "prove", "code": "0000 0000"})
    proved = await browser.post(recipient, data=token | {"act": "prove", "code": f"{code[:4]} {code[4:]}"})
    assert mistaken.status_code == 409
    assert "ce n’est pas le code" in mistaken.text
    assert proved.status_code == 303
    assert (await client.get(f"/v1/webhook-endpoints/{endpoint['id']}")).json()["state"] == "enabled"

    # Two people change its hours at once.
    version = {"version": hidden(page, "version"), "act": "save"}
    first = await browser.post(address, data=token | hours | version | {"name": "Voirie"})
    second = await browser.post(address, data=token | hours | version | {"name": "Routes"})
    assert (first.status_code, second.status_code) == (303, 412)
    assert "Quelqu’un d’autre a changé cela" in second.text
    assert 'value="Routes"' in second.text
    assert (await client.get("/v1/teams")).json()["items"][0]["name"] == "Voirie"
    for seen in (await reader.get(address), await reader.get(recipient), await reader.get("/equipes")):
        assert seen.status_code == 200
        assert 'name="act"' not in seen.text
    for foreign in (address, recipient, f"{address}/suppression", f"{recipient}/suppression"):
        assert (await stranger.get(foreign)).status_code == 404
    number = re.search(r'name="contact" value="(\d+)"', page.text)
    assert number is not None
    assert (await browser.post(address, data=token | {"act": "remove", "contact": number[1]})).status_code == 303
    asked = await browser.get(f"{address}/suppression")
    assert "Retirer «\u00a0Voirie\u00a0» ?" in asked.text
    assert (await browser.post(f"{address}/suppression", data=token)).headers["location"] == "/equipes"
    assert (await client.get("/v1/teams")).json()["items"] == []


async def test_a_software_recipient_shows_its_secret_once_and_what_it_missed_is_sent_again(
    enter, tenancy, client, pool
) -> None:
    browser = await enter(tenancy.id, "service_manager")
    token = {"csrf": hidden(await browser.get("/destinataires/nouveau"), "csrf")}
    typed = {"form": "standard", "url": "https://si.ville.example/recoit", "description": "Tournées"}

    wrong = await browser.post("/destinataires/nouveau", data=token | typed | {"url": "ftp://ville.example"})
    made = await browser.post("/destinataires/nouveau", data=token | typed)
    (endpoint,) = (await client.get("/v1/webhook-endpoints")).json()["items"]
    address = f"/destinataires/{endpoint['id']}"
    before = await browser.post(address, data=token | {"act": "test"})
    async with pool.acquire() as connection:
        await proof.accept(connection, endpoint["id"])
    page = await browser.get(address)

    assert wrong.status_code == 422
    assert "l’adresse doit commencer par https://" in wrong.text
    assert len(re.findall(r"whsec_[A-Za-z0-9+/=]+", made.text)) == 1
    assert "whsec_" not in page.text
    assert before.status_code == 409
    assert "n’est pas prouvée" in before.text
    suspended = await browser.post(address, data=token | {"act": "suspend"})
    assert suspended.status_code == 303
    for number in range(3):
        message = WebhookMessage(f"msg_{number}", endpoint["id"], 7, b'{"type":"alert.opened"}')
        await pool.execute(
            "INSERT INTO jobs.pgqueuer (priority, status, entrypoint, payload) VALUES (0, 'failed', $1, $2)",
            f"webhook/{endpoint['id']}",
            msgspec.msgpack.encode(message),
        )
    dead = await browser.get(address)
    assert dead.text.count("alerte 7</a>") == 3
    assert 'value="replay"' not in dead.text  # Of a suspended one nothing is sent again.
    letter = re.search(r'name="message" value="(\d+)"', dead.text)
    assert letter is not None
    await browser.post(address, data=token | {"act": "discard", "message": letter[1]})
    rotated = await browser.post(address, data=token | {"act": "rotate", "keep_former_hours": "2"})
    assert rotated.text.count("whsec_") == 1
    resumed = await browser.post(address, data=token | {"act": "resume"})
    assert resumed.status_code == 303
    replayed = await browser.post(address, data=token | {"act": "replay"})
    assert replayed.status_code == 303
    assert "Messages qui repartent : 3" in (await browser.get(address)).text  # The challenge with them.
    assert (await browser.post(address, data=token | {"act": "discard"})).status_code == 303
    odd = await browser.post(address, data=token | {"act": "explode"})
    assert odd.status_code == 422
    asked = await browser.get(f"{address}/suppression")
    assert "Retirer «\u00a0Tournées\u00a0» ?" in asked.text
    assert (await browser.post(f"{address}/suppression", data=token)).status_code == 303
    assert (await client.get("/v1/webhook-endpoints")).json()["items"] == []
