"""Every page: who may open it, what belongs to others, and odd content."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi.routing import APIRoute

from api.console.app import PAGES
from api.console.visits import Demand
from core.model.rights import ROLES
from tests.api.console.conftest import hidden

RIGHT_OF = {
    (method, path): right
    for method, path, right in map(
        str.split, (Path(__file__).parent / "rights_of_pages.txt").read_text("utf-8").splitlines()
    )
}
# Before anybody is known.
OPEN = {
    "/connexion",
    "/langue",
    "/invitation",
    "/mot-de-passe-oublie",
    "/reset",
    "/public/{slug}",
    "/accessibilite",
}
ODD_NAME = "<script>alert('é 🗑️')</script>" + "x" * 150


def address_of(path: str) -> str:
    return (
        path.replace("{id}", "1")
        .replace("{dev_eui}", "ab" * 8)
        .replace("{gateway_id}", "ab" * 8)
        .replace("{page}", "carte")
        .replace("{name}", "reboot")
    )


def test_every_page_has_a_line_that_says_which_right_opens_it() -> None:
    demanded = {
        (method, route.path): [
            one.call.right for one in route.dependant.dependencies if isinstance(one.call, Demand)
        ]
        for router in PAGES
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }

    assert {path for (_, path), rights in demanded.items() if not rights} == OPEN
    assert {operation: [right] for operation, right in RIGHT_OF.items()} == {
        operation: rights for operation, rights in demanded.items() if rights
    }


async def test_every_role_opens_what_its_rights_say(enter, tenancy) -> None:
    for role in ROLES:
        browser = await enter(tenancy.id, role)
        page = await browser.get("/compte")
        token = {"csrf": hidden(page, "csrf")}
        for (method, path), right in RIGHT_OF.items():
            if path in {"/deconnexion", "/trames", "/trames/direct", "/direct"} or "/compte/" in path:
                continue  # The first ends the session; the others are open to all, and slow or without an end.
            answer = await browser.request(method, address_of(path), data=token if method == "POST" else None)
            refused = answer.status_code == 403 and "il faut le droit" in answer.text

            assert refused == (right not in ROLES[role].rights), (role, method, path, answer.status_code)
            assert answer.status_code < 500, (role, path)


async def test_what_is_there_is_shown_and_what_is_odd_is_only_text(
    enter, client, registry, observations, tenancy
) -> None:
    asset = await registry.asset(name=ODD_NAME, commune="L'Île-d'Yeu & Cie", latitude=46.7, longitude=-2.3)
    device = await registry.device(asset_id=asset["id"])
    gateway = await registry.gateway()
    stream = await observations.datastream(device["dev_eui"], asset["id"], "fill_level", "%")
    now = datetime.now(UTC)
    await observations.readings(stream, {now - timedelta(minutes=n): 40.0 + n for n in range(5)})
    await observations.uplink(device["dev_eui"], now)
    alert = await observations.alert(tenancy.id, asset["id"])
    browser = await enter(tenancy.id, "service_manager")
    pages = [
        *("/supervision", "/carte", "/equipements", "/passerelles", "/alertes", "/trames"),
        *(f"/equipements/{asset['id']}?periode={name}&compare=avant" for name in ("24h", "7j", "30j", "1a")),
        *(f"/capteurs/{device['dev_eui']}", f"/passerelles/{gateway['gateway_id']}", f"/alertes/{alert}"),
        *("/equipements?suite=10000", "/carte?q=introuvable", "/alertes?commune=nulle%20part&suite=1"),
    ]

    for address in pages:
        page = await browser.get(address)

        assert page.status_code == 200, (address, page.text)
        assert "<script>alert" not in page.text, address
        assert page.text.count("<h1") == 1, address
    points = (await browser.get("/carte/points")).json()
    found = await browser.get(f"/equipements?q={device['dev_eui'].upper()}")

    assert points["name"] == [ODD_NAME]
    assert (points["latitude"], points["longitude"]) == ([46.7], [-2.3])
    assert points["states"][points["state"][0]] == "warning"
    assert found.headers["location"] == f"/capteurs/{device['dev_eui']}"
    assert "Aucun équipement ne répond à ce filtre" in (await browser.get("/carte?q=introuvable")).text


async def test_another_tenant_sees_nothing_of_it(enter, registry, observations, tenancy, other_tenancy) -> None:
    asset = await registry.asset(name="Borne secrète", latitude=48.0, longitude=-4.0)
    device = await registry.device(asset_id=asset["id"])
    gateway = await registry.gateway(name="Passerelle secrète")
    alert = await observations.alert(tenancy.id, asset["id"])
    browser = await enter(other_tenancy.id, "service_manager")
    token = {"csrf": hidden(await browser.get("/compte"), "csrf")}

    for address in ("/supervision", "/carte", "/carte/points", "/equipements", "/passerelles", "/alertes"):
        answer = await browser.get(address)
        assert answer.status_code == 200
        assert "secrète" not in answer.text, address
    for address in (
        f"/equipements/{asset['id']}",
        f"/capteurs/{device['dev_eui']}",
        f"/passerelles/{gateway['gateway_id']}",
        f"/alertes/{alert}",
    ):
        assert (await browser.get(address)).status_code == 404, address
    for address, fields in (
        (f"/alertes/{alert}", {"act": "acknowledge"}),
        (f"/equipements/{asset['id']}/capteur", {"dev_eui": "ab" * 8}),
        (f"/passerelles/{gateway['gateway_id']}/jeton", {}),
    ):
        assert (await browser.post(address, data=token | fields)).status_code == 404, address


async def test_an_alert_is_acknowledged_assigned_and_several_at_once(
    enter, registry, observations, tenancy, client
) -> None:
    alerts = [
        await observations.alert(tenancy.id, (await registry.asset(name=f"Borne {n}"))["id"]) for n in range(3)
    ]
    browser = await enter(tenancy.id, "field_agent")
    token = {"csrf": hidden(await browser.get(f"/alertes/{alerts[0]}"), "csrf")}

    assert (await client.post("/v1/teams", json={"name": "Voirie"})).status_code == 201
    await enter(tenancy.id, "reader")  # Who may do nothing about an alert is given none.
    offered = (await client.get("/v1/assignees")).json()["items"]
    page = await browser.get(f"/alertes/{alerts[0]}")

    one = await browser.post(f"/alertes/{alerts[0]}", data=token | {"act": "assign", "assignee": "Voirie"})
    other = {"act": "assign", "assignee": "Voirie", "autre": "Garage du port", "id": str(alerts[2])}
    await browser.post("/alertes", data=token | other)
    empty = await browser.post(f"/alertes/{alerts[0]}", data=token | {"act": "resolve", "cause": " "})
    several = await browser.post(
        "/alertes", data=token | {"act": "acknowledge", "id": [str(alerts[1]), str(alerts[2]), "999999"]}
    )
    after = await browser.get(several.headers["location"])
    browser.cookies.set("langue", "en", domain="localhost.local")
    none_of_them = await browser.post("/alertes", data=token | {"act": "acknowledge", "id": ["999999"]})
    in_english = await browser.get(none_of_them.headers["location"])
    browser.cookies.delete("langue")
    remark = token | {"act": "comment", "text": "camion <demain>", "id": [str(one) for one in alerts]}
    await browser.post("/alertes", data=remark)
    noted = [(await browser.get(f"/alertes/{one}")).text.count("camion &lt;demain&gt;") for one in alerts]
    of_rule = (await client.get(f"/v1/alerts/{alerts[0]}")).json()["rule_id"]
    named = (await browser.get(f"/alertes?regle={of_rule}")).text
    others = (await browser.get(f"/alertes?regle={of_rule + 1}")).text

    assert offered == [{"name": "Jeanne Le Goff", "kind": "person"}, {"name": "Voirie", "kind": "team"}]
    assert '<optgroup label="Équipes"><option>Voirie</option>' in page.text
    assert (one.status_code, one.headers["location"]) == (303, f"/alertes/{alerts[0]}")
    assert empty.status_code == 422
    assert "champ obligatoire" in empty.text
    assert "Alertes traitées : 2 / 3" in after.text
    assert "alerte 999999 introuvable" in after.text
    assert "Alerts dealt with: 0 / 1 ; 1 × there is no alert 999999" in in_english.text
    assert noted == [1, 1, 1]
    assert ("Borne 0" in named, "Borne 0" in others) == (True, False)
    items = (await client.get("/v1/alerts")).json()["items"]
    assert [item["workflow"] for item in sorted(items, key=lambda item: item["id"])] == [
        "in_progress",
        "acknowledged",
        "in_progress",
    ]
    assert [item["assignee"] for item in items] == ["Garage du port", None, "Voirie"]


async def test_a_name_is_corrected_and_not_over_another_persons_correction(
    enter, registry, client, tenancy, other_tenancy
) -> None:
    asset = await registry.asset(name="Armore 7")
    manager, agent = await enter(tenancy.id, "service_manager"), await enter(tenancy.id, "field_agent")
    stranger = await enter(other_tenancy.id, "service_manager")
    page = f"/equipements/{asset['id']}"
    shown = await manager.get(page)
    given = {"csrf": hidden(shown, "csrf"), "version": hidden(shown, "version"), "name": "Armoire 7 <b>"}

    empty = await manager.post(f"{page}/nom", data=given | {"name": ""})
    saved = await manager.post(f"{page}/nom", data=given)
    stale = await manager.post(f"{page}/nom", data=given | {"name": "Armoire 8"})
    again = await manager.post(
        f"{page}/nom", data=given | {"name": "Armoire 8", "version": hidden(stale, "version")}
    )

    assert (empty.status_code, saved.status_code, again.status_code) == (422, 303, 303)
    assert (stale.status_code, "Armoire 7 &lt;b&gt;" in stale.text, 'value="Armoire 8"' in stale.text) == (
        412,
        True,
        True,
    )
    assert (await client.get(f"/v1/assets/{asset['id']}")).json()["name"] == "Armoire 8"
    assert f"{page}/nom" not in (await agent.get(page)).text
    for other, status in ((agent, 403), (stranger, 404)):
        theirs = {"csrf": hidden(await other.get("/compte"), "csrf")}
        assert (await other.post(f"{page}/nom", data=given | theirs)).status_code == status


async def test_files_are_kept_for_a_year_under_an_address_of_their_content(browser) -> None:
    page = await browser.get("/connexion")
    address = page.text.partition('<link rel="stylesheet" href="')[2].partition('"')[0]

    style = await browser.get(address, headers={"Accept-Encoding": "gzip"})
    again = await browser.get(address, headers={"If-None-Match": style.headers["etag"]})
    former = await browser.get(f"/console/{'0' * 16}/console.css")

    assert style.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert style.headers["content-encoding"] == "gzip"
    assert "--accent" in style.text
    assert again.status_code == 304
    assert former.headers["cache-control"] == "no-cache"
    assert (await browser.get(f"/console/{'0' * 16}/..%2Fapp.py")).status_code == 404


async def test_a_number_in_a_form_that_is_none_is_no_fault_of_ours(enter, tenancy, registry) -> None:
    browser = await enter(tenancy.id, "service_manager")
    asset, device = await registry.asset(), await registry.device()
    token = {"csrf": hidden(await browser.get("/compte"), "csrf")}
    for number in ("²", "٣", "0", "-1", "9" * 30, "9" * 5000):
        for path, field in (
            ("/alertes", {"id": number, "act": "acknowledge"}),
            ("/publications/nouvelle", {"actif": number}),
            (f"/pose/{device['dev_eui']}", {"actif": number}),
            (f"/equipements/{asset['id']}/photos", {"retirer": number}),
            ("/silences/nouveau", {"asset_id": number}),
        ):
            answer = await browser.post(path, data=token | field)
            assert answer.status_code < 500, (path, number[:40])
